package probe_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"edgewatch/probe"
	"edgewatch/probe/probetest"
)

// lab maps the addresses of the documentation nets, on which DNS may say that
// servers are, to servers on loopback.
type lab map[netip.Addr]*probetest.Server

func (l lab) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	s, ok := l[ap.Addr()]
	if !ok {
		return nil, fmt.Errorf("no server on %s in this lab", addr)
	}
	return d.DialContext(ctx, network, s.Addr().String())
}

// TestPartner proves what a partner's eye makes of DNS and of the servers
// behind it.
func TestPartner(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	server := func(c probetest.Config) *probetest.Server {
		c.CA, c.Cert, c.Domain = f.ca, &f.cert, domain
		return probetest.NewServer(t, c)
	}
	down := server(probetest.Config{})
	down.Stop()
	addr := netip.MustParseAddr
	servers := lab{
		addr("192.0.2.1"): server(probetest.Config{}),
		addr("192.0.2.2"): server(probetest.Config{}),
		addr("192.0.2.3"): server(probetest.Config{DirectTLS: true}),
		addr("192.0.2.4"): server(probetest.Config{Behaviour: probetest.NoStartTLS}),
		addr("192.0.2.9"): down, addr("192.0.2.8"): down,
		addr("2001:db8::1"): server(probetest.Config{}),
		addr("2001:db8::9"): down,
	}
	p := probe.New(probe.Options{RootCAs: f.ca.Pool(), SlowConnect: -1, Dial: servers.dial})
	const srv, srvs = "_xmpp-server._tcp.contoso.test. SRV ", "_xmpps-server._tcp.contoso.test. SRV "
	hosts := "x1.contoso.test. A 192.0.2.1\nx2.contoso.test. A 192.0.2.2\nd1.contoso.test. A 192.0.2.3\nno.contoso.test. A 192.0.2.4\n" +
		"down.contoso.test. A 192.0.2.9\nlost.contoso.test. A 192.0.2.77\nempty.contoso.test. TXT x\nbad6.contoso.test. A 192.0.2.1\nbad6.contoso.test. AAAA 2001:db8::9\n" +
		"six.contoso.test. AAAA 2001:db8::9\nboth.contoso.test. A 192.0.2.1\nboth.contoso.test. AAAA 2001:db8::1\nalias.contoso.test. CNAME x1.contoso.test.\n"
	for _, c := range []struct {
		number  int
		name    string
		records string
		rcodes  map[string]int
		phase   probe.Phase
		class   probe.Class
		level   probe.Level
		remarks []probe.Class
		targets int
	}{
		{0, "one target", srv + "0 0 5269 x1.contoso.test.", nil, probe.PhaseDone, probe.OK, probe.Up, nil, 1},
		{0, "both families", srv + "0 0 5269 both.contoso.test.", nil, probe.PhaseDone, probe.OK, probe.Up, nil, 1},
		{56, "no SRV", "contoso.test. A 192.0.2.1", nil, probe.PhaseDone, probe.OK, probe.Up, []probe.Class{probe.DNSNoSRV}, 1},
		{57, "nothing", "", nil, probe.PhaseDNS, probe.NXDomain, probe.Inconclusive, []probe.Class{probe.DNSNoSRV}, 1},
		{58, "no service", srv + "0 0 0 .\ncontoso.test. A 192.0.2.1", nil, probe.PhaseDNS, probe.NoService, probe.Inconclusive, nil, 0},
		{59, "SERVFAIL", "contoso.test. A 192.0.2.1", map[string]int{"_xmpp-server._tcp.contoso.test.": dns.RcodeServerFailure}, probe.PhaseDNS, probe.ServFail, probe.Inconclusive, nil, 0},
		{60, "REFUSED", "contoso.test. A 192.0.2.1", map[string]int{"_xmpp-server._tcp.contoso.test.": dns.RcodeRefused}, probe.PhaseDNS, probe.Refused, probe.Inconclusive, nil, 0},
		{62, "target without address", srv + "0 0 5269 empty.contoso.test.", nil, probe.PhaseDNS, probe.NoAddress, probe.Inconclusive, nil, 1},
		{62, "one of two without address", srv + "0 0 5269 empty.contoso.test.\n" + srv + "0 0 5269 x1.contoso.test.", nil, probe.PhaseDNS, probe.NoAddress, probe.Degraded, nil, 2},
		{63, "alias", srv + "0 0 5269 alias.contoso.test.", nil, probe.PhaseDone, probe.OK, probe.Up, []probe.Class{probe.SRVCNAME}, 1},
		{64, "one of two down", srv + "0 5 5269 x1.contoso.test.\n" + srv + "0 5 5269 down.contoso.test.", nil, probe.PhaseConnect, probe.Refused, probe.Degraded, nil, 2},
		{65, "primary down", srv + "0 0 5269 down.contoso.test.\n" + srv + "10 0 5269 x2.contoso.test.", nil, probe.PhaseConnect, probe.Refused, probe.Degraded, nil, 2},
		{65, "backup down", srv + "0 0 5269 x1.contoso.test.\n" + srv + "10 0 5269 down.contoso.test.", nil, probe.PhaseDone, probe.OK, probe.Up, []probe.Class{probe.BackupDown}, 2},
		{66, "AAAA broken", srv + "0 0 5269 bad6.contoso.test.", nil, probe.PhaseConnect, probe.Refused, probe.Degraded, nil, 1},
		{67, "IPv6 only, without a listener", srv + "0 0 5269 six.contoso.test.", nil, probe.PhaseConnect, probe.Refused, probe.Down, nil, 1},
		{68, "direct TLS only", srvs + "0 0 5270 d1.contoso.test.", nil, probe.PhaseDone, probe.OK, probe.Up, []probe.Class{probe.NoStartTLSService}, 1},
		{0, "all down", srv + "0 0 5269 down.contoso.test.", nil, probe.PhaseConnect, probe.Refused, probe.Down, nil, 1},
		{0, "one down, one not to be asked", srv + "0 0 5269 down.contoso.test.\n" + srv + "0 0 5269 lost.contoso.test.", nil, probe.PhaseConnect, probe.Refused, probe.Inconclusive, nil, 2},
		{0, "more than are followed", manyTargets(srv, 20), nil, probe.PhaseDone, probe.OK, probe.Up, []probe.Class{probe.TooManyTargets}, 16},
		{0, "port 0", srv + "0 0 0 x1.contoso.test.", nil, probe.PhaseDNS, probe.BadAnswer, probe.Inconclusive, nil, 1},
		{0, "one of two with port 0", srv + "0 0 0 x1.contoso.test.\n" + srv + "0 0 5269 x2.contoso.test.", nil, probe.PhaseDNS, probe.BadAnswer, probe.Degraded, nil, 2},
		{0, "degraded", srv + "0 0 5269 no.contoso.test.", nil, probe.PhaseStartTLS, probe.NoStartTLS, probe.Degraded, nil, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			z := newZone(t, hosts+c.records+"\n")
			z.set(func() { z.rcodes = c.rcodes })
			r := p.Partner(t.Context(), resolver(z.addr), "Contoso.test.", from)
			if r.Phase != c.phase || r.Class != c.class || r.Level != c.level || !slices.Equal(r.Remarks, c.remarks) || len(r.Targets) != c.targets {
				t.Errorf("got %s/%s %s %v, %d targets: %s; want %s/%s %s %v, %d targets", r.Phase, r.Class, r.Level, r.Remarks, len(r.Targets), r.Error,
					c.phase, c.class, c.level, c.remarks, c.targets)
			}
			if r.Level == probe.Down && r.Blame != probe.Remote {
				t.Errorf("down with blame %s", r.Blame)
			}
			seen.shows(t, c.number, r.Phase, r.Class, "", r.Remarks)
			roundTrip(t, r)
		})
	}
}

