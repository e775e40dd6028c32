package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"edgewatch/actions"
	"edgewatch/probe"
	"edgewatch/watchdog"
)

// errDead is what reaches a process that is no more.
var errDead = errors.New("this process is dead")

// sleep waits for d as the named part of the process, or until ctx ends, whose
// cause it then returns. No two parts notice that end at the same moment: what
// follows must not depend on which goroutine happens to run first.
func (p *process) sleep(ctx context.Context, what string, d time.Duration) error {
	if d > 0 && ctx.Err() == nil {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return nil
		case <-ctx.Done():
		}
	}
	if ctx.Err() == nil {
		return nil
	}
	p.stagger(what)
	return context.Cause(ctx)
}

func (p *process) stagger(what string) {
	w := p.run.world
	w.mu.Lock()
	d := w.between("stagger "+what, time.Microsecond, 2*time.Millisecond)
	w.mu.Unlock()
	time.Sleep(d)
}

// pass is the gate between a part of a process and the world: a frozen process
// waits there, and one that has died gets through no more.
func (p *process) pass(what string) error {
	w := p.run.world
	for waited := false; ; waited = true {
		if p.dead.Load() {
			<-p.freed
			return errDead
		}
		w.mu.Lock()
		left := time.Until(w.frozen)
		w.mu.Unlock()
		if left <= 0 {
			if waited {
				p.stagger(what)
			}
			return nil
		}
		time.Sleep(left)
	}
}

// now is the wall clock of the process.
func (p *process) now() time.Time {
	_ = p.pass("clock")
	w := p.run.world
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.clock).Round(0)
}

func (p *process) senses() watchdog.Senses {
	return watchdog.Senses{Probe: p.probe, Canary: p.canary, Partner: p.partner, Ready: p.ready, Witness: p.witness}
}

// probe asks one address, as a round does.
func (p *process) probe(ctx context.Context, t probe.Target) probe.Result {
	return p.ask(ctx, "probe ", t, true)
}

// ask is one probe.
func (p *process) ask(ctx context.Context, what string, t probe.Target, counts bool) probe.Result {
	r := probe.Result{Target: t, Start: time.Now(), Class: probe.LocalError, Blame: probe.Local, Error: "the process ended"}
	begin := time.Now()
	what += t.Addr.String()
	if p.pass(what) != nil {
		return r
	}
	w := p.run.world
	limit := w.f.Probe.Timeout.Duration
	w.mu.Lock()
	takes := w.judge(&r, what, limit, counts, begin)
	w.mu.Unlock()
	if p.sleep(ctx, what, takes) != nil {
		r.Level, r.Class, r.Blame = probe.Inconclusive, probe.LocalError, probe.Local
		return r
	}
	if p.pass(what) != nil {
		return r
	}
	if late := time.Since(begin) - takes; late > limit/2 {
		p.thaw(&r, what, begin, counts)
	}
	r.Took = time.Since(begin)
	return r
}

// thaw is what a probe finds during which we stood still. It says that it cannot
// judge, as the shipped one does whose deadline has long passed; but where the
// round as a whole took so long that it must be noticed there, it may take our
// own silence for the server's, as one does whose clock stood still too.
func (p *process) thaw(r *probe.Result, what string, begin time.Time, counts bool) {
	w := p.run.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if counts {
		w.stoodStill(begin)
	}
	switch {
	case time.Since(begin) <= p.run.estate.settings.Watch.RoundTimeout+noticed:
		r.Level, r.Class, r.Blame, r.Error = probe.Inconclusive, probe.LocalError, probe.Local, "this machine noticed too late that nothing had come"
	case w.draw("thaw "+what) < 0.7:
		r.Level, r.Class, r.Blame, r.Phase = probe.Down, probe.Timeout, probe.Remote, probe.PhaseStream
	}
}

// noticed is how much longer than it may a round takes before the product must
// notice.
const noticed = 6 * time.Second

// stoodStill marks the round that began then as one in which we stood still.
func (w *world) stoodStill(at time.Time) {
	for _, l := range slices.Backward(w.log) {
		if l.at.Equal(at) {
			l.own = true
			return
		}
	}
}

// judge fills in what a probe of the address finds, and says how long that
// takes.
func (w *world) judge(r *probe.Result, what string, limit time.Duration, counts bool, at time.Time) time.Duration {
	addr := r.Target.Addr.Addr()
	served, h := w.serves(addr, what)
	pool, _ := w.behind(addr)
	lost := w.loss > 0 && w.draw(what+" lost") < w.loss*w.loss*w.loss // three packets in a row
	if counts && pool != nil {
		l := w.looking(at)
		l.own = l.own || w.cut || w.local
		t := l.pools[pool.Name]
		if t == nil {
			t = &looked{}
			l.pools[pool.Name] = t
		}
		t.asked++
		switch {
		case !served:
			t.down++
		case pool.pathCut:
			t.excused++
		case lost:
			t.lost++
		}
	}
	r.Error = "no answer"
	switch {
	case w.local:
		r.Level, r.Class, r.Blame, r.Error = probe.Inconclusive, probe.LocalError, probe.Local, "socket: too many open files"
		return w.between(what, time.Millisecond, 5*time.Millisecond)
	case w.cut, lost, pool == nil, pool.pathCut, h != nil && !h.power:
		r.Level, r.Class, r.Blame, r.Phase = probe.Down, probe.Timeout, probe.Remote, probe.PhaseConnect
		return limit - w.between(what, 0, time.Millisecond)
	case !served && (h == nil || !h.running):
		r.Level, r.Class, r.Blame, r.Phase = probe.Down, probe.Refused, probe.Remote, probe.PhaseConnect
		return w.between(what, time.Millisecond, 40*time.Millisecond)
	case !served:
		r.Level, r.Class, r.Blame, r.Phase = probe.Down, probe.Timeout, probe.Remote, probe.PhaseStream
		return limit - w.between(what, 0, time.Millisecond)
	}
	r.Level, r.Class, r.Blame, r.Phase, r.Error = probe.Up, probe.OK, probe.Unclear, probe.PhaseDone, ""
	return w.between(what, 20*time.Millisecond, 300*time.Millisecond)
}

