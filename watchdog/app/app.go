// Package app builds one edgewatch process from its configuration and owns
// its start and its end.
package app

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/rs/zerolog"
	"golang.org/x/net/netutil"

	"edgewatch/configs"
	"edgewatch/watchdog"
	"edgewatch/watchdog/slack"
	"edgewatch/watchdog/sqlite"
	"edgewatch/watchdog/web"
)

// Options are what is no matter of the configuration file.
type Options struct {
	Log      zerolog.Logger
	Version  string
	Revision string

	// Ready is called once: everything listens and every federation has had
	// its first round. May be nil.
	Ready func()
}

// App is one edgewatch process.
type App struct {
	cfg        *configs.Config
	opts       Options
	store      *sqlite.Store
	supervisor *watchdog.Supervisor
	gone       *watchdog.GoneFederations // that the journal knows and the configuration does not
	instance   string                    // tells this process from those whose witness it is
	slack      *slack.Slack              // nil: not configured
	servers    []server
	stopping   chan struct{} // closed when the end begins
	wake       chan struct{}
}

type server struct {
	http *http.Server
	ln   net.Listener
}

// socketMode lets the group of edgewatch use the CLI.
const socketMode fs.FileMode = 0o660

// New builds everything the configuration, whose secrets are loaded, asks
// for: it opens the state file, which a second process is refused, and binds
// the listeners. It probes nothing yet. After an error nothing is held.
func New(ctx context.Context, cfg *configs.Config, o Options) (_ *App, err error) {
	a := &App{cfg: cfg, opts: o, instance: rand.Text(), stopping: make(chan struct{}), wake: make(chan struct{}, 1)}
	defer func() {
		if err != nil {
			a.release()
		}
	}()
	if a.store, err = sqlite.Open(ctx, cfg.State); err != nil {
		return nil, err
	}
	engines := make([]*watchdog.Engine, 0, len(cfg.Federations))
	for i := range cfg.Federations {
		e, err := a.engine(&cfg.Federations[i])
		if err != nil {
			return nil, fmt.Errorf("federation %s: %w", cfg.Federations[i].Name, err)
		}
		engines = append(engines, e)
	}
	a.supervisor = watchdog.NewSupervisor(a.store, engines...)
	if a.gone, err = a.readGone(ctx); err != nil {
		return nil, err
	}
	a.supervisor.Mind(a.gone)
	if err := a.buildSlack(); err != nil {
		return nil, err
	}
	if err := a.listen(ctx); err != nil {
		return nil, err
	}
	return a, nil
}

// JournalHead is the newest entry of a journal that was verified.
type JournalHead = sqlite.Head

// VerifyJournal checks the hash chain of the journal in the state file at path,
// which may be in use, and changes nothing. An error names the first entry that
// does not fit.
func VerifyJournal(ctx context.Context, path string) (JournalHead, error) {
	return sqlite.VerifyFile(ctx, path)
}

// Backup writes all that the state file at from holds, which may be in use, to a
// new file at to, and verifies it; see sqlite.Backup.
func Backup(ctx context.Context, from, to string) (JournalHead, error) {
	return sqlite.Backup(ctx, from, to)
}

// Supervisor is what every surface talks to.
func (a *App) Supervisor() *watchdog.Supervisor { return a.supervisor }

// HealthAddr is the bound address of the health listener, "" when it is off.
func (a *App) HealthAddr() string {
	for _, s := range a.servers {
		if s.ln.Addr().Network() == "tcp" {
			return s.ln.Addr().String()
		}
	}
	return ""
}

