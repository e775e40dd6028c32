package probe

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

// der is one ASN.1 value.
func der(tb testing.TB, class, tag int, compound bool, content ...[]byte) []byte {
	tb.Helper()
	b, err := asn1.Marshal(asn1.RawValue{Class: class, Tag: tag, IsCompound: compound, Bytes: slices.Concat(content...)})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// sanSeeds are subject alternative names, honest and hostile.
func sanSeeds(tb testing.TB) [][]byte {
	tb.Helper()
	const ctx, uni = asn1.ClassContextSpecific, asn1.ClassUniversal
	dns := func(name string) []byte { return der(tb, ctx, 2, false, []byte(name)) }
	other := func(id asn1.ObjectIdentifier, value []byte) []byte {
		oid, err := asn1.Marshal(id)
		if err != nil {
			tb.Fatal(err)
		}
		return der(tb, ctx, 0, true, oid, der(tb, ctx, 0, true, value))
	}
	utf8Text := func(s string) []byte { return der(tb, uni, asn1.TagUTF8String, false, []byte(s)) }
	ia5 := func(s string) []byte { return der(tb, uni, asn1.TagIA5String, false, []byte(s)) }
	many := make([][]byte, 300)
	for i := range many {
		many[i] = dns(strings.Repeat("a", i%60+1) + ".contoso.test")
	}
	seq := func(names ...[]byte) []byte { return der(tb, uni, asn1.TagSequence, true, names...) }
	return [][]byte{
		seq(dns("contoso.test")), seq(dns("*.contoso.test")), seq(dns("*")), seq(dns("*.test")), seq(dns("contoso.test.")), seq(),
		seq(dns("contoso.test\x00.evil.test")), seq(dns("\x1b[31mcontoso.test\n")), seq(dns("CONTOSO.Test")), seq(many...),
		seq(other(oidXMPPAddr, utf8Text("contoso.test"))), seq(other(oidXMPPAddr, utf8Text("user@contoso.test"))),
		seq(other(oidXMPPAddr, ia5("contoso.test"))), seq(other(oidXMPPAddr, utf8Text("contoso.test\x00"))),
		seq(other(oidXMPPAddr, der(tb, ctx, asn1.TagUTF8String, false, []byte("contoso.test")))),
		seq(other(oidXMPPAddr, der(tb, uni, asn1.TagUTF8String, true, []byte("contoso.test")))),
		seq(other(oidSRVName, ia5("_xmpp-server.contoso.test"))), seq(other(oidSRVName, ia5("_xmpp-client.contoso.test"))),
		seq(other(oidXMPPAddr, utf8Text("m\u00fcnchen.test"))), seq(other(oidXMPPAddr, utf8Text("\u212aontoso.test"))),
		seq(other(oidSRVName, ia5("_xmpp-server.*.test"))), seq(other(oidSRVName, utf8Text("_xmpp-server."))),
		seq(der(tb, ctx, 7, false, []byte{192, 0, 2, 1})), seq(der(tb, ctx, 0, true)), {0x30, 0x84, 0xff, 0xff, 0xff, 0xff}, {0x30, 0x80, 0, 0}, nil,
	}
}

// FuzzNames proves that no certificate makes the names panic, run wild or
// look harmless when they are not, and that none covers a domain which does
// not stand in it.
func FuzzNames(f *testing.F) {
	for _, san := range sanSeeds(f) {
		f.Add(san, "contoso.test")
	}
	f.Add(sanSeeds(f)[1], "chat.contoso.test")
	for _, san := range sanSeeds(f) {
		f.Add(san, "xn--mnchen-3ya.test")
	}
	for _, san := range recordings(f, "*-names.der") {
		f.Add(san, "contoso.test")
		f.Add(san, "fabrikam.test")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), Subject: pkix.Name{CommonName: "contoso.test"}}
	f.Fuzz(func(t *testing.T, san []byte, domain string) {
		if domain = plainDomain(domain); !IsDomain(domain) {
			return
		}
		ext := pkix.Extension{Id: oidSAN, Value: san}
		bare := &x509.Certificate{Extensions: []pkix.Extension{ext}} // what crypto/x509 would turn down is looked at too
		checkNames(t, san, domain, bare, xmppNames(bare))
		c := template
		c.ExtraExtensions = []pkix.Extension{ext}
		raw, err := x509.CreateCertificate(rand.Reader, &c, &c, &key.PublicKey, key)
		if err != nil {
			return
		}
		leaf, err := x509.ParseCertificate(raw)
		if err != nil {
			return
		}
		checkNames(t, san, domain, leaf, xmppNames(leaf))
		v := judgeChain([]*x509.Certificate{leaf}, []string{domain}, x509.NewCertPool(), time.Now())
		wrong := slices.ContainsFunc(v.problems, func(p fault) bool { return p.class == CertWrongName })
		if !wrong && !stands(san, domain) {
			t.Errorf("%q covers %q, which does not stand in it", san, domain)
		}
		for _, p := range v.problems {
			if len(p.text) > 20*maxEvidence || strings.IndexFunc(p.text, unicode.IsControl) >= 0 {
				t.Errorf("%s says %d bytes: %q", p.class, len(p.text), p.text)
			}
		}
	})
}

