package actionstest_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"edgewatch/actions/actionstest"
)

func listenDNS(t *testing.T, records ...string) *actionstest.DNSServer {
	t.Helper()
	s, err := actionstest.ListenDNS("127.0.0.1:0", actionstest.DNSConfig{Zones: []actionstest.DNSZone{{Name: "contoso.com", Records: records}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestPartnerResolvesThroughDNSServer: a remote domain's resolver finds the
// way SRV, alias, address.
func TestPartnerResolvesThroughDNSServer(t *testing.T) {
	s := listenDNS(t,
		"_xmpp-server._tcp SRV 10 0 5269 xmpp", "_xmpp-server._tcp SRV 20 0 5269 edge2",
		"xmpp A 192.0.2.11", "xmpp AAAA 2001:db8::11", "edge2 A 192.0.2.21", "www CNAME xmpp", "*.wild A 192.0.2.31")
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
				var d net.Dialer
				return d.DialContext(ctx, network, s.Addr())
			}}
			_, srvs, err := r.LookupSRV(t.Context(), "xmpp-server", "tcp", "contoso.com.")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]*net.SRV{{Target: "xmpp.contoso.com.", Port: 5269, Priority: 10}, {Target: "edge2.contoso.com.", Port: 5269, Priority: 20}}, srvs); diff != "" {
				t.Errorf("SRV (-want +got):\n%s", diff)
			}
			for name, want := range map[string][]string{
				"xmpp.contoso.com.":   {"192.0.2.11", "2001:db8::11"},
				"www.contoso.com.":    {"192.0.2.11", "2001:db8::11"},
				"a.wild.contoso.com.": {"192.0.2.31"},
			} {
				got, err := r.LookupHost(t.Context(), name)
				if diff := cmp.Diff(want, got); err != nil || diff != "" {
					t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
				}
			}
			_, err = r.LookupHost(t.Context(), "missing.contoso.com.")
			if e, ok := err.(*net.DNSError); !ok || !e.IsNotFound { //nolint:errorlint // the resolver returns the type itself
				t.Errorf("a missing name: %v", err)
			}
		})
	}
}

func TestDNSServerAnswersWithAuthority(t *testing.T) {
	s := listenDNS(t, "xmpp A 192.0.2.11")
	for _, c := range []struct {
		name  string
		rtype uint16
		rcode int
		aa    bool
		n     int
	}{
		{"contoso.com.", dns.TypeSOA, dns.RcodeSuccess, true, 1},
		{"XMPP.contoso.com.", dns.TypeA, dns.RcodeSuccess, true, 1},
		{"xmpp.contoso.com.", dns.TypeAAAA, dns.RcodeSuccess, true, 0},
		{"none.contoso.com.", dns.TypeA, dns.RcodeNameError, true, 0},
		{"fabrikam.com.", dns.TypeA, dns.RcodeRefused, false, 0},
	} {
		r, _, err := new(dns.Client).ExchangeContext(t.Context(), new(dns.Msg).SetQuestion(c.name, c.rtype), s.Addr())
		if err != nil || r.Rcode != c.rcode || r.Authoritative != c.aa || len(r.Answer) != c.n {
			t.Errorf("%s %s: %v, %v", c.name, dns.TypeToString[c.rtype], r, err)
		}
		if c.aa && c.n == 0 && len(r.Ns) != 1 {
			t.Errorf("%s: no SOA record to tell how long nothing is remembered", c.name)
		}
	}
}

func TestSecondaryLagsUntilReleased(t *testing.T) {
	primary := listenDNS(t, "xmpp A 192.0.2.11")
	second, err := actionstest.ListenDNS("127.0.0.1:0", actionstest.DNSConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { second.Close() })
	if err := second.Follow(primary, time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if err := second.Follow(primary, 0); err == nil {
		t.Error("a second Follow is accepted")
	}
	second.Hold(true)
	if err := primary.Edit("contoso.com", "xmpp", "A", "xmpp A 192.0.2.21"); err != nil {
		t.Fatal(err)
	}
	if got := second.Records("xmpp.contoso.com", "A"); len(got) != 1 || got[0] != "192.0.2.11" {
		t.Errorf("the held secondary has %v", got)
	}
	second.Hold(false)
	if err := second.Synced(t.Context(), "contoso.com", 2); err != nil {
		t.Fatal(err)
	}
	if got := second.Records("xmpp.contoso.com", "A"); len(got) != 1 || got[0] != "192.0.2.21" {
		t.Errorf("the released secondary has %v", got)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := second.Synced(ctx, "contoso.com", 99); err == nil {
		t.Error("waiting for a serial that never comes ended well")
	}
}

func TestDNSServerRefusesBadConfiguration(t *testing.T) {
	for record, want := range map[string]string{
		"xmpp A 192.0.2":                 "192.0.2",
		"xmpp.fabrikam.com. A 192.0.2.1": "is not in zone",
	} {
		_, err := actionstest.ListenDNS("127.0.0.1:0", actionstest.DNSConfig{Zones: []actionstest.DNSZone{{Name: "contoso.com", Records: []string{record}}}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", record, err)
		}
	}
	s := listenDNS(t)
	if _, err := actionstest.ListenDNS(s.Addr(), actionstest.DNSConfig{}); err == nil {
		t.Error("a port that is taken is accepted")
	}
	if err := s.Edit("fabrikam.com", "x", "A"); err == nil {
		t.Error("an edit of another zone is accepted")
	}
	s.Close() // and once more by Cleanup
}
