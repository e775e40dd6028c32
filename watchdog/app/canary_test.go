package app

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"edgewatch/actions/actionstest"
	"edgewatch/configs"
	"edgewatch/probe/probetest"
)

// canaryOf is the builder of a federation with these canaries.
func canaryOf(t *testing.T, timeout time.Duration, targets ...configs.Canary) *builder {
	t.Helper()
	cfg, err := configs.Load(example)
	if err != nil {
		t.Fatal(err)
	}
	f := &cfg.Federations[0]
	f.Canaries.Targets, f.Canaries.Timeout.Duration = targets, timeout
	b, err := newBuilder(f, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// listener is a TCP port; what is not accepted opens all the same.
func listener(t *testing.T) (addr netip.AddrPort, closePort func()) {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return netip.MustParseAddrPort(ln.Addr().String()), func() { ln.Close() }
}

// silentUDP is a UDP port that takes questions and never answers.
func silentUDP(t *testing.T) netip.AddrPort {
	t.Helper()
	pc, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	return netip.MustParseAddrPort(pc.LocalAddr().String())
}

// Every kind of canary answers when it answers rightly, and says in words, the
// same ones every time, why it does not.
func TestCanaries(t *testing.T) {
	t.Parallel()
	open, _ := listener(t)
	closed, closePort := listener(t)
	closePort()
	dns, err := actionstest.ListenDNS("127.0.0.1:0", actionstest.DNSConfig{Zones: []actionstest.DNSZone{{
		Name: "example.com", Records: []string{"www 300 A 192.0.2.1", "six 300 AAAA 2001:db8::1", "_xmpp-server._tcp 300 SRV 0 0 5269 www.example.com."},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dns.Close() })
	resolver := netip.MustParseAddrPort(dns.Addr())
	ask := func(at netip.AddrPort, name, kind string) configs.Canary {
		return configs.Canary{Kind: configs.CanaryDNS, Addr: at, Name: name, Type: kind}
	}
	xmpp := func(c probetest.Config) configs.Canary {
		c.Domain = "example.net"
		s := probetest.NewServer(t, c)
		kind := configs.CanaryXMPP
		if c.DirectTLS {
			kind = configs.CanaryXMPPS
		}
		return configs.Canary{Kind: kind, Addr: s.Addr(), Domain: "example.net"}
	}
	of := func(domain string, c configs.Canary) configs.Canary { c.Domain = domain; return c }
	ca := probetest.NewCA()
	old := ca.IssueLeaf(probetest.Leaf{Names: []string{"example.net"}, NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(0, 0, -1)})
	for name, c := range map[string]struct {
		canary configs.Canary
		want   string // a part of why it does not answer; "" = it answers
	}{
		"open port":               {configs.Canary{Kind: configs.CanaryTCP, Addr: open}, ""},
		"closed port":             {configs.Canary{Kind: configs.CanaryTCP, Addr: closed}, "no connection: connect: connection refused"},
		"name server":             {ask(resolver, "www.example.com", "A"), ""},
		"name server, AAAA":       {ask(resolver, "six.example.com", "AAAA"), ""},
		"name server, SRV":        {ask(resolver, "_xmpp-server._tcp.example.com", "SRV"), ""},
		"no such name":            {ask(resolver, "gone.example.com", "A"), "dns/nxdomain instead of A records of gone.example.com: The name does not exist"},
		"no such record":          {ask(resolver, "www.example.com", "AAAA"), "dns/nodata"},
		"not its zone":            {ask(resolver, "example.org", "A"), "dns/refused"},
		"no name server":          {ask(closed, "www.example.com", "A"), "dns/unreachable"},
		"silent name server":      {ask(silentUDP(t), "www.example.com", "A"), "dns/timeout instead of A records of www.example.com: No answer in time"},
		"XMPP":                    {xmpp(probetest.Config{CA: ca}), ""},
		"XMPP, direct TLS":        {xmpp(probetest.Config{CA: ca, DirectTLS: true}), ""},
		"XMPP, secure":            {xmpp(probetest.Config{CA: ca, Behaviour: probetest.AuthRequired}), ""},
		"XMPP, expired":           {xmpp(probetest.Config{CA: ca, Cert: &old}), ""},
		"XMPP, expired, secure":   {xmpp(probetest.Config{CA: ca, Cert: &old, Behaviour: probetest.AuthRequired}), ""},
		"XMPP, another's":         {of("example.org", xmpp(probetest.Config{CA: ca})), "features/stream_error:host-unknown: The server answered with an XMPP stream error"},
		"XMPP, policy":            {xmpp(probetest.Config{CA: ca, Behaviour: probetest.StreamError("policy-violation", "")}), "stream_error:policy-violation"},
		"XMPP, silent":            {xmpp(probetest.Config{CA: ca, Behaviour: probetest.Silent}), "stream/timeout: No answer in time"},
		"XMPP, HTTP":              {xmpp(probetest.Config{CA: ca, Behaviour: probetest.HTTP}), "stream/not_xmpp: Something other than XMPP"},
		"XMPP, resets":            {xmpp(probetest.Config{CA: ca, Behaviour: probetest.AfterStartTLS(probetest.Reset)}), "starttls/reset: The connection was reset"},
		"XMPP, closed port":       {configs.Canary{Kind: configs.CanaryXMPP, Addr: closed, Domain: "example.net"}, "connect/refused"},
		"XMPP, half a word":       {xmpp(probetest.Config{CA: ca, Behaviour: probetest.Reply("%H")}), "features/timeout"},
		"XMPP, large one lost":    {xmpp(probetest.Config{CA: ca, Behaviour: probetest.AfterProceed("", probetest.Silent)}), "tls/timeout"},
		"XMPP, expired, then cut": {xmpp(probetest.Config{CA: ca, Cert: &old, Behaviour: probetest.InTLS(probetest.Silent)}), "cert/cert_expired"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			limit := 10 * time.Second
			for _, hangs := range []string{"timeout", "cert/"} {
				if strings.Contains(c.want, hangs) {
					limit = 500 * time.Millisecond
				}
			}
			b := canaryOf(t, limit, c.canary)
			var words [2]string
			for i := range words {
				begin := time.Now()
				err := b.canary(t.Context(), settings(b.f).Watch.Canaries[0])
				if took := time.Since(begin); took > limit+3*time.Second {
					t.Errorf("took %s with a limit of %s", took, limit)
				}
				if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
					t.Fatalf("got %v, want %q", err, c.want)
				}
				if err != nil {
					words[i] = err.Error()
				}
			}
			if words[0] != words[1] {
				t.Errorf("first %q, then %q", words[0], words[1])
			}
		})
	}
}

// A canary nobody configured does not answer.
func TestCanaryUnknown(t *testing.T) {
	t.Parallel()
	if err := canaryOf(t, time.Second).canary(t.Context(), "198.51.100.1:443"); err == nil || !strings.Contains(err.Error(), "no such canary") {
		t.Errorf("got %v", err)
	}
}

// A round may take as long as its slowest canary: one that times out must not
// make every round look as if our own loop had stood still.
func TestRoundTimeout(t *testing.T) {
	t.Parallel()
	cfg, err := configs.Load(example)
	if err != nil {
		t.Fatal(err)
	}
	f := &cfg.Federations[0]
	f.Probe.Interval.Duration, f.Probe.Timeout.Duration, f.Canaries.Timeout.Duration = 30*time.Second, 2*time.Second, 20*time.Second
	if got := settings(f).Watch.RoundTimeout; got != 20*time.Second {
		t.Errorf("a canary may take 20s, a round %s", got)
	}
	f.Canaries.Timeout.Duration = time.Second
	if got := settings(f).Watch.RoundTimeout; got != 4*time.Second {
		t.Errorf("a probe may wait for another, both 2s, a round %s", got)
	}
}
