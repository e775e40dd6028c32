// Package probetest is an XMPP federation server on loopback for tests, docs
// and the lab: it speaks the real protocol as far as a probe goes, and can be
// told to misbehave in every way a real one does.
package probetest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Config describes a Server. The zero value serves any domain, healthily, with
// a certificate of a CA of its own.
type Config struct {
	Domain     string           // the domain served; others get host-unknown. "" = any
	CA         *CA              // issues the certificate when Cert is nil; nil = a new one
	Cert       *tls.Certificate // nil = issued by CA for Domain
	ClientCAs  *x509.CertPool   // trusted for client certificates, which earn SASL EXTERNAL
	ClientAuth tls.ClientAuthType
	DirectTLS  bool          // TLS before the stream (XEP-0368)
	MinTLS     uint16        // 0 = TLS 1.0
	MaxTLS     uint16        // 0 = the newest
	Suites     []uint16      // up to TLS 1.2; nil = Go's choice
	SNI        []string      // other server names get an alert; nil = any
	Behaviour  Behaviour     // nil = Healthy
	Patience   time.Duration // how long a connection may last; 0 = 30 s
}

// Server is one server on one address. Its methods are safe for concurrent
// use.
type Server struct {
	ca        *CA
	cfg       Config
	addr      netip.AddrPort
	tls       *tls.Config
	behaviour atomic.Pointer[Behaviour]
	cert      atomic.Pointer[tls.Certificate]
	accepted  atomic.Int64
	polite    atomic.Int64

	wg sync.WaitGroup // the accept loop and one per connection

	mu       sync.Mutex
	listener net.Listener // nil while stopped
	conns    map[net.Conn]struct{}
}

// TB is what NewServer needs of testing.TB, so that programs other than tests
// can use this package.
type TB interface {
	Helper()
	Fatalf(format string, args ...any)
	Cleanup(func())
}

// NewServer returns a running server on a free port of 127.0.0.1 that is
// closed when the test ends.
func NewServer(t TB, cfg Config) *Server {
	t.Helper()
	s, err := Listen("127.0.0.1:0", cfg)
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// Listen returns a running server on addr (host:port; port 0 = a free one).
// The caller ends it with Close.
func Listen(addr string, cfg Config) (*Server, error) {
	if cfg.CA == nil {
		cfg.CA = NewCA()
	}
	if cfg.Cert == nil {
		name := cfg.Domain
		if name == "" {
			name = "localhost"
		}
		cert := cfg.CA.Issue(name)
		cfg.Cert = &cert
	}
	if cfg.Patience <= 0 {
		cfg.Patience = 30 * time.Second
	}
	s := &Server{ca: cfg.CA, cfg: cfg, conns: map[net.Conn]struct{}{}}
	s.Present(*cfg.Cert)
	s.tls = s.tlsConfig()
	s.Behave(cfg.Behaviour)
	if err := s.listen(addr); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) tlsConfig() *tls.Config {
	c := &tls.Config{
		ClientCAs:    s.cfg.ClientCAs,
		ClientAuth:   s.cfg.ClientAuth,
		MinVersion:   s.cfg.MinTLS,
		MaxVersion:   s.cfg.MaxTLS,
		CipherSuites: s.cfg.Suites,
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			if len(s.cfg.SNI) > 0 && !slices.Contains(s.cfg.SNI, h.ServerName) {
				return nil, nil // the alert unrecognized_name
			}
			return s.cert.Load(), nil
		},
	}
	if s.cfg.ClientCAs != nil && c.ClientAuth == tls.NoClientCert {
		c.ClientAuth = tls.VerifyClientCertIfGiven
	}
	if c.MinVersion == 0 {
		c.MinVersion = tls.VersionTLS10
	}
	if s.cfg.DirectTLS {
		c.NextProtos = []string{"xmpp-server"}
	}
	return c
}

// Addr is where the server listens, or would if it were not stopped.
func (s *Server) Addr() netip.AddrPort { return s.addr }

// CA is the authority of the server's certificate.
func (s *Server) CA() *CA { return s.ca }

// Accepted is how many connections there have been.
func (s *Server) Accepted() int { return int(s.accepted.Load()) }

// Polite is how many clients ended their last stream with its closing tag.
func (s *Server) Polite() int { return int(s.polite.Load()) }

// Behave sets what connections accepted from now on get; nil = Healthy.
func (s *Server) Behave(b Behaviour) {
	if b == nil {
		b = Healthy
	}
	s.behaviour.Store(&b)
}

// Present sets the certificate shown to connections from now on.
func (s *Server) Present(cert tls.Certificate) { s.cert.Store(&cert) }

// Stop closes the port, so that connecting is refused, and breaks the
// connections there are. It returns when they have ended. Start undoes it.
func (s *Server) Stop() {
	s.mu.Lock()
	if s.listener != nil {
		_ = s.listener.Close()
		s.listener = nil
	}
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// Close is Stop for good.
func (s *Server) Close() { s.Stop() }

// Start listens again on the same address after Stop. It does nothing on a
// server that runs.
func (s *Server) Start() error { return s.listen(s.addr.String()) }

func (s *Server) listen(addr string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return fmt.Errorf("listen as an XMPP server on %s: %w; choose a free port", addr, err)
	}
	tcp, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		_ = l.Close()
		return fmt.Errorf("listen as an XMPP server on %s: not a TCP address", addr)
	}
	ap := tcp.AddrPort()
	s.addr = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	s.listener = l
	s.wg.Go(func() { s.accept(l) })
	return nil
}

func (s *Server) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // e.g. no free file descriptor: the client goes away, so will we not
			continue
		}
		s.mu.Lock()
		if s.listener != l {
			s.mu.Unlock()
			_ = c.Close()
			return
		}
		s.conns[c] = struct{}{}
		s.wg.Go(func() { s.serve(c) })
		s.mu.Unlock()
		s.accepted.Add(1)
	}
}

func (s *Server) serve(raw net.Conn) {
	defer func() {
		_ = raw.Close()
		s.mu.Lock()
		delete(s.conns, raw)
		s.mu.Unlock()
	}()
	_ = raw.SetDeadline(time.Now().Add(s.cfg.Patience))
	c := &Conn{Server: s, raw: raw, conn: raw}
	c.reset()
	if s.cfg.DirectTLS {
		if c.TLS() != nil {
			return
		}
	}
	// What goes wrong from here on is what the client wanted to see.
	_ = (*s.behaviour.Load())(c)
	c.bye()
}

// serves reports whether the server serves this domain.
func (s *Server) serves(domain string) bool {
	return s.cfg.Domain == "" || strings.EqualFold(s.cfg.Domain, domain)
}
