//go:build integration && linux

package integration

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"edgewatch/integration/lab"
	"edgewatch/probe/probetest"
)

// TestProsodyHarness proves the harness itself: what is killed refuses, what
// is frozen accepts and keeps silent, what is started again answers.
func TestProsodyHarness(t *testing.T) {
	addrs, port, err := lab.FreeLoopback(t.Context(), 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	p := startProsody(t, prosodyAt(t, netip.AddrPortFrom(addrs[0], port), "contoso.test"))
	wantAnswer := func() {
		t.Helper()
		got, err := openStream(p.opts.Addr, "contoso.test", 10*time.Second)
		if err != nil || !strings.Contains(got, "<starttls") {
			t.Fatalf("the server answered %q, %v; want a stream that offers STARTTLS", got, err)
		}
	}
	wantAnswer()

	if err := p.Freeze(); err != nil {
		t.Fatal(err)
	}
	if got, err := openStream(p.opts.Addr, "contoso.test", 200*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a frozen server answered %q, %v; want silence", got, err)
	}
	if err := p.Thaw(); err != nil {
		t.Fatal(err)
	}
	wantAnswer()

	for _, end := range []func() error{p.Kill, p.Stop} {
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if _, err := openStream(p.opts.Addr, "contoso.test", 10*time.Second); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("a dead server: %v; want connection refused", err)
		}
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		wantAnswer()
	}
}

// prosodyAt are the options of a Prosody with a certificate of its own CA.
func prosodyAt(t *testing.T, at netip.AddrPort, domain string) prosodyOptions {
	t.Helper()
	dir := t.TempDir()
	ca := probetest.NewCA()
	opts := prosodyOptions{Addr: at.String(), Domain: domain, CertFile: dir + "/xmpp.pem", KeyFile: dir + "/xmpp-key.pem", CAFile: dir + "/ca.pem"}
	if err := lab.WriteCertificate(opts.CertFile, opts.KeyFile, ca.Issue(domain)); err != nil {
		t.Fatal(err)
	}
	if err := lab.WriteRoot(opts.CAFile, ca.Root()); err != nil {
		t.Fatal(err)
	}
	return opts
}

// openStream says hello as a federating server does and returns what comes
// back before the features end, without the product's own probe: a test of
// the product must not rest on the product.
func openStream(addr, domain string, within time.Duration) (string, error) {
	deadline := time.Now().Add(within)
	d := net.Dialer{Deadline: deadline}
	conn, err := d.Dial("tcp", addr)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(deadline); err != nil {
		return "", err
	}
	const hello = `<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' from='partner.test' to='%' version='1.0'>`
	if _, err := conn.Write([]byte(strings.Replace(hello, "%", domain, 1))); err != nil {
		return "", err
	}
	var got strings.Builder
	buf := make([]byte, 4096)
	for !strings.Contains(got.String(), "</stream:features>") {
		n, err := conn.Read(buf)
		got.Write(buf[:n])
		if err != nil {
			return got.String(), err
		}
	}
	return got.String(), nil
}
