package lab_test

import (
	"context"
	"testing"
	"time"

	"edgewatch/integration/lab"
	"edgewatch/watchdog"
)

// takes is how long the cmdlets of the benchmark's estate take: seconds, as
// on a real one, and every server of a pool another time.
func takes(cmdlet, target string) time.Duration {
	extra := 100 * time.Millisecond * time.Duration(len(target)%4)
	switch cmdlet {
	case "Stop-CsWindowsService":
		return 1500*time.Millisecond + extra
	case "Set-CsSite":
		return 1500 * time.Millisecond
	case "Start-CsWindowsService":
		return 2500*time.Millisecond + extra
	}
	return 0
}

// BenchmarkChain runs switchovers, which take the steps of a failover, to a
// pool of four servers and sets their wall time against the floor: the slowest
// remote call of each step that changes something, one after the other. What
// is above 1 is what edgewatch adds: the checks, the records, the DNS servers'
// convergence.
func BenchmarkChain(b *testing.B) {
	for range b.N {
		b.StopTimer()
		slowest := make(chan map[string]time.Duration, 1)
		slowest <- map[string]time.Duration{}
		l, err := lab.Start(b.Context(), lab.Options{
			Dir: b.TempDir(), ServersPerPool: 4, Timing: lab.Timing{Step: time.Minute},
			Effect: func(cmdlet, target string) {
				d := takes(cmdlet, target)
				<-time.After(d)
				m := <-slowest
				m[cmdlet] = max(m[cmdlet], d)
				slowest <- m
			},
		})
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Settled(b.Context()); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		took := switchOver(b, l)
		b.StopTimer()
		var floor time.Duration
		for _, d := range <-slowest {
			floor += d
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(took.Seconds(), "s/failover")
		b.ReportMetric(floor.Seconds(), "s/floor")
		b.ReportMetric(took.Seconds()/floor.Seconds(), "ratio")
	}
}

// switchOver orders a switchover and returns how long its chain took.
func switchOver(b *testing.B, l *lab.Lab) time.Duration {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	a, err := l.Order(ctx, watchdog.Command{Verb: watchdog.VerbSwitchover, Pool: l.Pools[1].Name, Reason: "benchmark"})
	if err != nil || !a.Accepted {
		b.Fatalf("%+v, %v", a, err)
	}
	end, err := l.Await(ctx, "the end of the switchover", func(e watchdog.Entry) bool { return e.Kind == watchdog.KindChainEnd })
	if err != nil {
		b.Fatal(err)
	}
	if !end.ChainEnd.Outcome.OK {
		b.Fatal(end.Sentence())
	}
	return end.ChainEnd.Outcome.Took
}
