package actions

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// late is a cmdlet whose PowerShell is still loading its module
// when the call is given up: it goes on there, and takes effect later.
type late struct{ *job }

func (l late) Apply(ctx context.Context) error {
	l.w.mu.Lock()
	l.w.log = append(l.w.log, l.what)
	hook := l.w.onApply
	l.w.mu.Unlock()
	time.AfterFunc(15*time.Second, func() {
		l.w.mu.Lock()
		defer l.w.mu.Unlock()
		l.do(l.w)
	})
	if hook != nil {
		hook(l.what)
	}
	select {
	case <-time.After(16 * time.Second):
		return nil
	case <-ctx.Done():
		return &Error{Kind: Indeterminate, Host: l.target, Op: l.what, Err: ctx.Err()}
	}
}

// The failover is aborted right after a stop was sent. The services still run
// when the rescue looks, and stop only then: it does not believe its first look.
func TestAStopThatTakesEffectAfterTheRescueLooked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{}
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		plan := w.plan()
		for i, s := range plan.Steps {
			if s.Name == StopServices {
				plan.Steps[i].Tasks[0] = late{s.Tasks[0].(*job)}
			}
		}
		w.onApply = func(what string) {
			if what == "stop e1" {
				cancel(AbortedBy("anna via cli", "wrong pool"))
			}
		}
		out := (&Runner{Record: n.record}).Run(ctx, plan, "c-1.1", Progress{})
		took := out.Took
		time.Sleep(5 * time.Minute)
		w.mu.Lock()
		defer w.mu.Unlock()
		if !w.running["e1"] && !slices.Contains(out.Stopped, "e1") {
			t.Errorf("e1 stays stopped and is not named; ended after %s: %+v", took, out)
		}
	})
}

// A first run set the route and DNS and died. Somebody (or a restored Central
// Management store) puts the route back, and it cannot be set any more: DNS
// leads to the new pool, so that federation has moved.
func TestTheRouteIsPutBackAfterDNSMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{}
		ctx, cancel := context.WithCancelCause(t.Context())
		w.onApply = func(what string) {
			if what == "dns" {
				cancel(errors.New("edgewatch is stopping"))
			}
		}
		first := (&Runner{Record: n.record}).Run(ctx, w.plan(), "c-1.1", Progress{})
		t.Logf("first: %+v; %s", first, w.end())
		w.mu.Lock()
		w.onApply, w.route = nil, "old"
		w.fail["route"] = []error{&Error{Kind: AskHuman, Host: "fe1", Op: "Set-CsSite", Err: errors.New("the database is read-only")}}
		w.mu.Unlock()
		out := (&Runner{Record: n.record}).Run(t.Context(), w.plan(), "c-1.1", n.progress())
		if !out.RouteMoved {
			t.Errorf("%s, and the outcome says that nothing moved: %+v", w.end(), out)
		}
	})
}

// The answer of Stop-CsWindowsService is lost at once, and it takes effect half a
// minute later, as such a cmdlet does: two at a time get into each other's way.
func TestWhatWasSentAndNotAnsweredIsNotSentAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{}
		plan := w.plan()
		for i, s := range plan.Steps {
			if s.Name == StopServices {
				plan.Steps[i].Tasks[0] = deafStop{s.Tasks[0].(*job)}
			}
		}
		out := (&Runner{Record: n.record}).Run(t.Context(), plan, "c-1.1", Progress{})
		if n := w.applied("stop e1"); n > 1 {
			t.Errorf("sent %d times within 30 s; %+v", n, out)
		}
		time.Sleep(5 * time.Minute) // those that were sent later take effect too
		if got := w.end(); out.OK && got != restored {
			t.Errorf("the failover went well, five minutes later: %s; named %v", got, out.Stopped)
		}
	})
}

type deafStop struct{ *job }

func (l deafStop) Apply(context.Context) error {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.w.log = append(l.w.log, l.what)
	time.AfterFunc(30*time.Second, func() {
		l.w.mu.Lock()
		defer l.w.mu.Unlock()
		l.do(l.w)
	})
	return lost
}

// The process died after it had sent a stop: the next one waits as long for that
// to take effect before it sends another.
func TestAStopOfAnEarlierRunIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{records: []Record{
			{Step: Preflight, Phase: Already},
			{Step: StopServices, Phase: Started}, {Step: StopServices, Target: "e1", Phase: Started},
		}}
		time.AfterFunc(20*time.Second, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.running["e1"] = false
		})
		out := (&Runner{Record: n.record}).Run(t.Context(), w.plan(), "c-1.1", n.progress())
		if !out.OK || w.applied("stop e1") != 0 || w.applied("stop e2") != 1 {
			t.Errorf("%+v, %v", out, w.log)
		}
		mustEnd(t, w, restored)
	})
}

