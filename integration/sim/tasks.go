package sim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"edgewatch/actions"
	"edgewatch/probe"
)

// task is a step of a shipped plan on one target, on the world instead of on
// a host. What it is called and where it stands are the shipped plan's; what
// speaks to name servers is shipped whole.
type task struct {
	p      *process
	chain  string // "" in a survey
	step   actions.StepName
	target string
	to     string
	what   string
	check  func(ctx context.Context) (actions.Observation, error)
	apply  func(ctx context.Context) error
}

func (t *task) Target() string    { return t.target }
func (t *task) Preview() []string { return []string{string(t.step) + " " + t.target} }

func (t *task) Check(ctx context.Context) (actions.Observation, error) {
	if err := t.p.pass(t.what); err != nil {
		return actions.Observation{}, err
	}
	obs, err := t.check(context.WithValue(ctx, purposeKey{}, "check of "+t.what+" to "+t.to))
	if err == nil && obs.Status != actions.Done {
		t.p.pace(ctx, t.what)
	}
	if perr := t.p.pass(t.what); perr != nil {
		return actions.Observation{}, perr
	}
	if t.step == actions.Preflight && t.chain != "" && err == nil && obs.Status == actions.Done {
		t.p.run.checks.gate(t)
	}
	return obs, err
}

// pace is the pause between two looks at what is not done yet. It is the
// runner's, but a runner whose tasks pause together also ends its pauses
// together when their context ends.
func (p *process) pace(ctx context.Context, what string) {
	w := p.run.world
	w.mu.Lock()
	d := w.between("pace "+what, 100*time.Millisecond, 3*time.Second)
	w.mu.Unlock()
	_ = p.sleep(ctx, what, d)
}

func (t *task) Apply(ctx context.Context) error {
	if err := t.p.pass(t.what); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if t.apply == nil {
		return nil
	}
	t.p.run.checks.applies(t.p, t)
	t.p.run.crossing(t.p, "before "+string(t.step))
	err := t.apply(context.WithValue(ctx, purposeKey{}, t.what))
	t.p.run.checks.applied(t, err)
	t.p.run.crossing(t.p, "after "+string(t.step))
	if perr := t.p.pass(t.what); perr != nil {
		return perr
	}
	return err
}

// plan makes the plan of the failover that the journal says is running.
func (p *process) plan(kind actions.PlanKind, from, to string) (*actions.Plan, error) {
	return p.planOf(p.run.checks.running(), kind, from, to)
}

// planOf is the shipped plan with every task on the world.
func (p *process) planOf(chain string, kind actions.PlanKind, from, to string) (*actions.Plan, error) {
	plan, err := p.shipped(kind, from, to)
	if err != nil {
		return nil, err
	}
	for i := range plan.Steps {
		s := &plan.Steps[i]
		tasks := slices.Clone(s.Tasks)
		for j, shipped := range tasks {
			t := &task{p: p, chain: chain, step: s.Name, target: shipped.Target(), to: to}
			t.what = fmt.Sprintf("%s %s", s.Name, t.target)
			made, err := p.task(t, j, shipped)
			if err != nil {
				return nil, err
			}
			tasks[j] = made
		}
		s.Tasks = tasks
	}
	return plan, nil
}

// task gives t what it does. A task that the world does not know is an error:
// a new step of the shipped plan must be modelled.
func (p *process) task(t *task, i int, shipped actions.Task) (actions.Task, error) {
	w := p.run.world
	h, z := w.hosts[t.target], w.zones[t.target]
	domain, _ := strings.CutPrefix(t.target, "partner of ")
	if !slices.Contains(w.f.Domains, domain) {
		domain = ""
	}
	switch {
	case t.step == actions.CheckPort:
		addr := p.run.estate.targets(t.to)[i].Addr
		return actions.NewPortCheck(addr, p.dial), nil
	case t.step == actions.Verify && t.target == t.to:
		pool := w.poolNamed(t.to)
		return actions.NewAnswers(verifier{p}, t.to, p.run.estate.targets(t.to), pool.MinUp), nil
	case t.step == actions.Verify && domain != "":
		return actions.NewPartnerCheck(domain, t.to, w.poolNamed(t.to).Addresses, func(ctx context.Context) (actions.PartnerSight, error) {
			if err := p.pass(t.what); err != nil {
				return actions.PartnerSight{}, err
			}
			s, v := p.sight(ctx, "verify "+domain, domain)
			if v.Pool != t.to {
				p.pace(ctx, t.what)
			}
			return s, nil
		}), nil
	case t.step == actions.Preflight && h != nil, t.step == actions.Verify && h != nil:
		t.check = func(ctx context.Context) (actions.Observation, error) {
			return actions.Observation{Status: actions.Done, Detail: "as it should be"}, p.winrm(ctx, h, t.what)
		}
		if t.step == actions.Verify {
			t.check = p.replicated(t, h)
		}
	case t.step == actions.Preflight && z != nil, t.step == actions.DNSRecords && z != nil:
		t.check, t.apply = shipped.Check, shipped.Apply
	case t.step == actions.StopServices && h != nil:
		p.services(t, h, false)
	case t.step == actions.StartServices && h != nil:
		p.services(t, h, true)
	case t.step == actions.SetRoute && h != nil:
		p.routing(t, h)
	default:
		return nil, fmt.Errorf("the simulator knows no %s on %s", t.step, t.target)
	}
	return t, nil
}

