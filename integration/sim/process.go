package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"edgewatch/actions"
	"edgewatch/watchdog"
	"edgewatch/watchdog/app"
	"edgewatch/watchdog/slack"
)

// process is one life of edgewatch: the shipped engine, runner, supervisor and
// outbox on the world and on the journal that the last life left.
type process struct {
	run       *run
	cancel    context.CancelFunc
	dead      atomic.Bool
	leaseLost time.Time     // zero while it may act; guarded by world.mu
	freed     chan struct{} // closed once what is left of a process that is over may end, should it die yet …
	free      func()        // … by this
	shipped   planner
	sup       *watchdog.Supervisor
	engine    *watchdog.Engine
	slack     *slack.Slack
	ended     chan error    // what Supervisor.Run came to
	gone      chan struct{} // closed when nothing of the process is left
}

// channel is the Slack channel that is told.
const channel = "C0SIM"

// start begins a life.
func (r *run) start(memory memory) (*process, error) {
	r.lives++
	p := &process{run: r, freed: make(chan struct{}), ended: make(chan error, 1), gone: make(chan struct{})}
	p.free = sync.OnceFunc(func() { close(p.freed) })
	var err error
	if p.shipped, err = app.Planner(r.estate.f, p.dialDNS); err != nil {
		return nil, err
	}
	st := &store{p: p, memory: memory}
	wake := make(chan struct{}, 1)
	settings := r.estate.settings
	source := rand.New(rand.NewPCG(r.seed, uint64(r.lives))) // #nosec G404 -- the seed must say it all
	settings.Watch.Jitter = source.Float64
	settings.Runner.Poll, settings.Runner.PollMax = 1, 1 // see pace
	log := zerolog.New(defects{r}).Level(zerolog.ErrorLevel)
	p.engine = watchdog.NewEngine(settings, watchdog.Ports{
		Senses: p.senses(), Plan: p.plan, Lease: p.lease, Journal: st, Now: p.now, Log: log,
		Wake: func() {
			select {
			case wake <- struct{}{}:
			default:
			}
		},
	})
	p.sup = watchdog.NewSupervisor(st, p.engine)
	retries := rand.New(rand.NewPCG(r.seed, 1<<32|uint64(r.lives))) // #nosec G404 -- likewise
	p.slack, err = slack.New(slack.Options{
		BotToken: actions.NewSecret("xoxb-sim"), Channel: channel, APIURL: "http://slack.test/api/", Pace: time.Second,
		HTTPClient: &http.Client{Transport: &wire{p}}, Jitter: retries.Float64,
		Journal: st, Cursors: st, Watchdog: p.sup, Wake: wake,
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	p.cancel = cancel
	outer, stopOuter := context.WithCancel(context.WithoutCancel(ctx))
	told := make(chan struct{})
	go func() {
		defer close(told)
		if r.story.silent {
			return
		}
		_ = p.slack.Run(outer)
	}()
	go func() {
		defer close(p.gone)
		p.ended <- p.sup.Run(ctx)
		if r.story.silent {
			stopOuter()
			return
		}
		flush, stop := context.WithTimeout(outer, 3*time.Second) // as package app does
		_ = p.slack.Flush(flush)
		stop()
		stopOuter()
		<-told
	}()
	return p, nil
}

// lease is whether the process may act.
func (p *process) lease() error {
	w := p.run.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if !p.leaseLost.IsZero() {
		return errors.New("the state file is not ours any more")
	}
	return nil
}

// die is a crash: from now on nothing of the process reaches anything.
func (p *process) die(when string) {
	if p.dead.CompareAndSwap(false, true) {
		p.run.notef("EDGEWATCH CRASHES %s", when)
		p.run.crashed <- p
	}
}

// defects looks through the product's log for what it calls a defect of its
// own: the assertions that production has too.
type defects struct{ run *run }

func (d defects) Write(line []byte) (int, error) {
	if i := bytes.Index(line, []byte("a defect in edgewatch")); i >= 0 {
		d.run.violate(invariantIn(string(line[i:])), string(line))
	}
	return len(line), nil
}

// wire is the way to Slack.
type wire struct{ p *process }

var errSlackDown = &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}

// RoundTrip implements http.RoundTripper on the fake's handler, without a
// socket: those have no virtual time.
func (c *wire) RoundTrip(req *http.Request) (res *http.Response, err error) {
	if err := c.p.pass("slack"); err != nil {
		return nil, err
	}
	w := c.p.run.world
	w.mu.Lock()
	down := w.cut || c.p.run.slackDown
	takes := w.between("slack", 30*time.Millisecond, 200*time.Millisecond)
	w.mu.Unlock()
	if err := c.p.sleep(req.Context(), "slack", takes); err != nil {
		return nil, err
	}
	if err := c.p.pass("slack"); err != nil {
		return nil, err
	}
	if down {
		return nil, errSlackDown
	}
	defer func() {
		if p := recover(); p != nil {
			res, err = nil, fmt.Errorf("read the answer: %v", p) // http.ErrAbortHandler: the connection broke
		}
	}()
	rec := httptest.NewRecorder()
	c.p.run.channel.Handler().ServeHTTP(rec, req)
	res = rec.Result()
	res.Request = req
	return res, nil
}
