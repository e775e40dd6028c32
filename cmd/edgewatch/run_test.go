package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"edgewatch/actions"
	"edgewatch/configs"
	"edgewatch/watchdog"
)

func TestAwait(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		signals []os.Signal
		ends    bool // in order, once begun
		want    string
	}{
		{"one signal is an orderly end", []os.Signal{syscall.SIGTERM}, true, ""},
		{"a second one ends at once", []os.Signal{syscall.SIGTERM, os.Interrupt}, false, "ended at once by a second signal (interrupt). NOT DONE"},
		{"a closed terminal sends several", []os.Signal{syscall.SIGHUP, syscall.SIGHUP, syscall.SIGTERM}, false, "ended at once by a second signal (terminated). NOT DONE"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			signals, done := make(chan os.Signal, len(tt.signals)), make(chan error, 1)
			for _, s := range tt.signals {
				signals <- s
			}
			begun := 0
			err := await(signals, done, func(os.Signal) {
				begun++
				if tt.ends {
					done <- nil
				}
			}, func() string { return "NOT DONE" })
			got := ""
			if err != nil {
				got = err.Error()
			}
			if got != tt.want || begun != 1 {
				t.Errorf("error %q after %d beginnings, want %q after 1", got, begun, tt.want)
			}
		})
	}
}

// TestUndone: whoever cuts a failover short must learn whose services stand
// still (runbook step 7).
func TestUndone(t *testing.T) {
	t.Parallel()
	cfg, err := configs.Parse("example", configs.Example(), configs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	s := failingOver(now)
	if got, want := undone([]*watchdog.Snapshot{s, calm(now)}, cfg), "Left undone: failover contoso-7.1 from EdgePool1 to EdgePool2, in its step set-route; "+
		"the services of EdgePool2 may be STOPPED: run Start-CsWindowsService on edgeserver2.contoso.local, edgeserver2b.contoso.local. The next start takes it from there"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	for i := range s.Chain.Steps {
		s.Chain.Steps[i].State = watchdog.StepWaiting
	}
	s.Chain.Steps[0].State = watchdog.StepRunning
	if got := undone([]*watchdog.Snapshot{s}, cfg); strings.Contains(got, "STOPPED") || !strings.Contains(got, "in its step preflight") {
		t.Errorf("nothing was stopped yet: %s", got)
	}
	s.Chain.Outcome = &actions.Outcome{OK: true}
	if got := undone([]*watchdog.Snapshot{s}, cfg); !strings.HasPrefix(got, "No failover was running") {
		t.Errorf("the failover is over: %s", got)
	}
}

// snaps are snapshots that stay as they are.
type snaps []*watchdog.Snapshot

func (s snaps) Snapshots() []*watchdog.Snapshot { return s }

// TestNotifierFeedsOnlyWhileLoopsTurn: a watchdog that hangs must be
// restarted, one that is being ended must not.
func TestNotifierFeedsOnlyWhileLoopsTurn(t *testing.T) {
	t.Parallel()
	now := time.Now()
	a, b := calm(now), failingOver(now)
	b.Pause = nil
	var sent []string
	n := newNotifier(snaps{a, b}, zerolog.Nop())
	n.beat, n.send = 30*time.Second, func(s string) { sent = append(sent, s) }

	n.tell(now)
	n.tell(now.Add(40 * time.Second))
	n.tell(now.Add(5 * time.Minute)) // nobody published since: not fed
	a.At = now.Add(5 * time.Minute)
	n.tell(now.Add(5 * time.Minute)) // one of two is not enough
	n.stopping()
	n.tell(now.Add(10 * time.Minute))
	want := []string{
		"STATUS=fabrikam: A carries federation; all is well | contoso: failing over from EdgePool1 to EdgePool2: set-route is running\nWATCHDOG=1",
		"WATCHDOG=1",
		"STOPPING=1\nSTATUS=stopping",
		"WATCHDOG=1",
	}
	if diff := cmp.Diff(want, sent); diff != "" {
		t.Errorf("told systemd (-want +got):\n%s", diff)
	}
}

func TestNotifierStopsBeforeReady(t *testing.T) {
	t.Parallel()
	n := newNotifier(snaps{}, zerolog.Nop())
	n.send = func(s string) { t.Errorf("told systemd %q", s) }
	n.start(make(chan struct{}))
	n.stop()
	n.stop()
}

func TestJournalWriter(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	log := zerolog.New(zerolog.SyncWriter(journalWriter{&b}))
	log.Debug().Msg("a")
	log.Info().Msg("b")
	log.Warn().Msg("c")
	log.Error().Msg("d")
	want := "<7>{\"level\":\"debug\",\"message\":\"a\"}\n<6>{\"level\":\"info\",\"message\":\"b\"}\n" +
		"<4>{\"level\":\"warn\",\"message\":\"c\"}\n<3>{\"level\":\"error\",\"message\":\"d\"}\n"
	if diff := cmp.Diff(want, b.String()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
