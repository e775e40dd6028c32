package watchdog_test

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// found is what a process that starts now would find.
func found(t *testing.T, log watchdog.RoundLog) []watchdog.Seen {
	t.Helper()
	var out []watchdog.Seen
	damaged, err := watchdog.EachRound(t.Context(), log, "contoso", time.Time{}, func(s watchdog.Seen) error { out = append(out, s); return nil })
	if err != nil || len(damaged) > 0 {
		t.Fatal(err, damaged)
	}
	return out
}

// TestCrashLosesQuietOnly: whenever the process dies, what was found anew is
// kept, and of what went on as before no more than the last minutes are lost.
func TestCrashLosesQuietOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &watchdogtest.MemRounds{}
		r := newRecorded(t, log)
		r.settings.Rules.Mode = watchdog.ModeObserve
		r.start()
		defer func() { r.p.stop() }()
		alive := func() {
			for range 25 {
				time.Sleep(7 * time.Minute)
				kept := found(t, log.Snapshot())
				if last := kept[len(kept)-1].At; time.Since(last) > 3*time.Minute+20*time.Second {
					t.Fatalf("the newest round kept is %v old", time.Since(last))
				}
			}
		}
		alive()
		for range 3 {
			r.w.with(func(w *estate) { w.dead["EdgePool1"] = true })
			time.Sleep(15 * time.Second) // one round, at least
			s := r.p.Snapshot()
			kept := found(t, log.Snapshot())
			if last := kept[len(kept)-1]; last.Outcome.Pool("EdgePool1").Verdict != watchdog.PoolDown {
				t.Fatalf("%v after %s was found down the newest round kept is %+v", time.Since(s.LastRound), "EdgePool1", last)
			}
			r.w.with(func(w *estate) { w.dead["EdgePool1"] = false })
			time.Sleep(time.Minute)
		}
		alive()
	})
}

// TestRoundsAreWrittenSeldom: a quiet day is a few hundred writes, and a pool
// that flaps all day is never more than one a second.
func TestRoundsAreWrittenSeldom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &watchdogtest.MemRounds{}
		r := newRecorded(t, log)
		r.start()
		time.Sleep(24 * time.Hour)
		r.p.stop()
		if n := log.Saves(); n > 24*22+2 {
			t.Errorf("%d writes in a quiet day", n)
		}
		if n := len(found(t, log)); n < 8500 || n > 8800 {
			t.Errorf("%d rounds kept of a day of 8,640", n)
		}
	})
}

// TestRoundsThatCannotBeKept: whatever the store does, decisions are taken as
// if nothing were wrong; people are told once, and what fits is kept.
func TestRoundsThatCannotBeKept(t *testing.T) {
	for _, hang := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			mem := &watchdogtest.MemRounds{}
			log := &slowLog{MemRounds: mem}
			var out bytes.Buffer
			r := newRecorded(t, log)
			r.out = zerolog.New(zerolog.SyncWriter(&out))
			r.start()
			time.Sleep(10 * time.Minute)
			if s := r.p.Snapshot(); s.HistoryError != "" {
				t.Errorf("history error %q", s.HistoryError)
			}
			mem.Fail(errors.New("no space left on device"))
			log.hang.Store(hang)
			r.w.with(func(w *estate) { w.dead["EdgePool1"] = true })
			s := r.p.until(2*time.Minute, "failed over", activeIs("EdgePool2"))
			if !s.Chain.Outcome.OK {
				t.Errorf("outcome %+v", s.Chain.Outcome)
			}
			time.Sleep(5 * time.Hour)
			if s := r.p.Snapshot(); !strings.Contains(s.HistoryError, "record rounds") {
				t.Errorf("history error %q", s.HistoryError)
			}
			mem.Fail(nil)
			log.hang.Store(false)
			r.p.until(2*time.Minute, "recorded again", func(s *watchdog.Snapshot) bool { return s.HistoryError == "" })
			r.p.stop()
			if n := strings.Count(out.String(), "rounds cannot be recorded"); n != 1 {
				t.Errorf("told %d times:\n%s", n, out.String())
			}
			var gap time.Duration
			kept := found(t, log)
			for i := range kept[1:] {
				gap = max(gap, kept[i+1].At.Sub(kept[i].At))
			}
			if gap > 15*time.Second {
				t.Errorf("a gap of %v, although hours fit in memory", gap)
			}
		})
	}
}

// TestLongFailureIsBounded: after days without a disk the newest day is kept,
// what was lost is told, and it is no more than the bound.
func TestLongFailureIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &watchdogtest.MemRounds{}
		var out bytes.Buffer
		r := newRecorded(t, log)
		r.out = zerolog.New(zerolog.SyncWriter(&out))
		log.Fail(errors.New("no space left on device"))
		r.start()
		time.Sleep(72 * time.Hour)
		log.Fail(nil)
		time.Sleep(time.Minute)
		r.p.stop()
		kept := found(t, log)
		if age := time.Since(kept[0].At); age < 23*time.Hour || age > 27*time.Hour {
			t.Errorf("the oldest round kept is %v old", age)
		}
		if !strings.Contains(out.String(), "rounds were not recorded") {
			t.Errorf("what was lost is not told:\n%s", out.String())
		}
	})
}

