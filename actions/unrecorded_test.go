package actions

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
)

// A record that cannot be written ends a run, and says that the target is not
// to blame.
func TestUnrecordedIsNothingAgainstTheTarget(t *testing.T) {
	full := errors.New("no space left on device")
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		n := &notebook{before: func(i int, r Record) error {
			if r.Step == SetRoute && !r.Rescue {
				return full
			}
			return nil
		}}
		out := (&Runner{Record: n.record}).Run(t.Context(), w.plan(), "c", Progress{})
		if out.OK || !out.Unrecorded || out.Interrupted || out.RouteMoved || len(out.Stopped) != 0 || !strings.Contains(out.Error, "no space left") {
			t.Errorf("outcome %+v", out)
		}
		mustEnd(t, w, untouched)
	})
	synctest.Test(t, func(t *testing.T) {
		w, n := newWorld(), &notebook{}
		w.fail["route"] = []error{refused}
		if out := (&Runner{Record: n.record}).Run(t.Context(), w.plan(), "c", Progress{}); out.OK || out.Unrecorded {
			t.Errorf("the target refused, and the outcome is %+v", out)
		}
	})
}

// A server that was not started because that could not be written down is
// started once it can, though enough others run without it.
func TestUnrecordedStartIsMadeUpFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		plan := w.plan()
		for i := range plan.Steps {
			switch s := &plan.Steps[i]; s.Name {
			case StartServices:
				s.Need = 1
			case Verify:
				s.Tasks = []Task{&job{w, "verify", "verify", func(w *world) bool { return w.running["e1"] || w.running["e2"] }, nil, w.life}}
			default:
			}
		}
		hung := 0
		n := &notebook{before: func(i int, r Record) error {
			begins := r.Step == StartServices && r.Phase == Started
			if begins && (r.Target == "e2" && hung == 0 || r.Target == "" && hung == 1) {
				hung++ // and once more, as a disk does
				return errors.New("the journal does not answer")
			}
			return nil
		}}
		ctx, cancel := context.WithCancel(t.Context())
		n.after = func(_ int, r Record) { // the process is told to end then
			if r.Step == Verify && r.Target == "" && r.Phase != Started {
				cancel()
			}
		}
		out := (&Runner{Record: n.record}).Run(ctx, plan, "c", Progress{})
		if !out.OK || len(out.Stopped) != 0 || hung != 2 || ctx.Err() == nil {
			t.Errorf("outcome %+v, %d records failed", out, hung)
		}
	})
}