// The failover is aborted right after the route was sent, which is set a while
// later: that counts as moved.
func TestARouteThatTakesEffectAfterTheAbort(t *testing.T) {
	for _, lands := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w, n := newWorld(), &notebook{}
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			plan := w.plan()
			for i, s := range plan.Steps {
				if s.Name == SetRoute {
					route := *s.Tasks[0].(*job)
					if !lands {
						route.do = func(*world) {}
					}
					plan.Steps[i].Tasks[0] = late{&route}
				}
			}
			w.onApply = func(what string) {
				if what == "route" {
					cancel(AbortedBy("anna via cli", "wrong pool"))
				}
			}
			out := (&Runner{Record: n.record}).Run(ctx, plan, "c-1.1", Progress{})
			if out.RouteMoved != lands || !out.Aborted || len(out.Stopped) != 0 {
				t.Errorf("it is set %v: %+v", lands, out)
			}
		})
	}
}

// An update of DNS whose answer was lost is looked at, and sent again at once
// where it is not there.
func TestALostUpdateOfDNSIsSentAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{}
		w.fail["dns"] = []error{&Error{Kind: Indeterminate, Host: "ns1", Op: "UPDATE", Err: errors.New("i/o timeout")}}
		if out := (&Runner{Record: n.record}).Run(t.Context(), w.plan(), "c-1.1", Progress{}); !out.OK || out.Took > 5*time.Second {
			t.Errorf("%+v", out)
		}
	})
}

// The process died while it waited for a stop to land that it had given up: the
// next one does not believe that the server runs either.
func TestAStopThatWasGivenUpLandsInTheNextRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{records: []Record{
			{Step: Preflight, Phase: Already},
			{Step: StopServices, Phase: Started}, {Step: StopServices, Target: "e1", Phase: Started}, {Step: StopServices, Target: "e1", Phase: Failed, Error: "lost"},
		}}
		time.AfterFunc(20*time.Second, func() {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.running["e1"] = false
		})
		out := (&Runner{Record: n.record}).Abandon(t.Context(), w.plan(), "c-1.1", n.progress(), "too old")
		time.Sleep(time.Minute)
		if mustEnd(t, w, untouched); len(out.Stopped) != 0 {
			t.Errorf("named: %v", out.Stopped)
		}
	})
}

// An answer that is lost costs no step its limit, however short that is.
func TestALostAnswerAndAShortLimit(t *testing.T) {
	for what, name := range map[string]StepName{"stop e1": StopServices, "route": SetRoute, "dns": DNSRecords, "start e1": StartServices} {
		synctest.Test(t, func(t *testing.T) {
			w, n := newWorld(), &notebook{}
			w.fail[what] = []error{&Error{Kind: Indeterminate, Host: "host", Op: what, Err: errors.New("timeout")}}
			plan := w.plan()
			for i := range plan.Steps {
				if plan.Steps[i].Name == name {
					plan.Steps[i].Timeout = 30 * time.Second
				}
			}
			if out := (&Runner{Record: n.record}).Run(t.Context(), plan, "c-1.1", Progress{}); !out.OK {
				t.Errorf("%s: %+v", what, out)
			}
		})
	}
}

// stale is a look that is two minutes old when its answer is read, once: this
// process stood still meanwhile.
type stale struct {
	*job
	read bool
}

func (s *stale) Check(ctx context.Context) (Observation, error) {
	obs, err := s.job.Check(ctx)
	if !s.read {
		s.read = true
		time.Sleep(2 * time.Minute)
	}
	return obs, err
}

// As TestAStopThatTakesEffectAfterTheRescueLooked, and the process stands still
// between its look and what it makes of it.
func TestALookThatIsOldByThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{}
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		plan := w.plan()
		for i, s := range plan.Steps {
			switch s.Name {
			case StopServices:
				plan.Steps[i].Tasks[0] = late{s.Tasks[0].(*job)}
			case StartServices:
				plan.Steps[i].Tasks[0] = &stale{job: s.Tasks[0].(*job)}
			default:
			}
		}
		w.onApply = func(what string) {
			if what == "stop e1" {
				cancel(AbortedBy("anna via cli", "wrong pool"))
			}
		}
		out := (&Runner{Record: n.record}).Run(ctx, plan, "c-1.1", Progress{})
		if mustEnd(t, w, untouched); len(out.Stopped) != 0 {
			t.Errorf("named: %v", out.Stopped)
		}
	})
}

// Edgewatch is told to stop right after the route was sent: it does not wait for
// what becomes of that, which the next run will see.
func TestAnEndInDoubtIsNotPutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{}
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		plan := w.plan()
		for i, s := range plan.Steps {
			if s.Name == SetRoute {
				plan.Steps[i].Tasks[0] = late{s.Tasks[0].(*job)}
			}
		}
		w.onApply = func(what string) {
			if what == "route" {
				cancel(errors.New("edgewatch is stopping"))
			}
		}
		out := (&Runner{Record: n.record}).Run(ctx, plan, "c-1.1", Progress{})
		if !out.Interrupted || !out.RouteMoved || out.Took > 5*time.Second {
			t.Errorf("%+v", out)
		}
		if out = (&Runner{Record: n.record}).Run(t.Context(), w.plan(), "c-1.1", n.progress()); !out.OK {
			t.Errorf("taken up: %+v", out)
		}
		time.Sleep(time.Minute)
		mustEnd(t, w, restored)
	})
}
