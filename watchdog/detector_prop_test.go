package watchdog

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// safeRules are those that the configuration has by default.
func safeRules() BreakerRules {
	return BreakerRules{
		BadRounds: 5, MinBadTime: 20 * time.Second, Every: 10 * time.Second,
		Window: 5 * time.Minute, MinRounds: MinRounds, BadRatio: 0.5,
		RetryAfter: 30 * time.Second, GoodRounds: 3, MinGoodTime: 30 * time.Second,
	}
}

// watcher drives a detector as the engine does: at the distances of wait,
// with its jitter, each round taking as long as its probes.
type watcher struct {
	d     *detector
	watch WatchRules
	begin time.Time
	fed   time.Time // when the last round was
}

func newWatcher(rules BreakerRules, suspect time.Duration) *watcher {
	return &watcher{
		d:     newDetector(rules),
		watch: WatchRules{Interval: rules.Every, SuspectInterval: suspect}, begin: time.Now(),
	}
}

// round does one round of that verdict, which takes took, and waits until the
// next is due.
func (w *watcher) round(v Verdict, took time.Duration) Breaker {
	began := time.Now()
	time.Sleep(took)
	b := w.d.feed(began, v)
	w.fed = time.Now()
	p := PoolRound{Verdict: v, Breaker: b, Suspect: w.d.suspect(began, v)}
	time.Sleep(w.watch.wait(p, time.Since(began)))
	return b
}

// until does rounds of what state says of the time since the watcher began,
// for at most limit, and says when it tripped.
func (w *watcher) until(limit, took time.Duration, state func(at time.Duration) Verdict) (time.Duration, bool) {
	for time.Since(w.begin) < limit {
		at := time.Since(w.begin)
		if w.round(state(at), took).Tripped() {
			return w.fed.Sub(w.begin), true
		}
	}
	return limit, false
}

// A pool that is down for less than the ratio of the time, in spells shorter
// than the minimum bad time, never counts as down: that it is looked at more
// often while it is suspected must not make the bad rounds weigh more.
func TestFlappingBelowTheRatioIsNotDown(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		period := rapid.Int64Range(45, 120).Draw(rt, "period, s")
		share := rapid.Float64Range(0, 0.33).Draw(rt, "share of it down")
		phase := rapid.Int64Range(0, period-1).Draw(rt, "phase, s")
		down := min(time.Duration(share*float64(period)*float64(time.Second)), 15*time.Second)
		synctest.Test(t, func(*testing.T) {
			w := newWatcher(safeRules(), 2*time.Second)
			for range 30 { // a while of health
				w.round(PoolUp, 20*time.Millisecond)
			}
			w.begin = time.Now()
			took, tripped := w.until(3*time.Hour, 20*time.Millisecond, func(at time.Duration) Verdict {
				if (at+time.Duration(phase)*time.Second)%(time.Duration(period)*time.Second) < down {
					return PoolDown
				}
				return PoolUp
			})
			if tripped {
				rt.Errorf("down for %v of every %ds: tripped after %v", down, period, took)
			}
		})
	})
}

// A pool that is trusted again starts anew: what its window remembers of the
// outage must not make one bad round trip it.
func TestTrustedAgainStartsAnew(t *testing.T) {
	for _, outage := range []time.Duration{25 * time.Second, time.Minute, 90 * time.Second, 2 * time.Minute, 140 * time.Second, 10 * time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			w := newWatcher(safeRules(), 2*time.Second)
			for range 30 {
				w.round(PoolUp, 0)
			}
			w.begin = time.Now()
			w.until(outage, 0, func(time.Duration) Verdict { return PoolDown })
			for time.Since(w.begin) < outage {
				w.round(PoolDown, 0)
			}
			for w.round(PoolUp, 0).Tripped() {
				if time.Since(w.begin) > time.Hour {
					t.Fatal("never trusted again")
				}
			}
			for i := range 20 {
				if b := w.round(PoolDown, 0); b.Tripped() {
					t.Fatalf("outage of %v: bad round %d after it trips: %+v", outage, i+1, b)
				}
				w.round(PoolUp, 0)
				w.round(PoolUp, 0)
				w.round(PoolUp, 0)
			}
		})
	}
}

// A round that is handed over twice, or after a later one, counts once or not
// at all.
func TestARoundCountsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDetector(BreakerRules{BadRounds: 3, RetryAfter: 30 * time.Second, GoodRounds: 2})
		first := time.Now()
		for range 5 {
			d.feed(first, PoolDown)
		}
		if b := d.breaker(first); b.Bad != 1 || b.Tripped() {
			t.Errorf("one round handed over five times: %+v", b)
		}
		time.Sleep(time.Second)
		d.feed(time.Now(), PoolDown)
		if b := d.feed(first, PoolUp); b.Bad != 2 {
			t.Errorf("a good round from before two bad ones: %+v", b)
		}
	})
}

