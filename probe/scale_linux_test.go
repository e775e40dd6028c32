package probe_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"edgewatch/probe"
)

// rss is the memory of this process that is resident, in bytes.
func rss(b *testing.B) float64 {
	b.Helper()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	var size, resident int
	if _, err := fmt.Sscan(strings.TrimSpace(string(text)), &size, &resident); err != nil {
		b.Fatal(err)
	}
	return float64(resident * os.Getpagesize())
}

// inUse is what the program holds after a collection: objects and stacks.
func inUse() float64 {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc + m.StackInuse)
}

// BenchmarkHanging is the memory of a probe that waits in vain, one of 500:
// what it holds, and by how much it makes the process grow, garbage included.
func BenchmarkHanging(b *testing.B) {
	for _, c := range []struct {
		name, server string
		sent         int64 // pieces that a probe sends until it hangs
	}{{"BeforeTLS", "silent", 1}, {"InsideTLS", "silent-in-tls", 3}} {
		b.Run(c.name, func(b *testing.B) {
			addr, pool := startServerAs(b, c.server)
			for b.Loop() {
				hang(b, addr, pool, c.sent)
			}
		})
	}
}

// hang has 500 probes wait and reports what they cost.
func hang(b *testing.B, addr netip.AddrPort, pool *x509.CertPool, sent int64) {
	b.Helper()
	const probes = 500
	var pieces atomic.Int64
	all := make(chan struct{})
	p := probe.New(probe.Options{RootCAs: pool, PerAddress: -1, Timeout: 30 * time.Second, Trace: func(dir probe.Direction, _ []byte) {
		if dir == probe.Sent && pieces.Add(1) == probes*sent {
			close(all)
		}
	}})
	held, resident := inUse(), rss(b)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var wg sync.WaitGroup
	for range probes {
		wg.Go(func() { p.Probe(ctx, probe.Target{Addr: addr, Domain: domain, From: from}) })
	}
	select {
	case <-all:
	case <-time.After(20 * time.Second):
		b.Fatalf("only %d of %d pieces were sent", pieces.Load(), probes*sent)
	}
	resident = rss(b) - resident
	held = inUse() - held
	cancel()
	wg.Wait()
	b.ReportMetric(held/probes, "B/probe")
	b.ReportMetric(resident/probes, "rss-B/probe")
}

// BenchmarkFleet asks 5,000 addresses within one interval of 10 s, evenly
// spread: how late the latest began, what share of a core and how much memory
// that takes.
func BenchmarkFleet(b *testing.B) {
	const (
		addresses = 5000
		interval  = 10 * time.Second
	)
	at, pool := startServerAs(b, "everywhere")
	p := probe.New(probe.Options{RootCAs: pool})
	for b.Loop() {
		before, begin := cpu(b), time.Now()
		ctx, cancel := context.WithTimeout(b.Context(), 3*interval)
		defer cancel()
		late, took := make([]time.Duration, addresses), make([]time.Duration, addresses)
		var failed atomic.Int64
		var wg sync.WaitGroup
		addr := netip.AddrFrom4([4]byte{127, 1, 0, 1})
		for i := range addresses {
			due := begin.Add(time.Duration(i) * interval / addresses)
			if wait := time.Until(due); wait > 0 {
				<-time.After(wait)
			}
			t := probe.Target{Addr: netip.AddrPortFrom(addr, at.Port()), Domain: domain, From: from}
			wg.Go(func() {
				r := p.Probe(ctx, t)
				if late[i], took[i] = r.Start.Sub(due), r.Took; r.Class != probe.OK {
					failed.Add(1)
				}
			})
			addr = addr.Next()
		}
		wg.Wait()
		if n := failed.Load(); n > 0 {
			b.Fatalf("%d of %d probes failed", n, addresses)
		}
		slices.Sort(took)
		b.ReportMetric(float64(slices.Max(late).Microseconds())/1e3, "late-max-ms")
		b.ReportMetric(float64(took[addresses*99/100].Microseconds())/1e3, "took-p99-ms")
		b.ReportMetric(100*float64(cpu(b)-before)/float64(time.Since(begin)), "cpu-%")
		b.ReportMetric(rss(b)/(1<<20), "rss-MiB")
	}
}
