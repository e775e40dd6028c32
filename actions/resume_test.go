package actions

import (
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// A run that takes over from one which died keeps the duty to start what that
// one stopped, whatever is seen done already and whatever was started before.
func TestResumedRunStillOwesTheStart(t *testing.T) {
	stopped := []Record{
		{Step: StopServices, Phase: Started},
		{Step: StopServices, Target: "e1", Phase: Started}, {Step: StopServices, Target: "e2", Phase: Started},
		{Step: StopServices, Target: "e1", Phase: Finished}, {Step: StopServices, Target: "e2", Phase: Finished},
	}
	rescued := []Record{
		{Step: StopServices, Phase: Started},
		{Step: StopServices, Target: "e1", Phase: Started}, {Step: StopServices, Target: "e1", Phase: Finished},
		{Step: StopServices, Target: "e2", Phase: Started}, {Step: StopServices, Target: "e2", Phase: Failed},
		{Step: StopServices, Phase: Failed},
		{Step: StartServices, Phase: Started},
		{Step: StartServices, Target: "e1", Phase: Finished}, {Step: StartServices, Target: "e2", Phase: Already},
		{Step: StartServices, Phase: Finished},
	}
	tests := []struct {
		name    string
		records []Record
		running bool // both servers, when the run takes over
		fail    string
		end     string
	}{
		{"died between the last stop and the step's end, then the route is refused", stopped, false, "route", untouched},
		{"died after a rescue, then stop fails again", rescued, true, "stop e2", untouched},
		{"died after a rescue, then all goes well", rescued, true, "", restored},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, n := newWorld(), &notebook{records: tt.records}
				w.running["e1"], w.running["e2"] = tt.running, tt.running
				w.fail[tt.fail] = []error{refused}
				out := runPlan(t.Context(), w, n)
				if out.OK != (tt.fail == "") || len(out.Stopped) != 0 {
					t.Errorf("outcome %+v", out)
				}
				mustEnd(t, w, tt.end)
			})
		})
	}
}

// A server that stayed behind when enough others were started is tried again:
// on the way out of a failed run, and whenever the chain is carried on.
func TestStartsWhatStayedBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{}
		w.fail["start e2"] = []error{refused, refused}
		w.checks["verify"] = []error{refused}
		plan := w.plan()
		for i := range plan.Steps {
			if plan.Steps[i].Name == StartServices {
				plan.Steps[i].Need = 1
			}
		}
		r := &Runner{Record: n.record}
		out := r.Run(t.Context(), plan, "c", Progress{})
		if d := cmp.Diff([]string{"e2"}, out.Stopped); d != "" || out.OK || w.applied("start e2") != 0 {
			t.Errorf("outcome %+v; stopped (-want +got):\n%s", out, d)
		}
		if len(w.fail["start e2"]) != 0 {
			t.Error("the way out did not try to start e2 again")
		}
		if out = r.Run(t.Context(), plan, "c", n.progress()); !out.OK || len(out.Stopped) != 0 {
			t.Errorf("carried on: %+v", out)
		}
		mustEnd(t, w, restored)
	})
}

// A panic in a look at the whole is no answer, and no route that moved.
func TestPanicInCheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{}
		w.dns = "new"
		plan := w.plan()
		route, _ := plan.Step(SetRoute)
		route.Tasks[0].(*job).see = func(*world) bool { panic("boom") }
		r := &Runner{Record: n.record}
		if out := r.Run(t.Context(), plan, "c", Progress{}); out.OK || out.Step != SetRoute || out.RouteMoved {
			t.Errorf("outcome %+v", out)
		}
		mustEnd(t, w, "e1=true e2=true route=old dns=new")
	})
}

// The management host was changed in the configuration between two lives: what
// the first may have done counts all the same.
func TestRouteBegunOnAHostThatIsGone(t *testing.T) {
	for _, tt := range []struct {
		phase RecordPhase
		route string // as it reads now
		moved bool
	}{{Started, "new", true}, {Started, "old", false}, {Finished, "old", true}} {
		synctest.Test(t, func(t *testing.T) {
			w, n := newWorld(), &notebook{records: []Record{{Step: SetRoute, Phase: Started}, {Step: SetRoute, Target: "fe0", Phase: tt.phase}}}
			if tt.phase == Finished {
				n.records = append(n.records, Record{Step: SetRoute, Phase: tt.phase})
			}
			w.route = tt.route
			r := &Runner{Record: n.record}
			if out := r.Abandon(t.Context(), w.plan(), "c", n.progress(), "too old"); out.RouteMoved != tt.moved {
				t.Errorf("%s, and the route is %s: %+v", tt.phase, tt.route, out)
			}
		})
	}
}
