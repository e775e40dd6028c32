package actions

import (
	"testing"
	"testing/synctest"
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
