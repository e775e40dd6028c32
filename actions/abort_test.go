package actions

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
)

// abortTest ends a chain from outside at one point.
type abortTest struct {
	name  string
	kind  PlanKind
	when  func(w *world, n *notebook, end func())
	step  StepName
	moved bool
	end   string
	never []string // what must not have been applied
}

func atApply(what string) func(*world, *notebook, func()) {
	return func(w *world, _ *notebook, end func()) {
		w.onApply = func(got string) {
			if got == what {
				end()
			}
		}
	}
}

func atCheck(what string) func(*world, *notebook, func()) {
	return func(w *world, _ *notebook, end func()) {
		w.onCheck = func(got string) {
			if got == what {
				end()
			}
		}
	}
}

func afterStep(name StepName) func(*world, *notebook, func()) {
	return func(_ *world, n *notebook, end func()) {
		n.after = func(_ int, r Record) {
			if r.Step == name && r.Target == "" && r.Phase != Started {
				end()
			}
		}
	}
}

const halfway = "e1=true e2=true route=new dns=old"

var abortTests = []abortTest{
	{"in the preflight", Failover, atCheck("preflight"), Preflight, false, untouched, []string{"stop e1", "stop e2"}},
	{"between preflight and stop", Failover, afterStep(Preflight), StopServices, false, untouched, []string{"stop e1", "stop e2"}},
	{"during stop", Failover, atApply("stop e1"), StopServices, false, untouched, []string{"route", "dns"}},
	{"between stop and route", Failover, afterStep(StopServices), SetRoute, false, untouched, []string{"route", "dns"}},
	{"while the route is set", Failover, atApply("route"), SetRoute, true, halfway, []string{"dns"}},
	{"after the route moved", Failover, afterStep(SetRoute), DNSRecords, true, halfway, []string{"dns"}},
	{"during DNS", Failover, atApply("dns"), DNSRecords, true, restored, nil},
	{"between DNS and port", Switchover, afterStep(DNSRecords), CheckPort, true, restored, nil},
	{"during start: it is carried through", Failover, atApply("start e1"), StartServices, true, restored, nil},
	{"before start: it is carried through", Failover, afterStep(CheckPort), StartServices, true, restored, nil},
	{"during verify", Failover, atCheck("verify"), Verify, true, restored, nil},
	{"failback: between preflight and start", Failback, afterStep(Preflight), StartServices, false, untouched, []string{"route"}},
	{"failback: between start and route", Failback, afterStep(StartServices), SetRoute, false, untouched, []string{"route"}},
	{"failback: after the route moved", Failback, afterStep(SetRoute), DNSRecords, true, halfway, []string{"dns"}},
	{"failback: during verify", Failback, atCheck("verify"), Verify, true, restored, nil},
}

// An abort ends a chain wherever it is, with the services running, and says
// who wanted it; only its cause tells it from a stop of edgewatch.
func TestAbort(t *testing.T) {
	for _, tt := range abortTests {
		t.Run(tt.name, func(t *testing.T) {
			tt.run(t, AbortedBy("anna via cli", "wrong pool"), true)
			tt.run(t, errors.New("edgewatch is stopping"), false)
		})
	}
}

func (tt *abortTest) run(t *testing.T, cause error, aborted bool) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		w, n := newWorld(), &notebook{}
		var known int // records before the end
		tt.when(w, n, func() {
			cancel(cause)
			n.mu.Lock()
			defer n.mu.Unlock()
			known = len(n.records)
		})
		r := &Runner{Record: n.record}
		out := r.Run(ctx, w.planOf(tt.kind), "c", Progress{})
		if out.OK || out.Aborted != aborted || out.Interrupted == aborted || out.Step != tt.step || out.RouteMoved != tt.moved || len(out.Stopped) != 0 {
			t.Errorf("%v: outcome %+v; want it to end at %s, route moved %v", cause, out, tt.step, tt.moved)
		}
		if !strings.Contains(out.Error, cause.Error()) {
			t.Errorf("error %q does not say %q", out.Error, cause)
		}
		if got := strings.Contains(out.Error, "nothing is rolled back"); got != (aborted && tt.moved) {
			t.Errorf("error %q; want it to say that nothing is rolled back: %v", out.Error, aborted && tt.moved)
		}
		mustEnd(t, w, tt.end)
		for _, rec := range n.records[known:] {
			if rec.Target == "" && rec.Phase == Started && !rec.Rescue {
				t.Errorf("%v: %s was begun after that", cause, rec.Step)
			}
		}
		for _, what := range tt.never {
			if w.applied(what) != 0 {
				t.Errorf("%v: %s was applied", cause, what)
			}
		}
		if later := n.order(); tt.step == Verify && tt.kind == Failover && later[len(later)-1] != "verify failed" {
			t.Errorf("the last record is %q", later[len(later)-1])
		}
	})
}

