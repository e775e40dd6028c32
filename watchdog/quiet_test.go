package watchdog

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/probe"
)

// Once all is at rest, healthy rounds change nothing: the machine answers them
// with no entry and keeps its state, and whatever comes after them is taken as
// it would have been without them. The simulator skips quiet times for that
// reason.
func TestQuietChangesNothing(t *testing.T) {
	const interval = 10 * time.Second
	rules := BreakerRules{
		BadRounds: 5, MinBadTime: 20 * time.Second, Every: interval, Window: 5 * time.Minute, MinRounds: MinRounds, BadRatio: 0.5,
		RetryAfter: 30 * time.Second, GoodRounds: 3, MinGoodTime: 30 * time.Second,
	}
	rest := int(rules.Window/interval) + healthyRounds
	// The window moves in steps: quiet is skipped in whole steps.
	step := int(rules.Window / buckets / interval)
	play := func(quiet int, seed uint64) (out []string) {
		synctest.Test(t, func(*testing.T) {
			d := newDetector(rules)
			for range rest + quiet {
				d.feed(time.Now(), PoolUp)
				time.Sleep(interval)
			}
			begin := time.Now()
			r := rand.New(rand.NewPCG(seed, 1))
			bad := r.Float64()
			for range 120 {
				v := []Verdict{PoolUp, PoolDegraded, PoolUp, Inconclusive}[r.IntN(4)]
				if r.Float64() < bad {
					v = PoolDown
				}
				b := d.feed(time.Now(), v)
				since := time.Duration(0)
				if !b.Since.IsZero() {
					since = b.Since.Sub(begin)
				}
				out = append(out, fmt.Sprint(b.State, b.Bad, since, d.degraded, d.suspect(time.Now(), v)))
				time.Sleep(2 * time.Second)
			}
		})
		return out
	}
	tripped := 0
	for seed := range uint64(40) {
		once := play(0, seed)
		for _, quiet := range []int{step, 7 * step, 500 * step} {
			if later := play(quiet, seed); !reflect.DeepEqual(once, later) {
				t.Errorf("seed %d: after %d more healthy rounds the detector makes something else of the same verdicts", seed, quiet)
			}
		}
		for _, line := range once {
			if line[:4] == "open" {
				tripped++
				break
			}
		}
	}
	if tripped < 10 {
		t.Errorf("only %d of the continuations trip", tripped)
	}
}

// The same for the machine.
func TestQuietLeavesTheMachineAlone(t *testing.T) {
	s := newScript(t)
	s.do("boot")
	s.do("ready EdgePool2")
	for range healthyRounds + 30 {
		s.do("wait 10s")
		s.do("round EdgePool1=up EdgePool2=up")
	}
	before, kept := s.m.fold.clone(), len(s.kept)
	for range 1000 {
		s.do("wait 10s")
		s.levels.Readiness["EdgePool2"] = Readiness{At: s.now, Ready: true}
		s.do("round EdgePool1=up EdgePool2=up")
	}
	if !reflect.DeepEqual(before, s.m.fold.clone()) || len(s.kept) != kept {
		t.Errorf("healthy rounds led from %+v to %+v with %d entries", before, s.m.fold, len(s.kept)-kept)
	}
	if p := s.levels.Round.Pool("EdgePool1"); p.Results[0].Level != probe.Up {
		t.Errorf("the rounds were not healthy: %+v", p)
	}
}
