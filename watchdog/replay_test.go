package watchdog_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rs/zerolog"
	"pgregory.net/rapid"

	"edgewatch/probe"
	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// recorded is an estate with a journal and a round log, and the engine that
// lives on it at the time.
type recorded struct {
	t        *testing.T
	w        *estate
	j        *watchdogtest.MemJournal
	log      watchdog.RoundLog
	settings watchdog.Settings
	out      zerolog.Logger
	keep     time.Duration
	freeze   chan time.Duration // a probe takes so long, once
	p        *process
}

func newRecorded(t *testing.T, log watchdog.RoundLog) *recorded {
	t.Helper()
	return &recorded{
		t: t, w: newEstate(), j: &watchdogtest.MemJournal{}, log: log, settings: testSettings(),
		out: zerolog.Nop(), freeze: make(chan time.Duration, 1),
	}
}

func (r *recorded) start() {
	r.t.Helper()
	senses := r.w.senses()
	look := senses.Probe
	senses.Probe = func(ctx context.Context, t probe.Target) probe.Result {
		select {
		case d := <-r.freeze:
			time.Sleep(d)
		default:
		}
		return look(ctx, t)
	}
	e := watchdog.NewEngine(r.settings, watchdog.Ports{
		Senses: senses, Plan: r.w.plan, Journal: r.j,
		Rounds: watchdog.NewRecorder(watchdog.RecorderOptions{Federation: "contoso", Store: r.log, Keep: r.keep, Log: r.out}),
	})
	ctx, cancel := context.WithCancel(r.t.Context())
	r.p = &process{Engine: e, t: r.t, cancel: cancel, ended: make(chan error, 1)}
	if err := e.Replay(ctx); err != nil {
		r.t.Fatalf("replay: %v", err)
	}
	go func() { r.p.ended <- e.Run(ctx) }()
}

// act is one thing that happens to a recorded estate.
type act struct {
	what string
	wait time.Duration
}

func (a act) String() string { return fmt.Sprintf("%s, wait %v", a.what, a.wait) }

func (r *recorded) do(a act) {
	r.t.Helper()
	switch a.what {
	case "kill 1", "restore 1", "kill 2", "restore 2":
		name := "EdgePool" + a.what[len(a.what)-1:]
		r.w.with(func(w *estate) { w.dead[name] = a.what[0] == 'k' })
	case "cut off", "reconnect":
		r.w.with(func(w *estate) { w.cutOff = a.what == "cut off" })
	case "freeze":
		select {
		case r.freeze <- 20 * time.Second:
		default:
		}
	case "restart":
		r.p.stop()
		r.start()
	case "flap 1":
		for range 20 {
			r.w.with(func(w *estate) { w.dead["EdgePool1"] = true })
			time.Sleep(4 * time.Second)
			r.w.with(func(w *estate) { w.dead["EdgePool1"] = false })
			time.Sleep(4 * time.Second)
		}
	}
	time.Sleep(a.wait)
}

// replayed feeds everything that was recorded to breakers by those settings.
func replayed(t *testing.T, log watchdog.RoundLog, s watchdog.Settings) *watchdog.Replay {
	t.Helper()
	r := watchdog.NewReplay(s)
	damaged, err := watchdog.EachRound(t.Context(), log, "contoso", time.Time{}, func(s watchdog.Seen) error { r.Feed(s); return nil })
	if err != nil || len(damaged) > 0 {
		t.Fatal(err, damaged)
	}
	return r
}

var sameTrips = cmpopts.IgnoreFields(watchdog.Trip{}, "Since")

