package watchdog_test

import (
	"context"
	"net/netip"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/probe"
	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// Two of EdgePool1's servers must be up, and one is away. The other answers
// nineteen probes in twenty, as over a line that loses some packets: the rounds
// in between are neither up nor down, but they end a row of bad ones, and are
// none of a share of them.
func TestRoundsInWhichAServerAnsweredAreNotBad(t *testing.T) {
	for _, every := range []int64{20, 10} {
		synctest.Test(t, func(t *testing.T) {
			w, j := newEstate(), &watchdogtest.MemJournal{}
			s, senses := testSettings(), w.senses()
			s.Breaker = watchdog.BreakerRules{ // those of the shipped example
				BadRounds: 5, MinBadTime: 20 * time.Second, Every: s.Watch.Interval, Window: 5 * time.Minute, MinRounds: watchdog.MinRounds, BadRatio: 0.6,
				RetryAfter: 30 * time.Second, GoodRounds: 3,
			}
			s.Watch.Pools[0].MinUp = 2
			second := netip.MustParseAddrPort("203.0.113.11:5269")
			s.Watch.Pools[0].Targets = append(s.Watch.Pools[0].Targets, probe.Target{Addr: second, Domain: "contoso.com"})
			inner := senses.Probe
			var n, lost, ill atomic.Int64
			senses.Probe = func(ctx context.Context, target probe.Target) probe.Result {
				r := inner(ctx, target)
				down := ill.Load() == 1 && target.Addr == second
				if ill.Load() == 1 && target.Addr == poolAddrs["EdgePool1"] && n.Add(1)%every == 0 {
					lost.Add(1)
					down = true
				}
				if down {
					r.Level, r.Class, r.Phase, r.Blame = probe.Down, probe.Timeout, probe.PhaseConnect, probe.Remote
				}
				return r
			}
			p := runEngine(t, s, watchdog.Ports{Senses: senses, Plan: w.plan, Journal: j})
			time.Sleep(3 * time.Minute)
			ill.Store(1)
			begin := time.Now()
			for time.Since(begin) < time.Hour {
				if snap := p.Snapshot(); snap.Active != "EdgePool1" || snap.Incident != "" {
					entries, _ := j.Read(t.Context(), "", 0, 1000)
					for _, e := range entries {
						if e.Kind == watchdog.KindPool || e.Kind == watchdog.KindChain {
							t.Log(e.Sentence())
						}
					}
					t.Errorf("after %s a server of EdgePool1 answered %d probes of %d: active %s, %s", time.Since(begin).Round(time.Second), n.Load()-lost.Load(), n.Load(), snap.Active, snap.State)
					break
				}
				time.Sleep(time.Second)
				synctest.Wait()
			}
			p.stop()
		})
	}
}
