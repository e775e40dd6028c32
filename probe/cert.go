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
// needed to say what is wrong at a given time. It is kept for long: it holds
// no certificate, which the peer may have made as large as a handshake allows.
type chainVerdict struct {
	names    []string
	from, to time.Time // the leaf's own life
	problems []fault   // other than dates and weakness
	whole    []window  // when the certificates above the leaf are all valid, one per way to a root
	weak     *fault    // of what the server sent, for when no way is whole
	never    bool      // there is a way to a root, but its dates never suit the leaf's
}

// window is when everything above the leaf on one way to a root is valid.
type window struct {
	from, to time.Time
	ends     string // the certificate that ends first
	weak     *fault // on this way
}

func (w *window) holds(now time.Time) bool { return !now.Before(w.from) && !now.After(w.to) }

// at is every problem at that time, the gravest first.
func (v *chainVerdict) at(now time.Time) []fault {
	var out []fault
	switch {
	case now.After(v.to):
		out = append(out, *faultf(CertExpired, "the certificate expired on %s", day(v.to)))
	case now.Before(v.from):
		out = append(out, *faultf(CertNotYetValid, "the certificate is valid from %s", day(v.from)))
	case v.never:
		out = append(out, *faultf(CertExpired, "the certificates above the server's own are out of date"))
	default:
		if f := v.above(now); f != nil {
			out = append(out, *f)
		}
	}
	out = append(out, v.problems...)
	if f := v.weakest(now); f != nil {
		out = append(out, *f)
	}
	return out
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

// weakest is the weakness that partners meet now: none when one of the ways
// they may take is strong, whatever else the server sent.
func (v *chainVerdict) weakest(now time.Time) *fault {
	weak := v.weak
	for _, w := range v.whole {
		if w.holds(now) {
			if w.weak == nil {
				return nil
			}
			weak = w.weak
		}
	}
	return weak
}

// doubtful reports whether the verdict finds the dates of everything above the
// leaf wrong now. It looked at a few moments only, so that a way which is whole
// at none of them may be whole now.
func (v *chainVerdict) doubtful(now time.Time) bool {
	return !now.Before(v.from) && !now.After(v.to) && (v.never || v.above(now) != nil)
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// Limits of what a peer's chain may cost: crypto/tls takes a quarter of a MiB
// of certificates with keys that take a second each to verify a signature with.
const (
	maxAbove   = 16   // certificates looked at beside the leaf
	maxKeyBits = 8192 // of their RSA keys; the limit that crypto/tls has for the leaf's
)

// affordable is the leaf and what of the rest is looked at.
func affordable(certs []*x509.Certificate) []*x509.Certificate {
	out := certs[:1:1]
	for _, c := range certs[1:] {
		if k, ok := c.PublicKey.(*rsa.PublicKey); ok && k.N.BitLen() > maxKeyBits {
			continue
		}
		if out = append(out, c); len(out) > maxAbove {
			break
		}
	}
	return out
}

// judgeChain verifies a chain as a partner of each of the domains would at
// that time, but to the end: dates, names, trust, purpose and strength are
// judged apart from each other.
func judgeChain(certs []*x509.Certificate, domains []string, pool *x509.CertPool, now time.Time) *chainVerdict {
	certs = affordable(certs)
	leaf := certs[0]
	v := &chainVerdict{from: leaf.NotBefore, to: leaf.NotAfter}
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
	way := onTheWay(certs)
	v.weak = weakness(way)
	add(v.trust(certs, pool, moments(certs, now), v.weak != nil && anyObsolete(way)))
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) > 0 &&
		!slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) && !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		add(faultf(CertWrongUsage, "the certificate's extended key usage does not allow server authentication"))
	}
	return v
}

// onTheWay is the leaf and what of the rest may have issued it, directly or
// not: the others are of no use to partners and no harm.
func onTheWay(certs []*x509.Certificate) []*x509.Certificate {
	way := certs[:1:1]
	for i := 0; i < len(way); i++ {
		for _, c := range certs[1:] {
			if string(c.RawSubject) == string(way[i].RawIssuer) && !slices.Contains(way, c) {
				way = append(way, c)
			}
		}
	}
	return way
}

