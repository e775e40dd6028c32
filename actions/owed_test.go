package actions

import (
	"slices"
	"testing"
	"testing/synctest"
)

// Runbook step 7: an earlier chain stopped e2 and could not start it again.
// The next one finds it stopped, stops nothing there itself, and owes it a
// start all the same, however early it fails.
func TestOwesWhatAnEarlierChainLeftStopped(t *testing.T) {
	for _, step := range []StepName{Preflight, StopServices, SetRoute} {
		synctest.Test(t, func(t *testing.T) {
			w, n := newWorld(), &notebook{}
			w.running["e2"] = false
			switch step {
			case Preflight:
				w.checks["preflight"] = []error{refused}
			case StopServices:
				w.fail["stop e1"] = []error{refused}
			default:
				w.fail["route"] = []error{refused}
			}
			plan := w.plan()
			plan.Owed = []string{"e2"}
			r := &Runner{Record: n.record}
			out := r.Run(t.Context(), plan, "c", Progress{})
			if out.OK || out.Step != step || len(out.Stopped) != 0 {
				t.Errorf("%s: outcome %+v", step, out)
			}
			mustEnd(t, w, untouched)
		})
	}
}

// Who still cannot be started is named once more, and no more once it runs.
func TestNamesWhatIsStillOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{}
		w.running["e2"] = false
		w.checks["preflight"] = []error{refused}
		w.fail["start e2"] = []error{refused}
		plan := w.plan()
		plan.Owed = []string{"e2"}
		r := &Runner{Record: n.record}
		if out := r.Run(t.Context(), plan, "c1", Progress{}); !slices.Equal(out.Stopped, []string{"e2"}) {
			t.Errorf("outcome %+v, want e2 named as stopped", out)
		}
		n.records = nil
		if out := r.Run(t.Context(), plan, "c2", Progress{}); !out.OK || len(out.Stopped) != 0 {
			t.Errorf("outcome %+v, want it done and nothing stopped", out)
		}
	})
}
