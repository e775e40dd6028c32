package watchdog_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgewatch/actions"
	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// The main job: the primary dies, federation moves, in documented order.
func TestEngineFailsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		p := startEngine(t, w, j)
		time.Sleep(time.Minute)
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		died := time.Now()
		s := p.until(2*time.Minute, "failed over", activeIs("EdgePool2"))
		t.Logf("restored after %v", time.Since(died))
		if !s.Chain.Outcome.OK || w.String() != onPool2 {
			t.Errorf("outcome %+v, estate %s", s.Chain.Outcome, w)
		}
		if d := s.Chain.Detected.Sub(died); d < -time.Second || d > 11*time.Second { // it may die in the middle of a round
			t.Errorf("first bad round %v after the death", d)
		}
		p.stop()
		want := []string{
			"notice", "decision", "decision", "pool", "decision", "chain",
			"preflight started", "preflight already", "stop-services started", "stop-services finished",
			"set-route started", "set-route finished", "dns-records started", "dns-records finished",
			"check-port started", "check-port already", "start-services started", "start-services finished",
			"verify started", "verify already", "chain_end", "decision",
		}
		if d := cmp.Diff(want, kinds(t, j)); d != "" {
			t.Errorf("journal (-want +got):\n%s", d)
		}
	})
}

// Unknown is never down: cut off ourselves, we hold and say so.
func TestEngineHoldsWhenCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		p := startEngine(t, w, j)
		time.Sleep(time.Minute)
		w.with(func(w *estate) { w.cutOff = true })
		s := p.until(time.Minute, "held by the canaries", func(s *watchdog.Snapshot) bool {
			return s.Decision.BlockedBy == watchdog.GuardCanaries
		})
		if !strings.Contains(s.Headline(), "canaries") {
			t.Errorf("headline %q does not name the canaries", s.Headline())
		}
		time.Sleep(24 * time.Hour)
		if got := w.String(); got != onPool1 || has(kinds(t, j), "chain") {
			t.Errorf("a day later: %s, journal %v", got, kinds(t, j))
		}
		w.with(func(w *estate) { w.cutOff = false })
		p.until(time.Minute, "watching again", func(s *watchdog.Snapshot) bool { return s.State == watchdog.Watching })
		p.stop()
	})
}

// A journal that cannot be written: nothing is decided, and once it can be,
// the level is still true and acted on.
func TestEngineActsOnlyOnADurableJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		p := startEngine(t, w, j)
		time.Sleep(time.Minute)
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		const failures = 20
		for range failures {
			j.FailNext(errors.New("no space left on device"))
		}
		s := p.until(time.Minute, "complaining", func(s *watchdog.Snapshot) bool { return s.JournalError != "" })
		if !strings.Contains(s.Headline(), "no space left on device") {
			t.Errorf("headline: %s", s.Headline())
		}
		w.with(func(w *estate) {
			if len(w.log) != 0 {
				t.Errorf("%v was applied without a record", w.log)
			}
		})
		p.until(10*time.Minute, "failed over", activeIs("EdgePool2"))
		p.stop()
	})
}

// Whether an entry was kept is not known: the engine ends, and its next life
// reads what is so.
func TestEngineEndsWhenTheJournalIsUnsure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		p := startEngine(t, w, j)
		time.Sleep(time.Minute)
		j.UnsureNext(true)
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		if err := <-p.ended; !errors.Is(err, watchdog.ErrJournalUnsure) {
			t.Fatalf("run ended with %v", err)
		}
		if _, err := p.Submit(t.Context(), watchdog.Command{Verb: watchdog.VerbAck}); !errors.Is(err, watchdog.ErrStopping) {
			t.Errorf("a command to an ended engine: %v", err)
		}
		p = startEngine(t, w, j)
		p.until(5*time.Minute, "failed over", activeIs("EdgePool2"))
		p.stop()
	})
}

// A crash at every journal boundary, with and without the entry kept: the
// next life ends where an uninterrupted one does, and repeats nothing.
func TestEngineCrashAnywhere(t *testing.T) {
	tried := 0
	for _, kept := range []bool{false, true} {
		for n := 1; ; n++ {
			crashed := false
			synctest.Test(t, func(t *testing.T) { crashed = crashAt(t, n, kept) })
			if !crashed {
				break
			}
			tried++
		}
	}
	if tried < 60 {
		t.Errorf("only %d crashes were tried", tried)
	}
}