// An abort that comes when all is done changes nothing of that.
func TestAbortTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		w, n := newWorld(), &notebook{}
		afterStep(Verify)(w, n, func() { cancel(AbortedBy("anna", "wrong pool")) })
		if out := runPlan(ctx, w, n); !out.OK || out.Aborted || out.Interrupted {
			t.Errorf("outcome %+v", out)
		}
	})
}

// An abort of a chain that failed by itself and is on its way out keeps what
// the failure said and lets the services be started.
func TestAbortOnTheWayOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		w, n := newWorld(), &notebook{}
		w.fail["route"] = []error{refused}
		atApply("start e1")(w, n, func() { cancel(AbortedBy("anna", "wrong pool")) })
		out := runPlan(ctx, w, n)
		if out.OK || !out.Aborted || out.Interrupted || out.Step != SetRoute || len(out.Stopped) != 0 {
			t.Errorf("outcome %+v", out)
		}
		for _, says := range []string{"access denied", "anna", "wrong pool"} {
			if !strings.Contains(out.Error, says) {
				t.Errorf("error %q does not say %q", out.Error, says)
			}
		}
		mustEnd(t, w, untouched)
	})
}

// Services that do not come back after an abort are named.
func TestAbortNamesWhatStaysStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		w, n := newWorld(), &notebook{}
		w.fail["start e2"] = []error{refused}
		afterStep(StopServices)(w, n, func() { cancel(AbortedBy("anna", "wrong pool")) })
		out := runPlan(ctx, w, n)
		if !out.Aborted || len(out.Stopped) != 1 || out.Stopped[0] != "e2" || !strings.Contains(out.Error, "access denied") {
			t.Errorf("outcome %+v", out)
		}
	})
}

// A chain that is taken up when the abort has been given already, because a
// crash came between, does nothing but start what it stopped.
func TestAbortedBeforeItIsTakenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(AbortedBy("anna", "wrong pool"))
		w, n := newWorld(), &notebook{records: []Record{{Step: StopServices, Phase: Started}, {Step: StopServices, Target: "e1", Phase: Started}}}
		w.running["e1"] = false
		out := runPlan(ctx, w, n)
		if out.OK || !out.Aborted || out.Interrupted || len(out.Stopped) != 0 {
			t.Errorf("outcome %+v", out)
		}
		mustEnd(t, w, untouched)
		if w.applied("stop e2")+w.applied("route") != 0 {
			t.Errorf("applied %v", w.log)
		}
	})
}

// The same holds for a chain that is too old to be carried on.
func TestAbortedAndAbandoned(t *testing.T) {
	for _, aborted := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			if aborted {
				cancel(AbortedBy("anna", "wrong pool"))
			}
			defer cancel(nil)
			w, n := newWorld(), &notebook{records: []Record{{Step: StopServices, Phase: Started}, {Step: StopServices, Target: "e1", Phase: Started}}}
			w.running["e1"] = false
			r := &Runner{Record: n.record}
			out := r.Abandon(ctx, w.plan(), "c", n.progress(), "too old")
			if out.OK || out.Aborted != aborted || out.Interrupted == aborted || !strings.Contains(out.Error, "too old") || strings.Contains(out.Error, "anna") != aborted {
				t.Errorf("aborted %v: outcome %+v", aborted, out)
			}
			mustEnd(t, w, untouched)
		})
	}
}