// trust looks for a way to a root, dates apart: at a few moments one of which
// suits the certificates above the leaf. Obsolete says that there is a
// signature behind which Go does not look.
func (v *chainVerdict) trust(certs []*x509.Certificate, pool *x509.CertPool, at []time.Time, obsolete bool) *fault {
	leaf := certs[0]
	opts := x509.VerifyOptions{Roots: pool, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}
	for _, c := range certs[1:] {
		opts.Intermediates.AddCert(c)
	}
	var first error
	for _, opts.CurrentTime = range at {
		chains, err := leaf.Verify(opts)
		if v.keep(chains) {
			return nil
		}
		if err != nil && (first == nil || !isUnknownAuthority(err)) {
			first = err
		}
		if err != nil && !isUnknownAuthority(err) && !isInvalid(err) {
			break // no matter of dates: e.g. more ways than may be tried
		}
	}
	if len(v.whole) > 0 {
		return nil
	}
	if inv, ok := errors.AsType[x509.CertificateInvalidError](first); ok && inv.Reason == x509.Expired {
		v.never = true
		return nil
	}
	if obsolete && isUnknownAuthority(first) {
		return nil // the weakness is the news
	}
	if isSelfSigned(leaf) {
		return faultf(CertSelfSigned, "the certificate is signed by itself")
	}
	// The error may quote a certificate at length.
	return faultf(CertUnknownCA, "no way from %s to a trusted CA: %s", evidence(leaf.Issuer.String()), printable(first.Error()))
}

// moments are times of the leaf's life at which the chain may have been whole:
// its last and first, each later start or earlier end of what came with it, and
// now.
func moments(certs []*x509.Certificate, now time.Time) []time.Time {
	leaf := certs[0]
	out := []time.Time{leaf.NotAfter, leaf.NotBefore, leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2)}
	within := func(t time.Time) {
		if t.After(leaf.NotBefore) && t.Before(leaf.NotAfter) {
			out = append(out, t)
		}
	}
	for _, c := range certs[1:min(len(certs), 6)] {
		within(c.NotBefore)
		within(c.NotAfter)
	}
	within(now)
	return out
}

// keep notes when each chain is whole and reports whether a strong one is so
// for the leaf's whole life: then there is nothing more to look for.
func (v *chainVerdict) keep(chains [][]*x509.Certificate) bool {
	for _, chain := range chains {
		w := window{from: v.from, to: v.to, weak: weakness(chain)}
		for _, c := range chain[1:] {
			if c.NotBefore.After(w.from) {
				w.from = c.NotBefore
			}
			if c.NotAfter.Before(w.to) {
				w.to, w.ends = c.NotAfter, evidence(c.Subject.String())
			}
		}
		if w.weak == nil && w.from.Equal(v.from) && w.to.Equal(v.to) {
			v.whole = []window{w}
			return true
		}
		if len(v.whole) < 16 {
			v.whole = append(v.whole, w)
		}
	}
	return false
}

func isInvalid(err error) bool {
	_, ok := errors.AsType[x509.CertificateInvalidError](err)
	return ok
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

// judge is judgeChain, or what it said before. The pool is always the same.
func (c *chainCache) judge(certs []*x509.Certificate, domains []string, pool *x509.CertPool, now time.Time) *chainVerdict {
	h := sha256.New()
	_, _ = fmt.Fprintf(h, "%q %d\n", domains, len(certs))
	for _, cert := range certs {
		_, _ = h.Write(cert.Raw)
	}
	key := [sha256.Size]byte(h.Sum(nil))
	c.mu.Lock()
	v := c.entries[key]
	c.mu.Unlock()
	if v != nil && !v.doubtful(now) {
		return v
	}
	v = judgeChain(certs, domains, pool, now)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.entries == nil || len(c.entries) >= maxChains {
		c.entries = map[[sha256.Size]byte]*chainVerdict{}
	}
	c.entries[key] = v
	return v
}
