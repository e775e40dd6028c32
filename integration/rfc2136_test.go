//go:build integration

package integration

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"edgewatch/actions"
	"edgewatch/actions/actionstest"
	"edgewatch/actions/rfc2136"
)

const (
	tsigSecret  = "c2VjcmV0LW9mLXRoZS13YXRjaGRvZy1rZXk="
	wrongSecret = "c29tZS1vdGhlci1zZWNyZXQtYWx0b2dldGhlcg=="
)

// contoso is the zone of the contract tests: edge1 has the federation.
func contoso() zoneConfig {
	return zoneConfig{
		Name: "contoso.com",
		Records: []string{
			"xmpp 300 A 192.0.2.11", "xmpp 300 AAAA 2001:db8::11",
			"edge1 300 A 192.0.2.11", "edge2 300 A 192.0.2.21", "edge2 300 AAAA 2001:db8::21",
			"alias CNAME edge1",
		},
		Keys: []zoneKey{
			{Name: "watchdog", Secret: tsigSecret},
			{Name: "guest", Secret: tsigSecret, Names: []string{"guest.contoso.com"}},
			{Name: "halfway", Secret: tsigSecret, Names: []string{"xmpp.contoso.com"}},
		},
	}
}

// startFake is startBIND with the fake, which the contract holds to the
// behaviour of the real servers.
func startFake(t *testing.T, z zoneConfig) nameServers {
	t.Helper()
	cfg := actionstest.DNSConfig{Zones: []actionstest.DNSZone{{Name: z.Name, Records: append([]string{"@ 3600 SOA ns1 hostmaster 100 3600 600 86400 60", "@ NS ns1"}, z.Records...)}}}
	for _, k := range z.Keys {
		cfg.Keys = append(cfg.Keys, actionstest.DNSKey{Name: k.Name, Secret: k.Secret, Grant: k.Names})
	}
	primary, err := actionstest.ListenDNS("127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { primary.Close() })
	secondary, err := actionstest.ListenDNS("127.0.0.1:0", actionstest.DNSConfig{Keys: cfg.Keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { secondary.Close() })
	if err := secondary.Follow(primary, 10*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	return nameServers{primary.Addr(), secondary.Addr()}
}

// TestDNSContract runs the same expectations against every name server.
func TestDNSContract(t *testing.T) {
	servers := []struct {
		name  string
		start func(*testing.T, zoneConfig) nameServers
	}{{"bind", startBIND}, {"knot", startKnot}, {"fake", startFake}}
	cases := []struct {
		name string
		run  func(*testing.T, nameServers)
	}{
		{"rejected", contractRejected},
		{"on the wire", contractWire},
		{"preflight", contractPreflight},
		{"overtaken", contractOvertaken},
		{"one of twenty", contractOneOfTwenty},
		{"preview", contractPreview},
		{"move and back", contractMove},
	}
	for _, s := range servers {
		t.Run(s.name, func(t *testing.T) {
			ns := s.start(t, contoso())
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					nsupdate(t, ns.Primary, home...)
					c.run(t, ns)
				})
			}
		})
	}
}

// home puts the zone back to where federation is at edge1.
var home = []string{
	"update delete xmpp.contoso.com", "update delete _xmpp-server._tcp.contoso.com", "update delete _edgewatch.contoso.com",
	"update add xmpp.contoso.com 300 A 192.0.2.11", "update add xmpp.contoso.com 300 AAAA 2001:db8::11",
}

func addrs(words ...string) []netip.Addr {
	var out []netip.Addr
	for _, w := range words {
		out = append(out, netip.MustParseAddr(w))
	}
	return out
}

func toPool(target ...string) rfc2136.Wanted {
	return rfc2136.Wanted{
		Address: &rfc2136.AddressSet{Name: "xmpp.contoso.com", TTL: 60, Addrs: addrs(target...),
			Known: addrs("192.0.2.11", "2001:db8::11", "192.0.2.21", "2001:db8::21"),
			From:  addrs("192.0.2.11", "2001:db8::11")},
		Fence:    &rfc2136.Fence{Name: "_edgewatch.contoso.com", Term: 1},
		Services: []rfc2136.Service{{Domain: "contoso.com", Target: "xmpp.contoso.com", Port: 5269, Priority: 10, TTL: 60, Addrs: addrs(target...)}},
	}
}

func edge2() rfc2136.Wanted { return toPool("192.0.2.21", "2001:db8::21") }

func dnsUpdater(t *testing.T, ns nameServers, change func(*rfc2136.Zone)) *rfc2136.Updater {
	t.Helper()
	z := rfc2136.Zone{Name: "contoso.com", Server: ns.Primary, Authoritative: []string{ns.Primary, ns.Secondary},
		TSIG: rfc2136.Key{Name: "watchdog", Secret: actions.NewSecret(tsigSecret)}, Timeout: 5 * time.Second}
	if change != nil {
		change(&z)
	}
	u, err := rfc2136.NewUpdater(z)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// nsupdate edits the zone with BIND's own tool.
func nsupdate(t *testing.T, server string, lines ...string) {
	t.Helper()
	if err := script(t, append(append([]string{"server " + strings.Replace(server, ":", " ", 1), "zone contoso.com"}, lines...), "send")); err != nil {
		t.Fatal(err)
	}
}

func script(t *testing.T, lines []string) error {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t, "nsupdate"), "-v", "-y", "hmac-sha256:watchdog:"+tsigSecret)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.New("nsupdate: " + err.Error() + ": " + string(out))
	}
	return nil
}

