package main

import (
	"strings"
	"testing"
	"time"

	"edgewatch/actions"
	"edgewatch/probe"
	"edgewatch/watchdog"
)

// halfway is a federation whose failover moved the route and stopped at its
// proof; it waits to be tried again.
func halfway(now time.Time) *watchdog.Snapshot {
	s := down(now)
	s.State = watchdog.Faulted
	s.Chain = failingOver(now).Chain
	s.Chain.EndedAt = now
	s.Chain.Outcome = &actions.Outcome{Step: actions.Verify, RouteMoved: true, Error: "no partner finds it"}
	return s
}

// well is down, where the active pool answers and partners find it.
func well(now time.Time) *watchdog.Snapshot {
	s := down(now)
	s.State = watchdog.Watching
	s.Pools[1].Verdict, s.Pools[1].Breaker = watchdog.PoolUp, watchdog.Breaker{State: watchdog.BreakerClosed}
	s.Partner = []watchdog.PartnerView{{Domain: "contoso.com", Level: probe.Up, Pool: "EdgePool2"}}
	return s
}

// TestRefused: only what the machine is sure to refuse is not asked about.
func TestRefused(t *testing.T) {
	t.Parallel()
	now := time.Now()
	stale, doubtful, astray, given := well(now), well(now), well(now), halfway(now)
	stale.LastRound = now.Add(-time.Minute)
	doubtful.Pools[1].Breaker.Bad = 1
	astray.Partner[0].Pool = "EdgePool1"
	given.State = watchdog.Held // no more tries
	ended := well(now)
	ended.Chain = halfway(now).Chain
	ended.Chain.Outcome = &actions.Outcome{OK: true, RouteMoved: true}
	for _, tt := range []struct {
		name  string
		s     *watchdog.Snapshot
		order string
		want  bool
	}{
		{"abort, and it runs", failingOver(now), "abort x", false},
		{"abort, and it waits to be tried again", halfway(now), "abort x", false},
		{"abort, and it has ended", ended, "abort x", true},
		{"abort, and there never was one", down(now), "abort x", true},
		{"skip where it stopped", given, "skip-step verify x", false},
		{"skip where it did not", given, "skip-step check-port x", true},
		{"skip what must not be", given, "skip-step preflight x", true},
		{"skip, and it runs", failingOver(now), "skip-step verify x", true},
		{"skip, and it went through", ended, "skip-step verify x", true},
		{"adopt another pool", down(now), "adopt EdgePool3 x", false},
		{"adopt the active pool", down(now), "adopt EdgePool2 x", true},
		{"adopt the active pool, and something is left to do", given, "adopt EdgePool2 x", false},
		{"adopt no pool", down(now), "adopt EdgePool9 x", true},
		{"adopt, and a move runs", failingOver(now), "adopt EdgePool2 x", true},
		{"failover of a dead pool", down(now), "failover EdgePool3 x", false},
		{"failover of a pool that answers", well(now), "failover EdgePool3 x", true},
		{"the same with force", well(now), "failover EdgePool3 --force x", false},
		{"failover on old evidence", stale, "failover EdgePool3 x", false},
		{"failover of a pool with a bad round", doubtful, "failover EdgePool3 x", false},
		{"failover while partners are led elsewhere", astray, "failover EdgePool3 x", false},
		{"failover to no pool", down(now), "failover EdgePool9 x", true},
		{"failover, and one runs", failingOver(now), "failover EdgePool2 x", true},
		{"failover, and one waits", halfway(now), "failover EdgePool3 x", true},
		{"repair, and partners are not looked at", down(now), "failover EdgePool2 x", false},
		{"repair of what partners do not find", astray, "failover EdgePool2 x", false},
		{"repair of what partners find", well(now), "failover EdgePool2 x", true},
		{"taking up what has no more tries", given, "failover EdgePool2 x", false},
		{"switchover", well(now), "switchover EdgePool3 x", false},
		{"switchover to the active pool", well(now), "switchover EdgePool2 x", true},
		{"failback", well(now), "failback EdgePool1 x", false},
		{"failback to the active pool", well(now), "failback EdgePool2 x", true},
		{"failback to one that is not preferred", well(now), "failback EdgePool3 x", true},
		{"failback, where somebody may have said that nothing is left to do", given, "failback EdgePool1 x", false},
	} {
		req, err := watchdog.ParseRequest(strings.Fields(tt.order))
		if err != nil {
			t.Fatal(err)
		}
		if got := refused(tt.s, req.Command, now); got != tt.want {
			t.Errorf("%s: %t, want %t", tt.name, got, tt.want)
		}
	}
}

// TestEffect: what is asked about is told as it stands, not as it was.
func TestEffect(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for order, want := range map[string]string{
		"abort x":              "Ends the further tries of the failover contoso-7.1 to EdgePool2, which stopped at verify: nothing more is done by itself",
		"skip-step verify x":   "Takes up the failover contoso-7.1 to EdgePool2 again without verify: what it would prove is not proven",
		"adopt EdgePool2 x":    "nothing of the failover contoso-7.1 to EdgePool2 is left to do",
		"failover EdgePool2 x": "Takes up the failover contoso-7.1 to EdgePool2 again, which stopped at verify: what is done is left alone",
	} {
		req, err := watchdog.ParseRequest(strings.Fields(order))
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(effect(halfway(now), req.Command, ""), " "); !strings.Contains(got, want) {
			t.Errorf("%s: %q, want %q", order, got, want)
		}
	}
}
