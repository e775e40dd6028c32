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
		sent         int64   // pieces that a probe sends until it hangs
		most         float64 // bytes that it may hold then
	}{{"BeforeTLS", "silent", 1, maxHeldBefore}, {"InsideTLS", "silent-in-tls", 3, maxHeldInside}} {
		b.Run(c.name, func(b *testing.B) {
			addr, pool := startServerAs(b, c.server)
			for b.Loop() {
				if held := hang(b, addr, pool, c.sent); held > c.most {
					b.Errorf("a hanging probe holds %.0f bytes, it may hold %.0f", held, c.most)
				}
			}
		})
	}
}

// hang has 500 probes wait, reports what they cost and returns what each holds.
func hang(b *testing.B, addr netip.AddrPort, pool *x509.CertPool, sent int64) float64 {
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
	return held / probes
}

// What a fleet may take, whatever the machine.
const (
	maxFleetRSS    = 150 << 20
	maxHeldBefore  = 20_000 // bytes that a probe holds that hangs before TLS
	maxHeldInside  = 45_000 // the same inside TLS
	fleetAddresses = 5000
	fleetInterval  = 10 * time.Second
	fleetIntervals = 3
)

// BenchmarkFleet asks 5,000 addresses once per interval of 10 s, evenly
// spread, for three intervals: once where all are well, once where one in ten
// keeps silent until the probe gives up. It prints how late the latest began,
// what share of a core and how much memory that takes, and fails when memory
// or goroutines go beyond what they may.
func BenchmarkFleet(b *testing.B) {
	for _, c := range []struct {
		name   string
		silent int // one in so many; 0 = none
	}{{"Healthy", 0}, {"TenthSilent", 10}} {
		b.Run(c.name, func(b *testing.B) {
			at, pool := startServerAs(b, "everywhere")
			deaf, _ := startServerAs(b, "everywhere,silent")
			f := &fleet{prober: probe.New(probe.Options{RootCAs: pool, Timeout: fleetInterval / 2})}
			first := netip.AddrFrom4([4]byte{127, 1, 0, 1})
			for i := range fleetAddresses {
				t := fleetTarget{Target: probe.Target{Addr: netip.AddrPortFrom(first, at.Port()), Domain: domain, From: from}, want: probe.OK}
				if c.silent > 0 && i%c.silent == 0 {
					t.Addr, t.want = netip.AddrPortFrom(first, deaf.Port()), probe.Timeout
				}
				f.targets = append(f.targets, t)
				first = first.Next()
			}
			for b.Loop() {
				f.run(b)
			}
		})
	}
}

// fleetTarget is an address and what is to be seen there.
type fleetTarget struct {
	probe.Target
	want probe.Class
}

// fleet is many addresses asked by one Prober.
type fleet struct {
	prober  *probe.Prober
	targets []fleetTarget

	flying, wrong atomic.Int64
	wg            sync.WaitGroup
	late, took    []time.Duration // one per probe
}

// run is all intervals, with the memory looked at on the way.
func (f *fleet) run(b *testing.B) {
	b.Helper()
	total := fleetIntervals * len(f.targets)
	f.late, f.took = make([]time.Duration, total), make([]time.Duration, total)
	ctx, cancel := context.WithTimeout(b.Context(), (fleetIntervals+3)*fleetInterval)
	defer cancel()
	before, begin := cpu(b), time.Now()
	idle := runtime.NumGoroutine()
	var memory []float64
	var goroutines, extra int
	for i := range total {
		due := begin.Add(time.Duration(i) * fleetInterval / time.Duration(len(f.targets)))
		if wait := time.Until(due); wait > 0 {
			<-time.After(wait)
		}
		if i%250 == 0 {
			memory = append(memory, rss(b))
		}
		// A probe is one goroutine; connecting takes the standard library another.
		flying, now := int(f.flying.Load()), runtime.NumGoroutine()
		goroutines, extra = max(goroutines, now), max(extra, now-idle-2*flying)
		f.ask(ctx, i, due)
	}
	f.wg.Wait()
	b.ReportMetric(100*float64(cpu(b)-before)/float64(time.Since(begin)), "cpu-%")
	if n := f.wrong.Load(); n > 0 {
		b.Fatalf("%d of %d probes saw something else than what there was", n, total)
	}
	f.report(b, memory)
	b.ReportMetric(float64(goroutines), "goroutines-max")
	if extra > 64 {
		b.Errorf("%d goroutines beyond two for each probe in flight", extra)
	}
}

// ask starts the i-th probe.
func (f *fleet) ask(ctx context.Context, i int, due time.Time) {
	t := f.targets[i%len(f.targets)]
	f.flying.Add(1)
	f.wg.Go(func() {
		defer f.flying.Add(-1)
		r := f.prober.Probe(ctx, t.Target)
		f.late[i], f.took[i] = r.Start.Sub(due), r.Took
		if r.Class != t.want {
			f.wrong.Add(1)
		}
	})
}

// report prints and judges. That nothing was late is printed alone: it is a
// matter of the machine.
func (f *fleet) report(b *testing.B, memory []float64) {
	b.Helper()
	slices.Sort(f.took)
	latest, third := slices.Max(f.late), len(memory)/3
	early, end := mean(memory[:third]), mean(memory[len(memory)-third:])
	b.ReportMetric(float64(latest.Microseconds())/1e3, "late-max-ms")
	b.ReportMetric(float64(latest)/float64(fleetInterval), "late-max-intervals")
	b.ReportMetric(float64(f.took[len(f.took)/2].Microseconds())/1e3, "took-p50-ms")
	b.ReportMetric(early/(1<<20), "rss-first-MiB")
	b.ReportMetric(end/(1<<20), "rss-last-MiB")
	if top := slices.Max(memory); top > maxFleetRSS {
		b.Errorf("%.0f bytes are resident, %d may be", top, maxFleetRSS)
	}
	if end > 1.25*early+(4<<20) { // the first third has the heap grow to its size
		b.Errorf("%.0f bytes were resident in the first third, %.0f in the last", early, end)
	}
}

func mean(v []float64) float64 {
	var sum float64
	for _, x := range v {
		sum += x
	}
	return sum / float64(len(v))
}