// zombie is a pool that answers good times in every n, by the number of the
// connection or by chance.
func zombie(rng *rand.Rand, n, good, phase int, byChance bool) func(time.Duration) Verdict {
	i := phase
	return func(time.Duration) Verdict {
		i++
		if byChance && rng.IntN(n) < good || !byChance && i%n < good {
			return PoolUp
		}
		return PoolDown
	}
}

// A zombie that answers one time in three is caught within the bound that
// Detection names, whatever the phase, the jitter and the health before; one
// that answers one time in two, the ratio itself, within a window and a sixth
// and some rounds.
func TestZombieIsCaughtInBoundedTime(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rules := safeRules()
		rules.Every = time.Duration(rapid.IntRange(4, 20).Draw(rt, "interval, s")) * time.Second
		rules.Window = time.Duration(rapid.IntRange(15, 60).Draw(rt, "window / interval")) * rules.Every
		n := rapid.IntRange(2, 3).Draw(rt, "n")
		// Half of the rounds is the ratio itself: where no round comes sooner than
		// the others, it is chance in which window the jitter lets them reach it.
		suspect := max(time.Second, rules.Every/time.Duration(rapid.IntRange(1, 8).Filter(func(i int) bool { return n == 3 || i > 2 }).Draw(rt, "interval / suspect interval")))
		phase, healthy := rapid.IntRange(0, n-1).Draw(rt, "phase"), rapid.IntRange(0, 80).Draw(rt, "healthy rounds before")
		took := time.Duration(rapid.IntRange(0, 900).Draw(rt, "took, ms")) * time.Millisecond
		bound := rules.Window + rules.Window/6 + 3*rules.Every
		if n == 3 {
			bound = Detect(rules, suspect, took).Zombie
		}
		synctest.Test(t, func(*testing.T) {
			w := newWatcher(rules, suspect)
			for range healthy {
				w.round(PoolUp, took)
			}
			w.begin = time.Now()
			at, tripped := w.until(3*rules.Window, took, zombie(nil, n, 1, phase, false))
			if !tripped || at > bound {
				rt.Errorf("answers 1 time in %d: tripped %v after %v, bound %v", n, tripped, at, bound)
			}
			if at < rules.MinBadTime {
				rt.Errorf("tripped after %v, before the minimum bad time", at)
			}
		})
	})
}

// The bound is no longer than it has to be: with the default rules a zombie
// can take most of it.
func TestZombieBoundIsTight(t *testing.T) {
	bound := Detect(safeRules(), 2*time.Second, 20*time.Millisecond).Zombie
	if bound < time.Minute || bound > 3*time.Minute {
		t.Errorf("the bound of the default rules is %v", bound)
	}
	var worst time.Duration
	for healthy := range 40 {
		for phase := range 3 {
			synctest.Test(t, func(*testing.T) {
				w := newWatcher(safeRules(), 2*time.Second)
				for range healthy {
					w.round(PoolUp, 20*time.Millisecond)
				}
				w.begin = time.Now()
				at, _ := w.until(time.Hour, 20*time.Millisecond, zombie(nil, 3, 1, phase, false))
				worst = max(worst, at)
			})
		}
	}
	if worst > bound || worst < bound/2 {
		t.Errorf("a zombie took up to %v, the bound is %v", worst, bound)
	}
}

// A zombie by chance, with two bad rounds in three, is caught too: the share
// of its bad rounds is above the ratio in nearly every window.
func TestZombieByChance(t *testing.T) {
	for seed := range uint64(200) {
		synctest.Test(t, func(t *testing.T) {
			w := newWatcher(safeRules(), 2*time.Second)
			for range 40 {
				w.round(PoolUp, 20*time.Millisecond)
			}
			w.begin = time.Now()
			rng := rand.New(rand.NewPCG(seed, 1))
			if at, tripped := w.until(time.Hour, 20*time.Millisecond, zombie(rng, 3, 1, 0, true)); !tripped || at > 10*time.Minute {
				t.Errorf("seed %d: tripped %v after %v", seed, tripped, at)
			}
		})
	}
}