// engine builds the engine of one federation.
func (a *App) engine(f *configs.Federation) (*watchdog.Engine, error) {
	b, err := newBuilder(f, false, nil)
	if err != nil {
		return nil, err
	}
	if err := b.buildWitnesses(a.instance); err != nil {
		return nil, err
	}
	return watchdog.NewEngine(settings(f), watchdog.Ports{
		Senses:  b.senses(),
		Plan:    b.plan,
		Lease:   a.store.Lease,
		Journal: a.store,
		Log:     a.opts.Log.With().Str("federation", f.Name).Logger(),
		Wake:    a.ring,
		Rounds: watchdog.NewRecorder(watchdog.RecorderOptions{
			Federation: f.Name, Store: a.store, Keep: a.cfg.History.Keep.Duration,
			Log: a.opts.Log.With().Str("federation", f.Name).Str("component", "recorder").Logger(),
		}),
	}), nil
}

// ring wakes the readers of the journal.
func (a *App) ring() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *App) buildSlack() error {
	c := a.cfg.Slack
	if c == nil {
		return nil
	}
	var err error
	a.slack, err = slack.New(slack.Options{
		AppToken: c.AppToken, BotToken: c.BotToken, Channel: c.Channel,
		Command: c.Command, Users: c.Users, Team: c.Team, APIURL: c.APIURL,
		Pace:    slackPace(c),
		Journal: a.store, Cursors: a.store, Watchdog: a.supervisor, Wake: a.wake,
		Log: a.opts.Log.With().Str("component", "slack").Logger(),
	})
	return err
}

// slackPace is Slack's own limit; another server at api_url, a proxy for
// tests, has none.
func slackPace(c *configs.Slack) time.Duration {
	if c.APIURL != "" {
		return 0
	}
	return time.Second
}

// maxHealthConns limits the connections of load balancers and monitors: they
// must not take the file descriptors that probes need.
const maxHealthConns = 512

func (a *App) listen(ctx context.Context) error {
	log := a.opts.Log
	if addr := a.cfg.Listen.Health; addr != "" {
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
		if err != nil {
			return fmt.Errorf("listen for health checks on %s: %w: choose another address in listen.health", addr, err)
		}
		reg := prometheus.NewRegistry()
		reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
		if err := a.registerMetrics(reg); err != nil {
			ln.Close()
			return err
		}
		handler := web.Health(web.HealthConfig{Watchdog: a.supervisor, Checks: a.checks(), Metrics: reg, Instance: a.instance})
		a.servers = append(a.servers, server{web.NewServer(handler, log), netutil.LimitListener(ln, maxHealthConns)})
	}
	if a.cfg.Socket != "" {
		ln, err := web.ListenUnix(ctx, a.cfg.Socket, socketMode)
		if err != nil {
			return err
		}
		a.servers = append(a.servers, server{web.NewServer(web.API(a.supervisor), log), ln})
	}
	return nil
}

func (a *App) checks() []web.Check {
	return []web.Check{
		{Name: "stopping", Func: func(context.Context) error {
			select {
			case <-a.stopping:
				return watchdog.ErrStopping
			default:
				return nil
			}
		}},
		{Name: "journal", Func: a.store.Ready},
	}
}