// TestReplayRepeatsLife: whatever happens, the same rules trip in a replay
// when they did in life, to the millisecond, and let go when they did; and
// each trip that the journal tells of is among them.
func TestReplayRepeatsLife(t *testing.T) {
	trips := 0
	rapid.Check(t, func(r *rapid.T) {
		words := rapid.SampledFrom([]string{"kill 1", "kill 1", "kill 2", "restore 1", "restore 1", "restore 2", "cut off", "reconnect", "reconnect", "freeze", "restart", "flap 1"})
		acts := rapid.SliceOfN(rapid.Custom(func(r *rapid.T) act {
			return act{words.Draw(r, "what"), time.Duration(rapid.IntRange(0, 200_000).Draw(r, "ms")) * time.Millisecond}
		}), 3, 25).Draw(r, "acts")
		every := rapid.SampledFrom([]time.Duration{0, 10 * time.Second}).Draw(r, "every")
		ratio := rapid.SampledFrom([]float64{0, 0.5, 0.3}).Draw(r, "ratio")

		log := &watchdogtest.MemRounds{}
		var settings watchdog.Settings
		var told []watchdog.Entry
		synctest.Test(t, func(t *testing.T) {
			life := newRecorded(t, log)
			life.settings.Breaker.BadRatio, life.settings.Breaker.MinRounds, life.settings.Breaker.Window = ratio, 10, 5*time.Minute
			life.settings.Breaker.Every = every
			settings = life.settings
			life.start()
			for _, a := range acts {
				life.do(a)
			}
			life.p.stop()
			entries, err := life.j.Read(t.Context(), "contoso", 0, 100_000)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries {
				if e.Pool != nil && e.Pool.Tripped {
					told = append(told, e)
				}
			}
		})
		var again *watchdog.Replay
		synctest.Test(t, func(t *testing.T) { again = replayed(t, log, settings) })
		if diff := cmp.Diff(again.Recorded(), again.Trips(), sameTrips); diff != "" {
			r.Fatalf("trips (-life +replay):\n%s", diff)
		}
		trips += len(again.Trips())
		for _, e := range told {
			found := false
			for _, trip := range again.Trips() {
				found = found || trip.Pool == e.Pool.Pool && trip.Active && !trip.At.After(e.At) && (trip.Until.IsZero() || trip.Until.After(e.At))
			}
			if !found {
				r.Fatalf("the journal's trip of %s at %v is not in the replay: %+v", e.Pool.Pool, e.At, again.Trips())
			}
		}
	})
	if trips < 50 {
		t.Errorf("%d trips in all: too few to prove anything", trips)
	}
}

// TestReplayOfOtherRules: stricter rules trip later or not at all, looser
// ones earlier, on the same rounds.
func TestReplayOfOtherRules(t *testing.T) {
	log := &watchdogtest.MemRounds{}
	synctest.Test(t, func(t *testing.T) {
		life := newRecorded(t, log)
		life.settings.Rules.Mode = watchdog.ModeObserve
		life.start()
		for _, a := range []act{
			{"", time.Hour}, {"kill 1", 25 * time.Second}, {"restore 1", time.Hour},
			{"kill 1", 10 * time.Minute}, {"restore 1", time.Hour},
		} {
			life.do(a)
		}
		life.p.stop()
	})
	for _, tt := range []struct {
		rounds int
		time   time.Duration
		trips  int
		later  time.Duration // than in life, the last trip, give or take a round
	}{
		{5, 8 * time.Second, 2, 0},
		{5, time.Minute, 1, 52 * time.Second},
		{2, 0, 2, -7 * time.Second},
		{500, 0, 0, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := testSettings()
			s.Breaker.BadRounds, s.Breaker.MinBadTime = tt.rounds, tt.time
			r := replayed(t, log, s)
			trips, lived := r.Trips(), r.Recorded()
			if len(lived) != 2 || len(trips) != tt.trips {
				t.Fatalf("%d rounds over %v: trips %+v, in life %+v", tt.rounds, tt.time, trips, lived)
			}
			if tt.trips == 0 {
				return
			}
			later := trips[len(trips)-1].At.Sub(lived[1].At)
			near := 2500 * time.Millisecond
			if tt.later > 0 {
				near = 11 * time.Second // after the trip in life, rounds were as far apart as ever
			}
			if d := later - tt.later; d.Abs() > near || tt.later == 0 && d != 0 {
				t.Errorf("%d rounds over %v: %v later than in life, want %v", tt.rounds, tt.time, later, tt.later)
			}
		})
	}
}

// TestReplaySurvivesClockSteps: a clock that is set does not stop a replay.
func TestReplaySurvivesClockSteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := testSettings()
		r := watchdog.NewReplay(s)
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		feed := func(step time.Duration, level probe.Level) {
			at = at.Add(step)
			var o watchdog.Outcome
			o.Active, o.Canaries = "EdgePool1", true
			o.Pools = []watchdog.PoolSeen{{Pool: "EdgePool1", Targets: []watchdog.AddressSeen{{Level: level}}}, {Pool: "Gone"}}
			r.Feed(watchdog.Seen{At: at, Took: -time.Millisecond, Outcome: o})
		}
		for _, step := range []time.Duration{10 * time.Second, -2 * time.Hour, 10 * time.Second, 48 * time.Hour} {
			feed(step, probe.Up)
		}
		began := at.Add(10 * time.Second)
		for range 10 {
			feed(10*time.Second, probe.Down)
		}
		trips := r.Trips()
		if len(trips) != 1 || !trips[0].Since.Equal(began) || trips[0].At.Sub(began) != 40*time.Second || !trips[0].Active {
			t.Errorf("trips %+v, want one since %v", trips, began)
		}
		if n, first, last := r.Rounds(); n != 14 || last.Sub(first) != 46*time.Hour+110*time.Second {
			t.Errorf("%d rounds from %v to %v", n, first, last)
		}
		if diff := cmp.Diff([]string{"Gone"}, r.Unknown()); diff != "" {
			t.Errorf("unknown pools (-want +got):\n%s", diff)
		}
	})
}
