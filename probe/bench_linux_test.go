package probe_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"edgewatch/probe"
	"edgewatch/probe/probetest"
)

// serveEnv makes the test binary a server: benchmarks start themselves a
// second time, so that the CPU they measure is the client's alone.
const serveEnv = "EDGEWATCH_PROBE_SERVE"

// serve prints where it listens and its root, and ends with its input. What is
// a list of what it is to be: "everywhere", "silent", "silent-in-tls".
func serve(what string) error {
	addr, cfg := "127.0.0.1:0", probetest.Config{Domain: domain, Patience: time.Minute}
	for word := range strings.SplitSeq(what, ",") {
		switch word {
		case "everywhere":
			addr = "0.0.0.0:0"
		case "silent":
			cfg.Behaviour = probetest.Silent
		case "silent-in-tls":
			cfg.Behaviour = probetest.InTLS(probetest.Silent)
		}
	}
	s, err := probetest.Listen(addr, cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	fmt.Println(s.Addr(), base64.StdEncoding.EncodeToString(s.CA().Root().Raw))
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func startServer(b *testing.B) (netip.AddrPort, *x509.CertPool) {
	b.Helper()
	return startServerAs(b, "healthy")
}

func startServerAs(b *testing.B, what string) (netip.AddrPort, *x509.CertPool) {
	b.Helper()
	cmd := exec.CommandContext(b.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), serveEnv+"="+what)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	addr, root, _ := strings.Cut(strings.TrimSpace(line), " ")
	der, err := base64.StdEncoding.DecodeString(root)
	if err != nil {
		b.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		b.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return netip.MustParseAddrPort(addr), pool
}

// cpu is the CPU time this process has used.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func measure(b *testing.B, f func() error) {
	b.Helper()
	b.ReportAllocs()
	before := cpu(b)
	for b.Loop() {
		if err := f(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-µs/op")
}

// BenchmarkProbe is a full probe of a healthy server.
func BenchmarkProbe(b *testing.B) {
	addr, pool := startServer(b)
	p := probe.New(probe.Options{RootCAs: pool})
	t := probe.Target{Addr: addr, Domain: domain, From: from}
	measure(b, func() error {
		if r := p.Probe(b.Context(), t); r.Class != probe.OK {
			return fmt.Errorf("%s/%s: %s", r.Phase, r.Class, r.Error)
		}
		return nil
	})
}

// BenchmarkProbeCold verifies the chain every time, as a one-shot probe does.
func BenchmarkProbeCold(b *testing.B) {
	addr, pool := startServer(b)
	t := probe.Target{Addr: addr, Domain: domain, From: from}
	measure(b, func() error {
		if r := probe.New(probe.Options{RootCAs: pool}).Probe(b.Context(), t); r.Class != probe.OK {
			return fmt.Errorf("%s/%s: %s", r.Phase, r.Class, r.Error)
		}
		return nil
	})
}

// BenchmarkFloor is the least that can be done: fixed strings and crypto/tls.
func BenchmarkFloor(b *testing.B) {
	addr, pool := startServer(b)
	f := floor(addr, pool)
	measure(b, func() error { return f.Ask(b.Context()) })
}

// floor verifies the chain every time, as crypto/tls does by itself.
func floor(addr netip.AddrPort, pool *x509.CertPool) *probetest.Floor {
	return &probetest.Floor{
		Addr: addr.String(), Domain: domain, From: from,
		TLS: &tls.Config{ServerName: domain, RootCAs: pool, CurvePreferences: []tls.CurveID{tls.X25519}},
	}
}

// BenchmarkPaired has the probe and two floors take turns, so that whatever
// else the machine does hits them alike, and prints what the probe costs of
// each: of one that verifies the chain as crypto/tls does, and of one that
// takes any certificate. One operation is a few conversations of each.
func BenchmarkPaired(b *testing.B) {
	addr, pool := startServer(b)
	p := probe.New(probe.Options{RootCAs: pool})
	verifying, trusting := floor(addr, pool), floor(addr, pool)
	trusting.TLS = trusting.TLS.Clone()
	trusting.TLS.InsecureSkipVerify = true
	asks := []func() error{
		func() error {
			if r := p.Probe(b.Context(), probe.Target{Addr: addr, Domain: domain, From: from}); r.Class != probe.OK {
				return fmt.Errorf("%s/%s: %s", r.Phase, r.Class, r.Error)
			}
			return nil
		},
		func() error { return verifying.Ask(b.Context()) },
		func() error { return trusting.Ask(b.Context()) },
	}
	const turn = 20
	spent := make([]time.Duration, len(asks))
	for b.Loop() {
		for i, ask := range asks {
			before := cpu(b)
			for range turn {
				if err := ask(); err != nil {
					b.Fatal(err)
				}
			}
			spent[i] += cpu(b) - before
		}
	}
	b.ReportMetric(float64(spent[0].Microseconds())/float64(turn*b.N), "cpu-µs/probe")
	b.ReportMetric(float64(spent[0])/float64(spent[1]), "x-floor")
	b.ReportMetric(float64(spent[0])/float64(spent[2]), "x-trusting-floor")
}

// asServer reports whether this process was the server of a benchmark.
func asServer() bool {
	what := os.Getenv(serveEnv)
	if what == "" {
		return false
	}
	if err := serve(what); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return true
}
