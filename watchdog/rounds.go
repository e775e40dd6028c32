package watchdog

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"edgewatch/probe"
)

// Seen is one round as history keeps it: all that a verdict came from, and
// what came of it. Times are whole milliseconds.
type Seen struct {
	At       time.Time     // wall clock, UTC, when its probes were started
	Took     time.Duration // from At until its verdicts were fed to the breakers
	Fresh    []Fresh       // breakers that had begun anew since the round before
	Outcome  Outcome
	Latency  []time.Duration // of each address, in the order of Outcome; only on the way in, see Run
	Interval time.Duration   // the normal distance of rounds when it was made
}

// Fresh is a breaker that began anew, having seen nothing.
type Fresh struct {
	Pool string        // FreshAll: that of every pool, since edgewatch started
	Born time.Duration // how long before the round's At, in whole milliseconds
}

// FreshAll in Fresh.Pool stands for every pool.
const FreshAll = "*"

// Outcome is what a round found, without its times. Consecutive rounds with
// equal outcomes are one Run.
type Outcome struct {
	Active   string     `json:"a"` // the pool that carried federation then, as far as edgewatch knew
	Pools    []PoolSeen `json:"p"`
	Good     int        `json:"g,omitempty"` // canaries that answered …
	Total    int        `json:"n,omitempty"` // … of so many
	Canaries bool       `json:"c,omitempty"` // whether they were enough
	Frozen   bool       `json:"f,omitempty"` // our own loop or clock could not be trusted
}

// PoolSeen is one pool in an Outcome.
type PoolSeen struct {
	Pool    string        `json:"n"`
	Verdict Verdict       `json:"v"`
	Tripped bool          `json:"t,omitempty"` // its breaker, after this round
	Targets []AddressSeen `json:"s,omitempty"`
}

// AddressSeen is one address in a PoolSeen.
type AddressSeen struct {
	Addr      netip.AddrPort `json:"a"`
	Level     probe.Level    `json:"l"`
	Phase     probe.Phase    `json:"p"`
	Class     probe.Class    `json:"c"`
	Condition string         `json:"d,omitempty"`
}

func (o *Outcome) equal(b *Outcome) bool {
	return o.Active == b.Active && o.Good == b.Good && o.Total == b.Total && o.Canaries == b.Canaries && o.Frozen == b.Frozen &&
		slices.EqualFunc(o.Pools, b.Pools, func(p, q PoolSeen) bool {
			return p.Pool == q.Pool && p.Verdict == q.Verdict && p.Tripped == q.Tripped && slices.Equal(p.Targets, q.Targets)
		})
}

// Pool returns the named pool's part; a zero PoolSeen, which is
// Inconclusive, when there is none.
func (o *Outcome) Pool(name string) PoolSeen {
	for i := range o.Pools {
		if o.Pools[i].Pool == name {
			return o.Pools[i]
		}
	}
	return PoolSeen{Pool: name}
}

// maxCondition bounds what a server can make history keep of it.
const maxCondition = 64

// seen is the round as history keeps it, with the pool that was active when
// its verdicts were fed to the breakers, at fed.
func (r *Round) seen(active string, fed time.Time, interval time.Duration) Seen {
	s := Seen{At: wholeMS(r.At), Took: wholeMS(fed).Sub(wholeMS(r.At)), Interval: interval}
	s.Outcome = Outcome{Active: active, Good: r.Canaries.Good, Total: r.Canaries.Total, Canaries: r.Canaries.OK, Frozen: r.Frozen != ""}
	for _, p := range r.Pools {
		ps := PoolSeen{Pool: p.Pool, Verdict: p.Verdict, Tripped: p.Breaker.Tripped()}
		for _, t := range p.Results {
			condition := t.Condition
			if len(condition) > maxCondition {
				condition = condition[:maxCondition]
			}
			ps.Targets = append(ps.Targets, AddressSeen{Addr: t.Target.Addr, Level: t.Level, Phase: t.Phase, Class: t.Class, Condition: condition})
			s.Latency = append(s.Latency, t.Took)
		}
		s.Outcome.Pools = append(s.Outcome.Pools, ps)
	}
	return s
}

// wholeMS is t as history keeps it: wall time in whole milliseconds.
func wholeMS(t time.Time) time.Time {
	return time.UnixMilli(t.Round(time.Millisecond).UnixMilli()).UTC()
}

// Latency is how long an address took to answer.
type Latency struct{ Min, Mean, Max time.Duration }

// Run is consecutive rounds with equal outcomes.
type Run struct {
	Outcome Outcome
	Rounds  int
	Latency []Latency // of each address, in the order of Outcome: in all rounds of the segment with this outcome
}

// Segment is up to SegmentTime of one federation's rounds, run-length
// encoded. Body is what Rounds and Runs read.
type Segment struct {
	Federation  string
	First, Last time.Time // At of the first and the last round
	Rounds      int
	Body        []byte
}

// SegmentTime is how long a segment lasts at most; it ends earlier when
// edgewatch does, and after maxSegment rounds.
const SegmentTime = time.Hour

// RoundLog keeps segments. Losing its newest minutes to a crash is
// acceptable, delaying the journal for it is not. Implementations:
// watchdog/sqlite.
type RoundLog interface {
	// SaveRounds keeps s, in place of the segment with that id when there is
	// one, and returns the id it has now; id 0 is a new one. After an error
	// the segment that was there before still is.
	SaveRounds(ctx context.Context, id int64, s Segment) (int64, error)

	// LoadRounds returns up to limit segments of the federation with ids
	// above after, in the order they were begun, and the id of the last.
	// Such that ended before since are left out.
	LoadRounds(ctx context.Context, federation string, since time.Time, after int64, limit int) ([]Segment, int64, error)

	// PruneRounds removes up to limit segments of all federations that ended
	// before that time, and returns how many.
	PruneRounds(ctx context.Context, before time.Time, limit int) (int, error)
}