// stands reports whether the domain, in ASCII or in its own script, or a
// wildcard for its first label, is written somewhere in the names.
func stands(san []byte, domain string) bool {
	san = []byte(lowerASCII(string(san)))
	_, rest, _ := strings.Cut(domain, ".")
	native, err := idna.Punycode.ToUnicode(domain)
	return bytes.Contains(san, []byte(domain)) || rest != "" && bytes.Contains(san, []byte("*."+rest)) || err == nil && bytes.Contains(san, []byte(native))
}

func checkNames(t *testing.T, san []byte, domain string, leaf *x509.Certificate, xmpp []string) {
	t.Helper()
	if slices.Contains(xmpp, domain) && !stands(san, domain) {
		t.Errorf("%q has the XMPP name %q, which does not stand in it", san, domain)
	}
	names := leafNames(leaf, xmpp)
	if len(names) > 64 {
		t.Errorf("%d names", len(names))
	}
	for _, n := range names {
		if len(n) > 4*maxEvidence || !utf8.ValidString(n) || strings.IndexFunc(n, func(r rune) bool { return !unicode.IsPrint(r) }) >= 0 {
			t.Errorf("name %q", n)
		}
	}
}

// TestRecordedNames proves that the certificate that Prosody's own tool makes
// covers its domain in every way there is, and no other.
func TestRecordedNames(t *testing.T) {
	t.Parallel()
	for _, san := range recordings(t, "*-names.der") {
		leaf := &x509.Certificate{Extensions: []pkix.Extension{{Id: oidSAN, Value: san}}, DNSNames: []string{"contoso.test"}}
		if got := xmppNames(leaf); !slices.Equal(got, []string{"contoso.test", "contoso.test"}) {
			t.Errorf("XMPP names %q, want the domain as SRVName and as XmppAddr", got)
		}
		if got := leafNames(leaf, xmppNames(leaf)); !slices.Equal(got, []string{"contoso.test"}) {
			t.Errorf("names %q, want the domain once", got)
		}
	}
}

// TestUnreadableNames proves that a certificate which crypto/x509 turns down
// does not have all of its bytes shown to people for that.
func TestUnreadableNames(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	uri := der(t, asn1.ClassContextSpecific, 6, false, []byte("http://["+strings.Repeat("a", 20_000)))
	c := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), ExtraExtensions: []pkix.Extension{
		{Id: oidSAN, Value: der(t, asn1.ClassUniversal, asn1.TagSequence, true, uri)},
	}}
	raw, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err = x509.ParseCertificate(raw); err == nil {
		t.Fatal("the certificate is readable")
	}
	f := handshakeFault(t.Context(), fmt.Errorf("tls: failed to parse certificate from server: %w", err), 1)
	if f.class != TLSFailed || len(f.text) > 4*maxEvidence {
		t.Errorf("%s says %d bytes: %.300q", f.class, len(f.text), f.text)
	}
}

// TestHostileNames proves that names of the wrong kind cover nothing.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	covered := 0
	for _, san := range sanSeeds(t) {
		leaf := &x509.Certificate{Extensions: []pkix.Extension{{Id: oidSAN, Value: san}}}
		if slices.Contains(xmppNames(leaf), "contoso.test") {
			covered++
		}
	}
	if covered != 2 { // the XmppAddr and the SRVName
		t.Errorf("%d of the seeds cover the domain, want 2", covered)
	}
}

