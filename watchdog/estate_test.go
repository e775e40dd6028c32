package watchdog_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/actions"
	"edgewatch/probe"
	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// estate is two pools, their servers and the records that lead to them, as
// far as an engine can see and change them. It outlives the engines that are
// run on it, as a real one does.
type estate struct {
	mu       sync.Mutex
	dead     map[string]bool // pools that do not answer
	cutOff   bool            // we ourselves are cut off
	running  map[string]bool // services of EdgePool2's servers
	route    string
	dns      string
	log      []string
	notReady map[string]error
	refuse   map[string]error // what an Apply is refused with
	unproven bool             // verify sees no proof
	life     int              // of the engine that may act; a dead one reaches nothing
}

func newEstate() *estate {
	return &estate{
		dead: map[string]bool{}, running: map[string]bool{"edge3": true, "edge4": true},
		route: "EdgePool1", dns: "EdgePool1", notReady: map[string]error{}, refuse: map[string]error{},
	}
}

func (w *estate) with(f func(*estate)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f(w)
}

func (w *estate) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Sprintf("edge3=%v edge4=%v route=%s dns=%s", w.running["edge3"], w.running["edge4"], w.route, w.dns)
}

const (
	onPool2 = "edge3=true edge4=true route=EdgePool2 dns=EdgePool2"
	onPool1 = "edge3=true edge4=true route=EdgePool1 dns=EdgePool1"
)

// count says how often an Apply reached the estate.
func (w *estate) count(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, l := range w.log {
		if l == what {
			n++
		}
	}
	return n
}

var poolAddrs = map[string]netip.AddrPort{
	"EdgePool1": netip.MustParseAddrPort("203.0.113.1:5269"),
	"EdgePool2": netip.MustParseAddrPort("203.0.113.2:5269"),
}

func (w *estate) senses() watchdog.Senses {
	return watchdog.Senses{
		Probe: func(_ context.Context, t probe.Target) probe.Result {
			time.Sleep(20 * time.Millisecond)
			w.mu.Lock()
			defer w.mu.Unlock()
			r := probe.Result{Target: t, Level: probe.Up, Class: probe.OK, Phase: probe.PhaseDone}
			for name, addr := range poolAddrs {
				if addr == t.Addr && (w.dead[name] || w.cutOff) {
					r.Level, r.Class, r.Phase, r.Blame = probe.Down, probe.Timeout, probe.PhaseConnect, probe.Remote
				}
			}
			return r
		},
		Canary: func(context.Context, string) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			if w.cutOff {
				return errors.New("i/o timeout")
			}
			return nil
		},
		Ready: func(_ context.Context, pool string) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.notReady[pool]
		},
	}
}

// change is a Task on the estate.
type change struct {
	w            *estate
	what, target string
	see          func() bool
	do           func()
	life         int
}

var errDead = errors.New("this process is dead")

func (c *change) Target() string    { return c.target }
func (c *change) Preview() []string { return []string{c.what} }

func (c *change) Check(ctx context.Context) (actions.Observation, error) {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if c.life != c.w.life {
		return actions.Observation{}, errDead
	}
	if c.see() {
		return actions.Observation{Status: actions.Done, Detail: "as wanted"}, ctx.Err()
	}
	return actions.Observation{Status: actions.Pending, Detail: "not yet"}, ctx.Err()
}

func (c *change) Apply(ctx context.Context) error {
	time.Sleep(2 * time.Second)
	if err := ctx.Err(); err != nil {
		return err
	}
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	if c.life != c.w.life {
		return errDead
	}
	if err := c.w.refuse[c.what]; err != nil {
		return err
	}
	c.w.log = append(c.w.log, c.what)
	c.do()
	return nil
}

func (w *estate) plan(kind actions.PlanKind, from, to string) (*actions.Plan, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	life := w.life
	per := func(verb string, want bool) []actions.Task {
		var tasks []actions.Task
		for _, s := range []string{"edge3", "edge4"} {
			tasks = append(tasks, &change{w, verb + " " + s, s,
				func() bool { return w.running[s] == want }, func() { w.running[s] = want }, life})
		}
		return tasks
	}
	one := func(what string, see func() bool, do func()) []actions.Task {
		return []actions.Task{&change{w, what, what, see, do, life}}
	}
	step := func(name actions.StepName, tasks []actions.Task) actions.Step {
		return actions.Step{Name: name, Tasks: tasks, Timeout: time.Minute}
	}
	yes := func() bool { return true }
	steps := map[actions.StepName]actions.Step{
		actions.Preflight:     step(actions.Preflight, one("preflight", yes, func() {})),
		actions.StopServices:  step(actions.StopServices, per("stop", false)),
		actions.SetRoute:      step(actions.SetRoute, one("route", func() bool { return w.route == to }, func() { w.route = to })),
		actions.DNSRecords:    step(actions.DNSRecords, one("dns", func() bool { return w.dns == to }, func() { w.dns = to })),
		actions.CheckPort:     step(actions.CheckPort, one("port", yes, func() {})),
		actions.StartServices: step(actions.StartServices, per("start", true)),
		actions.Verify: step(actions.Verify, one("verify", func() bool {
			return w.route == to && w.dns == to && w.running["edge3"] && !w.unproven
		}, func() {})),
	}
	plan := &actions.Plan{Kind: kind, Federation: "contoso", From: from, To: to, Timeout: 10 * time.Minute}
	for _, name := range kind.Steps() {
		if from != "" || name == actions.StartServices {
			plan.Steps = append(plan.Steps, steps[name])
		}
	}
	return plan, nil
}

