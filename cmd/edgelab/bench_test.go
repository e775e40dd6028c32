package main

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sony/gobreaker/v2"

	"edgewatch/integration/lab"
	"edgewatch/probe"
	"edgewatch/watchdog"
	"edgewatch/watchdog/sqlite"
)

// year makes up rounds of two pools of two servers as a year brings them:
// now and then a server that does not answer, a canary that is lost, a day a
// month on which a server flaps from round to round, an outage, a restart of
// edgewatch.
type year struct {
	rnd   *rand.Rand
	at    time.Time
	quiet watchdog.Outcome
	out   []watchdog.Seen
	fresh bool
}

const interval = 10 * time.Second

func newYear() *year {
	address := func(s string) watchdog.AddressSeen {
		return watchdog.AddressSeen{Addr: netip.MustParseAddrPort(s), Level: probe.Up, Phase: probe.PhaseDone, Class: probe.OK}
	}
	y := &year{rnd: rand.New(rand.NewPCG(1, 2)), at: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), fresh: true}
	y.quiet = watchdog.Outcome{Active: "EdgePool1", Good: 2, Total: 2, Canaries: true, Pools: []watchdog.PoolSeen{
		{Pool: "EdgePool1", Verdict: watchdog.PoolUp, Targets: []watchdog.AddressSeen{address("198.51.100.10:5269"), address("198.51.100.11:5269")}},
		{Pool: "EdgePool2", Verdict: watchdog.PoolUp, Targets: []watchdog.AddressSeen{address("203.0.113.138:5269"), address("[2001:db8::138]:5269")}},
	}}
	return y
}

// down is the quiet outcome with servers of a pool that do not answer.
func (y *year) down(pool int, verdict watchdog.Verdict, tripped bool, servers ...int) watchdog.Outcome {
	o := y.quiet
	o.Pools = append([]watchdog.PoolSeen{}, o.Pools...)
	p := &o.Pools[pool]
	p.Verdict, p.Tripped, p.Targets = verdict, tripped, append([]watchdog.AddressSeen{}, p.Targets...)
	for _, i := range servers {
		p.Targets[i].Level, p.Targets[i].Phase, p.Targets[i].Class = probe.Down, probe.PhaseConnect, probe.Timeout
	}
	return o
}

// rounds adds n rounds so far apart. Latencies are those of the Internet: some
// 40 ms, and now and then a lost packet.
func (y *year) rounds(n int, every time.Duration, o watchdog.Outcome) {
	for range n {
		s := watchdog.Seen{At: y.at.Truncate(time.Millisecond), Interval: interval, Outcome: o}
		var slowest time.Duration
		for _, p := range o.Pools {
			for _, t := range p.Targets {
				d := time.Duration(38e6 * math.Exp(y.rnd.NormFloat64()*0.15))
				switch {
				case t.Level == probe.Down:
					d = 5 * time.Second
				case y.rnd.IntN(500) == 0:
					d += time.Second
				}
				s.Latency = append(s.Latency, d)
				slowest = max(slowest, d)
			}
		}
		s.Took = slowest.Truncate(time.Millisecond)
		if y.fresh {
			s.Fresh, y.fresh = []watchdog.Fresh{{Pool: watchdog.FreshAll, Born: 63 * time.Millisecond}}, false
		}
		y.out = append(y.out, s)
		y.at = y.at.Add(time.Duration(float64(every) * (0.95 + 0.1*y.rnd.Float64()))).Add(time.Duration(y.rnd.IntN(1000)) * time.Microsecond)
	}
}

