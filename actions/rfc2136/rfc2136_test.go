package rfc2136_test

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgewatch/actions"
	"edgewatch/actions/actionstest"
	"edgewatch/actions/rfc2136"
)

const (
	zoneName = "contoso.com"
	secret   = "c2VjcmV0LW9mLXRoZS13YXRjaGRvZy1rZXk="
	other    = "c29tZS1vdGhlci1zZWNyZXQtYWx0b2dldGhlcg=="
)

// pools as they stand in the test zone: edge1 has the federation, edge2
// shall get it.
var (
	old4 = netip.MustParseAddr("192.0.2.11")
	old6 = netip.MustParseAddr("2001:db8::11")
	new4 = netip.MustParseAddr("192.0.2.21")
	new6 = netip.MustParseAddr("2001:db8::21")
)

func key() rfc2136.Key {
	return rfc2136.Key{Name: "Watchdog", Algorithm: "HMAC-SHA256", Secret: actions.NewSecret(secret)}
}

// serve starts a server with the test zone.
func serve(t *testing.T, extra ...string) *actionstest.DNSServer {
	t.Helper()
	return serveZones(t, zone(extra...))
}

// zone is the test zone.
func zone(extra ...string) actionstest.DNSZone {
	return actionstest.DNSZone{Name: zoneName, Records: append([]string{
		"@ 3600 SOA ns1 hostmaster 100 3600 600 86400 60",
		"xmpp 300 A 192.0.2.11", "xmpp 300 AAAA 2001:db8::11",
		"edge1 300 A 192.0.2.11", "edge2 300 A 192.0.2.21", "edge2 300 AAAA 2001:db8::21",
		"txt TXT hello",
	}, extra...)}
}

func serveZones(t *testing.T, zones ...actionstest.DNSZone) *actionstest.DNSServer {
	t.Helper()
	s, err := actionstest.ListenDNS("127.0.0.1:0", actionstest.DNSConfig{
		Zones: zones,
		Keys: []actionstest.DNSKey{
			{Name: "watchdog", Secret: secret},
			{Name: "guest", Secret: secret, Grant: []string{"guest.contoso.com"}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func updater(t *testing.T, primary *actionstest.DNSServer, change func(*rfc2136.Zone)) *rfc2136.Updater {
	t.Helper()
	z := rfc2136.Zone{Name: zoneName, Server: primary.Addr(), TSIG: key(), Authoritative: []string{primary.Addr()}, Timeout: 3 * time.Second}
	if change != nil {
		change(&z)
	}
	u, err := rfc2136.NewUpdater(z)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// moved is the failover from edge1 to edge2 with an own address record.
func moved() rfc2136.Wanted {
	return rfc2136.Wanted{
		Address: &rfc2136.AddressSet{Name: "xmpp.contoso.com", Addrs: []netip.Addr{new4, new6}, TTL: 60, Known: []netip.Addr{old4, old6}, From: []netip.Addr{old4, old6}},
		Services: []rfc2136.Service{{Domain: zoneName, Target: "xmpp.contoso.com", Port: 5269, Priority: 10, Weight: 5, TTL: 60,
			Addrs: []netip.Addr{new4, new6}}},
	}
}

func check(ctx context.Context, t *testing.T, task actions.Task, want actions.Status) string {
	t.Helper()
	o, err := task.Check(ctx)
	if err != nil {
		t.Fatalf("Check: %v", err)
	}
	if o.Status != want {
		t.Fatalf("Check = %s (%s), want %s", o.Status, o.Detail, want)
	}
	return o.Detail
}

func TestAddressesAndServiceMoveInOneUpdate(t *testing.T) {
	s := serve(t)
	task := updater(t, s, nil).Records(moved())
	if got, want := task.Target(), "zone contoso.com"; got != want {
		t.Errorf("Target = %q, want %q", got, want)
	}
	check(t.Context(), t, task, actions.Pending)
	if err := task.Apply(t.Context()); err != nil {
		t.Fatalf("Apply: %v", err)
	}
	check(t.Context(), t, task, actions.Done)
	got := [][]string{s.Records("xmpp.contoso.com", "A"), s.Records("xmpp.contoso.com", "AAAA"), s.Records("_xmpp-server._tcp.contoso.com", "SRV")}
	if diff := cmp.Diff([][]string{{"192.0.2.21"}, {"2001:db8::21"}, {"10 5 5269 xmpp.contoso.com."}}, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if n := len(s.Updates()); n != 1 {
		t.Errorf("%d updates were sent, want 1", n)
	}
	if got := s.Serial(zoneName); got != 101 {
		t.Errorf("serial = %d, want 101", got)
	}
}
