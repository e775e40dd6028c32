package app

import (
	"net/netip"
	"testing"

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
