package watchdog_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/actions"
	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// order gives a command and wants it accepted.
func (p *process) order(cmd watchdog.Command) {
	p.t.Helper()
	cmd.Actor, cmd.Via = "anna", "cli"
	if cmd.ID == "" {
		cmd.ID = string(cmd.Verb) + time.Now().String()
	}
	if a, err := p.Submit(p.t.Context(), cmd); err != nil || !a.Accepted {
		p.t.Fatalf("%s: %+v, %v", cmd.Verb, a, err)
	}
}

// A person ends a failover in the middle of stop-services: what was stopped is
// started, the route has not moved, and nothing follows until an ack.
func TestEngineAborts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		p := startEngine(t, w, j)
		p.until(time.Minute, "stopping", func(*watchdog.Snapshot) bool { return w.count("stop edge3") == 1 })
		p.order(watchdog.Command{Verb: watchdog.VerbAbort, Reason: "it is the firewall"})
		s := p.until(time.Minute, "ended", func(s *watchdog.Snapshot) bool { return s.Chain != nil && s.Chain.Outcome != nil })
		if o := s.Chain.Outcome; !o.Aborted || o.RouteMoved || len(o.Stopped) != 0 || !strings.Contains(o.Error, "anna: it is the firewall") {
			t.Errorf("outcome %+v", o)
		}
		time.Sleep(time.Hour)
		if s := p.Snapshot(); s.Decision.BlockedBy != watchdog.GuardUnconfirmed || w.String() != onPool1 {
			t.Errorf("an hour later: %+v, %s", s.Decision, w)
		}
		p.order(watchdog.Command{Verb: watchdog.VerbAck})
		p.until(2*time.Minute, "failed over", activeIs("EdgePool2"))
		p.stop()
	})
}

// Blanks are no reason, whichever surface an order comes through: the API's do
// not go through Order, which trims them.
func TestBlankReasonIsNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := startEngine(t, newEstate(), &watchdogtest.MemJournal{})
		time.Sleep(time.Minute)
		for _, info := range watchdog.Verbs() {
			if !info.Reason {
				continue
			}
			cmd := watchdog.Command{ID: string(info.Verb), Verb: info.Verb, Pool: "EdgePool2", For: time.Hour, Step: actions.Verify, Reason: " \n\u00a0", Force: info.Force}
			if a, err := p.Submit(t.Context(), cmd); a.Accepted || err != nil {
				t.Errorf("%s: %+v, %v", info.Verb, a, err)
			}
		}
		if s := p.Snapshot(); s.Hold != nil || s.Pause != nil || s.Chain != nil || s.Active != "EdgePool1" {
			t.Errorf("%s", s.Headline())
		}
		p.stop()
	})
}

// Whoever may not act any more ends what it does, starts what it stopped and
// begins nothing; once it may, the level is still true.
func TestEngineLosesItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		var lost atomic.Bool
		w.with(func(w *estate) { w.dead["EdgePool1"] = true; w.unproven = true })
		p := startEngineWith(t, w, j, func(ports *watchdog.Ports) {
			ports.Lease = func() error {
				if lost.Load() {
					return errors.New("state.db was replaced")
				}
				return nil
			}
		})
		p.until(time.Minute, "moved", func(*watchdog.Snapshot) bool { return w.count("start edge4") == 1 })
		lost.Store(true)
		s := p.until(time.Minute, "ended", func(s *watchdog.Snapshot) bool { return s.Chain.Outcome != nil })
		if o := s.Chain.Outcome; !o.Interrupted || !strings.Contains(o.Error, "state.db was replaced") {
			t.Errorf("outcome %+v", o)
		}
		begun := len(w.log)
		time.Sleep(time.Hour)
		if s := p.Snapshot(); s.Lease == "" || s.Decision.BlockedBy != watchdog.GuardLease || len(w.log) != begun {
			t.Errorf("an hour later: lease %q, %+v, %v", s.Lease, s.Decision, w.log)
		}
		if a, err := p.Submit(t.Context(), watchdog.Command{ID: "x", Verb: watchdog.VerbRetry, Actor: "anna"}); err != nil || a.Accepted {
			t.Errorf("retry: %+v, %v", a, err)
		}
		lost.Store(false)
		w.with(func(w *estate) { w.unproven = false })
		p.until(2*time.Minute, "failed over", func(s *watchdog.Snapshot) bool { return s.Chain.Outcome != nil && s.Chain.Outcome.OK })
		p.stop()
	})
}

