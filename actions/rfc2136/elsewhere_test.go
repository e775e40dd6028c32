package rfc2136_test

import (
	"net/netip"
	"strings"
	"testing"

	"edgewatch/actions"
	"edgewatch/actions/actionstest"
	"edgewatch/actions/rfc2136"
)

// second is what the zone of a second domain shall hold, whose SRV record leads to
// the record of the first.
func second() rfc2136.Wanted {
	w := moved()
	return rfc2136.Wanted{
		Elsewhere: w.Address,
		Services: []rfc2136.Service{{Domain: "fabrikam.com", Target: "xmpp.contoso.com", Port: 5269, Priority: 10, Weight: 5, TTL: 60,
			Addrs: []netip.Addr{new4, new6}}},
	}
}

// Two domains, one address record, and one server that holds both zones: the SRV
// record of the second domain is judged by what the record of the first is about
// to hold, before its update and after.
func TestARecordOfAnotherZone(t *testing.T) {
	for name, srv := range map[string][]string{"added": nil, "right already": {"_xmpp-server._tcp 300 SRV 10 5 5269 xmpp.contoso.com."}} {
		t.Run(name, func(t *testing.T) {
			s := serveZones(t, zone(), actionstest.DNSZone{Name: "fabrikam.com", Records: srv})
			first := updater(t, s, nil)
			other := updater(t, s, func(z *rfc2136.Zone) { z.Name = "fabrikam.com" })
			check(t.Context(), t, other.Writable(second()), actions.Done)
			if srv == nil {
				check(t.Context(), t, other.Records(second()), actions.Pending)
				if err := other.Records(second()).Apply(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			check(t.Context(), t, other.Records(second()), actions.Done)
			if err := first.Records(moved()).Apply(t.Context()); err != nil {
				t.Fatal(err)
			}
			check(t.Context(), t, other.Records(second()), actions.Done)
			if got := s.Records("_xmpp-server._tcp.fabrikam.com", "SRV"); strings.Join(got, "; ") != "10 5 5269 xmpp.contoso.com." {
				t.Errorf("%q", got)
			}
		})
	}
}

// A port that is wrong is one, wherever the record stands.
func TestARecordOfAnotherZoneWithAnotherPort(t *testing.T) {
	s := serveZones(t, zone(), actionstest.DNSZone{Name: "fabrikam.com", Records: []string{"_xmpp-server._tcp 300 SRV 10 5 5270 xmpp.contoso.com."}})
	other := updater(t, s, func(z *rfc2136.Zone) { z.Name = "fabrikam.com" })
	if _, err := other.Writable(second()).Check(t.Context()); actions.KindOf(err) != actions.Rejected || !strings.Contains(err.Error(), "port 5270") {
		t.Errorf("%v", err)
	}
}

// One name is set by one update.
func TestARecordOfAnotherZoneThatIsOurs(t *testing.T) {
	u := updater(t, serve(t), nil)
	w := moved()
	w.Elsewhere = w.Address
	if err := u.Validate(w); err == nil {
		t.Error("a zone that sets the record itself has it elsewhere, too")
	}
}
