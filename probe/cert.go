package probe

import (
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// chainVerdict is what is wrong with a chain, whatever the time, and what is
// needed to say what is wrong at a given time.
type chainVerdict struct {
	names    []string
	leaf     *x509.Certificate
	problems []fault  // other than dates
	whole    []window // when the certificates above the leaf are all valid, one per way to a root
	never    bool     // there is a way to a root, but its dates never suit the leaf's
}

// window is when everything above the leaf on one way to a root is valid.
type window struct {
	from, to time.Time
	ends     string // the certificate that ends first
}

// at is every problem at that time, the gravest first.
func (v *chainVerdict) at(now time.Time) []fault {
	var out []fault
	switch {
	case now.After(v.leaf.NotAfter):
		out = append(out, *faultf(CertExpired, "the certificate expired on %s", day(v.leaf.NotAfter)))
	case now.Before(v.leaf.NotBefore):
		out = append(out, *faultf(CertNotYetValid, "the certificate is valid from %s", day(v.leaf.NotBefore)))
	case v.never:
		out = append(out, *faultf(CertExpired, "the certificates above the server's own are out of date"))
	default:
		if f := v.above(now); f != nil {
			out = append(out, *f)
		}
	}
	return append(out, v.problems...)
}

// above judges the dates of what is above the leaf: one way that is whole now
// is enough.
func (v *chainVerdict) above(now time.Time) *fault {
	var f *fault
	for _, w := range v.whole {
		switch {
		case now.After(w.to):
			f = faultf(CertExpired, "%s, above the server's certificate, expired on %s", w.ends, day(w.to))
		case now.Before(w.from):
			f = faultf(CertNotYetValid, "a certificate above the server's own is valid from %s", day(w.from))
		default:
			return nil
		}
	}
	return f
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// judgeChain verifies a chain as a partner of each of the domains would, but to
// the end: dates, names, trust, purpose and strength are judged apart from each
// other.
func judgeChain(certs []*x509.Certificate, domains []string, pool *x509.CertPool) *chainVerdict {
	leaf := certs[0]
	v := &chainVerdict{leaf: leaf}
	xmpp := xmppNames(leaf)
	v.names = leafNames(leaf, xmpp)
	add := func(f *fault) {
		if f != nil {
			v.problems = append(v.problems, *f)
		}
	}
	bare := slices.DeleteFunc(slices.Clone(domains), func(d string) bool { return leaf.VerifyHostname(d) == nil || slices.Contains(xmpp, d) })
	if len(bare) > 0 {
		add(faultf(CertWrongName, "the certificate covers %s, not %s", listNames(v.names), listNames(bare)))
	}
	weak := weakness(certs)
	add(v.trust(certs, pool, weak != nil))
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0 &&
		!slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		add(faultf(CertWrongUsage, "the certificate's extended key usage does not allow server authentication"))
	}
	add(weak)
	return v
}

// trust looks for a way to a root, dates apart: at a few moments of the leaf's
// own life one of which suits the certificates above it.
func (v *chainVerdict) trust(certs []*x509.Certificate, pool *x509.CertPool, weak bool) *fault {
	leaf := certs[0]
	opts := x509.VerifyOptions{Roots: pool, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	for _, c := range certs[1:] {
		opts.Intermediates.AddCert(c)
	}
	var first error
	for _, at := range moments(certs) {
		opts.CurrentTime = at
		chains, err := leaf.Verify(opts)
		if v.keep(chains) {
			return nil
		}
		if err != nil && (first == nil || !isUnknownAuthority(err)) {
			first = err
		}
	}
	if len(v.whole) > 0 {
		return nil
	}
	if inv, ok := errors.AsType[x509.CertificateInvalidError](first); ok && inv.Reason == x509.Expired {
		v.never = true
		return nil
	}
	if weak && isUnknownAuthority(first) && anyObsolete(certs) {
		return nil // Go does not look behind such a signature; the weakness is the news
	}
	if isSelfSigned(leaf) {
		return faultf(CertSelfSigned, "the certificate is signed by itself")
	}
	return faultf(CertUnknownCA, "no way from %s to a trusted CA: %v", evidence(leaf.Issuer.String()), first)
}

// moments are times at which the chain may have been whole: the leaf's last
// and first, and each later start or earlier end of what came with it.
func moments(certs []*x509.Certificate) []time.Time {
	leaf := certs[0]
	out := []time.Time{leaf.NotAfter, leaf.NotBefore, leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2)}
	for _, c := range certs[1:min(len(certs), 6)] {
		for _, t := range []time.Time{c.NotBefore, c.NotAfter} {
			if t.After(leaf.NotBefore) && t.Before(leaf.NotAfter) {
				out = append(out, t)
			}
		}
	}
	return out
}

// keep notes when each chain is whole and reports whether one of them is so
// for the leaf's whole life: then there is nothing more to look for.
func (v *chainVerdict) keep(chains [][]*x509.Certificate) bool {
	for _, chain := range chains {
		w := window{from: v.leaf.NotBefore, to: v.leaf.NotAfter}
		for _, c := range chain[1:] {
			if c.NotBefore.After(w.from) {
				w.from = c.NotBefore
			}
			if c.NotAfter.Before(w.to) {
				w.to, w.ends = c.NotAfter, evidence(c.Subject.String())
			}
		}
		if w.from.Equal(v.leaf.NotBefore) && w.to.Equal(v.leaf.NotAfter) {
			v.whole = []window{w}
			return true
		}
		if len(v.whole) < 16 {
			v.whole = append(v.whole, w)
		}
	}
	return false
}

func isUnknownAuthority(err error) bool {
	_, ok := errors.AsType[x509.UnknownAuthorityError](err)
	return ok
}

func isSelfSigned(c *x509.Certificate) bool {
	return string(c.RawIssuer) == string(c.RawSubject) && c.CheckSignature(c.SignatureAlgorithm, c.RawTBSCertificate, c.Signature) == nil
}

// obsolete names the hash that nobody should trust a signature with.
func obsolete(c *x509.Certificate) string {
	switch c.SignatureAlgorithm {
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1:
		return "SHA-1"
	case x509.MD5WithRSA, x509.MD2WithRSA:
		return "MD5"
	default:
		return ""
	}
}

func anyObsolete(certs []*x509.Certificate) bool {
	return slices.ContainsFunc(certs, func(c *x509.Certificate) bool { return obsolete(c) != "" })
}

// weakness finds the first key or signature that partners turn down. The
// signature of a root by itself says nothing.
func weakness(certs []*x509.Certificate) *fault {
	for _, c := range certs {
		who := evidence(c.Subject.String())
		switch k := c.PublicKey.(type) {
		case *rsa.PublicKey:
			if k.N.BitLen() < 2048 {
				return faultf(CertWeak, "%s has an RSA key of %d bits", who, k.N.BitLen())
			}
		case *ecdsa.PublicKey:
			if k.Params().BitSize < 256 {
				return faultf(CertWeak, "%s has an EC key of %d bits", who, k.Params().BitSize)
			}
		}
		if hash := obsolete(c); hash != "" && string(c.RawIssuer) != string(c.RawSubject) {
			return faultf(CertWeak, "%s is signed with %s", who, hash)
		}
	}
	return nil
}

// chainCache remembers the verdicts on the chains seen lately. Verifying costs
// as much as a third of a handshake and a server shows the same chain for
// months; only the dates change, and those are judged anew every time. The
// handshake still proves that the server owns the leaf's key.
type chainCache struct {
	mu      sync.Mutex
	entries map[[sha256.Size]byte]*chainVerdict
}

// maxChains is how many chains are remembered; all are forgotten at once when
// there are more.
const maxChains = 256

func (c *chainCache) judge(certs []*x509.Certificate, domains []string, pool *x509.CertPool) *chainVerdict {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%q %d\n", domains, len(certs))
	for _, cert := range certs {
		_, _ = h.Write(cert.Raw)
	}
	key := [sha256.Size]byte(h.Sum(nil))
	c.mu.Lock()
	v := c.entries[key]
	c.mu.Unlock()
	if v != nil {
		return v
	}
	v = judgeChain(certs, domains, pool)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil || len(c.entries) >= maxChains {
		c.entries = map[[sha256.Size]byte]*chainVerdict{}
	}
	c.entries[key] = v
	return v
}
