package watchdog_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/actions"
	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// The disk that ended the last life in the middle of a failover is still full
// when the next one begins: the failover is taken up once it is not.
func TestEngineTakesUpOnceTheJournalCanBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		p := startEngine(t, w, j)
		p.until(time.Minute, "stopping services", func(*watchdog.Snapshot) bool { return w.count("stop edge3") == 1 })
		w.with(func(w *estate) { w.life++ })
		dead := j.CrashAt(1, false)
		<-dead
		p.cancel()
		j = j.Reopen()
		<-p.ended
		for range 3 {
			j.FailNext(errors.New("no space left on device"))
		}
		p = startEngine(t, w, j)
		p.until(10*time.Minute, "failed over", activeIs("EdgePool2"))
		p.stop()
		if got := w.String(); got != onPool2 {
			t.Errorf("the estate ended as %s", got)
		}
	})
}

// What was decided before the stop is over: a process that begins with nothing
// running does not look as if something were.
func TestEngineBeginsIdleAfterAStopInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		p := startEngine(t, w, j)
		p.until(time.Minute, "stopping services", func(*watchdog.Snapshot) bool { return w.count("stop edge3") == 1 })
		p.stop()
		e := watchdog.NewEngine(testSettings(), watchdog.Ports{Senses: w.senses(), Plan: w.plan, Journal: j})
		if err := e.Replay(t.Context()); err != nil {
			t.Fatal(err)
		}
		if s := e.Snapshot(); s.State != watchdog.Watching {
			t.Errorf("state %s with nothing running", s.State)
		}
	})
}

// While the pool is down and nobody can take over, one minute is long enough
// between two looks at who can.
func TestEngineLooksForACandidateSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.notReady["EdgePool2"] = errors.New("edge3: WinRM: connection refused")
		p := startEngine(t, w, j)
		time.Sleep(time.Minute)
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		p.until(time.Minute, "held", func(s *watchdog.Snapshot) bool { return s.Decision.BlockedBy == watchdog.GuardCandidate })
		w.with(func(w *estate) { clear(w.notReady) })
		p.until(100*time.Second, "failed over", activeIs("EdgePool2"))
		p.stop()
	})
}

// The configuration no longer knows the pool that a failover died on its way
// to: what that one left behind is named, so that a person can put it right.
func TestEngineNamesWhatItCannotTakeUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		p := startEngine(t, w, j)
		p.until(time.Minute, "moving the route", func(*watchdog.Snapshot) bool { return w.count("route") == 1 })
		w.with(func(w *estate) { w.life++ })
		dead := j.CrashAt(1, false)
		<-dead
		p.cancel()
		j = j.Reopen()
		<-p.ended

		s := testSettings()
		s.Rules.Pools, s.Watch.Pools = s.Rules.Pools[:1], s.Watch.Pools[:1]
		noPlan := func(_ actions.PlanKind, _, to string) (*actions.Plan, error) {
			return nil, errors.New("no such pool: " + to)
		}
		e := watchdog.NewEngine(s, watchdog.Ports{Senses: w.senses(), Plan: noPlan, Journal: j})
		ctx, cancel := context.WithCancel(t.Context())
		if err := e.Replay(ctx); err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		time.Sleep(time.Second)
		synctest.Wait()
		snap := e.Snapshot()
		out := snap.Chain.Outcome
		if out == nil || out.OK || !out.RouteMoved || !slices.Equal(out.Stopped, []string{"edge3", "edge4"}) {
			t.Errorf("outcome %+v; want the route moved, edge3 and edge4 stopped", out)
		}
		if snap.Active != "EdgePool1" {
			t.Errorf("active pool %q is not configured", snap.Active)
		}
		cancel()
		<-ended
	})
}

// A journal that could not take one command, and that nothing waits for, is no
// news for ever.
func TestEngineForgetsAJournalErrorThatNothingWaitsFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		p := startEngine(t, w, j)
		time.Sleep(time.Minute)
		j.FailNext(errors.New("no space left on device"))
		if _, err := p.Submit(t.Context(), watchdog.Command{ID: "1", Verb: watchdog.VerbPause, For: time.Hour, Reason: "patching"}); err == nil {
			t.Fatal("accepted without being durable")
		}
		if s := p.Snapshot(); s.JournalError == "" {
			t.Error("the error is not shown")
		}
		time.Sleep(time.Minute)
		if s := p.Snapshot(); s.JournalError != "" {
			t.Errorf("a minute later: %s", s.Headline())
		}
		p.stop()
	})
}

// One blow takes the active pool and edgewatch's own host, in the preflight of
// the failover that it caused. Both are well again some minutes later: nothing
// was touched, and federation stays where it is.
func TestEngineLeavesAPoolThatIsWellAgainAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		p := startEngineWith(t, w, j, func(ports *watchdog.Ports) {
			plan := ports.Plan
			ports.Plan = func(kind actions.PlanKind, from, to string) (*actions.Plan, error) {
				made, err := plan(kind, from, to)
				made.Steps[0].Tasks[0] = slow{made.Steps[0].Tasks[0]}
				return made, err
			}
		})
		p.until(time.Minute, "failing over", func(s *watchdog.Snapshot) bool { return s.State == watchdog.FailingOver })
		if got := kinds(t, j); got[len(got)-1] != "preflight started" {
			t.Fatalf("not in the preflight: %v", got)
		}
		w.with(func(w *estate) { w.life++; w.dead["EdgePool1"] = false })
		dead := j.CrashAt(1, false)
		<-dead
		p.cancel()
		j = j.Reopen()
		<-p.ended
		time.Sleep(10 * time.Minute)
		p = startEngine(t, w, j)
		time.Sleep(10 * time.Minute)
		if s := p.Snapshot(); s.Active != "EdgePool1" || s.State != watchdog.Watching || len(w.log) != 0 {
			t.Errorf("EdgePool1 answers for 20 minutes: active %s, %s, %v", s.Active, s.State, w.log)
		}
		p.stop()
	})
}

// slow is a task whose Check takes its time.
type slow struct{ actions.Task }

func (s slow) Check(ctx context.Context) (actions.Observation, error) {
	time.Sleep(10 * time.Second)
	return s.Task.Check(ctx)
}
