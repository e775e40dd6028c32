package probe_test

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgewatch/probe"
	"edgewatch/probe/probetest"
)

// otherNames is a SAN extension with one XmppAddr or SRVName.
func otherNames(t *testing.T, oid asn1.ObjectIdentifier, tag int, text string) pkix.Extension {
	t.Helper()
	marshal := func(v any) []byte {
		b, err := asn1.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	value := marshal(asn1.RawValue{Tag: tag, Bytes: []byte(text)})
	wrapped := marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: value})
	name := marshal(asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: append(marshal(oid), wrapped...)})
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: marshal(asn1.RawValue{Tag: asn1.TagSequence, IsCompound: true, Bytes: name})}
}

// TestCertificate proves that every problem of a certificate is told apart,
// that several at once are all told, and that none of them is ever "down".
func TestCertificate(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	now := time.Now()
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	f := newFixture(t)
	names := []string{domain}
	past := probetest.Leaf{Names: names, NotBefore: now.Add(-90 * day), NotAfter: now.Add(-2 * day)}
	sub := f.ca.Intermediate(probetest.Leaf{})
	deadSub := f.ca.Intermediate(probetest.Leaf{NotBefore: now.Add(-400 * day), NotAfter: now.Add(-10 * day)})
	young := f.ca.Intermediate(probetest.Leaf{NotBefore: now.Add(-day), NotAfter: now.Add(100 * day)})
	stump := sub.Issue(domain)
	stump.Certificate = stump.Certificate[:1]
	sha1 := probetest.NewCAWith(probetest.Leaf{Key: rsaKey})
	xmppAddr := otherNames(t, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 5}, asn1.TagUTF8String, domain)
	srvName := otherNames(t, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 7}, asn1.TagIA5String, "_xmpp-server."+domain)
	clientSRV := otherNames(t, asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 8, 7}, asn1.TagIA5String, "_xmpp-client."+domain)
	ptr := func(c tls.Certificate) *tls.Certificate { return &c }

	for _, c := range []struct {
		number   int
		name     string
		cert     *tls.Certificate
		roots    *x509.CertPool
		problems []probe.Class
		remarks  []probe.Class
		evidence string
	}{
		{number: 42, name: "good", cert: f.issue(probetest.Leaf{Names: names})},
		{number: 42, name: "good through an intermediate", cert: ptr(sub.Issue(domain))},
		{number: 42, name: "wildcard", cert: f.issue(probetest.Leaf{Names: []string{"*.test"}})},
		{number: 42, name: "XmppAddr", cert: f.issue(probetest.Leaf{CommonName: "x", Extra: []pkix.Extension{xmppAddr}})},
		{number: 42, name: "SRVName", cert: f.issue(probetest.Leaf{CommonName: "x", Extra: []pkix.Extension{srvName}})},
		{number: 42, name: "no usage at all", cert: f.issue(probetest.Leaf{Names: names, NoUsage: true})},
		{number: 44, name: "expired", cert: f.issue(past), problems: []probe.Class{probe.CertExpired}, evidence: "expired on"},
		{number: 44, name: "expired, the CA is younger", cert: ptr(young.IssueLeaf(past)), problems: []probe.Class{probe.CertExpired}},
		{number: 44, name: "intermediate expired", cert: ptr(deadSub.IssueLeaf(probetest.Leaf{Names: names, NotBefore: now.Add(-30 * day)})),
			problems: []probe.Class{probe.CertExpired}, evidence: "probetest intermediate"},
		{number: 44, name: "intermediate expired before the leaf was made", cert: ptr(deadSub.Issue(domain)), problems: []probe.Class{probe.CertExpired}, evidence: "above"},
		{number: 45, name: "not yet valid", cert: f.issue(probetest.Leaf{Names: names, NotBefore: now.Add(day)}), problems: []probe.Class{probe.CertNotYetValid}},
		{number: 46, name: "wrong name", cert: ptr(f.ca.Issue("other.test")), problems: []probe.Class{probe.CertWrongName}, evidence: "other.test"},
		{number: 46, name: "common name only", cert: f.issue(probetest.Leaf{CommonName: domain}), problems: []probe.Class{probe.CertWrongName}, evidence: "common name"},
		{number: 46, name: "wildcard below the domain", cert: ptr(f.ca.Issue("*." + domain)), problems: []probe.Class{probe.CertWrongName}},
		{number: 46, name: "SRVName of another service", cert: f.issue(probetest.Leaf{CommonName: "x", Extra: []pkix.Extension{clientSRV}}), problems: []probe.Class{probe.CertWrongName}},
		{number: 47, name: "self-signed", cert: f.issue(probetest.Leaf{Names: names, SelfSigned: true}), problems: []probe.Class{probe.CertSelfSigned}},
		{number: 48, name: "unknown CA", cert: ptr(f.ca.Issue(domain)), roots: probetest.NewCA().Pool(), problems: []probe.Class{probe.CertUnknownCA}},
		{number: 48, name: "missing intermediate", cert: &stump, problems: []probe.Class{probe.CertUnknownCA}, evidence: "probetest intermediate"},
		{number: 49, name: "RSA 1024", cert: f.issue(probetest.Leaf{Names: names, Key: f.weak}), problems: []probe.Class{probe.CertWeak}, evidence: "1024"},
		{number: 49, name: "SHA-1", cert: ptr(sha1.IssueLeaf(probetest.Leaf{Names: names, Signature: x509.SHA1WithRSA})), roots: sha1.Pool(),
			problems: []probe.Class{probe.CertWeak}, evidence: "SHA-1"},
		{number: 50, name: "expires soon", cert: f.issue(probetest.Leaf{Names: names, NotAfter: now.Add(3 * day)}), remarks: []probe.Class{probe.CertExpiring}},
		{name: "not for servers", cert: f.issue(probetest.Leaf{Names: names, Usage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}), problems: []probe.Class{probe.CertWrongUsage}},
		{number: 44, name: "everything at once", cert: f.issue(probetest.Leaf{Names: []string{"other.test"}, NotBefore: past.NotBefore, NotAfter: past.NotAfter, SelfSigned: true, Key: f.weak}),
			problems: []probe.Class{probe.CertExpired, probe.CertWrongName, probe.CertSelfSigned, probe.CertWeak},
			remarks:  []probe.Class{probe.CertWrongName, probe.CertSelfSigned, probe.CertWeak}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			roots := c.roots
			if roots == nil {
				roots = f.ca.Pool()
			}
			s := probetest.NewServer(t, probetest.Config{Domain: domain, CA: f.ca, Cert: c.cert})
			p := probe.New(probe.Options{RootCAs: roots, SlowConnect: -1})
			w := want{number: c.number, phase: probe.PhaseDone, class: probe.OK, level: probe.Up, remarks: c.remarks, evidence: c.evidence}
			if len(c.problems) > 0 {
				w.phase, w.class, w.level = probe.PhaseCert, c.problems[0], probe.Degraded
			}
			for range 2 { // the second from the cache
				r := p.Probe(t.Context(), probe.Target{Addr: s.Addr(), Domain: domain, From: from})
				w.check(t, r)
				if r.Cert == nil {
					t.Fatalf("no certificate in %+v", r)
				}
				if slices.Contains(r.Cert.Names, "the caller's") {
					t.Errorf("names of another result: %v", r.Cert.Names)
				}
				if d := cmp.Diff(c.problems, r.Cert.Problems); d != "" {
					t.Errorf("problems (-want +got):\n%s", d)
				}
				for i := range r.Cert.Names {
					r.Cert.Names[i] = "the caller's" // must not reach what is remembered
				}
				if !slices.Contains(r.Features, "dialback") {
					t.Errorf("the probe did not go on: features %v", r.Features)
				}
			}
		})
	}
}

