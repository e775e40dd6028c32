package watchdog

import (
	"testing"
	"time"

	"edgewatch/probe"
)

// DNS that leads to addresses of no pool, where something answers, is a reason
// for doubt whatever the pools are called; DNS that leads to a pool as well is
// none.
func TestDriftGuardKnowsPoolsByTheirWholeNames(t *testing.T) {
	for leads, want := range map[string]Guard{
		"addresses of no pool":               GuardDrift,
		"EdgePool1 and addresses of no pool": GuardNone,
	} {
		for _, name := range []string{"EdgePool2", "EdgePool", "pool", "no", "a", "and", "addresses"} {
			rules := testRules()
			rules.Pools, rules.PartnerAge = []string{"EdgePool1", name}, time.Hour
			m := NewMachine(rules)
			round := &Round{
				At: t0, Seen: t0, Canaries: CanaryStatus{OK: true},
				Partner: []PartnerView{{Domain: "contoso.com", Level: probe.Up, Pool: leads, Text: "xmpp.contoso.com 192.0.2.99 done/ok"}},
				Pools:   []PoolRound{{Pool: "EdgePool1", Verdict: PoolDown, Breaker: Breaker{State: BreakerOpen, Bad: 5, Since: t0}}},
			}
			levels := Levels{Round: round, Readiness: map[string]Readiness{name: {At: t0, Ready: true}}}
			if d := m.Decide(t0, levels); d.BlockedBy != want {
				t.Errorf("DNS leads to %s, with a standby called %q: %s (%s) %s", leads, name, d.Will, d.BlockedBy, d.Because)
			}
		}
	}
}