// A step that only looks is left out by order, which survives a crash, and
// nobody is told that anything was proven.
func TestEngineLeavesAStepOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true; w.unproven = true })
		p := startEngine(t, w, j)
		p.until(3*time.Minute, "stuck", func(s *watchdog.Snapshot) bool { return s.State == watchdog.Faulted })
		p.order(watchdog.Command{Verb: watchdog.VerbSkipStep, Step: actions.Verify, Reason: "our partner is down"})
		s := p.until(time.Minute, "done", activeIs("EdgePool2"))
		if o := s.Chain.Outcome; !o.OK || len(o.Skipped) != 1 || o.Skipped[0] != actions.Verify {
			t.Errorf("outcome %+v", o)
		}
		if last := s.Chain.Steps[len(s.Chain.Steps)-1]; last.State != watchdog.StepSkipped {
			t.Errorf("verify is shown as %s", last.State)
		}
		p.stop()
	})
}

// adopt: nothing is changed, the pool starts with a clean slate, and what it
// was as a standby is no evidence.
func TestEngineAdopts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.with(func(w *estate) { w.dead["EdgePool2"] = true })
		p := startEngine(t, w, j)
		time.Sleep(5 * time.Minute)
		w.with(func(w *estate) { w.dead["EdgePool2"], w.dead["EdgePool1"] = false, true })
		p.order(watchdog.Command{Verb: watchdog.VerbAdopt, Pool: "EdgePool2", Reason: "moved by hand"})
		s := p.until(time.Minute, "watching it", func(s *watchdog.Snapshot) bool { return !s.LastRound.IsZero() && s.Active == "EdgePool2" })
		if b := s.Pools[1].Breaker; b.Tripped() {
			t.Errorf("breaker %+v", b)
		}
		time.Sleep(time.Hour)
		if s := p.Snapshot(); s.Active != "EdgePool2" || len(w.log) != 0 {
			t.Errorf("an hour later: active %s, %v", s.Active, w.log)
		}
		p.stop()
	})
}

// The way home: the documented order, in which nothing is stopped.
func TestEngineFailsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		p := startEngine(t, w, j, func(s *watchdog.Settings) { s.Rules.Failback.StableFor = 10 * time.Minute })
		p.until(2*time.Minute, "failed over", activeIs("EdgePool2"))
		w.with(func(w *estate) { w.dead["EdgePool1"] = false })
		back := watchdog.Command{ID: "1", Verb: watchdog.VerbFailback, Pool: "EdgePool1", Reason: "repaired", Actor: "anna"}
		if a, err := p.Submit(t.Context(), back); err != nil || a.Accepted || !strings.Contains(a.Text, "was not seen answering") {
			t.Errorf("at once: %+v, %v", a, err)
		}
		p.until(2*time.Minute, "in quarantine", func(s *watchdog.Snapshot) bool { return strings.Contains(s.Pools[0].Quarantined, "stable from") })
		stops := w.count("stop edge3")
		p.until(15*time.Minute, "out of quarantine", func(s *watchdog.Snapshot) bool { return s.Pools[0].Quarantined == "" })
		p.order(watchdog.Command{Verb: watchdog.VerbFailback, Pool: "EdgePool1", Reason: "repaired"})
		p.until(2*time.Minute, "failed back", activeIs("EdgePool1"))
		if w.String() != onPool1 || w.count("stop edge3") != stops {
			t.Errorf("%s, %v", w, w.log)
		}
		p.stop()
	})
}

// Stopped while the journal is still being replayed: that is no failure.
func TestStoppedBeforeItBegan(t *testing.T) {
	j := &watchdogtest.MemJournal{}
	e := watchdog.NewEngine(testSettings(), watchdog.Ports{Senses: newEstate().senses(), Plan: newEstate().plan, Journal: j})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := watchdog.NewSupervisor(nil, e).Run(ctx); err != nil {
		t.Errorf("run: %v", err)
	}
}

// What a failover left stopped, and a person then did by hand and adopted, is
// not told as stopped any more.
func TestAdoptEndsWhatWasOwed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		refused := &actions.Error{Kind: actions.Rejected, Host: "edge3", Op: "Start-CsWindowsService", Err: errors.New("access denied")}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true; w.refuse["start edge3"] = refused })
		p := startEngine(t, w, j)
		s := p.until(5*time.Minute, "stuck", func(s *watchdog.Snapshot) bool { return s.State == watchdog.Faulted })
		if got := s.Pools[1].Stopped; len(got) != 1 || got[0] != "edge3" {
			t.Errorf("stopped: %v", got)
		}
		w.with(func(w *estate) { w.running["edge3"] = true })
		p.order(watchdog.Command{Verb: watchdog.VerbAdopt, Pool: "EdgePool2", Reason: "started by hand"})
		if got := p.Snapshot().Pools[1].Stopped; len(got) != 0 {
			t.Errorf("still stopped after the adoption: %v", got)
		}
		p.stop()
	})
}

