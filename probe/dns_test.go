package probe_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"edgewatch/probe"
)

// zone is a name server on loopback: records by name and type, and rcodes for
// names that are in trouble.
type zone struct {
	addr string
	tcp  net.Listener

	mu      sync.Mutex
	records []dns.RR
	rcodes  map[string]int // by rooted name
	asked   []string
	handle  func(w dns.ResponseWriter, m *dns.Msg) bool // before everything else
}

// newZone serves the records, one per line, over UDP and TCP.
func newZone(t *testing.T, records string) *zone {
	t.Helper()
	z := newUDPZone(t, records)
	z.run(t, &dns.Server{Listener: z.tcp, Handler: z})
	return z
}

// newUDPZone serves over UDP; its TCP port is taken, by nobody who answers.
func newUDPZone(t *testing.T, records string) *zone {
	t.Helper()
	z := &zone{rcodes: map[string]int{}}
	z.add(t, records)
	var lc net.ListenConfig
	for range 20 {
		pc, err := lc.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		z.addr = pc.LocalAddr().String()
		if z.tcp, err = lc.Listen(t.Context(), "tcp", z.addr); err != nil {
			_ = pc.Close() // the same port is taken there
			continue
		}
		t.Cleanup(func() { _ = z.tcp.Close() })
		z.run(t, &dns.Server{PacketConn: pc, Handler: z})
		return z
	}
	t.Fatal("no port is free for both UDP and TCP")
	return nil
}

func (z *zone) run(t *testing.T, s *dns.Server) {
	t.Helper()
	started := make(chan struct{})
	s.NotifyStartedFunc = func() { close(started) }
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.ActivateAndServe(); err != nil {
			t.Errorf("name server on %s: %v", z.addr, err)
		}
	})
	<-started
	t.Cleanup(func() {
		_ = s.ShutdownContext(context.Background())
		wg.Wait()
	})
}

func (z *zone) add(t *testing.T, records string) {
	t.Helper()
	z.mu.Lock()
	defer z.mu.Unlock()
	p := dns.NewZoneParser(strings.NewReader(records), ".", "")
	p.SetDefaultTTL(60)
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		z.records = append(z.records, rr)
	}
	if err := p.Err(); err != nil {
		t.Fatal(err)
	}
}

// set changes the server under its lock.
func (z *zone) set(f func()) {
	z.mu.Lock()
	defer z.mu.Unlock()
	f()
}

func (z *zone) questions() []string {
	z.mu.Lock()
	defer z.mu.Unlock()
	return append([]string(nil), z.asked...)
}

// ServeDNS implements dns.Handler.
func (z *zone) ServeDNS(w dns.ResponseWriter, m *dns.Msg) {
	z.mu.Lock()
	defer z.mu.Unlock()
	q := m.Question[0]
	z.asked = append(z.asked, q.Name+" "+dns.TypeToString[q.Qtype])
	if z.handle != nil && z.handle(w, m) {
		return
	}
	r := new(dns.Msg)
	r.SetReply(m)
	r.Authoritative = true
	r.Rcode = dns.RcodeNameError
	if rcode, ok := z.rcodes[q.Name]; ok {
		r.Rcode = rcode
		_ = w.WriteMsg(r)
		return
	}
	for _, rr := range z.records {
		if !strings.EqualFold(rr.Header().Name, q.Name) {
			continue
		}
		r.Rcode = dns.RcodeSuccess
		if rr.Header().Rrtype == q.Qtype || rr.Header().Rrtype == dns.TypeCNAME {
			r.Answer = append(r.Answer, rr)
		}
	}
	if _, udp := w.RemoteAddr().(*net.UDPAddr); udp && r.Len() > 1232 {
		r.Answer, r.Truncated = nil, true
	}
	_ = w.WriteMsg(r)
}

func resolver(servers ...string) *probe.Resolver {
	return probe.NewResolver(probe.ResolverOptions{Servers: servers, Timeout: hung})
}

