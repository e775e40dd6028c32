package actions

import (
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
