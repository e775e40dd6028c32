package actions

import (
	"context"
	"testing"
	"testing/synctest"
)

// A chain that is tried again looks at everything again that it had seen done:
// between two tries somebody may have put it back, or a service may have died.
func TestATryLooksAgain(t *testing.T) {
	for _, kind := range PlanKinds() {
		for name, spoil := range map[string]func(*world){
			"route put back":     func(w *world) { w.route = "old" },
			"DNS put back":       func(w *world) { w.dns = "old" },
			"a server went down": func(w *world) { w.running["e2"] = false },
		} {
			synctest.Test(t, func(t *testing.T) {
				w, n := newWorld(), &notebook{}
				w.checks["verify"] = []error{refused}
				r := &Runner{Record: n.record}
				if out := r.Run(t.Context(), w.planOf(kind), "c", Progress{}); out.OK || out.Step != Verify {
					t.Fatalf("%s: first try: %+v", kind, out)
				}
				stops := w.applied("stop e1")
				kept := len(n.records)
				spoil(w)
				out := r.Run(t.Context(), w.planOf(kind), "c", n.progress())
				if !out.OK || len(out.Stopped) != 0 {
					t.Errorf("%s, %s: second try: %+v", kind, name, out)
				}
				if w.applied("stop e1") != stops {
					t.Errorf("%s, %s: services were stopped again", kind, name)
				}
				mustEnd(t, w, restored)
				for _, r := range n.records[kept:] { // what was right all along stands in the journal already
					if r.Target == "dns" && r.Phase == Finished && name != "DNS put back" {
						t.Errorf("%s, %s: recorded as done twice: %+v", kind, name, r)
					}
				}
			})
		}
	}
}

// The route was right from the beginning, and DNS was moved. A second try that
// is ended while it looks at the route again has still moved federation.
func TestALookIsNoWayBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{}
		w.route = "new"
		w.checks["verify"] = []error{refused}
		r := &Runner{Record: n.record}
		if out := r.Run(t.Context(), w.plan(), "c", Progress{}); out.OK || !out.RouteMoved {
			t.Fatalf("first try: %+v", out)
		}
		ctx, cancel := context.WithCancel(t.Context())
		w.onCheck = func(what string) {
			if what == "route" {
				cancel()
			}
		}
		if out := r.Run(ctx, w.plan(), "c", n.progress()); out.OK || !out.RouteMoved {
			t.Errorf("second try: %+v", out)
		}
	})
}