// day adds one day and hands over its rounds.
func (y *year) day(n int) []watchdog.Seen {
	y.out = y.out[:0]
	end := y.at.Truncate(24 * time.Hour).Add(24 * time.Hour)
	canary := y.quiet
	canary.Good = 1
	for y.at.Before(end) {
		y.rounds(200+y.rnd.IntN(2000), interval, y.quiet)
		switch k := y.rnd.IntN(10); {
		case k < 4:
			y.rounds(1+y.rnd.IntN(3), interval, y.down(y.rnd.IntN(2), watchdog.PoolDegraded, false, y.rnd.IntN(2)))
		case k < 5:
			y.rounds(1, interval, canary)
		case k < 6: // the pool for a moment: suspicion
			y.rounds(1+y.rnd.IntN(4), 2*time.Second, y.down(0, watchdog.PoolDown, false, 0, 1))
		}
	}
	switch n % 30 {
	case 10:
		for range 4000 {
			y.rounds(1, interval, y.down(1, watchdog.PoolDegraded, false, 0))
			y.rounds(1, interval, y.quiet)
		}
	case 20:
		y.rounds(11, 2*time.Second, y.down(0, watchdog.PoolDown, false, 0, 1))
		y.rounds(100+y.rnd.IntN(200), interval, y.down(0, watchdog.PoolDown, true, 0, 1))
	case 25:
		y.at, y.fresh = y.at.Add(time.Minute), true
	}
	return y.out
}

// write records so many days in a state file and says how many rounds.
func (y *year) write(b *testing.B, path string, days, most int) (rounds int) {
	b.Helper()
	s, err := sqlite.Open(b.Context(), path)
	if err != nil {
		b.Fatal(err)
	}
	for n := range days {
		all := y.day(n)
		all = all[:min(len(all), most-rounds)]
		rounds += len(all)
		segments, err := watchdog.EncodeRounds("contoso", all)
		for i := 0; i < len(segments) && err == nil; i++ {
			_, err = s.SaveRounds(b.Context(), 0, segments[i])
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
	return rounds
}

// BenchmarkHistoryYear measures what a year of one federation takes in the
// state file.
func BenchmarkHistoryYear(b *testing.B) {
	for range b.N {
		path := filepath.Join(b.TempDir(), "state.db")
		rounds := newYear().write(b, path, 365, math.MaxInt)
		info, err := os.Stat(path)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(info.Size())/1e6, "MB/year")
		b.ReportMetric(float64(rounds), "rounds/year")
		b.ReportMetric(float64(info.Size())/float64(rounds), "B/round")
	}
}

// BenchmarkReplay replays a million rounds, reading the file included, and
// sets the time against the floor: bare breakers, two for each pool, that are
// fed as often in the same virtual time.
func BenchmarkReplay(b *testing.B) {
	const rounds = 1_000_000
	dir := b.TempDir()
	state, config := filepath.Join(dir, "state.db"), filepath.Join(dir, "old.yaml")
	if n := newYear().write(b, state, 365, rounds); n != rounds {
		b.Fatalf("%d rounds", n)
	}
	if err := os.WriteFile(config, []byte(oldConfig), 0o600); err != nil {
		b.Fatal(err)
	}
	in := bubble()
	b.ResetTimer()
	for range b.N {
		began := time.Now()
		r, err := lab.Replay(b.Context(), in, lab.ReplayOptions{State: state, Config: config})
		took := time.Since(began)
		if err != nil {
			b.Fatal(err)
		}
		if r.Federations[0].Rounds != rounds || r.Total.False == 0 {
			b.Fatalf("%d rounds, %s", r.Federations[0].Rounds, r.Summary)
		}
		began = time.Now()
		in(func() { err = bare(rounds) })
		floor := time.Since(began)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(took.Seconds(), "s/million_rounds")
		b.ReportMetric(float64(took)/float64(floor), "x_bare_breakers")
	}
}

// bubble is one for all benchmarks of the process.
var bubble = sync.OnceValue(lab.NewBubble)

// bare feeds breakers that are nothing else.
func bare(rounds int) error {
	var breakers []*gobreaker.TwoStepCircuitBreaker[struct{}]
	for range 4 {
		breakers = append(breakers, gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{Interval: 5 * time.Minute, BucketPeriod: 50 * time.Second}))
	}
	for range rounds {
		time.Sleep(interval)
		for _, c := range breakers {
			done, err := c.Allow()
			if err != nil {
				return fmt.Errorf("a breaker that was only fed good: %w", err)
			}
			done(nil)
			if c.State() != gobreaker.StateClosed {
				return errors.New("a breaker that was only fed good is open")
			}
		}
	}
	return nil
}
