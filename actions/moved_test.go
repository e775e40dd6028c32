package actions

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// A site keeps its route when federation leaves it, so that a failover may find it
// right. That alone has moved nothing where nothing was touched, or where
// federation is brought back to the pool that has it.
func TestARouteThatWasFoundRight(t *testing.T) {
	refused := &Error{Kind: Rejected, Host: "ns1", Op: "UPDATE"}
	for _, tt := range []struct {
		name    string
		repair  bool
		prepare func(w *world)
		moved   bool
	}{
		{"services stopped for it, DNS refused", false, func(*world) {}, true},
		{"services found stopped, DNS refused", false, func(w *world) { w.running["e1"], w.running["e2"] = false, false }, true},
		{"a repair, DNS refused", true, func(*world) {}, false},
		{"a repair that changed DNS and could not prove it", true, func(w *world) {
			w.fail["dns"] = nil
			w.checks["verify"] = []error{refused}
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, n := newWorld(), &notebook{}
				w.route = "new"
				w.fail["dns"] = []error{refused}
				tt.prepare(w)
				plan := w.plan()
				plan.Repair = tt.repair
				if out := (&Runner{Record: n.record}).Run(t.Context(), plan, "c", Progress{}); out.OK || out.RouteMoved != tt.moved {
					t.Errorf("%+v", out)
				}
			})
		})
	}
}

// What found services stopped and the route right, and was left there, has
// touched nothing: it is abandoned without having moved anything.
func TestAbandonedWithNothingTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{}
		w.route, w.running["e1"], w.running["e2"] = "new", false, false
		for _, name := range []StepName{Preflight, StopServices, SetRoute} {
			n.records = append(n.records, Record{Step: name, Phase: Started})
			s, _ := w.plan().Step(name)
			for _, task := range s.Tasks {
				n.records = append(n.records, Record{Step: name, Target: task.Target(), Phase: Already})
			}
			n.records = append(n.records, Record{Step: name, Phase: Already})
		}
		if p := n.progress(); p.Touched() || p.Moved(Failover) {
			t.Error("its progress says that something was touched")
		}
		if out := (&Runner{Record: n.record}).Abandon(t.Context(), w.plan(), "c", n.progress(), "nothing was touched"); out.RouteMoved {
			t.Errorf("%+v", out)
		}
	})
}

// sight is a task of which a look sees this.
type sight struct {
	Task
	see func() (Observation, error)
}

func (s sight) Check(context.Context) (Observation, error) { return s.see() }

// The route was sent, and edgewatch was away since. What is abandoned then is looked
// at for as long as a management host takes to start; where nobody can see, that is
// said.
func TestAbandonedWithTheRouteInDoubt(t *testing.T) {
	silent := &Error{Kind: Transient, Host: "fe1", Op: "Get-CsSite", Err: errors.New("connection refused")}
	for _, tt := range []struct {
		name          string
		see           func(after time.Duration) (Observation, error)
		abort         bool // five minutes later
		moved, unsure bool
		took          time.Duration // at most
	}{
		{"seen where it was", func(time.Duration) (Observation, error) { return Observation{Status: Pending}, nil }, false, false, false, time.Minute},
		{"seen moved", func(time.Duration) (Observation, error) { return Observation{Status: Done}, nil }, false, true, false, time.Minute},
		{"seen moved in part", func(time.Duration) (Observation, error) { return Observation{Status: Partly}, nil }, false, true, false, time.Minute},
		{"silent for minutes", func(after time.Duration) (Observation, error) {
			if after < 6*time.Minute {
				return Observation{}, silent
			}
			return Observation{Status: Pending}, nil
		}, false, false, false, 10 * time.Minute},
		{"never seen", func(time.Duration) (Observation, error) { return Observation{}, silent }, false, true, true, 20 * time.Minute},
		{"never seen where it counts", func(time.Duration) (Observation, error) { return Observation{Status: Partly, Unsure: true}, nil }, false, true, true, 20 * time.Minute},
		{"aborted meanwhile", func(time.Duration) (Observation, error) { return Observation{}, silent }, true, true, true, 6 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, n := newWorld(), &notebook{records: []Record{{Step: SetRoute, Phase: Started}, {Step: SetRoute, Target: "route", Phase: Started}}}
				begin, plan := time.Now(), w.plan()
				for i, s := range plan.Steps {
					if s.Name == SetRoute {
						plan.Steps[i].Tasks[0] = sight{s.Tasks[0], func() (Observation, error) { return tt.see(time.Since(begin)) }}
					}
				}
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if tt.abort {
					time.AfterFunc(5*time.Minute, func() { cancel(AbortedBy("anna", "no")) })
				}
				out := (&Runner{Record: n.record}).Abandon(ctx, plan, "c", n.progress(), "too old")
				if out.RouteMoved != tt.moved || out.Unsure != tt.unsure || out.Aborted != tt.abort || out.Interrupted == tt.abort || out.Took > tt.took {
					t.Errorf("%+v", out)
				}
			})
		})
	}
}

