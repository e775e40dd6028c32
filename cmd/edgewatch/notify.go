package main

import (
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/rs/zerolog"

	"edgewatch/watchdog"
)

// snapshots is where the newest snapshot of every federation comes from.
type snapshots interface {
	Snapshots() []*watchdog.Snapshot
}

// notifier tells systemd how the service is. Without systemd it does nothing.
type notifier struct {
	from  snapshots
	log   zerolog.Logger
	send  func(state string) // sends lines of sd_notify(3)
	beat  time.Duration      // how often systemd wants to hear; 0: it does not
	every time.Duration

	end  chan struct{}
	once sync.Once
	work sync.WaitGroup

	mu     sync.Mutex
	ending bool
	status string // the last one sent
}

// statusEvery is how often the status line is looked at.
const statusEvery = time.Second

func newNotifier(from snapshots, log zerolog.Logger) *notifier {
	n := &notifier{from: from, log: log.With().Str("component", "systemd").Logger(), every: statusEvery, end: make(chan struct{})}
	n.send = func(state string) {
		if _, err := daemon.SdNotify(false, state); err != nil {
			n.log.Warn().Err(err).Msg("systemd could not be told")
		}
	}
	var err error
	if n.beat, err = daemon.SdWatchdogEnabled(false); err != nil {
		n.log.Warn().Err(err).Msg("systemd's watchdog interval cannot be read: it is not fed")
	}
	if n.beat > 0 {
		n.every = min(n.every, n.beat/3)
	}
	return n
}

// start tells READY once ready is closed, and from then on status and
// watchdog until stop.
func (n *notifier) start(ready <-chan struct{}) {
	n.work.Go(func() {
		select {
		case <-ready:
			n.send(daemon.SdNotifyReady)
		case <-n.end:
			return
		}
		tick := time.NewTicker(n.every)
		defer tick.Stop()
		for {
			n.tell(time.Now())
			select {
			case <-tick.C:
			case <-n.end:
				return
			}
		}
	})
}

// stopping tells that the end has begun.
func (n *notifier) stopping() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ending = true
	n.send(daemon.SdNotifyStopping + "\nSTATUS=stopping")
}

// stop ends what start began. Stopping twice is fine.
func (n *notifier) stop() {
	n.once.Do(func() { close(n.end) })
	n.work.Wait()
}

// tell sends the status when it is news, and feeds the watchdog as long as
// every federation's loop turns. An orderly end is bounded by systemd's own
// stop timeout; no loop turns then.
func (n *notifier) tell(now time.Time) {
	snaps := n.from.Snapshots()
	n.mu.Lock()
	defer n.mu.Unlock()
	var lines []string
	if status := statusLine(snaps); !n.ending && status != n.status {
		n.status = status
		lines = append(lines, "STATUS="+status)
	}
	if n.beat > 0 {
		late := standing(snaps, now)
		switch {
		case n.ending || late == "":
			lines = append(lines, daemon.SdNotifyWatchdog)
		default:
			n.log.Error().Str("federation", late).Msg("the loop of a federation stands still: systemd's watchdog is not fed")
		}
	}
	if len(lines) > 0 {
		n.send(strings.Join(lines, "\n"))
	}
}

// statusLine is the headlines of all federations in one line.
func statusLine(snaps []*watchdog.Snapshot) string {
	lines := make([]string, len(snaps))
	for i, s := range snaps {
		lines[i] = s.Headline()
		if len(snaps) > 1 {
			lines[i] = s.Federation + ": " + lines[i]
		}
	}
	return printable(strings.Join(lines, " | "))
}

// standing names a federation whose loop has not turned for too long, "" when
// all do.
func standing(snaps []*watchdog.Snapshot, now time.Time) string {
	for _, s := range snaps {
		if now.Sub(s.At) > 3*s.Interval+standStill {
			return s.Federation
		}
	}
	return ""
}

// standStill is what a round may take beside the distance between rounds.
const standStill = 20 * time.Second
