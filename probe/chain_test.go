package probe

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"weak"
)

// The chains of these tests are made of certificates that only crypto/x509
// itself can make, one above another in ways that no CA would.
const year = 365 * 24 * time.Hour

// signed is a certificate for pub that issuer's name and key vouch for.
func signed(tb testing.TB, c, issuer *x509.Certificate, pub crypto.PublicKey, key crypto.Signer) *x509.Certificate {
	tb.Helper()
	c.SerialNumber = big.NewInt(1)
	// Only the issuer's name matters; its key may be another's.
	der, err := x509.CreateCertificate(rand.Reader, c, &x509.Certificate{Subject: issuer.Subject, SubjectKeyId: issuer.SubjectKeyId}, pub, key)
	if err != nil {
		tb.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func ecKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func rsaKey(tb testing.TB) *rsa.PrivateKey {
	tb.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func named(name string, from, to time.Time) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: name}, NotBefore: from, NotAfter: to}
}

func authority(name string, from, to time.Time) *x509.Certificate {
	c := named(name, from, to)
	c.IsCA, c.BasicConstraintsValid = true, true
	return c
}

func trusting(roots ...*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, c := range roots {
		pool.AddCert(c)
	}
	return pool
}

func classes(faults []fault) []Class {
	var out []Class
	for _, f := range faults {
		out = append(out, f.class)
	}
	return out
}

// TestChainSeldomWhole proves that a way to a root that is whole for a small
// part of the leaf's life is found while it is, remembered or not, and that it
// ends when it ends.
func TestChainSeldomWhole(t *testing.T) {
	t.Parallel()
	key, now := ecKey(t), time.Now()
	root := authority("root", now.Add(-year), now.Add(year))
	root = signed(t, root, root, key.Public(), key)
	leaf := named("leaf", now.Add(-2*year), now.Add(10*year))
	leaf.DNSNames = []string{"contoso.test"}
	leaf = signed(t, leaf, root, key.Public(), key)
	for name, order := range map[string][]time.Duration{
		"whole first":  {0, 2 * year, 0, -3 * year / 2, 0},
		"whole second": {2 * year, 0, -3 * year / 2, 0, 2 * year},
	} {
		var cache chainCache
		for i, off := range order {
			at := now.Add(off)
			_, err := leaf.Verify(x509.VerifyOptions{Roots: trusting(root), CurrentTime: at})
			got := classes(cache.judge([]*x509.Certificate{leaf}, []string{"contoso.test"}, trusting(root), at).at(at))
			if (err == nil) != (len(got) == 0) {
				t.Errorf("%s, %d: %v, but crypto/x509 says %v", name, i, got, err)
			}
		}
	}
}

// TestChainStrays proves that what a server sends beside its chain is no
// trouble: partners do not look at it.
func TestChainStrays(t *testing.T) {
	t.Parallel()
	key, old, now := ecKey(t), rsaKey(t), time.Now()
	from, to := now.Add(-year), now.Add(year)
	root := authority("root", from, to)
	root = signed(t, root, root, key.Public(), key)
	cross := authority("root", from, to)
	cross.SignatureAlgorithm = x509.SHA1WithRSA
	cross = signed(t, cross, authority("old root", from, to), key.Public(), old)
	stray := authority("stray", from, to)
	stray.SignatureAlgorithm = x509.SHA1WithRSA
	stray = signed(t, stray, authority("old root", from, to), key.Public(), old)
	leaf := named("leaf", from, to)
	leaf.DNSNames = []string{"contoso.test"}
	leaf = signed(t, leaf, root, key.Public(), key)
	for name, c := range map[string]struct {
		sent  *x509.Certificate
		roots *x509.CertPool
		want  []Class
	}{
		"an obsolete cross-signature of a trusted root": {cross, trusting(root), nil},
		"the only way is obsolete":                      {cross, trusting(), []Class{CertWeak}},
		"a stranger":                                    {stray, trusting(root), nil},
		"a stranger and an unknown CA":                  {stray, trusting(), []Class{CertUnknownCA}},
	} {
		got := classes(judgeChain([]*x509.Certificate{leaf, c.sent}, []string{"contoso.test"}, c.roots, now).at(now))
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// TestChainWords proves that a peer's names do not reach people at length.
func TestChainWords(t *testing.T) {
	t.Parallel()
	key, other, now := ecKey(t), ecKey(t), time.Now()
	sub := authority(strings.Repeat("\x1b[31m", 20_000), now.Add(-year), now.Add(year))
	sub = signed(t, sub, named("nobody", now, now), other.Public(), key)
	leaf := signed(t, named("leaf", now.Add(-year), now.Add(year)), sub, key.Public(), key)
	for _, f := range judgeChain([]*x509.Certificate{leaf, sub}, []string{"contoso.test"}, trusting(), now).at(now) {
		if len(f.text) > 6*maxEvidence || strings.Contains(f.text, "\x1b") {
			t.Errorf("%s in %d bytes: %.200q", f.class, len(f.text), f.text)
		}
	}
}

// TestChainCost proves that a peer cannot make us verify signatures at length:
// 28 keys of 65,536 bits, which a handshake has room for, took a minute.
func TestChainCost(t *testing.T) {
	t.Parallel()
	key, signer, now := ecKey(t), rsaKey(t), time.Now()
	certs := []*x509.Certificate{signed(t, named("leaf", now.Add(-year), now.Add(year)), named("large", now, now), key.Public(), key)}
	for range 40 {
		large := &rsa.PublicKey{N: new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), maxKeyBits), big.NewInt(1)), E: 1<<31 - 1}
		certs = append(certs, signed(t, authority("large", now.Add(-year), now.Add(year)), named("large", now, now), large, signer))
	}
	if got := affordable(certs); len(got) != 1 {
		t.Errorf("%d certificates with large keys are looked at", len(got)-1)
	}
	for range 40 {
		certs = append(certs, signed(t, authority("small", now.Add(-year), now.Add(year)), named("small", now, now), signer.Public(), signer))
	}
	if got := affordable(certs); len(got) != 1+maxAbove {
		t.Errorf("%d certificates are looked at, want %d", len(got)-1, maxAbove)
	}
	if len(certs) != 81 || certs[1].Subject.CommonName != "large" {
		t.Error("the caller's certificates were changed")
	}
}

// TestChainForgotten proves that remembering a verdict does not keep the
// certificates, which may be large.
func TestChainForgotten(t *testing.T) {
	t.Parallel()
	var cache chainCache
	judged := func() []weak.Pointer[x509.Certificate] {
		key, now := ecKey(t), time.Now()
		sub := authority("sub", now.Add(-year), now.Add(year))
		sub = signed(t, sub, named("nobody", now, now), key.Public(), key)
		leaf := signed(t, named("leaf", now.Add(-year), now.Add(year)), sub, key.Public(), key)
		cache.judge([]*x509.Certificate{leaf, sub}, []string{"contoso.test"}, trusting(), now)
		return []weak.Pointer[x509.Certificate]{weak.Make(leaf), weak.Make(sub)}
	}
	pointers := judged()
	runtime.GC()
	runtime.GC()
	for _, p := range pointers {
		if c := p.Value(); c != nil {
			t.Errorf("the certificate of %s is kept", c.Subject)
		}
	}
	if len(cache.entries) != 1 {
		t.Errorf("%d verdicts are kept", len(cache.entries))
	}
}
