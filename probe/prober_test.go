package probe_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"edgewatch/probe"
	"edgewatch/probe/probetest"
)

const (
	domain = "contoso.test"
	from   = "probe.test"
)

// want is what a case must come to.
type want struct {
	number    int // of the catalogue's case that this is; 0 = none
	phase     probe.Phase
	class     probe.Class
	condition string
	level     probe.Level
	remarks   []probe.Class
	evidence  string // a part of Result.Error
	note      string // a part of a note
}

func (w want) check(t *testing.T, r probe.Result) {
	t.Helper()
	if r.Phase != w.phase || r.Class != w.class || r.Condition != w.condition || r.Level != w.level {
		t.Errorf("got %s/%s:%q %s, want %s/%s:%q %s", r.Phase, r.Class, r.Condition, r.Level, w.phase, w.class, w.condition, w.level)
	}
	if !slices.Equal(r.Remarks, w.remarks) {
		t.Errorf("remarks %v, want %v", r.Remarks, w.remarks)
	}
	if !strings.Contains(r.Error, w.evidence) {
		t.Errorf("error %q lacks %q", r.Error, w.evidence)
	}
	if w.note != "" && !strings.Contains(strings.Join(r.Notes, "\n"), w.note) {
		t.Errorf("notes %q lack %q", r.Notes, w.note)
	}
	if r.Level == probe.Down && r.Blame != probe.Remote {
		t.Errorf("down with blame %s", r.Blame)
	}
	if r.Class.Meaning() == "" {
		t.Errorf("class %q is not in the table", r.Class)
	}
	seen.shows(t, w.number, r.Phase, r.Class, r.Condition, r.Remarks)
	if t.Failed() {
		t.Logf("%+v", r)
	}
}

// fixture is what all cases share: making keys is slow.
type fixture struct {
	ca     *probetest.CA
	cert   tls.Certificate
	weak   *rsa.PrivateKey
	client tls.Certificate
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	ca := probetest.NewCA()
	return &fixture{ca: ca, cert: ca.Issue(domain), weak: weak, client: ca.Issue(from)}
}

func (f *fixture) issue(l probetest.Leaf) *tls.Certificate {
	c := f.ca.IssueLeaf(l)
	return &c
}

type testCase struct {
	number int // of the catalogue of cases this proves
	name   string
	config probetest.Config
	opts   probe.Options
	want   want
}

const (
	hung = 500 * time.Millisecond // the timeout of cases that wait for it
)

func (f *fixture) run(t *testing.T, c testCase) {
	t.Helper()
	if c.config.CA == nil {
		c.config.CA = f.ca
	}
	if c.config.Cert == nil {
		c.config.Cert = &f.cert
	}
	if c.config.Domain == "" {
		c.config.Domain = domain
	}
	if c.opts.Timeout == 0 {
		c.opts.Timeout = 10 * time.Second
	}
	if c.opts.SlowConnect == 0 {
		c.opts.SlowConnect = -1 // it is this machine that is slow
	}
	if c.opts.RootCAs == nil {
		c.opts.RootCAs = f.ca.Pool()
	}
	s := probetest.NewServer(t, c.config)
	start := time.Now()
	r := probe.New(c.opts).Probe(t.Context(), probe.Target{Addr: s.Addr(), Domain: domain, From: from, DirectTLS: c.config.DirectTLS})
	if took := time.Since(start); took > c.opts.Timeout+2*time.Second {
		t.Errorf("took %s with a timeout of %s", took, c.opts.Timeout)
	}
	c.want.number = c.number
	c.want.check(t, r)
}

func runAll(t *testing.T, cases []testCase) {
	t.Helper()
	f := newFixture(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f.run(t, c)
		})
	}
}

func behave(b probetest.Behaviour) probetest.Config { return probetest.Config{Behaviour: b} }

func quick() probe.Options { return probe.Options{Timeout: hung} }