// fixed is a task of which every look sees this.
type fixed struct {
	name string
	o    Observation
	err  error
}

func (f fixed) Target() string                             { return f.name }
func (f fixed) Preview() []string                          { return nil }
func (f fixed) Check(context.Context) (Observation, error) { return f.o, f.err }
func (f fixed) Apply(context.Context) error                { return nil }

// The first of two zones cannot be seen, the second holds the new records.
func TestAbandonedWithOneZoneSeenMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Progress
		for _, r := range []Record{
			{Step: Preflight, Phase: Already},
			{Step: SetRoute, Target: "fe1", Phase: Already}, {Step: SetRoute, Phase: Already},
			{Step: DNSRecords, Phase: Started},
			{Step: DNSRecords, Target: "zone a", Phase: Started}, {Step: DNSRecords, Target: "zone b", Phase: Started},
		} {
			p.Add(r)
		}
		plan := &Plan{Kind: Failover, From: "A", To: "B", Steps: []Step{
			{Name: SetRoute, Timeout: time.Minute, Tasks: []Task{fixed{"fe1", Observation{Status: Done}, nil}}},
			{Name: DNSRecords, Timeout: time.Minute, Tasks: []Task{
				fixed{"zone a", Observation{}, &Error{Kind: Transient, Host: "ns1", Op: "q", Err: errors.New("timeout")}},
				fixed{"zone b", Observation{Status: Done}, nil}}},
			{Name: StartServices, Timeout: time.Minute, Tasks: []Task{fixed{"edge3", Observation{Status: Done}, nil}}},
		}}
		r := &Runner{Record: func(context.Context, Record) error { return nil }}
		out := r.Abandon(t.Context(), plan, "c", p, "why")
		if !out.RouteMoved || out.Unsure {
			t.Errorf("zone b was seen moved: %+v", out)
		}
	})
}

// The second zone needed nothing: that it is right is no sign of a move. It may not
// even be in the journal, as zones are looked at side by side.
func TestAbandonedWithAZoneThatNeededNothing(t *testing.T) {
	for _, recorded := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			var p Progress
			for _, r := range []Record{
				{Step: Preflight, Phase: Already},
				{Step: StopServices, Target: "edge3", Phase: Started}, {Step: StopServices, Target: "edge3", Phase: Finished},
				{Step: SetRoute, Target: "fe1", Phase: Already}, {Step: SetRoute, Phase: Already},
				{Step: DNSRecords, Phase: Started}, {Step: DNSRecords, Target: "zone a", Phase: Started},
			} {
				p.Add(r)
			}
			if recorded {
				p.Add(Record{Step: DNSRecords, Target: "zone b", Phase: Already})
			}
			plan := &Plan{Kind: Failover, From: "A", To: "B", Steps: []Step{
				{Name: SetRoute, Timeout: time.Minute, Tasks: []Task{fixed{"fe1", Observation{Status: Done}, nil}}},
				{Name: DNSRecords, Timeout: time.Minute, Tasks: []Task{
					fixed{"zone a", Observation{Status: Pending}, nil},
					fixed{"zone b", Observation{Status: Done}, nil}}},
				{Name: StartServices, Timeout: time.Minute, Tasks: []Task{fixed{"edge3", Observation{Status: Done}, nil}}},
			}}
			r := &Runner{Record: func(context.Context, Record) error { return nil }}
			if out := r.Abandon(t.Context(), plan, "c", p, "why"); out.RouteMoved || out.Unsure {
				t.Errorf("zone b recorded %v: nothing has moved: %+v", recorded, out)
			}
		})
	}
}

// Told to stop while it looked at the route, before anything of it was sent: the site
// has kept its route from before, and that is no sign of a move.
func TestAbandonedWithARouteThatWasNeverSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{}
		w.route = "new"
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		plan := w.plan()
		for i, s := range plan.Steps {
			if s.Name == SetRoute {
				plan.Steps[i].Tasks[0] = sight{s.Tasks[0], func() (Observation, error) {
					if !n.has(SetRoute, "", Started) {
						return Observation{Status: Done}, nil
					}
					cancel(errors.New("edgewatch is stopping"))
					return Observation{}, context.Canceled
				}}
			}
		}
		if out := (&Runner{Record: n.record}).Run(ctx, plan, "c-1.1", Progress{}); out.OK || out.RouteMoved {
			t.Fatalf("%+v", out)
		}
		if !n.has(SetRoute, "route", Failed) || n.has(SetRoute, "route", Started) {
			t.Fatalf("%v", n.order())
		}
		if p := n.progress(); p.Applied(SetRoute) || p.Moved(Failover) {
			t.Error("its progress says that the route was sent")
		}
		out := (&Runner{Record: n.record}).Abandon(t.Context(), w.plan(), "c-1.1", n.progress(), "it was to end")
		if out.RouteMoved || out.Unsure {
			t.Errorf("%+v", out)
		}
		if out := (&Runner{Record: n.record}).Run(t.Context(), w.plan(), "c-1.1", n.progress()); !out.OK || !n.has(SetRoute, "route", Already) {
			t.Errorf("what needs nothing is told as done: %+v", out)
		}
	})
}

