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

// management is the host that moves the route: while it is away nobody knows
// what became of Set-CsSite, and while it only reads Set-CsSite fails.
type management struct {
	actions.Task
	w     *estate
	state *string // "leaves" when it is told to, "away", "reads" or ""
}

func (m management) is() string {
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	return *m.state
}

func (m management) fault(kind actions.Kind) error {
	return &actions.Error{Kind: kind, Host: "fe1", Op: "Set-CsSite", Err: errors.New(m.is())}
}

func (m management) Check(ctx context.Context) (actions.Observation, error) {
	if m.is() == "away" {
		return actions.Observation{}, m.fault(actions.Transient)
	}
	return m.Task.Check(ctx)
}

func (m management) Apply(ctx context.Context) error {
	switch m.is() {
	case "leaves", "away":
		m.w.with(func(*estate) { *m.state = "away" })
		return m.fault(actions.Indeterminate)
	case "reads":
		return m.fault(actions.AskHuman)
	}
	return m.Task.Apply(ctx)
}

// managed starts an engine whose route is moved by such a management host.
func managed(t *testing.T, w *estate, j *watchdogtest.MemJournal, state *string) *process {
	t.Helper()
	return startEngineWith(t, w, j, wrapped(actions.SetRoute, func(t actions.Task) actions.Task { return management{t, w, state} }))
}

// In the first run nobody knows whether the route moved, so that it counts as
// moved and the failover is tried again. The second run sees that it had not:
// that takes nothing back, and it is tried until it is through.
func TestDoubtfulRouteSeenUnmovedLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		state := "leaves"
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		p := managed(t, w, j, &state)
		s := p.until(5*time.Minute, "faulted", func(s *watchdog.Snapshot) bool { return s.State == watchdog.Faulted })
		if s.Active != "EdgePool2" {
			t.Errorf("after the first run: active %s, %s", s.Active, s.Headline())
		}
		w.with(func(*estate) { state = "reads" })
		s = p.until(5*time.Minute, "tried again", func(s *watchdog.Snapshot) bool { return s.Chain.Retry == 1 && s.Chain.Outcome != nil })
		if !s.Chain.Outcome.RouteMoved || s.State != watchdog.Faulted {
			t.Errorf("after the second run: %+v, %s", s.Chain.Outcome, s.Headline())
		}
		w.with(func(*estate) { state = "" }) // all is well again, but EdgePool1 is dead
		time.Sleep(3 * time.Hour)
		s = p.Snapshot()
		if got := w.String(); got != onPool2 {
			t.Errorf("three hours later: %s; active %s, incident %q, state %s, %s", got, s.Active, s.Incident, s.State, s.Headline())
		}
		p.stop()
	})
}

// Likewise when edgewatch is merely restarted while the second run is under way.
func TestDoubtfulRouteAndARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		state := "leaves"
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		p := managed(t, w, j, &state)
		p.until(5*time.Minute, "faulted", func(s *watchdog.Snapshot) bool { return s.State == watchdog.Faulted })
		w.with(func(*estate) { state = "" })
		p.until(5*time.Minute, "tried again", func(s *watchdog.Snapshot) bool { return s.Chain.Retry == 1 && s.Chain.Outcome == nil })
		p.stop()
		p = managed(t, w, j, &state)
		time.Sleep(3 * time.Hour)
		s := p.Snapshot()
		if got := w.String(); got != onPool2 {
			t.Errorf("three hours later: %s; active %s, incident %q, state %s, %s", got, s.Active, s.Incident, s.State, s.Headline())
		}
		p.stop()
	})
}

// A management host that is away before it was told anything has moved nothing, and
// nothing is taken for moved: what was stopped is started.
func TestARouteThatCouldNotBeSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		state := "away"
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		p := managed(t, w, j, &state)
		s := p.until(5*time.Minute, "ended", func(s *watchdog.Snapshot) bool { return s.Chain != nil && s.Chain.Outcome != nil })
		if out := s.Chain.Outcome; out.RouteMoved || len(out.Stopped) > 0 || s.Active != "EdgePool1" {
			t.Errorf("active %s, %s: %+v", s.Active, s.Headline(), out)
		}
		w.with(func(*estate) { state = "" })
		time.Sleep(3 * time.Hour)
		if got := w.String(); got != onPool2 {
			s := p.Snapshot()
			t.Errorf("three hours later: %s; active %s, state %s, %s", got, s.Active, s.State, s.Headline())
		}
		p.stop()
	})
}