// A pool that never answers any more counts as down within the times that
// Detection names, whenever in a round it dies, whether its port is closed or
// silent, and never before the minimum bad time and number of rounds.
func TestDeadIsCaughtWithinTheTimesNamed(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rules := safeRules()
		rules.Every = time.Duration(rapid.IntRange(1000, 60_000).Draw(rt, "interval, ms")) * time.Millisecond
		suspect := rules.Every / time.Duration(rapid.IntRange(1, 10).Draw(rt, "interval / suspect interval"))
		rules.BadRounds = rapid.IntRange(2, 10).Draw(rt, "bad rounds")
		rules.MinBadTime = time.Duration(rapid.IntRange(0, 120).Draw(rt, "min bad time, s")) * time.Second
		rules.Window = max(5*time.Minute, time.Duration(rules.BadRounds)*rules.Every, rules.MinBadTime)
		took := time.Duration(rapid.Int64Range(0, int64(rules.Every/2)).Draw(rt, "took"))
		healthy := rapid.IntRange(0, 50).Draw(rt, "healthy rounds before")
		later := time.Duration(rapid.Int64Range(0, int64(rules.Every)).Draw(rt, "died so long after a round"))
		want := Detect(rules, suspect, took)
		synctest.Test(t, func(*testing.T) {
			w := newWatcher(rules, suspect)
			for range healthy {
				w.round(PoolUp, 0)
			}
			died := time.Now().Add(later)
			w.begin = died
			var at time.Duration
			for tripped := false; !tripped; {
				v, lasts, began := PoolUp, time.Duration(0), time.Now()
				if !began.Before(died) {
					v, lasts = PoolDown, took
				}
				time.Sleep(lasts)
				b := w.d.feed(began, v)
				tripped, at = b.Tripped(), time.Since(died)
				time.Sleep(w.watch.wait(PoolRound{Suspect: w.d.suspect(began, v)}, time.Since(began)))
			}
			if at < want.DeadMin || at > want.DeadMax {
				rt.Errorf("counts as down after %v, named were %v to %v", at, want.DeadMin, want.DeadMax)
			}
		})
	})
}

// Whatever comes, a detector trips only after the minimum bad time, and
// Inconclusive changes nothing: with and without it the breaker says the same.
func TestDetectorUnderAnyHistory(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		verdicts := rapid.SliceOfN(rapid.SampledFrom([]Verdict{PoolDown, PoolDown, PoolUp, PoolDegraded, Inconclusive}), 1, 200).Draw(rt, "verdicts")
		gaps := rapid.SliceOfN(rapid.IntRange(1, 15), len(verdicts), len(verdicts)).Draw(rt, "gaps, s")
		synctest.Test(t, func(*testing.T) {
			rules := safeRules()
			d, without := newDetector(rules), newDetector(rules)
			var firstBad, tripped time.Time
			trust, trustedSince := 0, time.Time{}
			for i, v := range verdicts {
				time.Sleep(time.Duration(gaps[i]) * time.Second)
				now := time.Now()
				was := d.breaker(now)
				b := d.feed(now, v)
				if v != Inconclusive {
					without.feed(now, v)
				}
				if other := without.breaker(now); other != b {
					rt.Fatalf("round %d (%s): %+v, without the unclear rounds %+v", i, v, b, other)
				}
				if v == PoolDown && firstBad.IsZero() {
					firstBad = now
				}
				switch {
				case b.Tripped() && !was.Tripped():
					tripped = now
					if v != PoolDown || now.Sub(firstBad) < rules.MinBadTime {
						rt.Fatalf("round %d (%s) trips, %v after the first bad one", i, v, now.Sub(firstBad))
					}
				case !b.Tripped() && was.Tripped():
					if v == Inconclusive || trust+1 < rules.GoodRounds || now.Sub(trustedSince) < rules.MinGoodTime || now.Sub(tripped) <= rules.RetryAfter {
						rt.Fatalf("round %d (%s): trusted after %d good rounds in %v, %v after it tripped", i, v, trust+1, now.Sub(trustedSince), now.Sub(tripped))
					}
				}
				switch {
				case v == PoolDown || !b.Tripped():
					trust, trustedSince = 0, time.Time{}
				case v != Inconclusive:
					if trust++; trust == 1 {
						trustedSince = now
					}
				}
			}
		})
	})
}

// Trust wants the good rounds and the good time, after RetryAfter, and a bad
// round in between starts anew, RetryAfter included.
func TestSlowToTrust(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDetector(BreakerRules{BadRounds: 2, RetryAfter: 30 * time.Second, GoodRounds: 3, MinGoodTime: 20 * time.Second})
		if _, tripped := feedFor(d, time.Second, time.Minute, PoolDown); !tripped {
			t.Fatal("did not trip")
		}
		feed := func(n int, v Verdict, want BreakerState) {
			t.Helper()
			for i := range n {
				time.Sleep(5 * time.Second)
				if b := d.feed(time.Now(), v); b.State != want {
					t.Errorf("%s %d of %d: %s, want %s", v, i+1, n, b.State, want)
				}
			}
		}
		feed(6, PoolUp, BreakerOpen)           // 30 s: too early to count
		feed(4, PoolUp, BreakerHalfOpen)       // enough rounds, over 15 s only
		feed(1, PoolDown, BreakerOpen)         // anew
		feed(6, PoolUp, BreakerOpen)           // as before
		feed(2, PoolUp, BreakerHalfOpen)       // 5 s
		feed(9, Inconclusive, BreakerHalfOpen) // long enough now, but neither enough rounds nor a good one
		feed(1, PoolUp, BreakerClosed)
	})
}