// TestStream proves the cases that end before STARTTLS.
func TestStream(t *testing.T) {
	t.Parallel()
	down := func(p probe.Phase, c probe.Class, evidence string) want {
		return want{phase: p, class: c, level: probe.Down, evidence: evidence}
	}
	bad := func(p probe.Phase, c probe.Class, evidence string) want {
		return want{phase: p, class: c, level: probe.Degraded, evidence: evidence}
	}
	streamError := func(condition string, l probe.Level) want {
		return want{phase: probe.PhaseFeatures, class: probe.StreamError, condition: condition, level: l}
	}
	header := func(xmlns, ns, rest string) string {
		return "<?xml version='1.0'?><stream:stream xmlns='" + xmlns + "' xmlns:stream='" + ns + "' id='1' from='contoso.test'" + rest + ">"
	}
	const nsStream = "http://etherx.jabber.org/streams"
	synthetic := "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='" + nsStream + "' id='' from='' to=''>" +
		"<stream:error><not-well-formed xmlns='urn:ietf:params:xml:ns:xmpp-streams'/></stream:error></stream:stream>"
	runAll(t, []testCase{
		{5, "silence", behave(probetest.Silent), quick(), down(probe.PhaseStream, probe.Timeout, "0 bytes")},
		{6, "slow drip", behave(probetest.Drip(header("jabber:server", nsStream, " version='1.0'"), 50*time.Millisecond)), quick(), down(probe.PhaseStream, probe.Timeout, "bytes received")},
		{7, "accept then FIN", behave(probetest.CloseAtOnce), probe.Options{}, down(probe.PhaseStream, probe.Closed, "after 0 bytes")},
		{8, "binary garbage", behave(probetest.Banner("\x00\x01\x02garbage")), probe.Options{}, down(probe.PhaseStream, probe.NotXMPP, `"\x00\x01\x02garbage"`)},
		{9, "HTTP", behave(probetest.HTTP), probe.Options{}, down(probe.PhaseStream, probe.NotXMPP, "HTTP")},
		{9, "HTML without a status line", behave(probetest.Reply("<html><body>400</body></html>")), probe.Options{}, down(probe.PhaseStream, probe.NotXMPP, "HTML")},
		{10, "SSH banner", behave(probetest.Banner("SSH-2.0-OpenSSH_9.2p1\r\n")), probe.Options{}, down(probe.PhaseStream, probe.NotXMPP, "SSH")},
		{10, "SMTP banner", behave(probetest.Banner("220 mail ESMTP\r\n")), probe.Options{}, down(probe.PhaseStream, probe.NotXMPP, "SMTP")},
		{11, "TLS alert", behave(probetest.Banner("\x15\x03\x01\x00\x02\x02\x0a")), probe.Options{}, down(probe.PhaseStream, probe.NotXMPP, "TLS")},
		{11, "direct TLS port closes", behave(probetest.CloseAtOnce), probe.Options{}, down(probe.PhaseStream, probe.Closed, "direct TLS")},
		{14, "client namespace", behave(probetest.Reply(header("jabber:client", nsStream, " version='1.0'"))), probe.Options{}, bad(probe.PhaseStream, probe.BadStream, "jabber:client")},
		{15, "wrong stream namespace", behave(probetest.Reply(header("jabber:server", "urn:other", " version='1.0'"))), probe.Options{}, down(probe.PhaseStream, probe.BadStream, "urn:other")},
		{15, "wrong root", behave(probetest.Reply("<envelope/>")), probe.Options{}, down(probe.PhaseStream, probe.BadStream, "envelope")},
		{16, "no version", behave(probetest.Reply(header("jabber:server", nsStream, ""))), probe.Options{}, bad(probe.PhaseStream, probe.BadStream, "no version")},
		{16, "version 0.9", behave(probetest.Reply(header("jabber:server", nsStream, " version='0.9'"))), probe.Options{}, bad(probe.PhaseStream, probe.BadStream, "0.9")},
		{17, "header only", behave(probetest.Reply("%H")), quick(), bad(probe.PhaseFeatures, probe.Timeout, "features")},
		{18, "header then RST", behave(probetest.ReplyThen("%H", probetest.Reset)), probe.Options{}, bad(probe.PhaseFeatures, probe.Reset, "")},
		{19, "header then FIN", behave(probetest.ReplyThen("%H", probetest.Finish)), probe.Options{}, bad(probe.PhaseFeatures, probe.Closed, "")},
		{20, "host-unknown", probetest.Config{Domain: "other.test"}, probe.Options{}, streamError("host-unknown", probe.Degraded)},
		{21, "policy-violation", behave(probetest.StreamError("policy-violation", "")), probe.Options{}, streamError("policy-violation", probe.Up)},
		{22, "see-other-host", behave(probetest.Reply("%H<stream:error><see-other-host xmlns='urn:ietf:params:xml:ns:xmpp-streams'>192.0.2.1:5269</see-other-host></stream:error></stream:stream>")),
			probe.Options{}, want{phase: probe.PhaseFeatures, class: probe.StreamError, condition: "see-other-host", level: probe.Degraded, evidence: "192.0.2.1:5269"}},
		{23, "system-shutdown", behave(probetest.StreamError("system-shutdown", "")), probe.Options{}, streamError("system-shutdown", probe.Degraded)},
		{24, "resource-constraint", behave(probetest.StreamError("resource-constraint", "")), probe.Options{}, streamError("resource-constraint", probe.Degraded)},
		{25, "improper-addressing", behave(probetest.StreamError("improper-addressing", "")), probe.Options{}, streamError("improper-addressing", probe.Up)},
		{25, "invalid-namespace", behave(probetest.StreamError("invalid-namespace", "")), probe.Options{}, streamError("invalid-namespace", probe.Up)},
		{25, "undefined-condition", behave(probetest.StreamError("undefined-condition", "No stream features to offer")), probe.Options{},
			want{phase: probe.PhaseFeatures, class: probe.StreamError, condition: "undefined-condition", level: probe.Degraded, evidence: "No stream features"}},
		{0, "a condition nobody knows", behave(probetest.StreamError("made-up", "")), probe.Options{}, streamError("unknown", probe.Degraded)},
		{26, "error in a synthetic header", behave(probetest.Reply(synthetic)), probe.Options{}, streamError("not-well-formed", probe.Up)},
		{27, "connection-timeout", behave(probetest.StreamError("connection-timeout", "")), probe.Options{}, streamError("connection-timeout", probe.Degraded)},
		{28, "no STARTTLS", behave(probetest.NoStartTLS), probe.Options{}, bad(probe.PhaseStartTLS, probe.NoStartTLS, "dialback")},
		{29, "empty features", behave(probetest.Reply("%H<stream:features/>")), probe.Options{}, bad(probe.PhaseStartTLS, probe.NoStartTLS, "")},
		{30, "huge features", behave(probetest.Reply("%H<stream:features><a>" + strings.Repeat("x", 80<<10))), probe.Options{}, bad(probe.PhaseFeatures, probe.TooLarge, "64 KiB")},
		{31, "deep nesting", behave(probetest.Reply("%H<stream:features>" + strings.Repeat("<a>", 100))), probe.Options{}, bad(probe.PhaseFeatures, probe.TooLarge, "deep")},
		{31, "many elements", behave(probetest.Reply("%H<stream:features>" + strings.Repeat("<a/>", 1000))), probe.Options{}, bad(probe.PhaseFeatures, probe.TooLarge, "elements")},
		{32, "attribute flood", behave(probetest.Reply("<stream:stream" + strings.Repeat(" a='1'", 20000))), probe.Options{}, down(probe.PhaseStream, probe.TooLarge, "")},
		{32, "blanks without end", behave(probetest.Reply(strings.Repeat(" ", 80<<10))), probe.Options{}, down(probe.PhaseStream, probe.TooLarge, "")},
		{33, "DTD", behave(probetest.Reply("<!DOCTYPE x [<!ENTITY a 'b'>]><stream:stream>")), probe.Options{}, down(probe.PhaseStream, probe.BadXML, "DTD")},
		{33, "entity", behave(probetest.Reply("%H<stream:features>&bomb;</stream:features>")), probe.Options{}, bad(probe.PhaseFeatures, probe.BadXML, "bomb")},
		{33, "comment", behave(probetest.Reply("<!-- hello --><stream:stream>")), probe.Options{}, down(probe.PhaseStream, probe.BadXML, "comment")},
		{33, "wrong encoding", behave(probetest.Reply("<?xml version='1.0' encoding='latin1'?><stream:stream>")), probe.Options{}, down(probe.PhaseStream, probe.BadXML, "latin1")},
		{33, "second declaration", behave(probetest.Reply("%H<?xml version='1.0'?>")), probe.Options{}, bad(probe.PhaseFeatures, probe.BadXML, "instruction")},
		{34, "invalid UTF-8", behave(probetest.Reply("%H<stream:features>\xff\xfe</stream:features>")), probe.Options{}, bad(probe.PhaseFeatures, probe.BadXML, "UTF-8")},
		{35, "STARTTLS failure", behave(probetest.StartTLSFailure), probe.Options{}, bad(probe.PhaseStartTLS, probe.StartTLSFailure, "")},
		{36, "close after starttls", behave(probetest.AfterStartTLS(probetest.Finish)), probe.Options{}, bad(probe.PhaseStartTLS, probe.Closed, "")},
		{36, "RST after starttls", behave(probetest.AfterStartTLS(probetest.Reset)), probe.Options{}, bad(probe.PhaseStartTLS, probe.Reset, "")},
		{36, "silence after starttls", behave(probetest.AfterStartTLS(probetest.Silent)), quick(), bad(probe.PhaseStartTLS, probe.Timeout, "")},
		{37, "injection", behave(probetest.AfterProceed("<iq/>", probetest.Silent)), probe.Options{}, bad(probe.PhaseStartTLS, probe.StartTLSInjection, "<iq/>")},
	})
}

