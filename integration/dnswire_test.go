//go:build integration

package integration

import (
	"slices"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// wireCase is one UPDATE and the rcodes that servers answer it with.
type wireCase struct {
	name   string
	key    string // "" sends it unsigned
	secret string
	clock  time.Duration
	zone   string
	fill   func(*dns.Msg)
	rcodes []int // the first is BIND's and the fake's, another one Knot's
	tsig   []int // the errors in the TSIG record that go with them; -1 for no record
	change bool
}

// rrs parses zone-file lines.
func rrs(t *testing.T, lines ...string) []dns.RR {
	t.Helper()
	var out []dns.RR
	for _, l := range lines {
		rr, err := dns.NewRR(l)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, rr)
	}
	return out
}

func wireCases(t *testing.T) []wireCase {
	t.Helper()
	rr := func(lines ...string) []dns.RR { return rrs(t, lines...) }
	add := func(m *dns.Msg) { m.Insert(rr("xmpp.contoso.com. 300 A 192.0.2.99")) }
	require := func(prerequisite func(*dns.Msg)) func(*dns.Msg) {
		return func(m *dns.Msg) { prerequisite(m); add(m) }
	}
	const a, missing = "xmpp.contoso.com. 0 A 192.0.2.11", "missing.contoso.com. 0 A 192.0.2.11"
	ok, none := []int{dns.RcodeSuccess}, []int{0}
	return []wireCase{
		{name: "value as required", fill: require(func(m *dns.Msg) { m.Used(rr(a)) }), rcodes: ok, tsig: none, change: true},
		{name: "another value", fill: require(func(m *dns.Msg) { m.Used(rr("xmpp.contoso.com. 0 A 192.0.2.12")) }), rcodes: []int{dns.RcodeNXRrset}, tsig: none},
		{name: "a subset of the value", fill: func(m *dns.Msg) { m.Used(rr("two.contoso.com. 0 A 192.0.2.1")); add(m) }, rcodes: []int{dns.RcodeNXRrset}, tsig: none},
		{name: "set used", fill: require(func(m *dns.Msg) { m.RRsetUsed(rr(a)) }), rcodes: ok, tsig: none, change: true},
		{name: "set used, and is not", fill: require(func(m *dns.Msg) { m.RRsetUsed(rr("xmpp.contoso.com. 0 TXT x")) }), rcodes: []int{dns.RcodeNXRrset}, tsig: none},
		{name: "set not used", fill: require(func(m *dns.Msg) { m.RRsetNotUsed(rr("xmpp.contoso.com. 0 TXT x")) }), rcodes: ok, tsig: none, change: true},
		{name: "set not used, and is", fill: require(func(m *dns.Msg) { m.RRsetNotUsed(rr(a)) }), rcodes: []int{dns.RcodeYXRrset}, tsig: none},
		{name: "name used", fill: require(func(m *dns.Msg) { m.NameUsed(rr(a)) }), rcodes: ok, tsig: none, change: true},
		{name: "name used, and is not", fill: require(func(m *dns.Msg) { m.NameUsed(rr(missing)) }), rcodes: []int{dns.RcodeNameError}, tsig: none},
		{name: "name not used", fill: require(func(m *dns.Msg) { m.NameNotUsed(rr(missing)) }), rcodes: ok, tsig: none, change: true},
		{name: "name not used, and is", fill: require(func(m *dns.Msg) { m.NameNotUsed(rr(a)) }), rcodes: []int{dns.RcodeYXDomain}, tsig: none},
		{name: "prerequisite alone", fill: func(m *dns.Msg) { m.Used(rr(a)) }, rcodes: ok, tsig: none},
		{name: "what is there already", fill: func(m *dns.Msg) { m.Insert(rr("xmpp.contoso.com. 300 A 192.0.2.11")) }, rcodes: ok, tsig: none},
		{name: "A beside a CNAME is passed over", fill: func(m *dns.Msg) { m.Insert(rr("alias.contoso.com. 300 A 192.0.2.11")) }, rcodes: ok, tsig: none},
		{name: "CNAME beside an A is passed over", fill: func(m *dns.Msg) { m.Insert(rr("xmpp.contoso.com. 300 CNAME edge1.contoso.com.")) }, rcodes: ok, tsig: none},
		{name: "NS of the zone stays", fill: func(m *dns.Msg) { m.RemoveRRset(rr("contoso.com. 0 NS ns1.contoso.com.")) }, rcodes: ok, tsig: none},
		{name: "deletion before addition", fill: func(m *dns.Msg) { m.RemoveRRset(rr(a)); add(m) }, rcodes: ok, tsig: none, change: true},
		{name: "outside the zone", fill: func(m *dns.Msg) { add(m); m.Insert(rr("www.fabrikam.com. 300 A 192.0.2.1")) }, rcodes: []int{dns.RcodeNotZone}, tsig: none},
		{name: "zone not served", zone: "fabrikam.com.", fill: func(m *dns.Msg) { m.Insert(rr("www.fabrikam.com. 300 A 192.0.2.1")) }, rcodes: []int{dns.RcodeNotAuth}, tsig: []int{0, -1}},
		{name: "unsigned", key: "-", fill: add, rcodes: []int{dns.RcodeRefused, dns.RcodeNotAuth}, tsig: []int{-1}},
		{name: "no grant", key: "guest.", fill: add, rcodes: []int{dns.RcodeRefused, dns.RcodeNotAuth}, tsig: []int{0, dns.RcodeBadKey}},
		{name: "unknown key", key: "nobody.", fill: add, rcodes: []int{dns.RcodeNotAuth}, tsig: []int{dns.RcodeBadKey}},
		{name: "wrong secret", secret: wrongSecret, fill: add, rcodes: []int{dns.RcodeNotAuth}, tsig: []int{dns.RcodeBadSig}},
		{name: "clock", clock: -10 * time.Minute, fill: add, rcodes: []int{dns.RcodeNotAuth}, tsig: []int{dns.RcodeBadTime}},
	}
}

