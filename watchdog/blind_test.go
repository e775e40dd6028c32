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

// A machine that slept between two rounds sees its clock jump and nothing else.
func TestEngineNoticesASleepBetweenRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		var slept atomic.Int64
		now := func() time.Time { return time.Now().Add(time.Duration(slept.Load())) }
		e := watchdog.NewEngine(testSettings(), watchdog.Ports{Senses: w.senses(), Plan: w.plan, Journal: j, Now: now})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		before := e.Snapshot().LastRound
		slept.Store(int64(8 * time.Hour))
		for e.Snapshot().LastRound.Equal(before) {
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
		}
		if s := e.Snapshot(); !strings.Contains(s.Frozen, "8h0m0s") {
			t.Errorf("frozen %q after a sleep of 8 hours", s.Frozen)
		}
		cancel()
		<-ended
	})
}

// Bad rounds from before a time in which nothing could be said are no evidence
// after it: the pool is watched anew before it counts as down.
func TestEngineForgetsWhatItSawBeforeItWasBlind(t *testing.T) {
	for _, tripped := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w, j := newEstate(), &watchdogtest.MemJournal{}
			w.notReady["EdgePool2"] = context.DeadlineExceeded
			p := startEngine(t, w, j, func(s *watchdog.Settings) { s.Breaker.Window = 5 * time.Minute })
			w.with(func(w *estate) { w.dead["EdgePool1"] = true })
			p.until(time.Minute, "suspected", func(s *watchdog.Snapshot) bool {
				return s.Pools[0].Breaker.Bad == 4 && !tripped || s.Pools[0].Breaker.Tripped()
			})
			w.with(func(w *estate) { w.cutOff = true; clear(w.notReady) })
			time.Sleep(10 * time.Minute)
			w.with(func(w *estate) { w.cutOff = false })
			reconnected := time.Now()
			p.until(time.Minute, "failed over", activeIs("EdgePool2"))
			if c := p.Snapshot().Chain; c.Detected.Before(reconnected) || c.StartedAt.Sub(c.Detected) < 8*time.Second {
				t.Errorf("tripped %v: could see again at %v, failed over at %v because of what was seen since %v", tripped, reconnected, c.StartedAt, c.Detected)
			}
			p.stop()
		})
	}
}

// A defect in one sense blinds that sense; it does not end the watchdog.
func TestEngineSurvivesADefectInASense(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		senses := w.senses()
		senses.Canary = func(context.Context, string) error { panic("boom") }
		senses.Partner = func(context.Context) []watchdog.PartnerView { panic("boom") }
		e := watchdog.NewEngine(testSettings(), watchdog.Ports{Senses: senses, Plan: w.plan, Journal: j})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		time.Sleep(time.Minute)
		synctest.Wait()
		s := e.Snapshot()
		if s.Canaries.OK || !strings.Contains(s.Canaries.Why, "boom") {
			t.Errorf("canaries %+v", s.Canaries)
		}
		if !s.Pools[1].Readiness.Ready {
			t.Errorf("readiness %+v", s.Pools[1].Readiness)
		}
		cancel()
		<-ended
	})
}
