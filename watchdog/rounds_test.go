package watchdog_test

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/probe"
	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// Many federations do not probe in step: their first rounds are spread over an
// interval, and no two distances between rounds are the same.
func TestRoundsAreSpread(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const federations = 50
		var mu sync.Mutex
		starts := map[string][]time.Duration{} // by federation, since the beginning
		begin := time.Now()
		engines := make([]*watchdog.Engine, federations)
		for i := range engines {
			s := testSettings()
			s.Rules.Federation = fmt.Sprint("f", i)
			w := newEstate()
			senses := w.senses()
			ask := senses.Probe
			senses.Probe = func(ctx context.Context, target probe.Target) probe.Result {
				if target.Addr == poolAddrs["EdgePool1"] {
					mu.Lock()
					starts[s.Rules.Federation] = append(starts[s.Rules.Federation], time.Since(begin))
					mu.Unlock()
				}
				return ask(ctx, target)
			}
			engines[i] = watchdog.NewEngine(s, watchdog.Ports{Senses: senses, Plan: w.plan, Journal: &watchdogtest.MemJournal{}})
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- watchdog.NewSupervisor(&watchdogtest.MemJournal{}, engines...).Run(ctx) }()
		time.Sleep(5 * time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		var first, gaps []time.Duration
		for name, at := range starts {
			if len(at) < 25 || len(at) > 32 {
				t.Errorf("%s had %d rounds in 5m, 10s apart", name, len(at))
			}
			first = append(first, at[0])
			for i := range at[1:] {
				gaps = append(gaps, at[i+1]-at[i])
			}
		}
		slices.Sort(first)
		if len(first) != federations || first[0] != 0 || first[federations-1] != 9800*time.Millisecond || len(slices.Compact(first)) != federations {
			t.Errorf("first rounds at %v", first)
		}
		slices.Sort(gaps)
		if gaps[0] < 9*time.Second || gaps[len(gaps)-1] > 11*time.Second || gaps[len(gaps)-1]-gaps[0] < 500*time.Millisecond {
			t.Errorf("rounds are %s to %s apart", gaps[0], gaps[len(gaps)-1])
		}
		// There are a thousand distances, in whole milliseconds: random ones meet.
		if distinct := len(slices.Compact(slices.Clone(gaps))); distinct < 600 {
			t.Errorf("only %d of %d distances differ", distinct, len(gaps))
		}
	})
}

// A round that hangs is over before the next one begins, however short the
// interval while a pool is suspected: no address is asked twice at a time.
func TestRoundsDoNotOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEstate()
		var mu sync.Mutex
		flying, most, asked := map[netip.AddrPort]int{}, 0, 0
		senses := w.senses()
		senses.Probe = func(_ context.Context, target probe.Target) probe.Result {
			mu.Lock()
			flying[target.Addr]++
			most, asked = max(most, flying[target.Addr]), asked+1
			mu.Unlock()
			time.Sleep(5 * time.Second) // longer than the interval while suspected, 2s
			mu.Lock()
			flying[target.Addr]--
			mu.Unlock()
			return probe.Result{Target: target, Level: probe.Down, Class: probe.Timeout, Phase: probe.PhaseConnect, Blame: probe.Remote}
		}
		s := testSettings()
		s.Rules.Mode = watchdog.ModeObserve
		e := watchdog.NewEngine(s, watchdog.Ports{Senses: senses, Plan: w.plan, Journal: &watchdogtest.MemJournal{}})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		time.Sleep(2 * time.Minute)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if most != 1 || asked < 20 {
			t.Errorf("%d probes, at most %d of one address at a time", asked, most)
		}
	})
}
