package app

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"edgewatch/actions/actionstest"
	"edgewatch/configs"
	"edgewatch/probe"
)

// What partners are led to is said also when it is not one pool.
func TestPoolOf(t *testing.T) {
	one, two := netip.MustParseAddr("203.0.113.1"), netip.MustParseAddr("203.0.113.2")
	f := &configs.Federation{Pools: []configs.Pool{
		{Name: "EdgePool1", Addresses: []netip.Addr{one}}, {Name: "EdgePool2", Addresses: []netip.Addr{two}},
	}}
	target := func(priority uint16, addrs ...netip.Addr) probe.PartnerTarget {
		return probe.PartnerTarget{SRV: probe.SRV{Priority: priority}, Lookups: []probe.Lookup{{Addrs: addrs}}}
	}
	tests := []struct {
		name    string
		targets []probe.PartnerTarget
		want    string
	}{
		{"one pool", []probe.PartnerTarget{target(0, one, one)}, "EdgePool1"},
		{"an address mapped into IPv6", []probe.PartnerTarget{target(0, netip.AddrFrom16(two.As16()))}, "EdgePool2"},
		{"the better priority counts", []probe.PartnerTarget{target(0, two), target(10, one)}, "EdgePool2"},
		{"a pool left behind in the record", []probe.PartnerTarget{target(0, two, one)}, "EdgePool1 and EdgePool2"},
		{"an address of nobody's", []probe.PartnerTarget{target(0, netip.MustParseAddr("192.0.2.9"))}, elsewhere},
		{"no addresses", []probe.PartnerTarget{target(0)}, ""},
		{"nothing", nil, ""},
	}
	for _, tt := range tests {
		if got := poolOf(f, tt.targets); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// A name server that leads partners elsewhere is named in what they find.
func TestPartnersHearDiscord(t *testing.T) {
	t.Parallel()
	serve := func(record string) string {
		s, err := actionstest.ListenDNS("127.0.0.1:0", actionstest.DNSConfig{Zones: []actionstest.DNSZone{{
			Name: "contoso.com", Records: []string{"_xmpp-server._tcp 300 SRV 0 0 5269 xmpp.contoso.com.", record},
		}}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s.Addr()
	}
	fresh, stale := serve("xmpp 300 A 127.9.9.2"), serve("xmpp 300 A 127.9.9.1")
	silent := silentUDP(t).String()
	for name, c := range map[string]struct {
		resolvers, authoritative []string
		want                     []string // parts of the text; none = no word of it
	}{
		"alike":                   {[]string{fresh}, []string{fresh}, nil},
		"one is silent":           {[]string{fresh}, []string{silent}, nil},
		"an authoritative one":    {[]string{fresh}, []string{fresh, stale}, []string{fresh + " leads to EdgePool2 (", stale + " leads to EdgePool1 (0 0 xmpp.contoso.com:5269 = 127.9.9.1)"}},
		"the second of resolvers": {[]string{fresh, stale}, nil, []string{"do not agree", stale + " leads to EdgePool1"}},
	} {
		cfg, err := configs.Load(example)
		if err != nil {
			t.Fatal(err)
		}
		f := &cfg.Federations[0]
		f.Domains, f.DNS.Resolvers, f.DNS.Zones = []string{"contoso.com"}, addrs(c.resolvers), f.DNS.Zones[:1]
		f.DNS.Zones[0].Authoritative = addrs(c.authoritative)
		f.Pools[0].Addresses, f.Pools[1].Addresses = []netip.Addr{netip.MustParseAddr("127.9.9.1")}, []netip.Addr{netip.MustParseAddr("127.9.9.2")}
		b := &builder{f: f, offline: true}
		if err := b.buildProber(); err != nil {
			t.Fatal(err)
		}
		views := b.partners(t.Context())
		if len(views) != 1 || views[0].Pool != "EdgePool2" || strings.Contains(views[0].Text, "agree") != (c.want != nil) {
			t.Errorf("%s: %+v", name, views)
			continue
		}
		for _, part := range c.want {
			if !strings.Contains(views[0].Text, part) {
				t.Errorf("%s: %q lacks %q", name, views[0].Text, part)
			}
		}
	}
}

func addrs(in []string) []netip.AddrPort {
	out := make([]netip.AddrPort, len(in))
	for i, s := range in {
		out[i] = netip.MustParseAddrPort(s)
	}
	return out
}

// The engine knows of which domains it is looked at what partners find.
func TestDomainsLookedAt(t *testing.T) {
	cfg, err := configs.Load(example)
	if err != nil {
		t.Fatal(err)
	}
	f := &cfg.Federations[0]
	if got := settings(f).Rules.Domains; !slices.Equal(got, f.Domains) {
		t.Errorf("%q are looked at, want %q", got, f.Domains)
	}
	f.DNS = configs.DNS{} // there is nobody to ask
	if got := settings(f).Rules.Domains; got != nil {
		t.Errorf("%q are looked at without a name server", got)
	}
}
