package actions

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// The failback's own page: start the services of the restored pool, set the
// route, SRV and address records, port check. Nothing is stopped.
func TestFailbackRunsDocumentedOrder(t *testing.T) {
	for _, up := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w, n := newWorld(), &notebook{}
			w.running["e1"], w.running["e2"] = up, up
			r := &Runner{Record: n.record}
			if out := r.Run(t.Context(), w.planOf(Failback), "c", Progress{}); !out.OK || !out.RouteMoved || len(out.Stopped) != 0 {
				t.Errorf("outcome: %+v", out)
			}
			start := "start-services finished"
			if up {
				start = "start-services already"
			}
			want := []string{
				"preflight started", "preflight already",
				"start-services started", start,
				"set-route started", "set-route finished",
				"dns-records started", "dns-records finished",
				"check-port started", "check-port already",
				"verify started", "verify already",
			}
			if d := cmp.Diff(want, n.order()); d != "" {
				t.Errorf("services up %v: steps (-want +got):\n%s", up, d)
			}
			mustEnd(t, w, restored)
		})
	}
}

func TestFailbackFailures(t *testing.T) {
	const unstarted = "e1=true e2=false route=old dns=old"
	tests := []struct {
		name  string
		spoil func(*world)
		step  StepName
		moved bool
		end   string
	}{
		{"preflight refuses", func(w *world) { w.checks["preflight"] = []error{refused} }, Preflight, false, unstarted},
		{"a server does not start: the route stays", func(w *world) { w.fail["start e2"] = []error{refused} }, StartServices, false, unstarted},
		{"route refused: no DNS change", func(w *world) { w.fail["route"] = []error{refused} }, SetRoute, false, untouched},
		{"DNS refused: nothing is rolled back", func(w *world) { w.fail["dns"] = []error{refused} }, DNSRecords, true, "e1=true e2=true route=new dns=old"},
		{"port filtered", func(w *world) { w.checks["port"] = []error{refused} }, CheckPort, true, restored},
		{"not proven", func(w *world) { w.checks["verify"] = []error{refused} }, Verify, true, restored},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, n := newWorld(), &notebook{}
				w.running["e2"] = false
				tt.spoil(w)
				r := &Runner{Record: n.record}
				out := r.Run(t.Context(), w.planOf(Failback), "c", Progress{})
				if out.OK || out.Step != tt.step || out.RouteMoved != tt.moved || len(out.Stopped) != 0 {
					t.Errorf("outcome %+v; want it to fail at %s, route moved %v", out, tt.step, tt.moved)
				}
				mustEnd(t, w, tt.end)
			})
		})
	}
}

// What gates the move speaks of now until the move has begun; from then on
// there is no way back to it.
func TestWhatSettlesTheGatesOfAFailback(t *testing.T) {
	started := []Record{
		{Step: Preflight, Phase: Started}, {Step: Preflight, Target: "preflight", Phase: Already}, {Step: Preflight, Phase: Already},
		{Step: StartServices, Phase: Started}, {Step: StartServices, Target: "e1", Phase: Started}, {Step: StartServices, Target: "e1", Phase: Finished},
		{Step: StartServices, Target: "e2", Phase: Already}, {Step: StartServices, Phase: Finished},
		{Step: SetRoute, Phase: Started},
	}
	stale := []Record{{Step: SetRoute, Target: "route", Phase: Already}, {Step: SetRoute, Phase: Already}, {Step: DNSRecords, Phase: Started}}
	tests := []struct {
		name    string
		records []Record // after those of started
		gated   bool
	}{
		{"before the route", nil, true},
		{"the route was about to be set", []Record{{Step: SetRoute, Target: "route", Phase: Started}}, false},
		{"the route was right all along", stale, true},
		{"the route was right, and DNS was about to be changed", append(stale[:3:3], Record{Step: DNSRecords, Target: "dns", Phase: Started}), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for _, spoilt := range []string{"preflight", "start e2"} {
				synctest.Test(t, func(t *testing.T) {
					w, n := newWorld(), &notebook{records: slices.Concat(started, tt.records)}
					if n.progress().Step(SetRoute) == Already {
						w.route = "new"
					}
					w.running["e2"] = spoilt != "start e2" // it went down again meanwhile
					if spoilt == "preflight" {
						w.checks["preflight"] = []error{refused}
					}
					before := w.end()
					r := &Runner{Record: n.record}
					out := r.Run(t.Context(), w.planOf(Failback), "c", n.progress())
					switch {
					case tt.gated && spoilt == "preflight":
						if out.OK || out.Step != Preflight || out.RouteMoved {
							t.Errorf("%s spoilt: outcome %+v, want it to end at preflight", spoilt, out)
						}
						mustEnd(t, w, before)
					case tt.gated:
						if !out.OK || len(w.log) == 0 || w.log[0] != "start e2" {
							t.Errorf("%s spoilt: outcome %+v, applied %v; want e2 started before anything moves", spoilt, out, w.log)
						}
						mustEnd(t, w, restored)
					case w.dns != "new" || w.route != "new":
						t.Errorf("%s spoilt: outcome %+v; the move that had begun was not carried through: %s", spoilt, out, w.end())
					}
				})
			}
		})
	}
}

// Sites keep their route when federation leaves them, so that the way back
// finds it right. In a move of a pool that is well, such a route has moved
// nothing before DNS has; in a failover there is no way back all the same.
func TestRouteThatNeverLeft(t *testing.T) {
	for _, kind := range PlanKinds() {
		for _, touched := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				w, n := newWorld(), &notebook{}
				w.route = "new"
				w.fail["dns"] = []error{refused}
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				if touched { // and nobody can tell what became of it
					w.fail["dns"] = []error{lost}
					w.onApply = func(what string) {
						if what == "dns" {
							cancel(AbortedBy("anna", "wrong day"))
						}
					}
				}
				r := &Runner{Record: n.record}
				out := r.Run(ctx, w.planOf(kind), "c", Progress{})
				if want := kind == Failover || touched; out.OK || out.Step != DNSRecords || out.RouteMoved != want {
					t.Errorf("%s, DNS touched %v: %+v; want route moved %v", kind, touched, out, want)
				}
			})
		}
	}
}

func TestPlanKinds(t *testing.T) {
	var zero PlanKind
	if zero.String() != "failover" || !zero.Known() || PlanKind("sideways").Known() {
		t.Errorf("zero is %s, known %v", zero, zero.Known())
	}
	if d := cmp.Diff(Steps(), zero.Steps()); d != "" {
		t.Errorf("zero (-want +got):\n%s", d)
	}
	if d := cmp.Diff(Steps(), Switchover.Steps()); d != "" {
		t.Errorf("switchover (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]StepName{Preflight, StartServices, SetRoute, DNSRecords, CheckPort, Verify}, Failback.Steps()); d != "" {
		t.Errorf("failback (-want +got):\n%s", d)
	}
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{}
		plan := w.plan()
		plan.Kind = "sideways"
		r := &Runner{Record: n.record}
		if out := r.Run(t.Context(), plan, "c", Progress{}); out.OK || len(n.records) != 0 || !strings.Contains(out.Error, "sideways") {
			t.Errorf("a kind that nobody knows: %+v, records %v", out, n.records)
		}
	})
}