// TestLookup proves that what the standard library calls "no such host" and
// "server misbehaving" is told apart: cases 57 to 61.
func TestLookup(t *testing.T) {
	t.Parallel()
	z := newZone(t, `
a.test. A 192.0.2.1
a.test. 30 A 192.0.2.2
alias.test. CNAME a.test.
far.test. CNAME gone.test.
_xmpp-server._tcp.a.test. SRV 20 0 5269 b.test.
_xmpp-server._tcp.a.test. SRV 10 1 5269 Light.test.
_xmpp-server._tcp.a.test. SRV 10 9 5269 heavy.test.
big.test. AAAA 2001:db8::1
`+manyAddresses(60))
	z.set(func() {
		z.rcodes = map[string]int{"fail.test.": dns.RcodeServerFailure, "no.test.": dns.RcodeRefused, "odd.test.": dns.RcodeNotImplemented}
	})
	for _, c := range []struct {
		number int
		name   string
		class  probe.Class
		addrs  int
	}{
		{0, "a.test", probe.OK, 2},
		{0, "A.TEST.", probe.OK, 2},
		{0, "alias.test", probe.OK, 2},
		{57, "far.test", probe.NXDomain, 0},
		{57, "gone.test", probe.NXDomain, 0},
		{59, "fail.test", probe.ServFail, 0},
		{60, "no.test", probe.Refused, 0},
		{0, "odd.test", probe.BadAnswer, 0},
		{0, "many.test", probe.OK, 60},
		{0, "big.test", probe.NoData, 0},
		{0, "bad..test", probe.LocalError, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := resolver(z.addr).LookupA(t.Context(), c.name)
			if l.Class != c.class || len(l.Addrs) != c.addrs {
				t.Errorf("got %+v, want %s with %d addresses", l, c.class, c.addrs)
			}
			if (l.Error == "") != (c.class == probe.OK) {
				t.Errorf("class %s with error %q", l.Class, l.Error)
			}
			showsLookup(t, c.number, l)
		})
	}
	l := resolver(z.addr).LookupSRV(t.Context(), "_xmpp-server._tcp.a.test")
	if len(l.SRV) != 3 || l.SRV[0].Target != "heavy.test." || l.SRV[1].Target != "light.test." || l.SRV[2].Target != "b.test." {
		t.Errorf("order of %+v", l.SRV)
	}
	if l := resolver(z.addr).LookupA(t.Context(), "a.test"); l.TTL != 30 {
		t.Errorf("TTL %d, want the lowest, 30", l.TTL)
	}
	for _, q := range z.questions() {
		if strings.Count(q, ".") > 4 || !strings.Contains(q, ". ") {
			t.Errorf("question %q: a search list was used", q)
		}
	}
}

func manyAddresses(n int) string {
	var b strings.Builder
	a := netip.MustParseAddr("192.0.2.1")
	for range n {
		b.WriteString("many.test. A " + a.String() + "\n")
		a = a.Next()
	}
	return b.String()
}