func crashAt(t *testing.T, n int, kept bool) bool {
	t.Helper()
	w, j := newEstate(), &watchdogtest.MemJournal{}
	dead := j.CrashAt(n, kept)
	w.with(func(w *estate) { w.dead["EdgePool1"] = true })
	p := startEngine(t, w, j)
	select {
	case <-dead:
	case <-time.After(5 * time.Minute):
		p.stop()
		return false
	}
	w.with(func(w *estate) { w.life++ })
	p.cancel()
	j = j.Reopen()
	<-p.ended
	p = startEngine(t, w, j)
	p.until(10*time.Minute, "failed over", activeIs("EdgePool2"))
	p.stop()
	if got := w.String(); got != onPool2 {
		t.Errorf("crash at append %d (kept %v): the estate ended as %s", n, kept, got)
	}
	for _, what := range []string{"stop edge3", "stop edge4", "route", "dns", "start edge3", "start edge4"} {
		if got := w.count(what); got != 1 {
			t.Errorf("crash at append %d (kept %v): %s was applied %d times", n, kept, what, got)
		}
	}
	return true
}

// Stopped in the middle of a failover, edgewatch starts the services again
// before it ends, and its next life begins the failover anew.
func TestEngineStopsInTheMiddle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		p := startEngine(t, w, j)
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		p.until(time.Minute, "stopping services", func(*watchdog.Snapshot) bool { return w.count("stop edge3") == 1 })
		p.stop()
		if got := w.String(); got != onPool1 {
			t.Errorf("after the end: %s %v", got, kinds(t, j))
		}
		p = startEngine(t, w, j)
		p.until(5*time.Minute, "failed over", activeIs("EdgePool2"))
		p.stop()
	})
}

// After the route moved nothing is rolled back: services run, the rest is
// tried again until it works.
func TestEngineRetriesAfterTheRouteMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.refuse["dns"] = &actions.Error{Kind: actions.Rejected, Host: "ns1", Op: "UPDATE", Err: errors.New("REFUSED"), Next: "grant the key"}
		p := startEngine(t, w, j)
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		s := p.until(2*time.Minute, "faulted", func(s *watchdog.Snapshot) bool { return s.State == watchdog.Faulted })
		if !strings.Contains(s.Headline(), "grant the key") {
			t.Errorf("headline does not say what to do: %s", s.Headline())
		}
		if got := w.String(); got != "edge3=true edge4=true route=EdgePool2 dns=EdgePool1" {
			t.Errorf("faulted: %s", got)
		}
		w.with(func(w *estate) { clear(w.refuse) })
		p.until(3*time.Minute, "restored", func(s *watchdog.Snapshot) bool { return s.Chain.Outcome != nil && s.Chain.Outcome.OK })
		if got := w.String(); got != onPool2 || w.count("stop edge3") != 1 {
			t.Errorf("after the retry: %s, stopped %d times", got, w.count("stop edge3"))
		}
		p.stop()
	})
}

// A candidate that is not ready is not tried; once it is, it is.
func TestEngineWaitsForACandidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.notReady["EdgePool2"] = errors.New("edge3: WinRM login: access denied")
		p := startEngine(t, w, j)
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		s := p.until(2*time.Minute, "held", func(s *watchdog.Snapshot) bool { return s.Decision.BlockedBy == watchdog.GuardCandidate })
		if !strings.Contains(s.Decision.Because, "access denied") {
			t.Errorf("because %q", s.Decision.Because)
		}
		w.with(func(w *estate) { clear(w.notReady) })
		p.until(10*time.Minute, "failed over", activeIs("EdgePool2"))
		p.stop()
	})
}

