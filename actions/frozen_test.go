package actions

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// frozen is a task whose first look takes as long as a process stands still.
type frozen struct {
	Task
	still *time.Duration
}

func (f frozen) Check(ctx context.Context) (Observation, error) {
	still := *f.still
	*f.still = 0
	time.Sleep(still) // which no context ends
	if ctx.Err() != nil {
		return Observation{}, context.Cause(ctx)
	}
	return f.Task.Check(ctx)
}

// A process that stands still while it starts what it stopped does so once it
// goes on, however long that was.
func TestRescueOutlastsAFreeze(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fail["route"] = []error{&Error{Kind: Rejected, Err: errors.New("refused")}}
		plan := w.plan()
		still := time.Duration(0)
		for i := range plan.Steps {
			switch s := &plan.Steps[i]; s.Name {
			case SetRoute:
				s.Tasks[0] = &job{w, "route", "route", func(*world) bool { still = time.Hour; return false }, nil, w.life}
			case StartServices:
				s.Tasks[0] = frozen{s.Tasks[0], &still}
			default:
			}
		}
		out := (&Runner{Record: (&notebook{}).record}).Run(t.Context(), plan, "c", Progress{})
		if out.OK || len(out.Stopped) != 0 {
			t.Errorf("outcome %+v", out)
		}
	})
}
