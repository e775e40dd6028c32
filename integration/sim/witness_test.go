package sim

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/watchdog"
)

// inWorld does something in a bubble, in a world with one witness.
func inWorld(t *testing.T, do func(w *world)) {
	t.Helper()
	f, err := exampleFederation()
	if err != nil {
		t.Fatal(err)
	}
	e, err := newEstate(withWitness(*f, 1, 1))
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(*testing.T) { do(newWorld(e, 7)) })
}

// What a pool served in a window is the world's truth: neither what we see of
// it nor what it does in one moment.
func TestServed(t *testing.T) {
	inWorld(t, func(w *world) {
		p := w.pools[0]
		const window = 5 * time.Minute
		want := func(what string, share float64) {
			t.Helper()
			if got := p.served(window); got < share-0.001 || got > share+0.001 {
				t.Errorf("%s: served %.3f of the window, want %.3f", what, got, share)
			}
		}
		time.Sleep(time.Hour)
		want("healthy", 1)
		w.with(func() { p.pathCut, w.cut = true, true })
		time.Sleep(time.Minute)
		want("only we do not see it", 1)
		for _, h := range p.hosts {
			w.setPower(h, false)
		}
		time.Sleep(90 * time.Second)
		want("down for 90 s", 0.7)
		w.setPower(p.hosts[0], true)
		want("back this moment", 0.7)
		time.Sleep(60 * time.Second)
		want("back for a minute on one server", 0.7)
		w.with(func() { p.hosts[0].answers = 0.2 })
		time.Sleep(window)
		want("answers now and then, which serves nobody", 0)
		w.heal()
		time.Sleep(window)
		want("healed", 1)
	})
}

// A witness sees the world as it was when its last round was, says how long
// that is ago, and knows nothing of our own line.
func TestWitnessSees(t *testing.T) {
	inWorld(t, func(w *world) {
		p, by := w.pools[0], w.witnesses[0]
		every := w.f.Probe.Interval.Duration
		w.with(func() { p.pathCut, w.cut = true, true })
		seen := map[watchdog.Verdict]int{}
		ask := func() (watchdog.Verdict, time.Duration) {
			got := w.testimony(by)
			seen[got.Pools[p.Name].Verdict]++
			if got.Age < 0 || got.Age >= every {
				t.Errorf("its last round is %v old, rounds come every %v", got.Age, every)
			}
			return got.Pools[p.Name].Verdict, got.Age
		}
		time.Sleep(time.Minute)
		if v, _ := ask(); v != watchdog.PoolUp {
			t.Errorf("it says %v of a pool that only we do not reach", v)
		}
		for _, h := range p.hosts {
			w.setPower(h, false)
		}
		died := time.Now()
		for range 40 {
			time.Sleep(every / 20)
			v, age := ask()
			if down := time.Since(died) >= age; down != (v == watchdog.PoolDown) {
				t.Errorf("%v after the death it says %v of %v ago", time.Since(died), v, age)
			}
		}
		w.setPower(p.hosts[0], true)
		w.with(func() { p.hosts[0].answers = 0.5 })
		time.Sleep(every)
		clear(seen)
		for range 200 {
			time.Sleep(every)
			ask()
		}
		if up := seen[watchdog.PoolUp]; up < 70 || up > 130 {
			t.Errorf("of a pool that answers every other time it says up %d times in 200", up)
		}
	})
}

// The faults of a year in which one place is wrong about the pool: alone,
// edgewatch moves federation away from a pool that serves; with a witness it
// does not, and loses no failover that is right.
func TestWitnessYears(t *testing.T) {
	if testing.Short() {
		t.Skip("plays episodes")
	}
	play := func(o Options, name string) (wrong, missed, right int) {
		f, err := exampleFederation()
		if err != nil {
			t.Fatal(err)
		}
		if o.Witness {
			f = withWitness(*f, 1, 1)
		}
		e, err := newEstate(f)
		if err != nil {
			t.Fatal(err)
		}
		for i := range classes {
			c := &classes[i]
			if c.Name != name {
				continue
			}
			fig := ClassFigures{}
			for n := range uint64(12) {
				at, m, v := playEpisode(t, e, c, n)
				if v != nil {
					t.Errorf("seed %d: %s %s", n, v.Invariant, v.Text)
				}
				fig.take(c, f, at, m)
			}
			return fig.False, fig.Missed, fig.Right
		}
		t.Fatalf("there is no class %q", name)
		return 0, 0, 0
	}
	if wrong, _, _ := play(Options{}, "the way from us alone is cut"); wrong < 6 {
		t.Errorf("alone only %d of 12 failovers are false: the test proves nothing", wrong)
	}
	if wrong, _, _ := play(Options{Witness: true}, "the way from us alone is cut"); wrong != 0 {
		t.Errorf("with a witness %d failovers are false", wrong)
	}
	if _, missed, right := play(Options{Witness: true}, "pool half dead"); missed != 0 || right != 12 {
		t.Errorf("with a witness %d failovers are missed, %d right", missed, right)
	}
}

// The check of what witnesses said fails where nobody said it.
func TestWitnessedIsChecked(t *testing.T) {
	f, err := exampleFederation()
	if err != nil {
		t.Fatal(err)
	}
	e, err := newEstate(withWitness(*f, 2, 1))
	if err != nil {
		t.Fatal(err)
	}
	down := func(age time.Duration, unsure string) watchdog.Testimony {
		return watchdog.Testimony{Age: age, Unsure: unsure, Pools: map[string]watchdog.PoolTestimony{"EdgePool1": {Verdict: watchdog.PoolDown}}}
	}
	for name, c := range map[string]struct {
		said watchdog.Testimony
		ok   bool
	}{
		"seen down":       {down(5*time.Second, ""), true},
		"long ago":        {down(2*time.Minute, ""), false},
		"in doubt":        {down(5*time.Second, "canaries"), false},
		"of another pool": {watchdog.Testimony{Pools: map[string]watchdog.PoolTestimony{"EdgePool2": {Verdict: watchdog.PoolDown}}}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRun(t, e, &story{}, 1)
			r.world.heard = []heard{{time.Now(), e.f.Witnesses.URLs[0], c.said}}
			r.checks.witnessed(&watchdog.ChainStart{From: "EdgePool1"})
			if (r.violation == nil) != c.ok {
				t.Errorf("%s: violation %+v", name, r.violation)
			}
			if _, err := (&process{run: r}).witness(context.Background(), "https://nobody.example"); err == nil {
				t.Error("a witness that does not exist answers")
			}
		})
	}
}