func TestEngineCommands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		p := startEngine(t, w, j)
		time.Sleep(time.Minute)
		pause := watchdog.Command{ID: "1", Verb: watchdog.VerbPause, For: time.Hour, Reason: "patching", Actor: "anna", Via: "cli"}
		first, err := p.Submit(t.Context(), pause)
		if err != nil || !first.Accepted || first.Entry == 0 {
			t.Fatalf("pause: %+v, %v", first, err)
		}
		again, err := p.Submit(t.Context(), pause)
		if err != nil || again.Entry != first.Entry {
			t.Errorf("the same command again: %+v, %v", again, err)
		}
		j.FailNext(errors.New("no space left on device"))
		if a, err := p.Submit(t.Context(), watchdog.Command{ID: "2", Verb: watchdog.VerbResume}); err == nil || a.Accepted {
			t.Errorf("accepted without being durable: %+v, %v", a, err)
		}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		p.until(2*time.Minute, "held by the pause", func(s *watchdog.Snapshot) bool { return s.Decision.BlockedBy == watchdog.GuardPause })
		if a, err := p.Submit(t.Context(), watchdog.Command{ID: "3", Verb: watchdog.VerbFailover, Pool: "EdgePool9", Reason: "x"}); err != nil || a.Accepted {
			t.Errorf("unknown pool: %+v, %v", a, err)
		}
		if a, err := p.Submit(t.Context(), watchdog.Command{ID: "4", Verb: watchdog.VerbResume, Actor: "anna"}); err != nil || !a.Accepted {
			t.Errorf("resume: %+v, %v", a, err)
		}
		p.until(2*time.Minute, "failed over", activeIs("EdgePool2"))
		p.stop()
	})
}

// The pause ends by itself and with it the hold.
func TestEnginePauseExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		p := startEngine(t, w, j)
		if _, err := p.Submit(t.Context(), watchdog.Command{ID: "1", Verb: watchdog.VerbPause, For: time.Hour, Reason: "patching", Actor: "anna"}); err != nil {
			t.Fatal(err)
		}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		time.Sleep(59 * time.Minute)
		if has(kinds(t, j), "chain") {
			t.Error("failed over while paused")
		}
		p.until(5*time.Minute, "failed over", activeIs("EdgePool2"))
		p.stop()
	})
}

// A supervisor finds its federations and refuses others.
func TestSupervisor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		e := watchdog.NewEngine(testSettings(), watchdog.Ports{Senses: w.senses(), Plan: w.plan, Journal: j})
		sup := watchdog.NewSupervisor(j, e)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- sup.Run(ctx) }()
		time.Sleep(time.Minute)
		if s := sup.Snapshots(); len(s) != 1 || s[0].Federation != "contoso" {
			t.Errorf("snapshots %v", s)
		}
		const known = `no such federation: "fabrikam": known are contoso`
		if a, err := sup.Submit(ctx, watchdog.Command{Federation: "fabrikam", Verb: watchdog.VerbAck}); !errors.Is(err, watchdog.ErrNoFederation) || err.Error() != known {
			t.Errorf("unknown federation: %+v, %v", a, err)
		}
		if _, err := sup.History(ctx, "fabrikam", 5); !errors.Is(err, watchdog.ErrNoFederation) || err.Error() != known {
			t.Errorf("history of an unknown federation: %v", err)
		}
		if h, err := sup.History(ctx, "", 5); err != nil || len(h) == 0 {
			t.Errorf("history: %v, %v", h, err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("run: %v", err)
		}
	})
}

// A move that no plan can be made for has failed, and after so many of them a
// person is needed, although the start of services alone could be planned.
func TestEngineNeedsAPersonWhereNoMoveCanBePlanned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		var asked atomic.Int32
		p := runEngine(t, testSettings(), watchdog.Ports{Senses: w.senses(), Journal: j, Plan: func(kind actions.PlanKind, from, to string) (*actions.Plan, error) {
			if from == "" {
				return w.plan(kind, from, to)
			}
			if asked.Add(1) > 100 {
				time.Sleep(time.Hour) // else no time passes at all
			}
			return nil, errors.New("a step without tasks")
		}})
		time.Sleep(time.Minute)
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		time.Sleep(2 * time.Hour)
		if n, most := int(asked.Load()), testSettings().Rules.MaxAttempts; n == 0 || n > most {
			t.Errorf("begun %s, at most %d", watchdog.Count(n, "time", "times"), most)
		}
		if d := p.Snapshot().Decision; d.BlockedBy != watchdog.GuardUnconfirmed {
			t.Errorf("%s: %s", d.Will, d.Because)
		}
		p.stop()
	})
}
