package probetest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"time"
)

// CA is a small certificate authority with ECDSA P-256 keys. It is safe for
// concurrent use.
type CA struct {
	cert  *x509.Certificate
	key   crypto.Signer
	above []*x509.Certificate // the intermediates to show, from this CA up, without the root
	root  *x509.Certificate
}

// Leaf describes a certificate that differs from the ordinary. The zero fields
// mean what Issue does.
type Leaf struct {
	Names      []string      // subject alternative names
	CommonName string        // "" = the first name
	NotBefore  time.Time     // zero = an hour ago
	NotAfter   time.Time     // zero = in 90 days
	Key        crypto.Signer // nil = a new ECDSA P-256 key
	Usage      []x509.ExtKeyUsage
	NoUsage    bool                    // no extended key usage at all
	Extra      []pkix.Extension        // e.g. a SAN with other names
	Signature  x509.SignatureAlgorithm // 0 = what suits the CA's key
	SelfSigned bool                    // signed by its own key instead of the CA
	Edit       func(*x509.Certificate) // the last word on the template; nil = none
}

// NewCA returns a new root. It panics when this machine has no randomness.
func NewCA() *CA { return NewCAWith(Leaf{}) }

// NewCAWith returns a new root that takes key, dates and name from l.
func NewCAWith(l Leaf) *CA {
	ca := &CA{}
	if l.CommonName == "" {
		l.CommonName = "probetest root"
	}
	ca.cert, ca.key = newCACert(l, nil)
	ca.root = ca.cert
	return ca
}

// Intermediate returns a CA below ca that takes key, dates and name from l.
func (ca *CA) Intermediate(l Leaf) *CA {
	sub := &CA{root: ca.root}
	if l.CommonName == "" {
		l.CommonName = "probetest intermediate"
	}
	sub.cert, sub.key = newCACert(l, ca)
	sub.above = append([]*x509.Certificate{sub.cert}, ca.above...)
	return sub
}

// Issue returns a certificate for names that is valid from an hour ago for 90
// days, with what stands above it but for the root.
func (ca *CA) Issue(names ...string) tls.Certificate { return ca.IssueLeaf(Leaf{Names: names}) }

// IssueLeaf returns a certificate as l describes it.
func (ca *CA) IssueLeaf(l Leaf) tls.Certificate {
	key := l.Key
	if key == nil {
		key = newKey()
	}
	t := template(l)
	t.KeyUsage = x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment
	t.DNSNames = l.Names
	if !l.NoUsage {
		t.ExtKeyUsage = l.Usage
		if len(l.Usage) == 0 {
			t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		}
	}
	if l.Edit != nil {
		l.Edit(t)
	}
	parent, signer := ca.cert, ca.key
	if l.SelfSigned {
		parent, signer = t, key
	}
	der := must(x509.CreateCertificate(rand.Reader, t, parent, key.Public(), signer))
	out := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: must(x509.ParseCertificate(der))}
	if !l.SelfSigned {
		for _, c := range ca.above {
			out.Certificate = append(out.Certificate, c.Raw)
		}
	}
	return out
}

// Root is the root's certificate.
func (ca *CA) Root() *x509.Certificate { return ca.root }

// Pool returns a pool that trusts the root.
func (ca *CA) Pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(ca.root)
	return p
}

func newCACert(l Leaf, parent *CA) (*x509.Certificate, crypto.Signer) {
	key := l.Key
	if key == nil {
		key = newKey()
	}
	t := template(l)
	t.IsCA, t.BasicConstraintsValid = true, true
	t.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	if l.NotAfter.IsZero() {
		t.NotAfter = time.Now().AddDate(10, 0, 0)
	}
	if l.NotBefore.IsZero() {
		t.NotBefore = time.Now().AddDate(-10, 0, 0)
	}
	above, signer := t, key
	if parent != nil {
		above, signer = parent.cert, parent.key
	}
	der := must(x509.CreateCertificate(rand.Reader, t, above, key.Public(), signer))
	return must(x509.ParseCertificate(der)), key
}

func template(l Leaf) *x509.Certificate {
	t := &x509.Certificate{
		SerialNumber:       must(rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))),
		Subject:            pkix.Name{CommonName: l.CommonName},
		NotBefore:          l.NotBefore,
		NotAfter:           l.NotAfter,
		ExtraExtensions:    l.Extra,
		SignatureAlgorithm: l.Signature,
	}
	if l.CommonName == "" && len(l.Names) > 0 {
		t.Subject.CommonName = l.Names[0]
	}
	if t.NotBefore.IsZero() {
		t.NotBefore = time.Now().Add(-time.Hour)
	}
	if t.NotAfter.IsZero() {
		t.NotAfter = time.Now().AddDate(0, 0, 90)
	}
	return t
}

func newKey() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) }

// must is for what cannot fail but for a broken machine or template.
func must[T any](v T, err error) T {
	if err != nil {
		panic("probetest: " + err.Error())
	}
	return v
}
