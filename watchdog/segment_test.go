package watchdog

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"edgewatch/probe"
)

// outcomes are what random rounds find.
func outcomes() []Outcome {
	address := func(n int, l probe.Level, c probe.Class, condition string) AddressSeen {
		return AddressSeen{Addr: netip.MustParseAddrPort(fmt.Sprintf("[2001:db8::%d]:5269", n)), Level: l, Phase: probe.PhaseStream, Class: c, Condition: condition}
	}
	up, down := address(1, probe.Up, probe.OK, ""), address(2, probe.Down, probe.Timeout, "")
	odd := address(1, probe.Degraded, probe.StreamError, "system-shutdown")
	pool := func(name string, v Verdict, tripped bool, t ...AddressSeen) PoolSeen {
		return PoolSeen{Pool: name, Verdict: v, Tripped: tripped, Targets: t}
	}
	a := Outcome{Active: "EdgePool1", Good: 2, Total: 2, Canaries: true, Pools: []PoolSeen{pool("EdgePool1", PoolUp, false, up), pool("EdgePool2", PoolDown, true, down)}}
	b := Outcome{Active: "EdgePool1", Good: 2, Total: 2, Canaries: true, Pools: []PoolSeen{pool("EdgePool1", PoolDown, false, down), pool("EdgePool2", PoolDown, true, down)}}
	c := Outcome{Active: "EdgePool1", Total: 2, Pools: []PoolSeen{pool("EdgePool1", Inconclusive, true, up, down), pool("EdgePool2", Inconclusive, true)}}
	d := Outcome{Active: "EdgePool2", Good: 1, Total: 2, Canaries: true, Frozen: true, Pools: []PoolSeen{pool("EdgePool1", PoolDegraded, false, odd)}}
	e := d
	e.Active = "EdgePool3"
	return []Outcome{a, b, c, d, e, {}}
}

// drawRounds draws what an engine may hand over, trouble and clock steps
// included.
func drawRounds(r *rapid.T, most int) []Seen {
	found := outcomes()
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var out []Seen
	for range rapid.IntRange(1, most).Draw(r, "runs") {
		o := rapid.SampledFrom(found).Draw(r, "outcome")
		for range rapid.IntRange(1, 15).Draw(r, "rounds") {
			gap := rapid.Int64Range(1900, 10500).Draw(r, "gap")
			if rapid.IntRange(0, 60).Draw(r, "odd") == 0 {
				gap = rapid.Int64Range(-5e6, 4e9).Draw(r, "step")
			}
			at = at.Add(time.Duration(gap) * time.Millisecond)
			s := Seen{At: at, Took: time.Duration(rapid.Int64Range(-1, 11000).Draw(r, "took")) * time.Millisecond, Outcome: o, Interval: 10 * time.Second}
			if rapid.IntRange(0, 30).Draw(r, "fresh") == 0 {
				s.Fresh = []Fresh{{Pool: "EdgePool2", Born: 1234 * time.Millisecond}, {Pool: FreshAll, Born: 7 * time.Millisecond}}
			}
			for _, p := range o.Pools {
				for range p.Targets {
					s.Latency = append(s.Latency, time.Duration(rapid.Int64Range(0, 5_000_000).Draw(r, "latency"))*time.Microsecond)
				}
			}
			out = append(out, s)
		}
	}
	return out
}

var equateSeen = cmp.Options{cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Seen{}, "Latency")}

// TestSegmentsGiveBackWhatWentIn: any sequence of rounds comes back as it was,
// whether a segment was closed or still grows, and no segment is too long.
func TestSegmentsGiveBackWhatWentIn(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		rounds := drawRounds(r, 12)
		var got []Seen
		w := newSegmentWriter("contoso")
		keep := func(closed bool) {
			s, err := w.segment(closed)
			if err != nil {
				r.Fatal(err)
			}
			all, err := s.All()
			if err != nil {
				r.Fatal(err)
			}
			if len(all) != s.Rounds || !all[0].At.Equal(s.First) || !all[len(all)-1].At.Equal(s.Last) || len(all) > maxSegment {
				r.Fatalf("segment says %v to %v, %d rounds; it holds %d", s.First, s.Last, s.Rounds, len(all))
			}
			checkRuns(r, &s, rounds[len(got):len(got)+len(all)])
			got = append(got, all...)
		}
		for _, s := range rounds {
			if w.full(s) {
				keep(true)
				w = newSegmentWriter("contoso")
			}
			w.add(s)
		}
		keep(rapid.Bool().Draw(r, "closed"))
		if diff := cmp.Diff(rounds, got, equateSeen); diff != "" {
			r.Fatalf("rounds (-want +got):\n%s", diff)
		}
	})
}