// A defect that ends a failover does not hide what is stopped because of it.
func TestEngineNamesWhatADefectLeftStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		refused := &actions.Error{Kind: actions.Rejected, Host: "edge3", Op: "Start-CsWindowsService", Err: errors.New("access denied")}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true; w.refuse["start edge3"] = refused })
		var broken atomic.Bool
		p := startEngineWith(t, w, j, func(ports *watchdog.Ports) {
			plan := ports.Plan
			ports.Plan = func(kind actions.PlanKind, from, to string) (*actions.Plan, error) {
				if broken.Load() {
					panic("boom")
				}
				return plan(kind, from, to)
			}
		})
		p.until(5*time.Minute, "stuck", func(s *watchdog.Snapshot) bool { return s.State == watchdog.Faulted })
		broken.Store(true)
		s := p.until(5*time.Minute, "tried again", func(s *watchdog.Snapshot) bool { return s.Chain.Retry == 1 && s.Chain.Outcome != nil })
		if o := s.Chain.Outcome; !strings.Contains(o.Error, "boom") || len(o.Stopped) != 1 || o.Stopped[0] != "edge3" {
			t.Errorf("outcome: %q, stopped %v", o.Error, o.Stopped)
		}
		p.stop()
	})
}

// A dry order is answered as if it were given, and nothing comes of it.
func TestEngineAnswersDryOrders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		p := startEngine(t, w, j)
		time.Sleep(time.Minute)
		dry := func(verb watchdog.Verb, pool string) watchdog.Answer {
			a, err := p.Submit(t.Context(), watchdog.Command{ID: string(verb), Verb: verb, Pool: pool, Reason: "why", Actor: "anna", Dry: true})
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		before := len(kinds(t, j))
		if a := dry(watchdog.VerbSwitchover, "EdgePool2"); !a.Accepted {
			t.Errorf("switchover: %+v", a)
		}
		if a := dry(watchdog.VerbFailover, "EdgePool2"); a.Accepted || !strings.Contains(a.Text, "EdgePool1 answers") {
			t.Errorf("failover: %+v", a)
		}
		time.Sleep(10 * time.Minute)
		if s := p.Snapshot(); s.Chain != nil || len(w.log) != 0 || len(kinds(t, j)) != before {
			t.Errorf("something came of it: %+v, %v, %v", s.Chain, w.log, kinds(t, j))
		}
		p.order(watchdog.Command{ID: "switchover", Verb: watchdog.VerbSwitchover, Pool: "EdgePool2", Reason: "why"})
		p.until(2*time.Minute, "moved", activeIs("EdgePool2"))
		p.stop()
	})
}

// An order that is named like an event of the engine is refused, and the
// failover that is running is the only one.
func TestEngineTakesNoOrderForAnEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		var plans atomic.Int32
		p := startEngineWith(t, w, j, func(ports *watchdog.Ports) {
			ports.Plan = func(kind actions.PlanKind, from, to string) (*actions.Plan, error) {
				plans.Add(1)
				return w.plan(kind, from, to)
			}
		})
		p.until(time.Minute, "stopping", func(*watchdog.Snapshot) bool { return w.count("stop edge3") == 1 })
		for _, verb := range []watchdog.Verb{"start", "step record", "end of a failover", "tick"} {
			a, err := p.Submit(t.Context(), watchdog.Command{ID: string(verb), Verb: verb, Reason: "x"})
			if err != nil || a.Accepted || !strings.Contains(a.Text, "there is no command") {
				t.Errorf("%s: %+v, %v", verb, a, err)
			}
		}
		p.until(5*time.Minute, "failed over", activeIs("EdgePool2"))
		p.stop()
		if plans.Load() != 1 || w.String() != onPool2 {
			t.Errorf("%d runs, %s", plans.Load(), w)
		}
	})
}

// A pool whose readiness nobody knows is refused with the time of its check.
func TestEngineTellsWhenReadinessIsChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		p := startEngine(t, w, j)
		p.until(time.Minute, "seen and surveyed", func(s *watchdog.Snapshot) bool {
			return s.Pools[1].Readiness.Ready && s.Pools[0].Verdict == watchdog.PoolUp
		})
		first := time.Now()
		p.order(watchdog.Command{Verb: watchdog.VerbSwitchover, Pool: "EdgePool2", Reason: "patch day"})
		p.until(2*time.Minute, "moved", activeIs("EdgePool2"))
		back := watchdog.Command{ID: "back", Verb: watchdog.VerbSwitchover, Pool: "EdgePool1", Reason: "patched", Actor: "anna"}
		p.until(time.Minute, "seen", func(s *watchdog.Snapshot) bool { return s.Pools[1].Verdict == watchdog.PoolUp })
		a, err := p.Submit(t.Context(), back)
		want := "EdgePool1: its readiness is not known yet; it is checked at " + first.Add(5*time.Minute).UTC().Format("2006-01-02 15:04")
		if err != nil || a.Accepted || !strings.HasPrefix(a.Text, want) || !strings.Contains(a.Text, " at the latest. To try it all the same") {
			t.Errorf("%+v, %v; want %q", a, err, want)
		}
		p.until(10*time.Minute, "checked", func(s *watchdog.Snapshot) bool { return s.Pools[0].Readiness.Ready })
		p.stop()
	})
}