func testSettings() watchdog.Settings {
	pool := func(name string) watchdog.WatchPool {
		return watchdog.WatchPool{Name: name, MinUp: 1, Targets: []probe.Target{{Addr: poolAddrs[name], Domain: "contoso.com"}}}
	}
	return watchdog.Settings{
		Rules: watchdog.Rules{
			Federation: "contoso", Mode: watchdog.ModeAuto, Pools: []string{"EdgePool1", "EdgePool2"},
			Addresses: []string{poolAddrs["EdgePool1"].String(), poolAddrs["EdgePool2"].String()},
			Cooldown:  30 * time.Minute, Budget: 2, BudgetWindow: 24 * time.Hour, MaxAttempts: 3,
			RetryEvery: time.Minute, MaxRetries: 5, RetryFailed: 10 * time.Minute,
			EvidenceAge: 35 * time.Second, ReadinessAge: 15 * time.Minute, ResumeWithin: 30 * time.Minute,
		},
		Breaker: watchdog.BreakerRules{BadRounds: 5, MinBadTime: 8 * time.Second, RetryAfter: 30 * time.Second, GoodRounds: 3},
		Watch: watchdog.WatchRules{
			Pools:    []watchdog.WatchPool{pool("EdgePool1"), pool("EdgePool2")},
			Interval: 10 * time.Second, SuspectInterval: 2 * time.Second, RoundTimeout: 5 * time.Second,
			Canaries: []string{"198.51.100.1:443"}, MinCanaries: 1, SurveyInterval: 5 * time.Minute,
		},
	}
}

// process is one life of an engine on an estate and a journal.
type process struct {
	*watchdog.Engine
	t      *testing.T
	cancel context.CancelFunc
	ended  chan error
}

func startEngine(t *testing.T, w *estate, j *watchdogtest.MemJournal, change ...func(*watchdog.Settings)) *process {
	t.Helper()
	s := testSettings()
	for _, f := range change {
		f(&s)
	}
	return runEngine(t, s, watchdog.Ports{Senses: w.senses(), Plan: w.plan, Journal: j})
}

// startEngineWith is startEngine with other ports.
func startEngineWith(t *testing.T, w *estate, j *watchdogtest.MemJournal, change func(*watchdog.Ports)) *process {
	t.Helper()
	ports := watchdog.Ports{Senses: w.senses(), Plan: w.plan, Journal: j}
	change(&ports)
	return runEngine(t, testSettings(), ports)
}

func runEngine(t *testing.T, s watchdog.Settings, ports watchdog.Ports) *process {
	t.Helper()
	e := watchdog.NewEngine(s, ports)
	ctx, cancel := context.WithCancel(t.Context())
	p := &process{Engine: e, t: t, cancel: cancel, ended: make(chan error, 1)}
	if err := e.Replay(ctx); err != nil {
		t.Fatalf("replay: %v", err)
	}
	go func() { p.ended <- e.Run(ctx) }()
	return p
}

// stop ends the process in an orderly way.
func (p *process) stop() {
	p.t.Helper()
	p.cancel()
	if err := <-p.ended; err != nil {
		p.t.Errorf("run: %v", err)
	}
}

// until lets time pass until the snapshot is as wanted, for at most limit.
func (p *process) until(limit time.Duration, what string, ok func(*watchdog.Snapshot) bool) *watchdog.Snapshot {
	p.t.Helper()
	begin := time.Now()
	for time.Since(begin) < limit {
		if s := p.Snapshot(); s != nil && ok(s) {
			return s
		}
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
	}
	s := p.Snapshot()
	p.t.Fatalf("after %v: not %s; state %s, decision %+v, journal error %q", limit, what, s.State, s.Decision, s.JournalError)
	return nil
}

func activeIs(pool string) func(*watchdog.Snapshot) bool {
	return func(s *watchdog.Snapshot) bool { return s.Active == pool && s.Chain != nil && s.Chain.Outcome != nil }
}

// kinds lists the kinds of the entries kept, steps by name.
func kinds(t *testing.T, j *watchdogtest.MemJournal) []string {
	t.Helper()
	entries, err := j.Read(t.Context(), "contoso", 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		switch {
		case e.Kind == watchdog.KindStep && e.Step.Target == "":
			out = append(out, string(e.Step.Step)+" "+string(e.Step.Phase))
		case e.Kind != watchdog.KindStep:
			out = append(out, string(e.Kind))
		}
	}
	return out
}

func has(list []string, item string) bool { return slices.Contains(list, item) }