// checkRuns holds runs to be as long as they can be, and their latencies to
// be those of all rounds that found the same.
func checkRuns(r *rapid.T, s *Segment, rounds []Seen) {
	runs, err := s.Runs()
	if err != nil {
		r.Fatal(err)
	}
	n := 0
	for i, run := range runs {
		n += run.Rounds
		if i > 0 && run.Outcome.equal(&runs[i-1].Outcome) {
			r.Fatalf("runs %d and %d are one", i-1, i)
		}
		for k, l := range run.Latency {
			var took []time.Duration
			var sum time.Duration
			for _, s := range rounds {
				if s.Outcome.equal(&run.Outcome) {
					took = append(took, s.Latency[k])
					sum += s.Latency[k]
				}
			}
			mean := sum / time.Duration(len(took))
			if d := mean - l.Mean; l.Min != slices.Min(took) || l.Max != slices.Max(took) || d.Abs() > time.Microsecond {
				r.Fatalf("latency of address %d in run %d: %v; mean %v of %v", k, i, l, mean, took)
			}
		}
	}
	if n != len(rounds) {
		r.Fatalf("%d of %d rounds are in a run", n, len(rounds))
	}
}

// TestPackedNumbers come back whatever they are.
func TestPackedNumbers(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		number := rapid.OneOf(rapid.Int64Range(-600, 600), rapid.Int64Range(9_500, 10_500), rapid.Int64Range(-1<<60, 1<<60))
		want := rapid.SliceOfN(number, 0, 300).Draw(r, "numbers")
		got, rest, err := unpack(append(pack([]byte{}, want), 1, 2, 3), len(want))
		if err != nil || !slices.Equal(got, want) || len(rest) != 3 {
			r.Fatalf("%v, %v, %v; want %v", got, rest, err, want)
		}
	})
}

// TestManyRoundsMakeManySegments: however fast rounds come, a segment is
// bounded, and none is lost between two.
func TestManyRoundsMakeManySegments(t *testing.T) {
	var rounds []Seen
	for i := range 5*maxSegment + 1 {
		at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(i) * 100 * time.Millisecond)
		rounds = append(rounds, Seen{At: at, Interval: 100 * time.Millisecond, Outcome: outcomes()[0]})
	}
	segments, err := EncodeRounds("contoso", rounds)
	if err != nil || len(segments) != 6 {
		t.Fatalf("%d segments, %v", len(segments), err)
	}
	var got []Seen
	for _, s := range segments {
		all, err := s.All()
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, all...)
	}
	if diff := cmp.Diff(rounds, got, equateSeen); diff != "" {
		t.Errorf("rounds (-want +got):\n%s", diff)
	}
}

// TestDamagedSegments: a body that was damaged is an error or something else,
// never a panic and never more rounds than the segment says.
func TestDamagedSegments(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newSegmentWriter("contoso")
		for _, s := range drawRounds(r, 3) {
			w.add(s)
		}
		s, err := w.segment(rapid.Bool().Draw(r, "closed"))
		if err != nil {
			r.Fatal(err)
		}
		body := bytes.Clone(s.Body)
		for range rapid.IntRange(0, 3).Draw(r, "flips") {
			body[rapid.IntRange(0, len(body)-1).Draw(r, "at")] ^= byte(rapid.IntRange(1, 255).Draw(r, "bits"))
		}
		s.Body = body[:rapid.IntRange(0, len(body)).Draw(r, "length")]
		all, err := s.All()
		if err == nil && len(all) != s.Rounds {
			r.Fatalf("%d rounds of %d without an error", len(all), s.Rounds)
		}
		if _, runsErr := s.Runs(); err == nil && runsErr != nil {
			r.Fatalf("rounds can be read, runs cannot: %v", runsErr)
		}
	})
}

// TestAbsurdIntervalIsDamage: what no writer wrote is damage, intervals too.
func TestAbsurdIntervalIsDamage(t *testing.T) {
	for interval, sound := range map[string]bool{"10000": true, "0": true, "-1": false, "9000000000000000": false, "9000000000000": false} {
		head := []byte(`{"i":` + interval + `,"o":[{"a":"EdgePool1","p":[{"n":"EdgePool1","v":"up","s":[]}],"g":2,"n":2,"c":true,"k":2}],"r":1}`)
		body := append(binary.AppendUvarint([]byte{formatPlain}, uint64(len(head))), head...)
		for _, column := range [][]int64{{0}, {2}, {0, 10000}, {5, 5}} {
			body = pack(body, column)
		}
		s := Segment{Federation: "contoso", First: time.Unix(1e9, 0), Last: time.Unix(1e9+10, 0), Rounds: 2, Body: body}
		if rounds, err := s.All(); (err == nil) != sound {
			t.Errorf("an interval of %s ms: %v, %v", interval, rounds, err)
		}
	}
}