// settled waits until a Check of task says Done.
func settled(t *testing.T, task actions.Task) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var o actions.Observation
	poll(ctx, t, "every server holds the records", func() bool {
		var err error
		if o, err = task.Check(ctx); err != nil {
			t.Fatalf("Check: %v", err)
		}
		return o.Status == actions.Done
	})
	return o.Detail
}

func serial(t *testing.T, server string) uint32 {
	t.Helper()
	for _, rr := range lookup(t, server, "contoso.com.", dns.TypeSOA) {
		if soa, ok := rr.(*dns.SOA); ok {
			return soa.Serial
		}
	}
	t.Fatal("no SOA record")
	return 0
}

func lookup(t *testing.T, server, name string, rtype uint16) []dns.RR {
	t.Helper()
	c := &dns.Client{Net: "tcp", Timeout: 5 * time.Second}
	r, _, err := c.ExchangeContext(t.Context(), new(dns.Msg).SetQuestion(name, rtype), server)
	if err != nil {
		t.Fatal(err)
	}
	return r.Answer
}

func contractMove(t *testing.T, ns nameServers) {
	t.Helper()
	task := dnsUpdater(t, ns, nil).Records(edge2())
	before := serial(t, ns.Primary)
	if err := task.Apply(t.Context()); err != nil {
		t.Fatalf("Apply: %v", err)
	}
	if detail := settled(t, task); !strings.Contains(detail, "up to 5m0s") {
		t.Errorf("the old TTL of 300 s is not in %q", detail)
	}
	after := serial(t, ns.Primary)
	if after != before+1 {
		t.Errorf("the serial went from %d to %d: not one update", before, after)
	}
	if err := task.Apply(t.Context()); err != nil || serial(t, ns.Primary) != after {
		t.Errorf("a second Apply is not a no-op: %v", err)
	}
	back := dnsUpdater(t, ns, nil).Records(toPool("192.0.2.11"))
	if err := back.Apply(t.Context()); err != nil {
		t.Fatalf("Apply back: %v", err)
	}
	settled(t, back)
	if left := lookup(t, ns.Primary, "xmpp.contoso.com.", dns.TypeAAAA); len(left) > 0 {
		t.Errorf("an AAAA record was left behind: %v", left)
	}
}

func contractRejected(t *testing.T, ns nameServers) {
	t.Helper()
	before := serial(t, ns.Primary)
	for _, c := range []struct {
		name string
		edit func(*rfc2136.Zone)
		want string // in the error of Knot, BIND or both
	}{
		{"wrong secret", func(z *rfc2136.Zone) { z.TSIG.Secret = actions.NewSecret(wrongSecret) }, "BADSIG"},
		{"unknown key", func(z *rfc2136.Zone) { z.TSIG.Name = "nobody" }, "BADKEY"},
		{"wrong algorithm", func(z *rfc2136.Zone) { z.TSIG.Algorithm = "hmac-sha512" }, "BADKEY"},
		{"no grant", func(z *rfc2136.Zone) { z.TSIG.Name = "guest" }, "guest"},
		{"no grant for the SRV record", func(z *rfc2136.Zone) { z.TSIG.Name = "halfway" }, "halfway"},
		{"secondary", func(z *rfc2136.Zone) { z.Server = ns.Secondary }, ""},
		{"zone not served", func(z *rfc2136.Zone) { z.Name = "com" }, "without authority"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u := dnsUpdater(t, ns, c.edit)
			err := u.Records(edge2()).Apply(t.Context())
			if actions.KindOf(err) != actions.Rejected || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Apply = %v, want Rejected with %q", err, c.want)
			}
			if _, err := u.Writable(edge2()).Check(t.Context()); actions.KindOf(err) != actions.Rejected {
				t.Errorf("the preflight says %v, want Rejected", err)
			}
		})
	}
	if after := serial(t, ns.Primary); after != before {
		t.Errorf("the serial went from %d to %d", before, after)
	}
}

func contractPreflight(t *testing.T, ns nameServers) {
	t.Helper()
	settled(t, dnsUpdater(t, ns, nil).Writable(edge2()))
	before := serial(t, ns.Primary)
	if detail := settled(t, dnsUpdater(t, ns, nil).Writable(edge2())); !strings.Contains(detail, "key watchdog may change the records") {
		t.Errorf("detail = %q", detail)
	}
	if after := serial(t, ns.Primary); after != before {
		t.Errorf("the preflight moved the serial from %d to %d", before, after)
	}
}

