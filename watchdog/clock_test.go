package watchdog_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// A clock that is set back does not make the start of the process a thing of
// the future, before which nothing may be done.
func TestEngineActsAlthoughTheClockWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		s := testSettings()
		s.Rules.StartupGrace = time.Minute
		var off atomic.Int64
		e := watchdog.NewEngine(s, watchdog.Ports{
			Senses: w.senses(), Plan: w.plan, Journal: j,
			Now: func() time.Time { return time.Now().Add(time.Duration(off.Load())) },
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		time.Sleep(3 * time.Minute)
		off.Store(int64(-90 * time.Minute))
		time.Sleep(time.Minute)
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		time.Sleep(5 * time.Minute)
		if got := e.Snapshot(); got.Active != "EdgePool2" {
			t.Errorf("five minutes after its death: %s", got.Headline())
		}
		cancel()
		<-ended
	})
}

// leaping is a process whose wall clock can be set.
func leaping(t *testing.T, w *estate, j *watchdogtest.MemJournal, s watchdog.Settings) (p *process, set func(by time.Duration)) {
	t.Helper()
	var off atomic.Int64
	p = runEngine(t, s, watchdog.Ports{
		Senses: w.senses(), Plan: w.plan, Journal: j,
		Now: func() time.Time { return time.Now().Add(time.Duration(off.Load())) },
	})
	return p, func(by time.Duration) { off.Add(int64(by)) }
}

// A clock that leaps forward makes no pool stable that answered for five
// minutes: federation does not return to it by itself before it has for as long
// as was asked for.
func TestEngineDoesNotGoHomeBecauseTheClockLeapt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		s := testSettings()
		s.Rules.Failback = watchdog.FailbackRules{Auto: true, StableFor: 24 * time.Hour, To: 24 * time.Hour}
		p, set := leaping(t, w, j, s)
		time.Sleep(time.Minute)
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		p.until(10*time.Minute, "failed over", activeIs("EdgePool2"))
		time.Sleep(time.Hour)
		w.with(func(w *estate) { w.dead["EdgePool1"] = false })
		time.Sleep(5 * time.Minute)
		set(25 * time.Hour)
		leapt := time.Now()
		p.until(25*time.Hour, "gone home", activeIs("EdgePool1"))
		if after := time.Since(leapt); after < s.Rules.Failback.StableFor {
			t.Errorf("federation went home %s after the leap", after)
		}
		p.stop()
	})
}

// The clock leaps forward while a person is asked: nothing is done before the
// time that people were given is over, and they are told until when that is.
func TestEngineWaitsForAnAnswerAlthoughTheClockLeapt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		s := testSettings()
		s.Rules.Mode, s.Rules.ApprovalTimeout, s.Rules.ApprovalThen = watchdog.ModeApprove, time.Hour, watchdog.ApprovalActs
		p, set := leaping(t, w, j, s)
		time.Sleep(time.Minute)
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		asks := func(s *watchdog.Snapshot) bool { return s.Decision.Will == watchdog.WillAsk }
		p.until(10*time.Minute, "asked", asks)
		asked := time.Now()
		time.Sleep(time.Minute)
		set(2 * time.Hour)
		time.Sleep(time.Minute)
		until := p.until(time.Minute, "asked still", asks).Approval.Until
		p.until(2*time.Hour, "failed over", activeIs("EdgePool2"))
		acted := p.Snapshot().Chain.StartedAt
		if waited := acted.Add(-2 * time.Hour).Sub(asked); waited < time.Hour-time.Second || acted.Before(until) || acted.Sub(until) > 11*time.Second {
			t.Errorf("acted %s after it asked, at %s; shown was %s", waited, acted, until)
		}
		p.stop()
		told := ""
		entries, err := j.Read(t.Context(), "contoso", 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Kind == watchdog.KindDecision && e.Decision.Will == watchdog.WillAsk {
				told = e.Sentence()
			}
		}
		if !strings.Contains(told, until.UTC().Format("15:04:05")) {
			t.Errorf("told last: %q, want %s in it", told, until)
		}
	})
}

// Likewise a pause: a clock that leaps does not end it in the middle of the
// work that it was given for.
func TestEngineKeepsAPauseAlthoughTheClockLeapt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		p, set := leaping(t, w, j, testSettings())
		time.Sleep(time.Minute)
		p.order(watchdog.Command{Verb: watchdog.VerbPause, For: time.Hour, Reason: "patching"})
		paused := time.Now()
		set(8 * time.Hour)
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		p.until(2*time.Hour, "failed over", activeIs("EdgePool2"))
		if after := time.Since(paused); after < time.Hour {
			t.Errorf("failed over %s after a pause of an hour was given", after)
		}
		p.stop()
	})
}
