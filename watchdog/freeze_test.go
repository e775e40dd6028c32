package watchdog_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/probe"
	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// sluggish is an estate's engine whose process, machine or clock misbehaves
// once, when told to.
type sluggish struct {
	*watchdogtest.MemJournal
	clock   atomic.Int64 // how far the wall clock is off
	hang    atomic.Int64 // how long the next write of the journal takes
	inRound atomic.Pointer[func()]
}

// Append hangs as long as it was told to, whatever its context says.
func (s *sluggish) Append(ctx context.Context, entries []watchdog.Entry) ([]watchdog.Entry, error) {
	time.Sleep(time.Duration(s.hang.Swap(0)))
	return s.MemJournal.Append(ctx, entries)
}

func (s *sluggish) now() time.Time { return time.Now().Add(time.Duration(s.clock.Load())) }

// senses are those of the estate; the next round's first probe meets what is
// in inRound.
func (s *sluggish) senses(w *estate) watchdog.Senses {
	senses := w.senses()
	ask := senses.Probe
	senses.Probe = func(ctx context.Context, t probe.Target) probe.Result {
		if f := s.inRound.Swap(nil); f != nil {
			(*f)()
		}
		return ask(ctx, t)
	}
	return senses
}

// Whatever made our own loop or clock untrustworthy, the round in which it
// showed says nothing about a pool, what was seen before counts no more, and
// the next round is believed again without anybody's help.
func TestEngineDistrustsItself(t *testing.T) {
	const hour = int64(time.Hour)
	for name, c := range map[string]struct {
		happen func(s *sluggish, p *process)
		inside bool // the round, else between two
		says   string
	}{
		"our loop stands still between rounds": {says: "stood still for", happen: func(s *sluggish, p *process) {
			s.hang.Store(int64(12 * time.Second))
			if _, err := p.Submit(p.t.Context(), watchdog.Command{ID: "1", Verb: watchdog.VerbPause, For: time.Hour, Reason: "a write that hangs", Actor: "anna"}); err != nil {
				p.t.Error(err)
			}
		}},
		"our loop stands still in a round":  {inside: true, says: "a round that may take 5s took", happen: func(*sluggish, *process) { time.Sleep(20 * time.Second) }},
		"the machine sleeps between rounds": {says: "8h0m0s", happen: func(s *sluggish, _ *process) { s.clock.Add(8 * hour) }},
		"the machine sleeps in a round":     {inside: true, says: "8h0m0s", happen: func(s *sluggish, _ *process) { s.clock.Add(8 * hour) }},
		"the clock is set back":             {says: "-1h0m0s", happen: func(s *sluggish, _ *process) { s.clock.Add(-hour) }},
		"the clock is set back in a round":  {inside: true, says: "-1h0m0s", happen: func(s *sluggish, _ *process) { s.clock.Add(-hour) }},
		"the clock is set by a minute":      {says: "1m0s", happen: func(s *sluggish, _ *process) { s.clock.Add(hour / 60) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, s := newEstate(), &sluggish{MemJournal: &watchdogtest.MemJournal{}}
				w.with(func(w *estate) { w.dead["EdgePool1"] = true })
				settings := testSettings()
				settings.Breaker.BadRounds = 1000 // it is the rounds that are looked at
				e := watchdog.NewEngine(settings, watchdog.Ports{Senses: s.senses(w), Plan: w.plan, Journal: s, Now: s.now})
				ctx, cancel := context.WithCancel(t.Context())
				p := &process{Engine: e, t: t, cancel: cancel, ended: make(chan error, 1)}
				go func() { p.ended <- e.Run(ctx) }()
				p.until(time.Minute, "suspected", func(s *watchdog.Snapshot) bool { return s.Pools[0].Breaker.Bad == 4 })
				happen := func() { c.happen(s, p) }
				if c.inside {
					s.inRound.Store(&happen)
				} else {
					happen()
				}
				frozen := p.until(time.Minute, "frozen", func(s *watchdog.Snapshot) bool { return s.Frozen != "" })
				if pool := frozen.Pools[0]; !strings.Contains(frozen.Frozen, c.says) || pool.Verdict != watchdog.Inconclusive || pool.Breaker.Bad != 0 ||
					!strings.Contains(pool.Why, frozen.Frozen) {
					t.Errorf("frozen %q (want %q), verdict %s, %d bad rounds, %q", frozen.Frozen, c.says, pool.Verdict, pool.Breaker.Bad, pool.Why)
				}
				if other := frozen.Pools[1]; other.Verdict != watchdog.PoolUp {
					t.Errorf("a pool that answers is %s: an answer is an answer", other.Verdict)
				}
				after := p.until(10*time.Second, "believed again", func(s *watchdog.Snapshot) bool { return s.Frozen == "" })
				if pool := after.Pools[0]; pool.Verdict != watchdog.PoolDown || pool.Breaker.Bad != 1 {
					t.Errorf("after it: %s with %d bad rounds, want down with 1", pool.Verdict, pool.Breaker.Bad)
				}
				p.stop()
			})
		})
	}
}

// What is no more than a clock being kept right, or a busy machine, is none of
// that.
func TestEngineTrustsItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, s := newEstate(), &sluggish{MemJournal: &watchdogtest.MemJournal{}}
		e := watchdog.NewEngine(testSettings(), watchdog.Ports{Senses: s.senses(w), Plan: w.plan, Journal: s, Now: s.now})
		ctx, cancel := context.WithCancel(t.Context())
		p := &process{Engine: e, t: t, cancel: cancel, ended: make(chan error, 1)}
		go func() { p.ended <- e.Run(ctx) }()
		slow := func() { time.Sleep(4 * time.Second) }
		for range 600 {
			time.Sleep(time.Second)
			synctest.Wait()
			s.clock.Add(int64(100 * time.Millisecond))
			s.inRound.Store(&slow)
			if snap := p.Snapshot(); snap.Frozen != "" {
				t.Fatalf("frozen: %s", snap.Frozen)
			}
		}
		p.stop()
	})
}