// verifier asks as the chain's proof does.
type verifier struct{ p *process }

func (v verifier) Probe(ctx context.Context, t probe.Target) probe.Result {
	return v.p.ask(ctx, "verify ", t, false)
}

// dial is the connection of step 6. It answers with an error always: refused
// proves the path as well as open does.
func (p *process) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	if err := p.pass("dial " + addr); err != nil {
		return nil, err
	}
	w := p.run.world
	w.mu.Lock()
	silent := w.cut
	for _, pool := range w.pools {
		for _, a := range pool.Addresses {
			if netip.AddrPortFrom(a, uint16(w.f.Port)).String() != addr { // #nosec G115 -- a port
				continue
			}
			_, hosts := w.behind(a)
			silent = silent || pool.pathCut || !slices.ContainsFunc(hosts, func(h *host) bool { return h.power })
		}
	}
	takes := w.between("dial "+addr, 5*time.Millisecond, 50*time.Millisecond)
	w.mu.Unlock()
	if silent {
		takes += 5 * time.Second // and never so that several make up the step's limit to the dot
	}
	if err := p.sleep(ctx, "dial "+addr, takes); err != nil {
		return nil, err
	}
	if silent {
		return nil, context.DeadlineExceeded
	}
	return nil, syscall.ECONNREFUSED
}

// winrm is one remote call; what it is for is the caller's.
func (p *process) winrm(ctx context.Context, h *host, what string) error {
	w := p.run.world
	w.mu.Lock()
	fault, silent := h.winrm, w.cut || !h.power
	takes := w.between(what, 150*time.Millisecond, 1200*time.Millisecond)
	w.mu.Unlock()
	fail := func(k actions.Kind, why, next string) error {
		return &actions.Error{Kind: k, Host: h.name, Op: what, Err: errors.New(why), Next: next}
	}
	limit := w.f.WinRM.Timeout.Duration
	switch {
	case silent, fault == winrmHangs:
		if err := p.sleep(ctx, what, limit+takes); err != nil {
			return err
		}
		return fail(actions.Transient, "i/o timeout", "look at the host")
	case fault == winrmRefuses:
		if err := p.sleep(ctx, what, takes); err != nil {
			return err
		}
		return fail(actions.Rejected, "logon refused", "check the account")
	}
	return p.sleep(ctx, what, takes)
}

// lands is how long after it was sent a cmdlet takes effect at most.
const lands = 25 * time.Second

// change is a remote call that changes something: do is called when it comes
// true, and lost says that its answer does not arrive.
func (p *process) change(ctx context.Context, h *host, what string, do func()) error {
	if err := p.winrm(ctx, h, what); err != nil {
		return err
	}
	w := p.run.world
	w.mu.Lock()
	if dies := h.dies; dies != nil {
		h.dies = nil
		dies()
		w.mu.Unlock()
		return &actions.Error{Kind: actions.Indeterminate, Host: h.name, Op: what, Err: errors.New("connection reset by peer")}
	}
	reads := h.winrm == winrmReads
	lies, loses, late := h.lies > 0 && !reads, h.loses > 0 && !reads, h.late > 0 && !reads
	if !reads {
		h.lies, h.loses, h.late = max(h.lies-1, 0), max(h.loses-1, 0), max(h.late-1, 0)
	}
	switch {
	case lies || reads:
	case late: // its PowerShell is still loading the module
		h.heavy = true
		if h.abort {
			p.run.later(w.between(what+" aborted", time.Second, 10*time.Second), func() { p.run.order("abort", "it", "takes", "too", "long") })
		}
		time.AfterFunc(w.between(what+" lands", time.Second, lands), func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			if h.power {
				do()
			}
		})
	default:
		do()
	}
	w.mu.Unlock()
	if reads {
		return &actions.Error{Kind: actions.AskHuman, Host: h.name, Op: what, Err: errors.New("the store is read-only"), Next: "look at the Central Management store"}
	}
	if loses || late {
		return &actions.Error{Kind: actions.Indeterminate, Host: h.name, Op: what, Err: errors.New("connection reset by peer")}
	}
	return nil
}

