package lab

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/miekg/dns"
)

// Partner looks at a federation as a federating server does: SRV, address,
// stream, TLS. It shares no code with the product, whose results it is there
// to judge.
type Partner struct {
	NameServer netip.AddrPort // an authoritative server of the zone
	Roots      *x509.CertPool // what the certificate must chain to
	From       string         // the partner's own domain
}

// Found is where a Partner ended.
type Found struct {
	Target string         // of the SRV record
	Addr   netip.AddrPort // the address that answered
	Pool   string         // whose address that is; filled in by Lab.Partner
}

// Find looks a domain up and opens a stream with TLS at the first address
// that answers.
func (p Partner) Find(ctx context.Context, domain string) (Found, error) {
	srvs, err := p.query(ctx, "_xmpp-server._tcp."+domain, dns.TypeSRV)
	if err != nil {
		return Found{}, err
	}
	var errs []error
	for _, rr := range srvs {
		srv, ok := rr.(*dns.SRV)
		if !ok {
			continue
		}
		addrs, err := p.query(ctx, srv.Target, dns.TypeA)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, rr := range addrs {
			a, ok := rr.(*dns.A)
			if !ok {
				continue
			}
			ip, _ := netip.AddrFromSlice(a.A.To4())
			addr := netip.AddrPortFrom(ip, srv.Port)
			if err := p.Stream(ctx, addr, domain); err != nil {
				errs = append(errs, fmt.Errorf("%s (%s): %w", addr, srv.Target, err))
				continue
			}
			return Found{Target: srv.Target, Addr: addr}, nil
		}
	}
	if len(errs) == 0 {
		return Found{}, fmt.Errorf("%s has no SRV record that leads to an address", domain)
	}
	return Found{}, errors.Join(errs...)
}

func (p Partner) query(ctx context.Context, name string, kind uint16) ([]dns.RR, error) {
	m := new(dns.Msg).SetQuestion(dns.Fqdn(name), kind)
	r, _, err := new(dns.Client).ExchangeContext(ctx, m, p.NameServer.String())
	if err != nil {
		return nil, fmt.Errorf("look up %s %s: %w", name, dns.TypeToString[kind], err)
	}
	if r.Rcode != dns.RcodeSuccess {
		return nil, fmt.Errorf("look up %s %s: %s", name, dns.TypeToString[kind], dns.RcodeToString[r.Rcode])
	}
	return r.Answer, nil
}

// Stream opens a stream to the domain at addr and starts TLS, whose
// certificate must be the domain's.
func (p Partner) Stream(ctx context.Context, addr netip.AddrPort, domain string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return err
	}
	hello := fmt.Sprintf(`<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' from='%s' to='%s' version='1.0'>`, p.From, domain)
	if err := say(conn, hello, "</stream:features>"); err != nil {
		return fmt.Errorf("open a stream: %w", err)
	}
	if err := say(conn, `<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>`, "<proceed"); err != nil {
		return fmt.Errorf("start TLS: %w", err)
	}
	secure := tls.Client(conn, &tls.Config{ServerName: domain, RootCAs: p.Roots, MinVersion: tls.VersionTLS12})
	if err := secure.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS: %w", err)
	}
	return nil
}

// say sends a text and reads until the awaited one came.
func say(conn net.Conn, text, awaited string) error {
	if _, err := conn.Write([]byte(text)); err != nil {
		return err
	}
	var got strings.Builder
	one := make([]byte, 1) // no byte of what follows may be taken
	for got.Len() < 64<<10 {
		if _, err := conn.Read(one); err != nil {
			return fmt.Errorf("%w after %q", err, got.String())
		}
		got.Write(one)
		if one[0] == '>' && strings.Contains(got.String(), awaited) {
			return nil
		}
	}
	return errors.New("no end of the answer")
}