// TestTLS proves the cases from the handshake on.
func TestTLS(t *testing.T) {
	t.Parallel()
	ok := want{phase: probe.PhaseDone, class: probe.OK, level: probe.Up}
	bad := func(p probe.Phase, c probe.Class, condition string) want {
		return want{phase: p, class: c, condition: condition, level: probe.Degraded}
	}
	alert := "\x15\x03\x03\x00\x02\x02\x28" // handshake_failure
	inTLS := func(text string, end probetest.Behaviour) probetest.Config {
		return behave(probetest.InTLS(probetest.ReplyThen(text, end)))
	}
	f := newFixture(t)
	for _, c := range []testCase{
		{38, "FIN after proceed", behave(probetest.AfterProceed("", probetest.Finish)), probe.Options{}, bad(probe.PhaseTLS, probe.Closed, "")},
		{0, "RST after proceed", behave(probetest.AfterProceed("", probetest.Reset)), probe.Options{}, bad(probe.PhaseTLS, probe.Reset, "")},
		{39, "silence after proceed", behave(probetest.AfterProceed("", probetest.Silent)), quick(), bad(probe.PhaseTLS, probe.Timeout, "")},
		{40, "alert", behave(probetest.AfterProceed("", probetest.Banner(alert))), probe.Options{}, bad(probe.PhaseTLS, probe.TLSAlert, "handshake_failure")},
		{0, "a message out of turn", behave(probetest.AfterProceed("", probetest.Banner("\x16\x03\x03\x00\x04\x0e\x00\x00\x00"))), probe.Options{}, bad(probe.PhaseTLS, probe.TLSFailed, "")},
		{70, "slow connect", probetest.Config{}, probe.Options{SlowConnect: time.Nanosecond}, want{phase: probe.PhaseDone, class: probe.OK, level: probe.Up, remarks: []probe.Class{probe.SlowConnect}}},
		{40, "early alert", behave(probetest.AfterProceed(alert, probetest.Finish)), probe.Options{}, bad(probe.PhaseTLS, probe.TLSAlert, "handshake_failure")},
		{0, "garbage instead of TLS", behave(probetest.AfterProceed("", probetest.HTTP)), probe.Options{}, bad(probe.PhaseTLS, probe.NotTLS, "")},
		{41, "TLS 1.0", probetest.Config{MaxTLS: tls.VersionTLS10}, probe.Options{}, want{phase: probe.PhaseDone, class: probe.OK, level: probe.Up, remarks: []probe.Class{probe.WeakProtocol}}},
		{0, "TLS 1.1", probetest.Config{MaxTLS: tls.VersionTLS11}, probe.Options{}, want{phase: probe.PhaseDone, class: probe.OK, level: probe.Up, remarks: []probe.Class{probe.WeakProtocol}}},
		{0, "RSA key exchange", probetest.Config{MaxTLS: tls.VersionTLS12, Suites: []uint16{tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA}, Cert: f.issue(probetest.Leaf{Names: []string{domain}, Key: f.weak})},
			probe.Options{}, want{phase: probe.PhaseCert, class: probe.CertWeak, level: probe.Degraded, remarks: []probe.Class{probe.WeakCipher}}},
		{42, "TLS 1.2", probetest.Config{MaxTLS: tls.VersionTLS12}, probe.Options{}, ok},
		{42, "TLS 1.3", probetest.Config{}, probe.Options{}, ok},
		{42, "direct TLS", probetest.Config{DirectTLS: true}, probe.Options{}, ok},
		{43, "client certificate demanded", probetest.Config{ClientAuth: tls.RequireAnyClientCert}, probe.Options{}, bad(probe.PhaseTLSStream, probe.TLSAlert, "certificate_required")},
		{51, "client certificate wanted by the stream", behave(probetest.AuthRequired), probe.Options{},
			want{phase: probe.PhaseTLSFeatures, class: probe.AuthRequired, condition: "not-authorized", level: probe.Up}},
		{0, "client certificate shown", probetest.Config{Behaviour: probetest.AuthRequired, ClientCAs: f.ca.Pool()}, probe.Options{ClientCert: &f.client}, ok},
		{69, "client certificate turned down", probetest.Config{ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: x509.NewCertPool()}, probe.Options{ClientCert: &f.client},
			want{phase: probe.PhaseTLSStream, class: probe.LocalError, condition: "unknown_ca", level: probe.Inconclusive, evidence: "client certificate"}},
		{52, "silence in TLS", behave(probetest.InTLS(probetest.Silent)), quick(), bad(probe.PhaseTLSStream, probe.Timeout, "")},
		{52, "close in TLS", behave(probetest.InTLS(probetest.CloseAtOnce)), probe.Options{}, bad(probe.PhaseTLSStream, probe.Closed, "")},
		{0, "reset in TLS", behave(probetest.InTLS(probetest.Reset)), probe.Options{}, bad(probe.PhaseTLSStream, probe.Reset, "")},
		{52, "header only in TLS", inTLS("%H", probetest.Silent), quick(), bad(probe.PhaseTLSFeatures, probe.Timeout, "")},
		{52, "header then close in TLS", inTLS("%H", probetest.Finish), probe.Options{}, bad(probe.PhaseTLSFeatures, probe.Closed, "")},
		{53, "empty features in TLS", behave(probetest.InTLS(probetest.Reply("%H<stream:features/>"))), probe.Options{}, bad(probe.PhaseTLSFeatures, probe.NoAuthOffered, "")},
		{53, "PLAIN only", behave(probetest.InTLS(probetest.Reply("%H<stream:features><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism></mechanisms></stream:features>"))),
			probe.Options{}, bad(probe.PhaseTLSFeatures, probe.NoAuthOffered, "")},
		{54, "closing tag not answered", behave(probetest.DeafEnd), probe.Options{}, want{phase: probe.PhaseDone, class: probe.OK, level: probe.Up, remarks: []probe.Class{probe.CloseUnclean}}},
		{55, "FIN instead of closing tag", inTLS("%H<stream:features><dialback xmlns='urn:xmpp:features:dialback'/></stream:features>", probetest.Finish), probe.Options{},
			want{phase: probe.PhaseDone, class: probe.OK, level: probe.Up, note: "without ending its stream"}},
		{12, "HTTPS on a direct TLS target", probetest.Config{DirectTLS: true, Behaviour: probetest.HTTP}, probe.Options{}, want{phase: probe.PhaseTLSStream, class: probe.NotXMPP, level: probe.Down, evidence: "HTTP"}},
		{13, "unknown SNI", probetest.Config{DirectTLS: true, SNI: []string{"other.test"}}, probe.Options{}, bad(probe.PhaseTLS, probe.TLSAlert, "unrecognized_name")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f.run(t, c)
		})
	}
}