func (a *App) registerMetrics(reg *prometheus.Registry) error {
	build := web.Build{Version: a.opts.Version, Revision: a.opts.Revision}
	if err := web.RegisterMetrics(reg, a.supervisor, build, nil); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	if a.slack == nil {
		return nil
	}
	gauges := []struct {
		name, help string
		value      func(slack.Stats) float64
	}{
		{"edgewatch_notification_outbox_messages", "Journal entries not told to Slack yet.", func(s slack.Stats) float64 { return float64(s.Outbox) }},
		{"edgewatch_notification_oldest_age_seconds", "How long the oldest untold entry has waited.", func(s slack.Stats) float64 { return s.OldestAge.Seconds() }},
	}
	for _, g := range gauges {
		opts := prometheus.GaugeOpts{Name: g.name, Help: g.help, ConstLabels: prometheus.Labels{"channel": "slack"}}
		if err := reg.Register(prometheus.NewGaugeFunc(opts, func() float64 { return g.value(a.slack.Stats()) })); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	for result, value := range map[string]func(slack.Stats) uint64{
		"sent":   func(s slack.Stats) uint64 { return s.Sent },
		"failed": func(s slack.Stats) uint64 { return s.Failed },
	} {
		opts := prometheus.CounterOpts{Name: "edgewatch_notifications_total", Help: "Calls that tell people, by result.", ConstLabels: prometheus.Labels{"channel": "slack", "result": result}}
		if err := reg.Register(prometheus.NewCounterFunc(opts, func() float64 { return float64(value(a.slack.Stats())) })); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// Run works until ctx ends, or until the journal can no longer be relied on,
// which is an error. The end has an order: not ready, no new work, a running
// failover ended with its services started, what was decided told, listeners
// and state file closed. It is called once.
func (a *App) Run(ctx context.Context) error {
	defer a.release()
	outer, stopOuter := context.WithCancel(context.WithoutCancel(ctx))
	defer stopOuter()
	inner, stopInner := context.WithCancelCause(ctx)
	defer stopInner(nil)

	var surroundings sync.WaitGroup
	for _, s := range a.servers {
		surroundings.Go(func() {
			if err := s.http.Serve(s.ln); !errors.Is(err, http.ErrServerClosed) {
				stopInner(fmt.Errorf("serve on %s: %w", s.ln.Addr(), err))
			}
		})
	}
	if a.slack != nil {
		surroundings.Go(func() {
			if err := a.slack.Run(outer); err != nil && outer.Err() == nil {
				a.opts.Log.Error().Err(err).Msg("slack ended")
			}
		})
	}
	surroundings.Go(func() { a.awaitFirstRound(inner) })
	surroundings.Go(func() { a.tellGone(inner) })
	closing := context.AfterFunc(ctx, func() { close(a.stopping) })
	defer closing()

	err := a.supervisor.Run(inner)
	if err == nil && ctx.Err() == nil {
		err = context.Cause(inner)
	}
	a.flush(outer)
	stopOuter()
	a.shutdown()
	if !within(closeTime, surroundings.Wait) {
		a.opts.Log.Error().Msg("the end waits no longer for what uses the state file, whose disk may hang")
	}
	return err
}

// closeTime is how long the end of the process waits for the disk, twice: one
// that hangs must not keep it. The state file stays locked until the process is
// gone.
const closeTime = 10 * time.Second

// within reports whether do returned in that time; it goes on if not.
func within(d time.Duration, do func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
		return true
	case <-time.After(d):
		return false
	}
}

// flushTime is how long the end of the process waits for Slack: what is not
// told then is told after the next start.
const flushTime = 3 * time.Second

func (a *App) flush(ctx context.Context) {
	if a.slack == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, flushTime)
	defer cancel()
	if err := a.slack.Flush(ctx); err != nil {
		a.opts.Log.Warn().Err(err).Msg("slack is told the rest after the next start")
	}
}

// awaitFirstRound calls Ready when every federation has had a round.
func (a *App) awaitFirstRound(ctx context.Context) {
	if a.opts.Ready == nil {
		return
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		waiting := len(a.cfg.Federations)
		for _, s := range a.supervisor.Snapshots() {
			if !s.LastRound.IsZero() {
				waiting--
			}
		}
		if waiting == 0 {
			a.opts.Ready()
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (a *App) shutdown() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	for _, s := range a.servers {
		if err := s.http.Shutdown(ctx); err != nil {
			s.http.Close()
		}
	}
}

// release gives back what New took.
func (a *App) release() {
	for _, s := range a.servers {
		s.ln.Close()
	}
	if a.store == nil {
		return
	}
	closed := make(chan error, 2)
	if !within(closeTime, func() { closed <- a.store.Close() }) {
		closed <- errors.New("a write has not returned, as if the disk hung")
	}
	if err := <-closed; err != nil {
		a.opts.Log.Error().Err(err).Msg("close state file")
	}
}