// TestSegmentOfANewerEdgewatch is told by name.
func TestSegmentOfANewerEdgewatch(t *testing.T) {
	for _, body := range []string{"", "\x63abc", "\x01", "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x01\x02{}", "\x02abc"} {
		s := Segment{Rounds: 1, Body: []byte(body)}
		if all, err := s.All(); err == nil {
			t.Errorf("%q: %v without an error", body, all)
		}
	}
}

// TestRoundOfALiveEngine: what history keeps of a round is all a verdict
// comes from.
func TestRoundOfALiveEngine(t *testing.T) {
	addr := netip.MustParseAddrPort("203.0.113.1:5269")
	at := time.Date(2026, 1, 2, 3, 4, 5, 678_400_000, time.FixedZone("east", 3600))
	r := &Round{At: at, Frozen: "asleep", Canaries: CanaryStatus{Good: 1, Total: 2, OK: true, Why: "1 of 2"}, Pools: []PoolRound{{
		Pool: "EdgePool1", Verdict: PoolDown, Breaker: Breaker{State: BreakerHalfOpen},
		Results: []probe.Result{{Target: probe.Target{Addr: addr}, Level: probe.Down, Phase: probe.PhaseTLS, Class: probe.StreamError, Condition: string(bytes.Repeat([]byte("x"), 1000)), Took: time.Second}},
	}}}
	got := r.seen("EdgePool2", at.Add(1500*time.Millisecond), 10*time.Second)
	want := Seen{
		At: time.Date(2026, 1, 2, 2, 4, 5, 678_000_000, time.UTC), Took: 1500 * time.Millisecond, Interval: 10 * time.Second,
		Latency: []time.Duration{time.Second},
		Outcome: Outcome{Active: "EdgePool2", Good: 1, Total: 2, Canaries: true, Frozen: true, Pools: []PoolSeen{{
			Pool: "EdgePool1", Verdict: PoolDown, Tripped: true,
			Targets: []AddressSeen{{Addr: addr, Level: probe.Down, Phase: probe.PhaseTLS, Class: probe.StreamError, Condition: string(bytes.Repeat([]byte("x"), maxCondition))}},
		}}},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
		t.Errorf("seen (-want +got):\n%s", diff)
	}
}

func TestUptimes(t *testing.T) {
	begin := time.Date(2026, 1, 1, 10, 0, 0, 0, time.UTC)
	u := NewUptimes()
	add := func(v Verdict, after time.Duration) {
		u.Add(Seen{At: begin, Interval: 10 * time.Second, Outcome: Outcome{Pools: []PoolSeen{{Pool: "EdgePool1", Verdict: v}}}})
		begin = begin.Add(after)
	}
	for range 180 { // half an hour, and half an hour without edgewatch
		add(PoolUp, 10*time.Second)
	}
	begin = begin.Add(30 * time.Minute)
	for range 60 {
		add(PoolDown, 10*time.Second)
	}
	for range 60 {
		add(Inconclusive, 10*time.Second)
	}
	for range 60 {
		add(PoolDegraded, 10*time.Second)
	}
	add(PoolUp, 0)
	add(PoolUp, -time.Hour) // a clock that is set back counts for nothing
	add(PoolUp, 0)
	got := u.Sum("EdgePool1", time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC), 24*time.Hour)
	want := Uptime{Window: 24 * time.Hour, Up: 30*time.Minute - 10*time.Second + time.Minute, Down: 10 * time.Minute, Inconclusive: 10 * time.Minute, Degraded: 10 * time.Minute}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("a day (-want +got):\n%s", diff)
	}
	if got := u.Sum("EdgePool1", time.Date(2026, 1, 1, 12, 30, 0, 0, time.UTC), 2*time.Hour); got.Up != 0 || got.Down != want.Down {
		t.Errorf("two hours: %+v", got)
	}
	if share, ok := want.Share(); !ok || fmt.Sprintf("%.3f", share) != "0.803" {
		t.Errorf("share %v, %v: inconclusive time must not count as down", share, ok)
	}
	if _, ok := (Uptime{Inconclusive: time.Hour}).Share(); ok {
		t.Error("nothing was conclusive, and still there is a share")
	}
	hours := u.Hours("EdgePool1", time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	if len(hours) != 2 || hours[0].Start.Hour() != 10 || hours[1].Down != want.Down {
		t.Errorf("hours: %+v", hours)
	}
	u.forget(time.Date(2026, 1, 1, 11, 0, 0, 0, time.UTC))
	if hours := u.Hours("EdgePool1", time.Time{}); len(hours) != 1 {
		t.Errorf("after forgetting: %+v", hours)
	}
}