// TestCertificateTime proves that the same chain is judged anew at every time,
// though it is verified once.
func TestCertificateTime(t *testing.T) {
	t.Parallel()
	now := time.Now()
	at := now
	ca := probetest.NewCA()
	sub := ca.Intermediate(probetest.Leaf{NotAfter: now.AddDate(0, 1, 0)})
	cert := sub.IssueLeaf(probetest.Leaf{Names: []string{domain}, NotAfter: now.AddDate(0, 2, 0)})
	s := probetest.NewServer(t, probetest.Config{Domain: domain, Cert: &cert, CA: ca})
	p := probe.New(probe.Options{RootCAs: ca.Pool(), Now: func() time.Time { return at }})
	for _, c := range []struct {
		at    time.Time
		class probe.Class
	}{
		{now, probe.OK},
		{now.AddDate(0, 1, 1), probe.CertExpired}, // the intermediate
		{now.AddDate(0, 3, 0), probe.CertExpired}, // the leaf
		{now.AddDate(0, 0, -1), probe.CertNotYetValid},
		{now, probe.OK},
	} {
		at = c.at
		r := p.Probe(t.Context(), probe.Target{Addr: s.Addr(), Domain: domain, From: from})
		if r.Class != c.class || !r.Level.Answers() {
			t.Errorf("at %s: %s %s (%s), want %s", c.at, r.Class, r.Level, r.Error, c.class)
		}
	}
}

// TestDays proves that whole days are counted down, so that a certificate is
// below zero from the moment it expires.
func TestDays(t *testing.T) {
	t.Parallel()
	now := time.Now()
	day := 24 * time.Hour
	for left, want := range map[time.Duration]int{
		90*day + time.Hour: 90, day: 1, day - time.Second: 0, 0: 0,
		-time.Nanosecond: -1, -time.Hour: -1, -day: -1, -day - time.Second: -2,
	} {
		c := probe.Certificate{NotAfter: now.Add(left)}
		if got := c.Days(now); got != want {
			t.Errorf("%s left: %d days, want %d", left, got, want)
		}
	}
}

// TestCertificateOfEveryDomain proves that one certificate is held to every
// domain of a federation in one conversation, and that those it lacks are named.
func TestCertificateOfEveryDomain(t *testing.T) {
	t.Parallel()
	ca := probetest.NewCA()
	cert := ca.Issue(domain, "fabrikam.test", "*.adatum.test")
	s := probetest.NewServer(t, probetest.Config{Domain: domain, CA: ca, Cert: &cert})
	p := probe.New(probe.Options{RootCAs: ca.Pool(), SlowConnect: -1})
	for _, c := range []struct {
		name  string
		also  []string
		class probe.Class
		lacks string
	}{
		{"itself", []string{domain}, probe.OK, ""},
		{"all", []string{domain, "Fabrikam.Test.", "chat.adatum.test"}, probe.OK, ""},
		{"one is missing", []string{domain, "fabrikam.test", "adatum.test"}, probe.CertWrongName, "not adatum.test"},
		{"two are missing", []string{"adatum.test", "other.test", "fabrikam.test"}, probe.CertWrongName, "not adatum.test, other.test"},
		{"none asked", nil, probe.OK, ""},
	} {
		r := p.ProbeCovering(t.Context(), probe.Target{Addr: s.Addr(), Domain: domain, From: from}, c.also)
		if r.Class != c.class || !r.Level.Answers() || !strings.HasSuffix(r.Error, c.lacks) {
			t.Errorf("%s: got %s %s: %s", c.name, r.Class, r.Level, r.Error)
		}
		if r.Target.Domain != domain || len(r.Features) == 0 {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}
