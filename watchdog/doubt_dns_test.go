package watchdog_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/actions"
	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// server is the name server: away, or refusing what the failback sends.
type server struct {
	actions.Task
	w     *estate
	state *string
}

func (s server) is() string {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	return *s.state
}

func (s server) Check(ctx context.Context) (actions.Observation, error) {
	if s.is() == "away" {
		return actions.Observation{}, &actions.Error{Kind: actions.Transient, Host: "ns1", Op: "query", Err: errors.New("i/o timeout")}
	}
	return s.Task.Check(ctx)
}

func (s server) Apply(ctx context.Context) error {
	switch s.is() {
	case "dying":
		s.w.with(func(*estate) { *s.state = "away" })
		return &actions.Error{Kind: actions.Indeterminate, Host: "ns1", Op: "UPDATE", Err: errors.New("i/o timeout")}
	case "refuses":
		return &actions.Error{Kind: actions.Rejected, Host: "ns1", Op: "UPDATE", Err: errors.New("REFUSED")}
	}
	return s.Task.Apply(ctx)
}

// A failback whose route was right already: its name server dies in the update,
// comes back and refuses. DNS has not left EdgePool2: it is tried until it has.
func TestFailbackWhoseDNSWasInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		state := ""
		w.with(func(w *estate) { w.route, w.dns = "EdgePool1", "EdgePool2" })
		p := startEngineWith(t, w, j, func(ports *watchdog.Ports) {
			plan := ports.Plan
			ports.Plan = func(kind actions.PlanKind, from, to string) (*actions.Plan, error) {
				made, err := plan(kind, from, to)
				for i, s := range made.Steps {
					if s.Name == actions.DNSRecords {
						made.Steps[i].Tasks[0] = server{s.Tasks[0], w, &state}
					}
				}
				return made, err
			}
		})
		time.Sleep(time.Minute)
		p.order(watchdog.Command{ID: "1", Verb: watchdog.VerbAdopt, Pool: "EdgePool2", Reason: "it is there"})
		time.Sleep(10 * time.Minute)
		state = "dying"
		p.order(watchdog.Command{ID: "2", Verb: watchdog.VerbFailback, Pool: "EdgePool1", Reason: "home"})
		p.until(10*time.Minute, "faulted", func(s *watchdog.Snapshot) bool { return s.State == watchdog.Faulted })
		w.with(func(*estate) { state = "refuses" })
		s := p.until(10*time.Minute, "tried again", func(s *watchdog.Snapshot) bool { return s.Chain.Retry == 1 && s.Chain.Outcome != nil })
		if !s.Chain.Outcome.RouteMoved {
			t.Errorf("the second run takes the move back: %+v", s.Chain.Outcome)
		}
		w.with(func(*estate) { state = "" })
		time.Sleep(3 * time.Hour)
		s = p.Snapshot()
		w.with(func(w *estate) {
			if w.dns != s.Active {
				t.Errorf("DNS leads to %s, active is %s, state %s: %s", w.dns, s.Active, s.State, s.Headline())
			}
		})
		p.stop()
	})
}

// A defect in what makes plans, before anything was touched, moves nothing.
func TestAPanicBeforeAnythingWasTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		p := startEngineWith(t, w, j, func(ports *watchdog.Ports) {
			ports.Plan = func(actions.PlanKind, string, string) (*actions.Plan, error) { panic("index out of range") }
		})
		time.Sleep(5 * time.Minute)
		if s := p.Snapshot(); s.Active != "EdgePool1" {
			t.Errorf("nothing was touched, and active is %s: %s", s.Active, s.Headline())
		}
		p.stop()
	})
}