// TestXMPPNames proves how XmppAddr and SRVName are compared: RFC 6120 section
// 13.7.1.2, RFC 4985 and RFC 6125 section 6.4.
func TestXMPPNames(t *testing.T) {
	t.Parallel()
	const (
		ctx, uni = asn1.ClassContextSpecific, asn1.ClassUniversal
		contoso  = "contoso.test"
		munich   = "xn--mnchen-3ya.test"
	)
	text := func(tag int, s string) []byte { return der(t, uni, tag, false, []byte(s)) }
	raw := func(id asn1.ObjectIdentifier, wrapped ...[]byte) []byte {
		oid, err := asn1.Marshal(id)
		if err != nil {
			t.Fatal(err)
		}
		return der(t, ctx, 0, true, append([][]byte{oid}, wrapped...)...)
	}
	addr := func(s string) []byte {
		return raw(oidXMPPAddr, der(t, ctx, 0, true, text(asn1.TagUTF8String, s)))
	}
	srv := func(s string) []byte { return raw(oidSRVName, der(t, ctx, 0, true, text(asn1.TagIA5String, s))) }
	for name, c := range map[string]struct {
		names  [][]byte
		domain string
		covers bool
	}{
		"XmppAddr":                            {[][]byte{addr("contoso.test")}, contoso, true},
		"XmppAddr in upper case":              {[][]byte{addr("CONTOSO.Test")}, contoso, true},
		"XmppAddr with a user":                {[][]byte{addr("a@contoso.test")}, contoso, false},
		"XmppAddr with a resource":            {[][]byte{addr("contoso.test/a")}, contoso, false},
		"XmppAddr of a part":                  {[][]byte{addr("chat.contoso.test"), addr("test")}, contoso, false},
		"XmppAddr with a wildcard":            {[][]byte{addr("*.test")}, contoso, false},
		"XmppAddr with a dot":                 {[][]byte{addr("contoso.test.")}, contoso, false},
		"XmppAddr with a NUL":                 {[][]byte{addr("contoso.test\x00.evil.test")}, contoso, false},
		"XmppAddr in its own script":          {[][]byte{addr("m\u00fcnchen.test")}, munich, true},
		"XmppAddr in capitals, own script":    {[][]byte{addr("M\u00fcnchen.TEST")}, munich, true},
		"XmppAddr in ASCII form":              {[][]byte{addr("XN--MNCHEN-3YA.test")}, munich, true},
		"XmppAddr, accent apart":              {[][]byte{addr("mu\u0308nchen.test")}, munich, false},
		"XmppAddr, capital of its own script": {[][]byte{addr("m\u00dcnchen.test")}, munich, false},
		"XmppAddr, a letter that folds":       {[][]byte{addr("\u212aontoso.test")}, "kontoso.test", false},
		"XmppAddr, wide letters":              {[][]byte{addr("\uff43ontoso.test")}, contoso, false},
		"XmppAddr, another dot":               {[][]byte{addr("contoso\u3002test")}, contoso, false},
		"XmppAddr, no UTF-8":                  {[][]byte{addr("m\xfcnchen.test")}, munich, false},
		"XmppAddr of another string type":     {[][]byte{raw(oidXMPPAddr, der(t, ctx, 0, true, text(asn1.TagIA5String, "contoso.test")))}, contoso, false},
		"XmppAddr with a tail":                {[][]byte{raw(oidXMPPAddr, der(t, ctx, 0, true, text(asn1.TagUTF8String, "contoso.test"), text(asn1.TagUTF8String, "x")))}, contoso, false},
		"XmppAddr twice in one":               {[][]byte{raw(oidXMPPAddr, der(t, ctx, 0, true, text(asn1.TagUTF8String, "contoso.test")), der(t, ctx, 0, true))}, contoso, false},
		"SRVName":                             {[][]byte{srv("_xmpp-server.contoso.test")}, contoso, true},
		"SRVName in upper case":               {[][]byte{srv("_XMPP-Server.Contoso.TEST")}, contoso, true},
		"SRVName beside others":               {[][]byte{srv("_sip.contoso.test"), addr("other.test"), srv("_xmpp-server.contoso.test")}, contoso, true},
		"SRVName for clients":                 {[][]byte{srv("_xmpp-client.contoso.test")}, contoso, false},
		"SRVName with a protocol":             {[][]byte{srv("_xmpp-server._tcp.contoso.test")}, contoso, false},
		"SRVName without a service":           {[][]byte{srv("contoso.test")}, contoso, false},
		"SRVName of a part":                   {[][]byte{srv("_xmpp-server.chat.contoso.test")}, contoso, false},
		"SRVName with a wildcard":             {[][]byte{srv("_xmpp-server.*.test")}, contoso, false},
		"SRVName in ASCII form":               {[][]byte{srv("_xmpp-server.xn--mnchen-3ya.test")}, munich, true},
		"SRVName in its own script":           {[][]byte{srv("_xmpp-server.m\u00fcnchen.test")}, munich, false},
		"SRVName, a letter that folds":        {[][]byte{srv("_xmpp-server.\u212aontoso.test")}, "kontoso.test", false},
		"SRVName of another string type":      {[][]byte{raw(oidSRVName, der(t, ctx, 0, true, text(asn1.TagUTF8String, "_xmpp-server.contoso.test")))}, contoso, false},
		"another kind of name":                {[][]byte{raw(asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}, der(t, ctx, 0, true, text(asn1.TagUTF8String, "contoso.test")))}, contoso, false},
	} {
		leaf := &x509.Certificate{Extensions: []pkix.Extension{{Id: oidSAN, Value: der(t, uni, asn1.TagSequence, true, c.names...)}}}
		if names := xmppNames(leaf); slices.Contains(names, c.domain) != c.covers {
			t.Errorf("%s: %q covers %s: %v, want %v", name, names, c.domain, !c.covers, c.covers)
		}
	}
}

// TestNamesTooLong proves that a name which a handshake has room for costs
// nothing to turn down: the ASCII form of this one took 20 s.
func TestNamesTooLong(t *testing.T) {
	t.Parallel()
	var long strings.Builder
	for r := rune(0x9fa0); r >= 0x4e00; r-- {
		long.WriteRune(r)
	}
	start := time.Now()
	if got := asciiDomain(long.String()); got != "" {
		t.Errorf("got a domain of %d bytes", len(got))
	}
	if took := time.Since(start); took > time.Second {
		t.Errorf("took %s", took)
	}
	if got := asciiDomain(strings.Repeat("\u4e00.", 30) + "test"); got == "" {
		t.Error("a long domain that may be is turned down")
	}
}