// contractOvertaken has somebody edit the record after Apply has read it.
func contractOvertaken(t *testing.T, ns nameServers) {
	t.Helper()
	t.Run("otherwise", func(t *testing.T) {
		via := relay(t, ns.Primary, func() {
			nsupdate(t, ns.Primary, "update delete xmpp.contoso.com A", "update add xmpp.contoso.com 300 A 192.0.2.21")
		})
		err := dnsUpdater(t, ns, func(z *rfc2136.Zone) { z.Server = via }).Records(edge2()).Apply(t.Context())
		if actions.KindOf(err) != actions.Rejected || !strings.Contains(err.Error(), "changed by somebody else") {
			t.Errorf("Apply = %v", err)
		}
	})
	nsupdate(t, ns.Primary, home...)
	t.Run("to the same", func(t *testing.T) {
		via := relay(t, ns.Primary, func() {
			if err := dnsUpdater(t, ns, nil).Records(edge2()).Apply(t.Context()); err != nil {
				t.Errorf("the other watchdog: %v", err)
			}
		})
		if err := dnsUpdater(t, ns, func(z *rfc2136.Zone) { z.Server = via }).Records(edge2()).Apply(t.Context()); err != nil {
			t.Errorf("Apply = %v, though all is as wanted", err)
		}
	})
}

// contractOneOfTwenty has twenty writers that have all read the same record.
func contractOneOfTwenty(t *testing.T, ns nameServers) {
	t.Helper()
	const n = 20
	var arrived sync.WaitGroup
	arrived.Add(n)
	before := serial(t, ns.Primary)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		ip := netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)})
		via := relay(t, ns.Primary, func() { arrived.Done(); arrived.Wait() })
		task := dnsUpdater(t, ns, func(z *rfc2136.Zone) { z.Server = via }).Records(rfc2136.Wanted{Address: &rfc2136.AddressSet{
			Name: "xmpp.contoso.com", Addrs: []netip.Addr{ip}, TTL: 60, Known: knownRange()}})
		wg.Go(func() { errs[i] = task.Apply(t.Context()) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case actions.KindOf(err) != actions.Rejected:
			t.Errorf("a loser got %v", err)
		}
	}
	if after := serial(t, ns.Primary); won != 1 || after != before+1 {
		t.Errorf("%d of %d won, the serial went from %d to %d", won, n, before, after)
	}
}

func knownRange() []netip.Addr {
	out := addrs("192.0.2.11", "2001:db8::11")
	for i := range 20 {
		out = append(out, netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)}))
	}
	return out
}

// contractPreview pastes the previews into nsupdate.
func contractPreview(t *testing.T, ns nameServers) {
	t.Helper()
	u := dnsUpdater(t, ns, nil)
	before := serial(t, ns.Primary)
	if err := script(t, u.Writable(edge2()).Preview()); err != nil || serial(t, ns.Primary) != before {
		t.Errorf("the preview of the preflight is refused or changes the zone: %v", err)
	}
	task := u.Records(edge2())
	if err := script(t, task.Preview()); err != nil {
		t.Fatal(err)
	}
	settled(t, task)
	if err := script(t, task.Preview()); err == nil {
		t.Error("the same preview is accepted a second time: it has no prerequisites")
	}
	var got []string
	for _, rr := range lookup(t, ns.Primary, "_xmpp-server._tcp.contoso.com.", dns.TypeSRV) {
		got = append(got, strings.Join(strings.Fields(rr.String()), " "))
	}
	if diff := cmp.Diff([]string{"_xmpp-server._tcp.contoso.com. 60 IN SRV 10 0 5269 xmpp.contoso.com."}, got); diff != "" {
		t.Errorf("SRV (-want +got):\n%s", diff)
	}
}

// relay forwards DNS over TCP to server and calls hold before it lets an
// UPDATE through: the moment between reading and swapping. It ends with the test.
func relay(t *testing.T, server string, hold func()) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); wg.Wait() })
	ctx := t.Context()
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { forward(ctx, c, server, hold) })
		}
	})
	return l.Addr().String()
}

func forward(ctx context.Context, in net.Conn, server string, hold func()) {
	defer in.Close()
	var d net.Dialer
	out, err := d.DialContext(ctx, "tcp", server)
	if err != nil {
		return
	}
	defer out.Close()
	for {
		ask, ok := frame(in)
		if !ok {
			return
		}
		if opcode := ask[4] >> 3 & 0xf; opcode == dns.OpcodeUpdate {
			hold()
		}
		if _, err := out.Write(ask); err != nil {
			return
		}
		answer, ok := frame(out)
		if !ok {
			return
		}
		if _, err := in.Write(answer); err != nil {
			return
		}
	}
}

// frame reads one message with its length in front.
func frame(c net.Conn) ([]byte, bool) {
	head := make([]byte, 2)
	if _, err := io.ReadFull(c, head); err != nil {
		return nil, false
	}
	body := make([]byte, binary.BigEndian.Uint16(head))
	_, err := io.ReadFull(c, body)
	return append(head, body...), err == nil && len(body) >= 12
}