// canary asks one of the hosts that answer as long as our line works.
func (p *process) canary(ctx context.Context, addr string) error {
	begin := time.Now()
	if err := p.pass("canary " + addr); err != nil {
		return err
	}
	w := p.run.world
	limit := w.f.Canaries.Timeout.Duration
	w.mu.Lock()
	bad := w.cut || w.loss > 0 && w.draw("canary lost "+addr) < w.loss*w.loss
	takes := w.between("canary "+addr, 5*time.Millisecond, 80*time.Millisecond)
	if l := w.looking(begin); !bad {
		l.canaries++
	}
	w.mu.Unlock()
	if bad {
		takes = limit
	}
	if err := p.sleep(ctx, "canary "+addr, takes); err != nil {
		return err
	}
	if err := p.pass("canary " + addr); err != nil {
		return err
	}
	if bad {
		return errors.New("i/o timeout")
	}
	return nil
}

// partner is what partners find, as far as we see from here.
func (p *process) partner(ctx context.Context) []watchdog.PartnerView {
	if p.pass("partner") != nil {
		return nil
	}
	w := p.run.world
	var out []watchdog.PartnerView
	for _, d := range w.f.Domains {
		_, v := p.sight(ctx, "partner "+d, d)
		out = append(out, v)
	}
	if ctx.Err() != nil || p.pass("partner") != nil {
		return nil
	}
	return out
}

// sight looks a domain up as a partner would and asks what it finds.
func (p *process) sight(ctx context.Context, what, domain string) (actions.PartnerSight, watchdog.PartnerView) {
	w := p.run.world
	v := watchdog.PartnerView{Domain: domain}
	w.mu.Lock()
	cut, leads := w.cut || w.local, w.leads()
	takes := w.between(what, 10*time.Millisecond, 120*time.Millisecond)
	w.mu.Unlock()
	if err := p.sleep(ctx, what, takes); err != nil || cut {
		v.Text = "dns/timeout"
		return actions.PartnerSight{Text: v.Text}, v
	}
	var s actions.PartnerSight
	if len(leads) > 0 {
		v.Pool = leads[0]
		if p.run.estate.f.Pool(v.Pool) == nil {
			v.Pool = elsewhere
		}
	}
	unsure := false
	for _, name := range leads {
		pool := w.poolNamed(name)
		if pool == nil {
			continue
		}
		for _, t := range p.run.estate.targets(name) {
			r := p.ask(ctx, what+" ", t, false)
			if r.Level.Answers() {
				s.Answering = append(s.Answering, t.Addr.Addr())
			}
			unsure = unsure || r.Level == probe.Inconclusive
		}
	}
	switch {
	case len(s.Answering) > 0:
		v.Level = probe.Up
	case !unsure:
		v.Level = probe.Down
	}
	v.Text = fmt.Sprintf("led to %v, where %d addresses answer", leads, len(s.Answering))
	s.Text = v.Text
	return s, v
}

// ready is the preflight of a pool, read-only.
func (p *process) ready(ctx context.Context, pool string) error {
	if err := p.pass("ready " + pool); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, p.run.world.f.Timeouts.Preflight.Duration)
	defer cancel()
	plan, err := p.planOf("", actions.Failover, p.run.estate.other(pool), pool)
	if err != nil {
		return err
	}
	step, _ := plan.Step(actions.Preflight)
	var failures []error
	for _, t := range step.Tasks {
		t.(*task).what = "survey " + t.(*task).what
		obs, err := t.Check(ctx)
		if err == nil && obs.Status != actions.Done {
			err = fmt.Errorf("%s: %s", t.Target(), obs.Detail)
		}
		failures = append(failures, err)
	}
	return actions.Join(failures...)
}

// other is some pool that is not the one of that name.
func (e *estate) other(name string) string {
	for i := range e.f.Pools {
		if e.f.Pools[i].Name != name {
			return e.f.Pools[i].Name
		}
	}
	return name
}

// targets are the questions that the shipped settings ask of a pool.
func (e *estate) targets(name string) []probe.Target {
	for _, p := range e.settings.Watch.Pools {
		if p.Name == name {
			return p.Targets
		}
	}
	return nil
}
