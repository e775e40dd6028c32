package actions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	refused   = &Error{Kind: Rejected, Host: "host", Op: "apply", Next: "grant it", Err: errors.New("access denied")}
	transient = &Error{Kind: Transient, Host: "host", Op: "apply", Err: errors.New("connection refused")}
)

// run carries the plan on from what the notebook holds.
func runPlan(ctx context.Context, w *world, n *notebook) Outcome {
	r := &Runner{Record: n.record}
	return r.Run(ctx, w.plan(), "contoso-1.1", n.progress())
}

// The whole procedure in documented order: "preflight, step 2 … step 7".
func TestRunsDocumentedOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{}
		out := runPlan(t.Context(), w, n)
		if !out.OK {
			t.Fatalf("outcome: %+v", out)
		}
		mustEnd(t, w, restored)
		want := []string{
			"preflight started", "preflight already",
			"stop-services started", "stop-services finished",
			"set-route started", "set-route finished",
			"dns-records started", "dns-records finished",
			"check-port started", "check-port already",
			"start-services started", "start-services finished",
			"verify started", "verify already",
		}
		if d := cmp.Diff(want, n.order()); d != "" {
			t.Errorf("steps (-want +got):\n%s", d)
		}
	})
}

// A task is never applied before its Started record is durable.
func TestAppliesOnlyWhatIsRecorded(t *testing.T) {
	for _, kind := range PlanKinds() {
		synctest.Test(t, func(t *testing.T) {
			w, n := newWorld(), &notebook{}
			w.running["e1"] = kind != Failback
			names := map[string]StepName{"stop": StopServices, "start": StartServices, "route": SetRoute, "dns": DNSRecords}
			w.onApply = func(what string) {
				verb, target, found := strings.Cut(what, " ")
				if !found {
					target = what
				}
				if step, acts := names[verb]; acts && !n.has(step, target, Started) {
					t.Errorf("%s: %s was applied and not recorded before", kind, what)
				}
			}
			r := &Runner{Record: n.record}
			if out := r.Run(t.Context(), w.planOf(kind), "c", Progress{}); !out.OK || w.applied("start e1") != 1 {
				t.Errorf("%s: %+v, applied %v", kind, out, w.log)
			}
		})
	}
}

// "A rerun that finds all done stops nothing."
func TestStopsNothingWhenAllIsDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{}
		w.route, w.dns = "new", "new"
		out := runPlan(t.Context(), w, n)
		if !out.OK || len(w.log) != 0 {
			t.Errorf("outcome %+v, applied %v; want ok and nothing applied", out, w.log)
		}
	})
}

// A repair changes only what is wrong: the pool that carries federation is not
// stopped for its DNS records. A failover to a pool whose site kept its route
// from an earlier one runs the whole procedure.
func TestRouteThatIsRightAlready(t *testing.T) {
	for _, repair := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w, n := newWorld(), &notebook{}
			w.route = "new"
			plan := w.plan()
			plan.Repair = repair
			r := &Runner{Record: n.record}
			if out := r.Run(t.Context(), plan, "c", Progress{}); !out.OK {
				t.Errorf("repair %v: %+v", repair, out)
			}
			stops := w.applied("stop e1") + w.applied("stop e2")
			if repair != (stops == 0) || w.applied("route") != 0 || w.applied("dns") != 1 {
				t.Errorf("repair %v: applied %v", repair, w.log)
			}
			mustEnd(t, w, restored)
		})
	}
}

func TestFailures(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(*world)
		step  StepName // where it fails; "" when it must succeed
		moved bool
		end   string
		says  string
	}{
		{"preflight refuses", func(w *world) { w.checks["preflight"] = []error{refused} }, Preflight, false, untouched, "grant it"},
		{"an error that nobody classed", func(w *world) { w.checks["preflight"] = []error{errors.New("odd")} }, Preflight, false, untouched, "odd"},
		{"one server cannot be stopped", func(w *world) { w.fail["stop e2"] = []error{refused} }, StopServices, false, untouched, "access denied"},
		{"stop fails for a moment", func(w *world) { w.fail["stop e2"] = []error{transient, transient} }, "", true, restored, ""},
		{"the answer of stop is lost", func(w *world) { w.fail["stop e1"] = []error{lost} }, "", true, restored, ""},
		{"route refused: no DNS change", func(w *world) { w.fail["route"] = []error{refused} }, SetRoute, false, untouched, "access denied"},
		{"the answer of route is lost", func(w *world) { w.fail["route"] = []error{lost} }, "", true, restored, ""},
		{"DNS refused: nothing is rolled back", func(w *world) { w.fail["dns"] = []error{refused} }, DNSRecords, true, "e1=true e2=true route=new dns=old", "access denied"},
		{"start fails once, the rescue brings it", func(w *world) { w.fail["start e1"] = []error{refused} }, StartServices, true, restored, "access denied"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, n := newWorld(), &notebook{}
				tt.spoil(w)
				out := runPlan(t.Context(), w, n)
				if out.Step != tt.step || out.OK != (tt.step == "") || out.RouteMoved != tt.moved {
					t.Errorf("outcome %+v; want step %q, route moved %v", out, tt.step, tt.moved)
				}
				if !strings.Contains(out.Error, tt.says) {
					t.Errorf("error %q does not say %q", out.Error, tt.says)
				}
				mustEnd(t, w, tt.end)
			})
		})
	}
}

