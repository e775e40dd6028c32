// Package slack tells people what edgewatch does and takes their commands,
// over Slack's Web API and Socket Mode (slack-go/slack): nothing of edgewatch
// need be reachable from the internet.
//
// Telling is an outbox: a cursor over the journal. One message per incident,
// edited as things go on, and under it a thread with every event in the
// journal's order. Slack being down delays messages; it never loses, reorders
// or doubles them and never holds up anything else. Commands and buttons end
// in watchdog.Command and nowhere else.
package slack

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	api "github.com/slack-go/slack"

	"edgewatch/actions"
	"edgewatch/watchdog"
)

// Watchdog is what commands need of edgewatch. watchdog.Supervisor is one.
type Watchdog interface {
	// Snapshots never blocks.
	Snapshots() []*watchdog.Snapshot
	// Submit returns when the command is durable or refused.
	Submit(ctx context.Context, cmd watchdog.Command) (watchdog.Answer, error)
	// History returns the newest n entries of a federation, oldest first.
	History(ctx context.Context, federation string, n int) ([]watchdog.Entry, error)
}

// Options is what New needs. Journal, Cursors, BotToken and Channel must be
// given; everything else may be left out.
type Options struct {
	AppToken actions.Secret // xapp-…, scope connections:write; without it no commands are taken, only notices sent
	BotToken actions.Secret // xoxb-…
	Channel  string         // the id of the channel that is told, e.g. "C0123ABCD"

	Command  string   // the slash command's name; "/edgewatch" when empty
	Users    []string // ids of the users who may give commands; nobody else may, not even read
	Team     string   // when set, only users of that workspace may
	Channels []string // when set, commands are taken in these channels only

	APIURL     string        // for tests and the lab; Slack's own when empty
	Pace       time.Duration // the least distance between two messages; Slack allows 1 per second and channel
	Timing     Timing
	HTTPClient *http.Client   // when nil, one with a timeout and the environment's proxy
	Jitter     func() float64 // in [0, 1), spreads retries; nil is random

	Journal  watchdog.Journal
	Cursors  watchdog.Cursors
	Watchdog Watchdog        // needed when AppToken is given
	Wake     <-chan struct{} // a value says that the journal grew; without it the journal is polled
	Log      zerolog.Logger
}

// Timing are the waits of the outbox and the connection. A zero field is its
// default.
type Timing struct {
	RetryMin  time.Duration // first wait after a failure, doubled from there; 1 s
	RetryMax  time.Duration // longest wait between tries; 1 min
	Slow      time.Duration // wait after a failure that only a person can mend; 1 min
	Poll      time.Duration // how often the journal is read unasked; 3 s
	Coalesce  time.Duration // least distance between two edits of a message; 2 s
	Reconnect time.Duration // least distance between two websockets, doubled while they break early; 1 s
	Answer    time.Duration // how long a command may take before its user is told that it did not work; 15 s
}

func (t *Timing) setDefaults() {
	for p, d := range map[*time.Duration]time.Duration{
		&t.RetryMin: time.Second, &t.RetryMax: time.Minute, &t.Slow: time.Minute, &t.Poll: 3 * time.Second,
		&t.Coalesce: 2 * time.Second, &t.Reconnect: time.Second, &t.Answer: 15 * time.Second,
	} {
		if *p <= 0 {
			*p = d
		}
	}
}

// Slack connects one edgewatch to one Slack channel.
type Slack struct {
	o     Options
	api   *api.Client
	http  *http.Client
	flush chan chan struct{}

	sent, failed atomic.Uint64
	connected    atomic.Bool
	sockets      atomic.Uint64 // websockets that said hello

	mu      sync.Mutex
	trouble map[string]error // by what is in trouble: "outbox", "commands", "history"
	backlog int
	oldest  time.Time
}

// Stats are plain numbers for metrics.
type Stats struct {
	Outbox    int           // journal entries not told yet, as of the last look at the journal; at most a few hundred are counted
	OldestAge time.Duration // how long the oldest of them has waited; 0 when there is none
	Sent      uint64        // messages posted and edits made since start
	Failed    uint64        // calls that failed since start; each was or will be tried again
	Connected bool          // the websocket for commands is up
}