// roundTrip proves that a result survives JSON.
func roundTrip(t *testing.T, r probe.PartnerResult) {
	t.Helper()
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back probe.PartnerResult
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(back)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(b), string(again)); d != "" {
		t.Errorf("JSON changed (-first +second):\n%s", d)
	}
}

// TestPartnerAddressesOnce proves that an address that several targets lead to
// is asked once.
func TestPartnerAddressesOnce(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := probetest.NewServer(t, probetest.Config{Domain: domain, CA: f.ca, Cert: &f.cert})
	z := newZone(t, "_xmpp-server._tcp.contoso.test. SRV 0 0 5269 a.test.\n_xmpp-server._tcp.contoso.test. SRV 1 0 5269 b.test.\n"+
		"a.test. A 192.0.2.1\nb.test. A 192.0.2.1\n")
	p := probe.New(probe.Options{RootCAs: f.ca.Pool(), SlowConnect: -1, Dial: lab{netip.MustParseAddr("192.0.2.1"): s}.dial})
	r := p.Partner(t.Context(), resolver(z.addr), domain, from)
	if s.Accepted() != 1 || r.Level != probe.Up || len(r.Targets) != 2 || len(r.Targets[0].Results) != 1 || len(r.Targets[1].Results) != 1 {
		t.Errorf("%d connections, %+v", s.Accepted(), r)
	}
	if q := strings.Join(z.questions(), "\n"); !strings.Contains(q, "a.test. AAAA") {
		t.Errorf("AAAA was not asked for: %s", q)
	}
}