// troubled are name servers by what is wrong with them.
func troubled(t *testing.T) map[string]string {
	t.Helper()
	good := newZone(t, "a.test. A 192.0.2.1\n")
	silent := newZone(t, "")
	silent.set(func() { silent.handle = func(dns.ResponseWriter, *dns.Msg) bool { return true } })
	lame := newZone(t, "")
	lame.set(func() {
		lame.handle = func(w dns.ResponseWriter, m *dns.Msg) bool {
			r := new(dns.Msg)
			r.SetReply(m)
			r.Ns = append(r.Ns, &dns.NS{Hdr: dns.RR_Header{Name: "test.", Rrtype: dns.TypeNS, Class: dns.ClassINET}, Ns: "elsewhere.test."})
			return w.WriteMsg(r) == nil
		}
	})
	cut := newUDPZone(t, "")
	cut.set(func() {
		cut.handle = func(w dns.ResponseWriter, m *dns.Msg) bool {
			r := new(dns.Msg)
			r.SetReply(m)
			r.Truncated = true
			return w.WriteMsg(r) == nil
		}
	})
	curt := newUDPZone(t, "")
	curt.set(func() { curt.handle = cut.handle })
	_ = curt.tcp.Close()
	old := newZone(t, "a.test. A 192.0.2.1\n")
	old.set(func() {
		old.handle = func(w dns.ResponseWriter, m *dns.Msg) bool {
			if m.IsEdns0() == nil {
				return false
			}
			r := new(dns.Msg)
			r.SetRcode(m, dns.RcodeFormatError)
			return w.WriteMsg(r) == nil
		}
	})
	speak := func(say func(m, r *dns.Msg)) string {
		z := newZone(t, "")
		z.set(func() {
			z.handle = func(w dns.ResponseWriter, m *dns.Msg) bool {
				r := new(dns.Msg)
				r.SetReply(m)
				r.Authoritative = true
				say(m, r)
				return w.WriteMsg(r) == nil
			}
		})
		return z.addr
	}
	ns := &dns.NS{Hdr: dns.RR_Header{Name: "b.test.", Rrtype: dns.TypeNS, Class: dns.ClassINET}, Ns: "elsewhere.test."}
	alias := &dns.CNAME{Hdr: dns.RR_Header{Name: "a.test.", Rrtype: dns.TypeCNAME, Class: dns.ClassINET}, Target: "a.b.test."}
	echo := speak(func(m, r *dns.Msg) { *r = *m })
	deaf := speak(func(_, r *dns.Msg) { r.Question[0].Name = "b.test." })
	bare := speak(func(_, r *dns.Msg) { r.Question = nil })
	curtly := speak(func(_, r *dns.Msg) { r.Question, r.Rcode = nil, dns.RcodeServerFailure })
	leaver := speak(func(m, r *dns.Msg) {
		if m.Question[0].Name == "a.test." {
			r.Answer = append(r.Answer, alias)
			return
		}
		r.Authoritative, r.Ns = false, append(r.Ns, ns)
	})
	closed := func() string {
		var lc net.ListenConfig
		pc, err := lc.ListenPacket(t.Context(), "udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = pc.Close() }()
		return pc.LocalAddr().String()
	}()
	refusing := newZone(t, "")
	refusing.set(func() { refusing.rcodes["a.test."] = dns.RcodeRefused })
	return map[string]string{"good": good.addr, "silent": silent.addr, "lame": lame.addr, "cut": cut.addr, "curt": curt.addr,
		"echo": echo, "deaf": deaf, "bare": bare, "curtly": curtly, "leaver": leaver,
		"old": old.addr, "refusing": refusing.addr, "closed": closed}
}

// TestLookupServers proves what a resolver in trouble is called, and that the
// next one is asked then.
func TestLookupServers(t *testing.T) {
	t.Parallel()
	s := troubled(t)
	for _, c := range []struct {
		number  int
		name    string
		servers []string
		class   probe.Class
	}{
		{61, "silent", []string{s["silent"]}, probe.Timeout},
		{61, "truncated, silent TCP", []string{s["cut"]}, probe.Timeout},
		{61, "truncated, TCP closes", []string{s["curt"]}, probe.Timeout},
		{60, "lame", []string{s["lame"]}, probe.Lame},
		{60, "lame behind an alias", []string{s["leaver"]}, probe.Lame},
		{0, "an echo", []string{s["echo"]}, probe.BadAnswer},
		{0, "an answer to another question", []string{s["deaf"]}, probe.BadAnswer},
		{0, "an answer to no question", []string{s["bare"]}, probe.BadAnswer},
		{59, "trouble without the question", []string{s["curtly"]}, probe.ServFail},
		{0, "port closed", []string{s["closed"]}, probe.Unreachable},
		{0, "older than EDNS", []string{s["old"]}, probe.OK},
		{0, "none configured", nil, probe.LocalError},
		{0, "the next one knows", []string{s["silent"], s["lame"], s["closed"], s["refusing"], s["good"]}, probe.OK},
		{60, "none knows", []string{s["refusing"], s["silent"]}, probe.Refused},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			l := resolver(c.servers...).LookupA(t.Context(), "a.test")
			if l.Class != c.class {
				t.Errorf("got %+v, want %s", l, c.class)
			}
			showsLookup(t, c.number, l)
		})
	}
	t.Run("cancelled", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(10*time.Millisecond, func() { cancel(errors.New("enough")) })
		start := time.Now()
		l := probe.NewResolver(probe.ResolverOptions{Servers: []string{s["silent"]}, Timeout: time.Minute}).LookupA(ctx, "a.test")
		if took := time.Since(start); l.Class != probe.LocalError || took > 5*time.Second {
			t.Errorf("got %+v after %s", l, took)
		}
	})
}

// showsLookup notes what a lookup came to.
func showsLookup(t *testing.T, number int, l probe.Lookup) {
	t.Helper()
	if l.Class != probe.OK {
		seen.shows(t, number, probe.PhaseDNS, l.Class, "", nil)
	}
}