// So on the way home, where the name server refuses the update of the zone that has
// to change.
func TestARefusedFailbackBesideAZoneThatNeededNothing(t *testing.T) {
	for _, zones := range []int{1, 2} {
		synctest.Test(t, func(t *testing.T) {
			w, n := newWorld(), &notebook{}
			w.route = "new"
			w.fail["dns"] = []error{&Error{Kind: Rejected, Host: "ns1", Op: "UPDATE", Err: errors.New("REFUSED")}}
			plan := w.planOf(Failback)
			for i, s := range plan.Steps {
				if s.Name == DNSRecords && zones == 2 {
					plan.Steps[i].Tasks = append(plan.Steps[i].Tasks, fixed{"zone b", Observation{Status: Done}, nil})
				}
			}
			if out := (&Runner{Record: n.record}).Run(t.Context(), plan, "c-1.1", Progress{}); out.OK || out.RouteMoved {
				t.Errorf("%d zones, %s: %+v", zones, w.end(), out)
			}
		})
	}
}

// slow is a job whose looks see what was when they began, and answer later.
type slow struct {
	*job
	takes time.Duration
}

func (s slow) Check(ctx context.Context) (Observation, error) {
	obs, err := s.job.Check(ctx)
	time.Sleep(s.takes)
	return obs, err
}

// A look that began while the route was in doubt is too old to be believed once it
// answers: what it did not see has landed meanwhile.
func TestALookThatOutlivesTheDoubt(t *testing.T) {
	for _, takes := range []time.Duration{time.Second, 29 * time.Second, 31 * time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w, n := newWorld(), &notebook{records: []Record{{Step: SetRoute, Phase: Started}, {Step: SetRoute, Target: "route", Phase: Started}}}
			plan := w.plan()
			for i, s := range plan.Steps {
				if s.Name == SetRoute {
					plan.Steps[i].Tasks[0] = slow{s.Tasks[0].(*job), takes}
				}
			}
			time.AfterFunc(10*time.Second, func() {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.route = "new"
			})
			out := (&Runner{Record: n.record}).Abandon(t.Context(), plan, "c", n.progress(), "too old")
			if !out.RouteMoved || out.Unsure {
				t.Errorf("a look takes %v: %s: %+v", takes, w.end(), out)
			}
		})
	}
}

// The route was sent by way of a host that is no longer configured, and lands when
// its plan is gone.
func TestDoubtOfAHostThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{records: []Record{{Step: SetRoute, Phase: Started}, {Step: SetRoute, Target: "old", Phase: Started}}}
		time.AfterFunc(10*time.Second, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.route = "new"
		})
		if out := (&Runner{Record: n.record}).Abandon(t.Context(), w.plan(), "c", n.progress(), "too old"); !out.RouteMoved || out.Unsure {
			t.Errorf("%s: %+v", w.end(), out)
		}
	})
}

// A zone that was being changed is no longer configured: what the others hold says
// nothing about it, and a person is to look.
func TestAbandonedWithAZoneThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{records: []Record{
			{Step: SetRoute, Target: "route", Phase: Already}, {Step: SetRoute, Phase: Already},
			{Step: DNSRecords, Phase: Started}, {Step: DNSRecords, Target: "zone a", Phase: Started},
		}}
		w.route = "new"
		out := (&Runner{Record: n.record}).Abandon(t.Context(), w.plan(), "c", n.progress(), "too old")
		if !out.RouteMoved || !out.Unsure {
			t.Errorf("%+v", out)
		}
	})
}

// What never answers is asked no longer than the doubt lasts before it is asked for
// good.
func TestASilentLookWithinTheDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{}
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		plan := w.plan()
		w.fail["route"] = []error{&Error{Kind: Indeterminate, Host: "fe1", Op: "Set-CsSite", Err: errors.New("i/o timeout")}}
		hangs := false
		for i, s := range plan.Steps {
			if s.Name == SetRoute {
				plan.Steps[i].Tasks[0] = hanging{s.Tasks[0], &hangs}
			}
		}
		w.onApply = func(what string) {
			if what == "route" {
				hangs = true
				cancel(AbortedBy("anna", "wrong pool"))
			}
		}
		out := (&Runner{Record: n.record}).Run(ctx, plan, "c-1.1", Progress{})
		if step, _ := plan.Step(SetRoute); !out.Aborted || !out.RouteMoved || out.Took > 30*time.Second+step.Timeout+time.Second {
			t.Errorf("%+v", out)
		}
	})
}

// hanging is a task whose looks hang from a time on, for as long as they may.
type hanging struct {
	Task
	now *bool
}

func (h hanging) Check(ctx context.Context) (Observation, error) {
	if *h.now {
		<-ctx.Done()
		return Observation{}, ctx.Err()
	}
	return h.Task.Check(ctx)
}