// services is Stop- or Start-CsWindowsService on one server.
func (p *process) services(t *task, h *host, run bool) {
	w := p.run.world
	t.check = func(ctx context.Context) (actions.Observation, error) {
		err := p.winrm(ctx, h, "check "+t.what)
		w.mu.Lock()
		defer w.mu.Unlock()
		if run {
			h.tried = time.Now()
		}
		if err != nil {
			return actions.Observation{}, err
		}
		switch {
		case h.pending != 0:
			return actions.Observation{Status: actions.Pending, Detail: "services are changing"}, nil
		case h.running == run:
			return actions.Observation{Status: actions.Done, Detail: fmt.Sprintf("running: %v", run)}, nil
		}
		return actions.Observation{Status: actions.Pending, Detail: fmt.Sprintf("running: %v", h.running)}, nil
	}
	t.apply = func(ctx context.Context) error {
		var id int
		var until time.Time
		sent := time.Now()
		err := p.change(ctx, h, t.what, func() {
			least, most := 10*time.Second, 60*time.Second
			if run {
				least, most = 20*time.Second, 120*time.Second
			}
			takes := w.between(t.what+" takes", least, most) * time.Duration(h.slow)
			id, until = w.operate(h, run, takes, func() {
				switch {
				case run:
					h.stoppedBy = ""
				default:
					h.stoppedBy, h.stoppedAt = t.chain, sent
				}
			})
		})
		if err != nil || id == 0 {
			return err
		}
		p.run.crossing(p, "during "+string(t.step))
		if err := p.sleep(ctx, t.what, time.Until(until)+time.Millisecond); err != nil {
			w.mu.Lock()
			if run {
				h.tried = time.Now() // it was being tried until now
			}
			if h.pending == id && w.draw(t.what+" aborted") < 0.5 {
				h.pending = 0 // the shell that ran it was closed in time
			}
			w.mu.Unlock()
			return &actions.Error{Kind: actions.Indeterminate, Host: h.name, Op: t.what, Err: err}
		}
		return nil
	}
}

// routing is Set-CsSite.
func (p *process) routing(t *task, h *host) {
	w := p.run.world
	site := w.poolNamed(t.to).Site
	t.check = func(ctx context.Context) (actions.Observation, error) {
		if err := p.winrm(ctx, h, "check "+t.what); err != nil {
			return actions.Observation{}, err
		}
		w.mu.Lock()
		obs := actions.Observation{Status: actions.Pending, Detail: "the route is on " + w.route[site]}
		if w.route[site] == t.to {
			obs.Status = actions.Done
		}
		late, answers := h.heavy && w.draw("late check "+t.what) < 1.0/3, w.between("check "+t.what+" answers", time.Second, 80*time.Second)
		w.mu.Unlock()
		if late { // it has looked, and its answer takes its time
			return obs, p.sleep(ctx, "check "+t.what, answers)
		}
		return obs, nil
	}
	t.apply = func(ctx context.Context) error {
		return p.change(ctx, h, t.what, func() {
			w.route[site] = t.to
			w.note()
			p.run.checks.moved[t.chain] = site
			p.run.notef("the route of %s is on %s", site, t.to)
		})
	}
}

// replicated is the look at the Central Management store's replicas.
func (p *process) replicated(t *task, h *host) func(ctx context.Context) (actions.Observation, error) {
	w := p.run.world
	return func(ctx context.Context) (actions.Observation, error) {
		if err := p.winrm(ctx, h, t.what); err != nil {
			return actions.Observation{}, err
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		pool, current := w.poolNamed(t.to), 0
		for _, s := range pool.hosts {
			if s.power && s.running {
				current++
			}
		}
		o := actions.Observation{Status: actions.Pending, Detail: fmt.Sprintf("%d of %d replicas up to date", current, len(pool.hosts))}
		if current >= min(pool.MinUp, len(pool.hosts)) {
			o.Status = actions.Done
		}
		return o, nil
	}
}