var (
	channelID = regexp.MustCompile(`^[CGD][A-Z0-9]{2,}$`)
	userID    = regexp.MustCompile(`^[UW][A-Z0-9]{2,}$`)
)

// New checks o and builds a Slack. It contacts nobody.
func New(o Options) (*Slack, error) {
	o.Timing.setDefaults()
	if o.Command == "" {
		o.Command = "/edgewatch"
	}
	if o.APIURL == "" {
		o.APIURL = api.APIURL
	}
	if !strings.HasSuffix(o.APIURL, "/") {
		o.APIURL += "/"
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	s := &Slack{o: o, http: httpClient(o.HTTPClient), trouble: map[string]error{}, flush: make(chan chan struct{})}
	s.api = api.New(o.BotToken.Reveal(), api.OptionAPIURL(o.APIURL), api.OptionHTTPClient(s.http))
	return s, nil
}

func (o *Options) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("slack: "+format, args...)) }
	if !strings.HasPrefix(o.BotToken.Reveal(), "xox") {
		bad("the bot token must be the one that begins with xoxb-, from the app's page OAuth & Permissions")
	}
	if !o.AppToken.IsZero() && !strings.HasPrefix(o.AppToken.Reveal(), "xapp-") {
		bad("the app token must be the one that begins with xapp-, from the app's page Basic Information")
	}
	for _, c := range append([]string{o.Channel}, o.Channels...) {
		if !channelID.MatchString(c) {
			bad("%q is no channel id: open the channel's details in Slack, the id (C…) stands at the bottom", c)
		}
	}
	for _, u := range o.Users {
		if !userID.MatchString(u) {
			bad("%q is no user id: in Slack open the person's profile, ⋮, Copy member ID (U…)", u)
		}
	}
	if !strings.HasPrefix(o.Command, "/") {
		bad("the command %q must begin with a slash", o.Command)
	}
	if o.Journal == nil || o.Cursors == nil {
		bad("a journal and its cursors are needed")
	}
	if !o.AppToken.IsZero() && o.Watchdog == nil {
		bad("commands need a watchdog")
	}
	return errors.Join(errs...)
}

// Run tells the journal to Slack and takes commands, until ctx ends. It
// returns within a few seconds then, with nothing left running. Trouble with
// Slack never ends it: it shows in Health and is tried again. Run is called
// once.
func (s *Slack) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { newOutbox(s).run(ctx) })
	if !s.o.AppToken.IsZero() {
		wg.Go(func() { newReceiver(s).run(ctx) })
	}
	<-ctx.Done()
	return nil
}

// Flush returns when everything that was in the journal before the call is
// told, or with ctx's error: the rest is told after the next start. It needs
// Run.
func (s *Slack) Flush(ctx context.Context) error {
	told := make(chan struct{})
	select {
	case s.flush <- told:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case <-told:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Health answers nil while messages go out and commands can come in, else
// what is wrong and the next thing to do. It never blocks.
func (s *Slack) Health() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, k := range slices.Sorted(maps.Keys(s.trouble)) {
		errs = append(errs, s.trouble[k])
	}
	return errors.Join(errs...)
}

// Stats answers at once.
func (s *Slack) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Outbox: s.backlog, Sent: s.sent.Load(), Failed: s.failed.Load(), Connected: s.connected.Load()}
	if s.backlog > 0 && !s.oldest.IsZero() {
		st.OldestAge = max(0, time.Since(s.oldest))
	}
	return st
}

// raise sets or, with a nil err, clears the trouble of one kind, and logs
// when it comes, changes and goes.
func (s *Slack) raise(kind string, err error) {
	s.mu.Lock()
	old := s.trouble[kind]
	if err == nil {
		delete(s.trouble, kind)
	} else {
		s.trouble[kind] = err
	}
	s.mu.Unlock()
	switch {
	case err == nil && old != nil:
		s.o.Log.Info().Str("of", kind).Msg("slack works again")
	case err != nil && (old == nil || old.Error() != err.Error()):
		s.o.Log.Warn().Str("of", kind).Err(err).Msg("slack is in trouble")
	}
}

func (s *Slack) setBacklog(n int, oldest time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backlog, s.oldest = n, oldest
}
