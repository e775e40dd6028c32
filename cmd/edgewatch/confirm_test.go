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

// Whoever is about to adopt a pool to which DNS does not lead is told so before.
func TestAdoptionAgainstDNS(t *testing.T) {
	t.Parallel()
	s := well(time.Now())
	for pool, want := range map[string]bool{"EdgePool1": true, s.Partner[0].Pool: false} {
		got := strings.Join(effect(s, watchdog.Command{Verb: watchdog.VerbAdopt, Pool: pool}, ""), " ")
		if strings.Contains(got, "But DNS leads partners of contoso.com to EdgePool2") != want {
			t.Errorf("adopt %s: %q", pool, got)
		}
	}
}