// TestOldRoundsGo: rounds are kept as long as asked for, in life and after a
// shorter time was asked for.
func TestOldRoundsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &watchdogtest.MemRounds{}
		r := newRecorded(t, log)
		oldest := func() time.Duration { return time.Since(found(t, log)[0].At) }
		r.keep = 5 * 24 * time.Hour
		r.start()
		time.Sleep(8 * 24 * time.Hour)
		if d := oldest(); d < r.keep || d > r.keep+3*time.Hour {
			t.Errorf("the oldest round is %v old, want %v", d, r.keep)
		}
		r.p.stop()
		r.keep = 24 * time.Hour
		r.start()
		time.Sleep(3 * time.Minute)
		if d := oldest(); d < r.keep || d > r.keep+3*time.Hour {
			t.Errorf("the oldest round is %v old, want %v", d, r.keep)
		}
		r.p.stop()
	})
}

// TestUptimeInTheSnapshot counts over lives, and time that nobody watched is
// nobody's.
func TestUptimeInTheSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRecorded(t, &watchdogtest.MemRounds{})
		r.settings.Rules.Mode = watchdog.ModeObserve
		r.start()
		time.Sleep(4 * time.Hour)
		r.p.stop()
		time.Sleep(2 * time.Hour)
		r.start()
		r.w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		time.Sleep(time.Hour)
		r.w.with(func(w *estate) { w.dead["EdgePool1"] = false; w.cutOff = true })
		time.Sleep(time.Hour)
		s := r.p.Snapshot()
		r.p.stop()
		if len(s.Pools[0].Uptime) != 3 {
			t.Fatalf("uptime %+v", s.Pools[0].Uptime)
		}
		for _, u := range s.Pools[0].Uptime {
			for what, d := range map[string]time.Duration{"up": u.Up - 4*time.Hour, "down": u.Down - time.Hour, "inconclusive": u.Inconclusive - time.Hour, "degraded": u.Degraded} {
				if d.Abs() > 2*time.Minute {
					t.Errorf("%s in %v: %v off", what, u.Window, d)
				}
			}
		}
	})
}

// TestDamagedSegmentCostsOnlyItself: what was recorded before and after it is
// read, and people are told.
func TestDamagedSegmentCostsOnlyItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &watchdogtest.MemRounds{}
		begin := time.Now()
		up := watchdog.Outcome{Active: "EdgePool1", Pools: []watchdog.PoolSeen{{Pool: "EdgePool1", Verdict: watchdog.PoolUp}}, Canaries: true}
		for i := range 10 {
			at := begin.Add(time.Duration(i) * time.Hour)
			segments, err := watchdog.EncodeRounds("contoso", []watchdog.Seen{
				{At: at, Interval: 10 * time.Second, Outcome: up}, {At: at.Add(10 * time.Second), Interval: 10 * time.Second, Outcome: up},
			})
			if err != nil {
				t.Fatal(err)
			}
			if i == 1 {
				segments[0].Body = segments[0].Body[:len(segments[0].Body)/2]
			}
			if _, err := log.SaveRounds(t.Context(), 0, segments[0]); err != nil {
				t.Fatal(err)
			}
		}
		n := 0
		damaged, err := watchdog.EachRound(t.Context(), log, "contoso", time.Time{}, func(watchdog.Seen) error { n++; return nil })
		if n != 18 || err != nil || len(damaged) != 1 || !strings.Contains(damaged[0].Err.Error(), "from 2000-01-01 01:00:00 UTC on") {
			t.Errorf("%d of 18 sound rounds are read, %v, damaged: %v", n, err, damaged)
		}

		time.Sleep(10 * time.Hour)
		r := newRecorded(t, log)
		var out bytes.Buffer
		r.out = zerolog.New(zerolog.SyncWriter(&out))
		r.start()
		time.Sleep(5 * time.Minute)
		s := r.p.Snapshot()
		r.p.stop()
		// Each stretch counts for 70 s, its last round for the longest gap there is.
		if up := s.Pools[0].Uptime[0].Up; up < 3*time.Minute+9*70*time.Second {
			t.Errorf("up for %s: less than what is sound", up)
		}
		if !strings.Contains(out.String(), "damaged and left out") {
			t.Errorf("nobody is told:\n%s", &out)
		}
	})
}

// slowLog is a store whose writes hang, while that is wanted, until their
// context ends.
type slowLog struct {
	*watchdogtest.MemRounds
	hang atomic.Bool
}

func (l *slowLog) SaveRounds(ctx context.Context, id int64, s watchdog.Segment) (int64, error) {
	if l.hang.Load() {
		<-ctx.Done()
	}
	return l.MemRounds.SaveRounds(ctx, id, s)
}
