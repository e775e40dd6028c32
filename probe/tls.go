package probe

import (
	"context"
	"crypto/tls"
	"slices"
)

// alpn is what XEP-0368 has clients announce on a direct TLS port.
const alpn = "xmpp-server"

// tlsConfig is how the probe greets: as tolerant as crypto/tls can be, because
// it wants to tell what is wrong rather than to be protected. The chain is
// judged afterwards, by judgeChain; nothing but the probe's own greeting is
// ever sent.
func (r *run) tlsConfig() *tls.Config {
	c := &tls.Config{
		ServerName:         r.res.Target.Domain,
		InsecureSkipVerify: true,             //nolint:gosec // the chain is verified in judge, where every problem gets its own class
		MinVersion:         tls.VersionTLS10, // an old Edge is to be reported, not to be called dead
		CipherSuites:       r.p.suites,
		CurvePreferences:   []tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521},
		Time:               r.p.o.Now,
	}
	if r.res.Target.DirectTLS {
		c.NextProtos = []string{alpn}
	}
	if own := r.p.o.ClientCert; own != nil {
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			r.asked = true
			return own, nil
		}
	}
	return c
}

// allSuites is everything that crypto/tls can speak up to TLS 1.2.
func allSuites() []uint16 {
	var ids []uint16
	for _, s := range slices.Concat(tls.CipherSuites(), tls.InsecureCipherSuites()) {
		ids = append(ids, s.ID)
	}
	return ids
}

// secure does the handshake and says what was agreed on.
func (r *run) secure(ctx context.Context) *fault {
	r.enter(PhaseTLS)
	r.stream = nil
	before := r.link.seen - len(r.link.early)
	conn := tls.Client(r.link, r.tlsConfig())
	// The link's deadline and its cut end the handshake; a context that can
	// end would cost a goroutine.
	if err := conn.HandshakeContext(context.WithoutCancel(ctx)); err != nil {
		return r.ourCert(handshakeFault(ctx, err, r.link.seen-before))
	}
	r.tls = conn
	cs := conn.ConnectionState()
	r.res.TLS = &TLS{Version: tls.VersionName(cs.Version), Suite: tls.CipherSuiteName(cs.CipherSuite)}
	r.note("%s, %s", r.res.TLS.Version, r.res.TLS.Suite)
	if cs.Version < tls.VersionTLS12 {
		r.remark(WeakProtocol)
	}
	if cs.Version < tls.VersionTLS13 && slices.ContainsFunc(tls.InsecureCipherSuites(), func(s *tls.CipherSuite) bool { return s.ID == cs.CipherSuite }) {
		r.remark(WeakCipher)
	}
	return nil
}

// judge looks at the certificate. Its problems do not stop the probe.
func (r *run) judge() {
	r.enter(PhaseCert)
	certs := r.tls.ConnectionState().PeerCertificates
	if len(certs) == 0 {
		r.fail(faultf(TLSFailed, "the server showed no certificate"))
		return
	}
	now := r.p.o.Now()
	verdict := r.p.chain.judge(certs, r.domains(), r.p.o.RootCAs, now)
	problems := verdict.at(now)
	leaf := certs[0]
	r.res.Cert = &Certificate{NotBefore: leaf.NotBefore, NotAfter: leaf.NotAfter, Names: slices.Clone(verdict.names), Issuer: printable(leaf.Issuer.String())}
	for _, f := range problems {
		r.res.Cert.Problems = append(r.res.Cert.Problems, f.class)
		r.fail(&f)
	}
	if warn := r.p.o.ExpiryWarning; warn > 0 && !now.After(leaf.NotAfter) && leaf.NotAfter.Sub(now) < warn {
		r.remark(CertExpiring)
	}
}

// domains are those the certificate is to cover, the target's first.
func (r *run) domains() []string {
	if len(r.also) == 0 {
		return []string{r.res.Target.Domain}
	}
	all := []string{r.res.Target.Domain}
	for _, d := range r.also {
		if d = plainDomain(d); !slices.Contains(all, d) {
			all = append(all, d)
		}
	}
	return all
}