// Step 7 runs on every way out: whatever step the context ends in.
func TestCancelStartsServicesAgain(t *testing.T) {
	for _, during := range []string{"preflight", "stop e1", "stop e2", "route", "dns", "start e1", "start e2"} {
		t.Run(during, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				w, n := newWorld(), &notebook{}
				w.onApply = func(what string) {
					if what == during {
						cancel(errors.New("edgewatch is stopping"))
					}
				}
				if during == "preflight" {
					cancel(errors.New("edgewatch is stopping"))
				}
				out := runPlan(ctx, w, n)
				if out.OK || !out.Interrupted || len(out.Stopped) != 0 {
					t.Errorf("outcome %+v, want interrupted and nothing stopped", out)
				}
				if !w.running["e1"] || !w.running["e2"] {
					t.Errorf("services are left stopped: %s", w.end())
				}
			})
		})
	}
}

// What cannot be started is named.
func TestNamesWhatStaysStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{}
		w.fail["start e2"] = []error{refused, refused, refused}
		out := runPlan(t.Context(), w, n)
		if d := cmp.Diff([]string{"e2"}, out.Stopped); d != "" || out.OK {
			t.Errorf("outcome %+v; stopped (-want +got):\n%s", out, d)
		}
	})
}

// A step whose need is met goes on without the rest.
func TestNeedAndGrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{}
		w.fail["start e2"] = make([]error, 1000)
		for i := range w.fail["start e2"] {
			w.fail["start e2"][i] = transient
		}
		plan := w.plan()
		start, _ := plan.Step(StartServices)
		for i := range plan.Steps {
			if plan.Steps[i].Name == StartServices {
				plan.Steps[i].Need = 1
			}
		}
		r := &Runner{Record: n.record, Grace: 20 * time.Second}
		begin := time.Now()
		out := r.Run(t.Context(), plan, "c", Progress{})
		if out.Step != Verify { // this world's verify wants both servers
			t.Errorf("outcome %+v, want to get as far as verify", out)
		}
		if took := time.Since(begin); took > start.Timeout+6*time.Minute {
			t.Errorf("took %v", took)
		}
		if d := cmp.Diff([]string{"e2"}, out.Stopped); d != "" {
			t.Errorf("stopped (-want +got):\n%s", d)
		}
	})
}

// A journal that cannot be written stops the chain before anything is done;
// once services are stopped they are started again all the same.
func TestJournalFailure(t *testing.T) {
	for broken := range 24 {
		t.Run(fmt.Sprint(broken), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				n := &notebook{before: func(i int, _ Record) error {
					if i >= broken {
						return errors.New("no space left on device")
					}
					return nil
				}}
				out := runPlan(t.Context(), w, n)
				if !w.running["e1"] || !w.running["e2"] {
					t.Errorf("services are left stopped: %s", w.end())
				}
				if len(n.records) >= broken && out.OK {
					t.Errorf("ok although record %d was not written", broken)
				}
			})
		})
	}
}

// Abandon starts what was stopped and does nothing else.
func TestAbandon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{}
		w.running["e1"] = false
		n.records = []Record{{Step: StopServices, Phase: Started}, {Step: StopServices, Target: "e1", Phase: Started}}
		r := &Runner{Record: n.record}
		out := r.Abandon(t.Context(), w.plan(), "c", n.progress(), "too old")
		mustEnd(t, w, untouched)
		if out.OK || out.RouteMoved || len(out.Stopped) != 0 || !strings.Contains(out.Error, "too old") || out.Step != StopServices {
			t.Errorf("outcome %+v", out)
		}
	})
}

// It says how far the chain had come.
func TestAbandonSaysWhereItStopped(t *testing.T) {
	for _, last := range Failover.Steps() {
		synctest.Test(t, func(t *testing.T) {
			w, n := newWorld(), &notebook{}
			for _, name := range Failover.Steps() {
				n.records = append(n.records, Record{Step: name, Phase: Started})
				if name == last {
					break
				}
				n.records = append(n.records, Record{Step: name, Phase: Finished})
			}
			r := &Runner{Record: n.record}
			if out := r.Abandon(t.Context(), w.plan(), "c", n.progress(), "too old"); out.Step != last {
				t.Errorf("it stopped at %s, and is said to have at %q", last, out.Step)
			}
		})
	}
}

// A panic in a task is an error of that task, and the rescue still runs.
func TestPanicInTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{}
		w.onApply = func(what string) {
			if what == "route" {
				panic("boom")
			}
		}
		out := runPlan(t.Context(), w, n)
		if out.OK || out.Step != SetRoute || !strings.Contains(out.Error, "boom") {
			t.Errorf("outcome %+v", out)
		}
		if !w.running["e1"] || !w.running["e2"] {
			t.Errorf("services are left stopped: %s", w.end())
		}
	})
}
