package probe_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"edgewatch/probe"
	"edgewatch/probe/probetest"
)

// TestViews proves that every name server is asked by itself, and that those
// which tell another story, or none, are told apart.
func TestViews(t *testing.T) {
	t.Parallel()
	const srv = "_xmpp-server._tcp.contoso.test. SRV "
	hosts := "x1.contoso.test. A 192.0.2.1\nx1.contoso.test. A 192.0.2.2\nx2.contoso.test. A 192.0.2.9\nx2.contoso.test. AAAA 2001:db8::9\n"
	good := newZone(t, hosts+srv+"0 5 5269 x1.contoso.test.\n"+srv+"10 0 5269 x2.contoso.test.\n")
	shuffled := newZone(t, srv+"10 0 5269 X2.contoso.test.\n"+srv+"0 5 5269 x1.contoso.test.\n"+
		"x2.contoso.test. AAAA 2001:db8::9\nx1.contoso.test. 5 A 192.0.2.2\nx1.contoso.test. 5 A 192.0.2.1\nx2.contoso.test. A 192.0.2.9\n")
	other := newZone(t, "x1.contoso.test. A 192.0.2.7\n"+srv+"0 5 5269 x1.contoso.test.\n")
	off := newZone(t, srv+"0 0 0 .\n")
	empty := newZone(t, "")
	fails := newZone(t, "")
	fails.set(func() { fails.rcodes["_xmpp-server._tcp.contoso.test."] = dns.RcodeServerFailure })
	half := newZone(t, srv+"0 5 5269 x1.contoso.test.\n")
	half.set(func() { half.rcodes["x1.contoso.test."] = dns.RcodeServerFailure })
	stray := newZone(t, srv+"0 5 5269 gone.contoso.test.\n")
	const story = "0 5 x1.contoso.test:5269 = 192.0.2.1, 192.0.2.2; 10 0 x2.contoso.test:5269 = 192.0.2.9, 2001:db8::9"
	for _, c := range []struct {
		name  string
		zone  *zone
		class probe.Class
		knows bool
		story string
	}{
		{"good", good, probe.OK, true, story},
		{"in another order, with other TTLs", shuffled, probe.OK, true, story},
		{"other", other, probe.OK, true, "0 5 x1.contoso.test:5269 = 192.0.2.7"},
		{"switched off", off, probe.NoService, true, "no_service"},
		{"empty", empty, probe.NXDomain, true, "nxdomain"},
		{"fails", fails, probe.ServFail, false, "servfail"},
		{"fails for the address", half, probe.ServFail, false, "servfail"},
		{"leads nowhere", stray, probe.NoAddress, true, "no_address"},
	} {
		v := resolver(c.zone.addr).Views(t.Context(), "Contoso.test.")
		if len(v) != 1 || v[0].Server != c.zone.addr || v[0].Class != c.class || v[0].Knows() != c.knows || v[0].String() != c.story || (v[0].Error == "") != (c.class == probe.OK) {
			t.Errorf("%s: got %+v, %q", c.name, v, v[0].String())
		}
	}
	for _, c := range []struct {
		name  string
		zones []*zone
		agree bool
	}{
		{"alike", []*zone{good, shuffled}, true},
		{"one gives no answer", []*zone{fails, good, half, shuffled}, true},
		{"one tells another story", []*zone{good, shuffled, other}, false},
		{"one knows nothing", []*zone{empty, good}, false},
		{"none answers", []*zone{fails, half}, true},
		{"none", nil, true},
	} {
		var servers []string
		for _, z := range c.zones {
			servers = append(servers, z.addr)
		}
		views := resolver(servers...).Views(t.Context(), domain)
		if len(views) != len(servers) || probe.Agree(views) != c.agree {
			t.Errorf("%s: agree %v: %+v", c.name, probe.Agree(views), views)
		}
	}
}

// TestPartnerDirectTLS proves that, when asked to, the partner's eye mixes
// direct TLS (XEP-0368) with STARTTLS, best priority first, and goes through
// both.
func TestPartnerDirectTLS(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	plain := probetest.NewServer(t, probetest.Config{Domain: domain, CA: f.ca, Cert: &f.cert})
	direct := probetest.NewServer(t, probetest.Config{Domain: domain, CA: f.ca, Cert: &f.cert, DirectTLS: true})
	p := probe.New(probe.Options{RootCAs: f.ca.Pool(), SlowConnect: -1, Dial: lab{netip.MustParseAddr("192.0.2.1"): plain, netip.MustParseAddr("192.0.2.2"): direct}.dial})
	const both = "x.contoso.test. A 192.0.2.1\nd.contoso.test. A 192.0.2.2\n_xmpp-server._tcp.contoso.test. SRV 10 0 5269 x.contoso.test.\n"
	const srvs = "_xmpps-server._tcp.contoso.test. SRV 5 0 5270 d.contoso.test.\n"
	for _, c := range []struct {
		name    string
		records string
		wanted  bool
		found   []string
	}{
		{"both, not wanted", both + srvs, false, []string{"x.contoso.test."}},
		{"both", both + srvs, true, []string{"d.contoso.test.", "x.contoso.test."}},
		{"plain only", both, true, []string{"x.contoso.test."}},
		{"direct switched off", both + "_xmpps-server._tcp.contoso.test. SRV 0 0 0 .\n", true, []string{"x.contoso.test."}},
	} {
		z := newZone(t, c.records)
		r := p.Partner(t.Context(), probe.NewResolver(probe.ResolverOptions{Servers: []string{z.addr}, DirectTLS: c.wanted}), domain, from)
		var found []string
		for _, target := range r.Targets {
			found = append(found, target.Target)
			if target.DirectTLS != strings.HasPrefix(target.Target, "d.") || len(target.Results) != 1 || target.Results[0].Class != probe.OK {
				t.Errorf("%s: %+v", c.name, target)
			}
		}
		if r.Level != probe.Up || len(r.Remarks) > 0 || !slices.Equal(found, c.found) {
			t.Errorf("%s: %s %v, %v", c.name, r.Level, r.Remarks, found)
		}
	}
}
