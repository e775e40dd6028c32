package actions

import (
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
)

// What only looks may be skipped, and an Outcome tells that it was.
func TestSkip(t *testing.T) {
	for _, kind := range PlanKinds() {
		for _, step := range []StepName{CheckPort, Verify} {
			synctest.Test(t, func(t *testing.T) {
				w, n := newWorld(), &notebook{}
				w.checks["port"], w.checks["verify"] = []error{refused}, []error{refused}
				delete(w.checks, map[StepName]string{CheckPort: "verify", Verify: "port"}[step])
				plan := w.planOf(kind)
				plan.Skip = map[StepName]string{step: "anna via cli: our firewall drops it"}
				r := &Runner{Record: n.record}
				out := r.Run(t.Context(), plan, "c", Progress{})
				if d := cmp.Diff([]StepName{step}, out.Skipped); d != "" || !out.OK {
					t.Errorf("%s without %s: %+v; skipped (-want +got):\n%s", kind, step, out, d)
				}
				var got []Record
				for _, rec := range n.records {
					if rec.Step == step {
						got = append(got, rec)
					}
				}
				want := []Record{{Chain: "c", Step: step, Phase: Skipped, Detail: "anna via cli: our firewall drops it"}}
				if d := cmp.Diff(want, got); d != "" {
					t.Errorf("records (-want +got):\n%s", d)
				}
				if got[0].Word() != "skipped" {
					t.Errorf("in a word: %q", got[0].Word())
				}
				mustEnd(t, w, restored)
			})
		}
	}
}

// What changes something, or proves that something may be changed, is never
// skipped: such a plan is refused before anything of it begins.
func TestSkipRefused(t *testing.T) {
	var may []StepName
	for _, step := range Steps() {
		if Skippable(step) {
			may = append(may, step)
		}
	}
	if d := cmp.Diff([]StepName{CheckPort, Verify}, may); d != "" {
		t.Errorf("may be skipped (-want +got):\n%s", d)
	}
	for step, why := range map[StepName]string{
		Preflight: "anna", StopServices: "anna", SetRoute: "anna", DNSRecords: "anna", StartServices: "anna", "tea-break": "anna", Verify: "",
	} {
		t.Run(string(step), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, n := newWorld(), &notebook{}
				plan := w.plan()
				plan.Skip = map[StepName]string{step: why}
				if kind := KindOf(plan.Validate()); plan.Validate() == nil || kind != AskHuman {
					t.Errorf("Validate: %v (%v)", plan.Validate(), kind)
				}
				r := &Runner{Record: n.record}
				out := r.Run(t.Context(), plan, "c", Progress{})
				if out.OK || out.Step != step || out.RouteMoved || len(n.records) != 0 || len(w.log) != 0 || !strings.Contains(out.Error, string(step)) {
					t.Errorf("outcome %+v, records %v, applied %v", out, n.records, w.log)
				}
			})
		})
	}
}

// A refused order does not relieve the chain of what it owes.
func TestSkipRefusedStillStarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{records: []Record{{Step: StopServices, Phase: Started}, {Step: StopServices, Target: "e1", Phase: Started}}}
		w.running["e1"] = false
		plan := w.plan()
		plan.Skip = map[StepName]string{StartServices: "anna"}
		r := &Runner{Record: n.record}
		if out := r.Run(t.Context(), plan, "c", n.progress()); out.OK || len(out.Stopped) != 0 {
			t.Errorf("outcome %+v", out)
		}
		mustEnd(t, w, untouched)
	})
}

// Once it is durable that a step is skipped, it stays so for this chain, also
// where a plan no longer says it. One that was passed is not skipped later.
func TestSkipSurvivesResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{}
		plan := w.plan()
		plan.Skip = map[StepName]string{CheckPort: "anna", Verify: "anna"}
		r := &Runner{Record: n.record}
		w.fail["start e2"] = []error{refused}
		first := r.Run(t.Context(), plan, "c", Progress{})
		if d := cmp.Diff([]StepName{CheckPort}, first.Skipped); d != "" || first.OK || first.Step != StartServices {
			t.Errorf("outcome %+v; skipped (-want +got):\n%s", first, d)
		}
		n.records = append(n.records, Record{Step: Verify, Phase: Skipped, Detail: "anna"})
		w.checks["port"], w.checks["verify"] = []error{refused}, []error{refused}
		out := r.Run(t.Context(), w.plan(), "c", n.progress())
		if d := cmp.Diff([]StepName{CheckPort, Verify}, out.Skipped); d != "" || !out.OK {
			t.Errorf("taken up again: %+v; skipped (-want +got):\n%s", out, d)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{}
		w.checks["verify"] = []error{refused}
		r := &Runner{Record: n.record}
		if out := r.Run(t.Context(), w.plan(), "c", Progress{}); out.Step != Verify {
			t.Errorf("outcome %+v", out)
		}
		plan := w.plan()
		plan.Skip = map[StepName]string{CheckPort: "anna"}
		if out := r.Run(t.Context(), plan, "c", n.progress()); !out.OK || len(out.Skipped) != 0 {
			t.Errorf("port was checked before: %+v", out)
		}
	})
}

// Records of a journal that claim more than may be skipped are not believed.
func TestSkippedIsNotBelievedOfEveryStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{records: []Record{{Step: DNSRecords, Phase: Skipped, Detail: "anna"}}}
		r := &Runner{Record: n.record}
		if out := r.Run(t.Context(), w.plan(), "c", n.progress()); !out.OK || len(out.Skipped) != 0 {
			t.Errorf("outcome %+v", out)
		}
		mustEnd(t, w, restored)
	})
}