// TestConnect proves the cases in which no connection comes about.
func TestConnect(t *testing.T) {
	t.Parallel()
	p := probe.New(probe.Options{Timeout: hung})
	ask := func(addr netip.AddrPort) probe.Result {
		return p.Probe(t.Context(), probe.Target{Addr: addr, Domain: domain, From: from})
	}
	t.Run("closed port", func(t *testing.T) { // case 1
		s := probetest.NewServer(t, probetest.Config{Domain: domain})
		s.Stop()
		want{number: 1, phase: probe.PhaseConnect, class: probe.Refused, level: probe.Down}.check(t, ask(s.Addr()))
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		patient := probe.New(probe.Options{RootCAs: s.CA().Pool(), SlowConnect: -1})
		if r := patient.Probe(t.Context(), probe.Target{Addr: s.Addr(), Domain: domain, From: from}); r.Class != probe.OK {
			t.Errorf("after Start: %+v", r)
		}
	})
	t.Run("RST at once", func(t *testing.T) { // case 3
		s := probetest.NewServer(t, probetest.Config{Behaviour: probetest.Reset})
		r := ask(s.Addr())
		if r.Class != probe.Reset || r.Level != probe.Down {
			t.Errorf("got %s/%s %s: %s", r.Phase, r.Class, r.Level, r.Error)
		}
		seen.shows(t, 3, r.Phase, r.Class, r.Condition, r.Remarks)
	})
	t.Run("no such target", func(t *testing.T) { // case 69
		want{number: 69, phase: probe.PhaseNone, class: probe.LocalError, level: probe.Inconclusive, evidence: "no address"}.check(t, ask(netip.AddrPort{}))
	})
}