// manyTargets are n SRV records that lead to one host.
func manyTargets(srv string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%s0 0 %d x1.contoso.test.\n", srv, 5269+i)
	}
	return b.String()
}

// TestPartnerManyAddresses proves that a domain is not called down while it has
// addresses that were not asked.
func TestPartnerManyAddresses(t *testing.T) {
	t.Parallel()
	refused := func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }
	for name, c := range map[string]struct {
		records string
		level   probe.Level
	}{
		"all were asked":     {"_xmpp-server._tcp.contoso.test. SRV 0 0 5269 many.test.\n" + manyAddresses(32), probe.Down},
		"too many addresses": {"_xmpp-server._tcp.contoso.test. SRV 0 0 5269 many.test.\n" + manyAddresses(33), probe.Inconclusive},
		"too many targets":   {strings.Repeat("_xmpp-server._tcp.contoso.test. SRV 0 0 5269 many.test.\n", 17) + manyAddresses(1), probe.Inconclusive},
	} {
		z := newZone(t, c.records)
		r := probe.New(probe.Options{Dial: refused}).Partner(t.Context(), resolver(z.addr), domain, from)
		if r.Level != c.level || r.Class != probe.Refused {
			t.Errorf("%s: %s, %s, remarks %v; want %s", name, r.Level, r.Class, r.Remarks, c.level)
		}
	}
}

// TestPartnerMapped proves that an address in both an A and, as an IPv4 address,
// an AAAA record is one address.
func TestPartnerMapped(t *testing.T) {
	t.Parallel()
	var dialled atomic.Int32
	p := probe.New(probe.Options{Dial: func(_ context.Context, _, addr string) (net.Conn, error) {
		if dialled.Add(1); addr != "192.0.2.1:5269" {
			t.Errorf("dialled %s", addr)
		}
		return nil, syscall.ECONNREFUSED
	}})
	z := newZone(t, "contoso.test. A 192.0.2.1\ncontoso.test. AAAA ::ffff:192.0.2.1\n")
	r := p.Partner(t.Context(), resolver(z.addr), domain, from)
	if n := dialled.Load(); n != 1 || len(r.Targets) != 1 || len(r.Targets[0].Results) != 1 {
		t.Errorf("dialled %d times: %+v", n, r.Targets)
	}
}