// contractWire sends each update as bytes of its own making and holds every
// server, the fake too, to the same table.
func contractWire(t *testing.T, ns nameServers) {
	t.Helper()
	for _, c := range wireCases(t) {
		t.Run(c.name, func(t *testing.T) {
			nsupdate(t, ns.Primary, append([]string{"update delete two.contoso.com", "update add two.contoso.com 300 A 192.0.2.1", "update add two.contoso.com 300 A 192.0.2.2"}, home...)...)
			before := serial(t, ns.Primary)
			zone, key, secret := "contoso.com.", "watchdog.", tsigSecret
			if c.zone != "" {
				zone = c.zone
			}
			if c.key != "" {
				key = c.key
			}
			if c.secret != "" {
				secret = c.secret
			}
			m := new(dns.Msg).SetUpdate(zone)
			c.fill(m)
			client := &dns.Client{Net: "tcp", Timeout: 5 * time.Second}
			if key != "-" {
				client.TsigSecret = map[string]string{key: secret}
				m.SetTsig(key, dns.HmacSHA256, 300, time.Now().Add(c.clock).Unix())
			}
			r, _, err := client.ExchangeContext(t.Context(), m, ns.Primary)
			if r == nil {
				t.Fatal(err)
			}
			tsig := -1
			if s := r.IsTsig(); s != nil {
				tsig = int(s.Error)
			}
			if !slices.Contains(c.rcodes, r.Rcode) || !slices.Contains(c.tsig, tsig) {
				t.Errorf("answer %s with TSIG error %d, want %v with %v", dns.RcodeToString[r.Rcode], tsig, c.rcodes, c.tsig)
			}
			if changed := serial(t, ns.Primary) != before; changed != c.change {
				t.Errorf("changed = %t, want %t", changed, c.change)
			}
		})
	}
}
