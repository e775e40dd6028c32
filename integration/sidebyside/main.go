//go:build linux

// Sidebyside is one party of the benchmark that compares the probe with other
// clients, as a process of its own so that its CPU time and memory are its
// own: the server, the probe, or the floor below which no client can come.
package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"edgewatch/probe"
	"edgewatch/probe/probetest"
)

// party is what the command line says.
type party struct {
	role      string
	addr      string
	domain    string
	from      string
	ca        string
	directTLS bool
	inFlight  int
}

func main() {
	var p party
	flag.StringVar(&p.role, "role", "", "server, probe, floor or trusting (a floor that does not verify the chain)")
	flag.StringVar(&p.addr, "addr", "", "IP:port to connect to")
	flag.StringVar(&p.domain, "domain", "", "the XMPP domain")
	flag.StringVar(&p.from, "from", "probe.test", "the domain that asks")
	flag.StringVar(&p.ca, "ca", "", "PEM file with the root; the server writes it")
	flag.BoolVar(&p.directTLS, "direct", false, "TLS before the stream")
	flag.IntVar(&p.inFlight, "in-flight", 1, "conversations at a time")
	flag.Parse()
	if err := p.run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "sidebyside:", err)
		os.Exit(1)
	}
}

func (p *party) run(in io.Reader, out io.Writer) error {
	if p.role == "server" {
		return p.serve(in, out)
	}
	asks, err := p.clients()
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() { // how many conversations to have
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			return err
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if err := all(asks, n); err != nil {
			return err
		}
		runtime.ReadMemStats(&after)
		if _, err := fmt.Fprintln(out, float64(after.Mallocs-before.Mallocs)/float64(n)); err != nil {
			return err
		}
	}
	return lines.Err()
}

// serve says where it listens and ends with its input.
func (p *party) serve(in io.Reader, out io.Writer) error {
	s, err := probetest.Listen("127.0.0.1:0", probetest.Config{Domain: p.domain, DirectTLS: p.directTLS})
	if err != nil {
		return err
	}
	defer s.Close()
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.CA().Root().Raw})
	if err := os.WriteFile(p.ca, root, 0o600); err != nil {
		return err
	}
	if _, err := fmt.Fprintln(out, s.Addr()); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// clients are as many as may talk at a time.
func (p *party) clients() ([]func() error, error) {
	text, err := os.ReadFile(p.ca)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("no certificate in %s", p.ca)
	}
	addr, err := netip.ParseAddrPort(p.addr)
	if err != nil {
		return nil, err
	}
	prober := probe.New(probe.Options{RootCAs: pool, PerAddress: -1})
	cfg := &tls.Config{ServerName: p.domain, RootCAs: pool, CurvePreferences: []tls.CurveID{tls.X25519}}
	asks := make([]func() error, p.inFlight)
	for i := range asks {
		switch p.role {
		case "probe":
			asks[i] = func() error {
				r := prober.Probe(context.Background(), probe.Target{Addr: addr, Domain: p.domain, From: p.from, DirectTLS: p.directTLS})
				if r.Class != probe.OK {
					return fmt.Errorf("%s/%s: %s", r.Phase, r.Class, r.Error)
				}
				return nil
			}
		case "trusting", "floor":
			cfg.InsecureSkipVerify = p.role == "trusting"
			f := &probetest.Floor{Addr: p.addr, Domain: p.domain, From: p.from, DirectTLS: p.directTLS, TLS: cfg, Sent: quickAck}
			asks[i] = func() error { return f.Ask(context.Background()) }
		default:
			return nil, fmt.Errorf("unknown role %q", p.role)
		}
	}
	return asks, nil
}

// quickAck spares the floor the 40 ms for which Prosody would wait for our
// acknowledgement, as the probe spares itself: waiting costs wake-ups.
func quickAck(c net.Conn) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) })
}

// all has n conversations as fast as they go, each worker one at a time.
func all(asks []func() error, n int) error {
	var begun atomic.Int64
	errs := make([]error, len(asks))
	var wg sync.WaitGroup
	for i, ask := range asks {
		wg.Go(func() {
			for errs[i] == nil && begun.Add(1) <= int64(n) {
				errs[i] = ask()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