// TestDirectTLSPort proves that a direct TLS port without a sign of life is
// down as a plain one would be, and that any answer keeps it from being so.
func TestDirectTLSPort(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		b     probetest.Behaviour
		class probe.Class
		level probe.Level
	}{
		{"silent", probetest.Silent, probe.Timeout, probe.Down},
		{"closes", probetest.CloseAtOnce, probe.Closed, probe.Down},
		{"resets", probetest.Reset, probe.Reset, probe.Down},
		{"HTTP", probetest.HTTP, probe.NotTLS, probe.Degraded},
		{"alert", probetest.Banner("\x15\x03\x03\x00\x02\x02\x28"), probe.TLSAlert, probe.Degraded},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := probetest.NewServer(t, behave(c.b))
			r := probe.New(quick()).Probe(t.Context(), probe.Target{Addr: s.Addr(), Domain: domain, From: from, DirectTLS: true})
			if r.Class != c.class || r.Level != c.level {
				t.Errorf("got %s/%s %s: %s", r.Phase, r.Class, r.Level, r.Error)
			}
			seen.shows(t, 0, r.Phase, r.Class, r.Condition, r.Remarks)
		})
	}
}

// TestNoListenerOnSix proves what a server that listens on IPv4 alone is
// called at its IPv6 address: case 67. Where this machine has no IPv6 it says
// nothing about the server.
func TestNoListenerOnSix(t *testing.T) {
	t.Parallel()
	s := probetest.NewServer(t, probetest.Config{Domain: domain})
	addr := netip.AddrPortFrom(netip.IPv6Loopback(), s.Addr().Port())
	r := probe.New(probe.Options{SlowConnect: -1}).Probe(t.Context(), probe.Target{Addr: addr, Domain: domain, From: from})
	w := want{number: 67, phase: probe.PhaseConnect, class: probe.Refused, level: probe.Down}
	if r.Class == probe.LocalError {
		w.class, w.level = probe.LocalError, probe.Inconclusive
	}
	w.check(t, r)
}

// TestResetAfterGoodbye proves that a server that ends its stream and resets
// what we still say, as ejabberd may, leaves the same evidence as one that
// closes: both end TLS without close_notify.
func TestResetAfterGoodbye(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.run(t, testCase{55, "RST instead of close_notify", behave(probetest.InTLS(func(c *probetest.Conn) error {
		if err := c.Greet("<dialback xmlns='urn:xmpp:features:dialback'/>"); err != nil {
			return err
		}
		_, _ = c.ReadElement() // the client's closing tag
		if err := c.Write("</stream:stream>"); err != nil {
			return err
		}
		_ = c.Hang() // until its close_notify
		return c.Reset()
	})), probe.Options{}, want{phase: probe.PhaseDone, class: probe.OK, level: probe.Up, note: "without close_notify"}})
}
