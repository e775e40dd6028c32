package app

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"edgewatch/actions"
	"edgewatch/actions/actionstest"
	"edgewatch/configs"
	"edgewatch/probe"
	"edgewatch/probe/probetest"
)

// perPool is the example with an SRV record for each pool and no dns.record.
func perPool(t *testing.T) *configs.Config {
	t.Helper()
	cfg, err := configs.Load(example)
	if err != nil {
		t.Fatal(err)
	}
	f := &cfg.Federations[0]
	f.Domains, f.DNS.Zones, f.DNS.Record = []string{"contoso.com"}, f.DNS.Zones[:1], ""
	f.Pools[0].DNSName, f.Pools[1].DNSName = "edge1.contoso.com", "edge2.contoso.com"
	return cfg
}

// Each pool has an SRV record of its own, and no step changes which is
// preferred. While the preferred pool answers partners go there, and a move to
// the other is not proven, whoever answers there too. Once it is dead they go to
// the other by themselves.
func TestPartnersGoToThePreferredPoolThatAnswers(t *testing.T) {
	t.Parallel()
	one, err := probetest.Listen("127.9.9.1:0", probetest.Config{Domain: "contoso.com"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(one.Close)
	port := one.Addr().Port()
	two, err := probetest.Listen(fmt.Sprintf("127.9.9.2:%d", port), probetest.Config{Domain: "contoso.com"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(two.Close)
	s, err := actionstest.ListenDNS("127.0.0.1:0", actionstest.DNSConfig{Zones: []actionstest.DNSZone{{
		Name: "contoso.com", Records: []string{
			fmt.Sprintf("_xmpp-server._tcp 300 SRV 0 0 %d edge1.contoso.com.", port), fmt.Sprintf("_xmpp-server._tcp 300 SRV 10 0 %d edge2.contoso.com.", port),
			"edge1 300 A 127.9.9.1", "edge2 300 A 127.9.9.2",
		},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	f := &perPool(t).Federations[0]
	f.DNS.Resolvers, f.DNS.Zones[0].Authoritative = addrs([]string{s.Addr()}), addrs([]string{s.Addr()})
	f.Pools[0].Addresses, f.Pools[1].Addresses = []netip.Addr{netip.MustParseAddr("127.9.9.1")}, []netip.Addr{netip.MustParseAddr("127.9.9.2")}
	b := &builder{f: f, offline: true}
	if err := b.buildProber(); err != nil {
		t.Fatal(err)
	}
	proof := func(pool *configs.Pool, want actions.Status, text string) {
		t.Helper()
		o, err := actions.NewPartnerCheck("contoso.com", pool.Name, pool.Addresses, b.sight("contoso.com")).Check(t.Context())
		if err != nil || o.Status != want || !strings.HasSuffix(o.Detail, "; of what answers, partners go to "+text) {
			t.Errorf("a move to %s: %+v, %v; want %s and partners that go to %s", pool.Name, o, err, want, text)
		}
	}
	proof(&f.Pools[1], actions.Pending, "EdgePool1")
	proof(&f.Pools[0], actions.Done, "EdgePool1")
	if v := b.partners(t.Context()); v[0].Pool != "EdgePool1" {
		t.Errorf("the survey of the same moment: %+v", v)
	}
	one.Close()
	proof(&f.Pools[1], actions.Done, "EdgePool2")
}

// What partners reach is looked for in the order of the SRV records.
func TestReached(t *testing.T) {
	one, two, three := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2"), netip.MustParseAddr("203.0.113.3")
	at := func(priority uint16, level probe.Level, a netip.Addr) probe.PartnerTarget {
		r := probe.Result{Target: probe.Target{Addr: netip.AddrPortFrom(a, 5269)}, Level: level}
		if level == probe.Degraded {
			r.Blame, r.Class, r.Condition = probe.Remote, probe.StreamError, "host-unknown"
		}
		return probe.PartnerTarget{SRV: probe.SRV{Priority: priority}, Results: []probe.Result{r}}
	}
	list := func(ts ...probe.PartnerTarget) []probe.PartnerTarget { return ts }
	for name, c := range map[string]struct {
		away    bool // turned away counts as down
		targets []probe.PartnerTarget
		want    []netip.Addr
	}{
		"the best":                             {false, list(at(0, probe.Up, one), at(10, probe.Up, two)), []netip.Addr{one}},
		"equals":                               {false, list(at(0, probe.Down, one), at(10, probe.Up, two), at(10, probe.Up, three)), []netip.Addr{two, three}},
		"the next, where the best is dead":     {false, list(at(0, probe.Down, one), at(10, probe.Degraded, two)), []netip.Addr{two}},
		"nobody":                               {false, list(at(0, probe.Down, one), at(10, probe.Inconclusive, two)), nil},
		"one that turns away":                  {false, list(at(0, probe.Degraded, one), at(10, probe.Up, two)), []netip.Addr{one}},
		"one that turns away counts as down":   {true, list(at(0, probe.Degraded, one), at(10, probe.Up, two)), []netip.Addr{two}},
		"one that turns away, and none beside": {true, list(at(0, probe.Down, one), at(10, probe.Degraded, two)), []netip.Addr{two}},
	} {
		b := &builder{f: &configs.Federation{}}
		b.f.Probe.TurnedAwayCountsAsDown = c.away
		if got := b.reached(c.targets); fmt.Sprint(got) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// A planned move leaves a pool that answers: where that one stays preferred, it
// would move the route and leave the partners behind. It is refused before
// anything is touched. A failover leaves a dead pool, and the way home is to the
// preferred one.
func TestNoSwitchoverToAPoolThatPartnersWouldNotTake(t *testing.T) {
	cfg := perPool(t)
	_, err := Plan(cfg, actions.Switchover, "", "EdgePool2")
	want := "partners go to EdgePool1 for as long as it answers, because its srv_priority of 0 goes before the 10 of EdgePool2, and a switchover changes no SRV record that is there: " +
		"let DNS and srv_priority prefer EdgePool2 first; or take EdgePool1 down, and failover EdgePool2 REASON"
	if _, ok := errors.AsType[NotPlannedError](err); !ok || err.Error() != want {
		t.Errorf("switchover: %v, want %q", err, want)
	}
	for _, move := range []struct {
		kind actions.PlanKind
		to   string
	}{{actions.Failover, "EdgePool2"}, {actions.Failback, "EdgePool1"}, {actions.Switchover, "EdgePool1"}} {
		if _, err := Plan(cfg, move.kind, "", move.to); err != nil {
			t.Errorf("%s to %s: %v", move.kind, move.to, err)
		}
	}
	f := &cfg.Federations[0]
	f.Pools[0].SRVPriority, f.Pools[1].SRVPriority = 20, 10
	if _, err := Plan(cfg, actions.Switchover, "", "EdgePool2"); err != nil {
		t.Errorf("switchover to the preferred: %v", err)
	}
}
