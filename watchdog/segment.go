package watchdog

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"
)

// The body of a segment is one byte that says how it is kept, the length of
// its head, the head, which is JSON, plain or deflated, and then four packed
// columns: of each run its outcome and its rounds, of each round its distance
// from the one before it and how long it took, in ms. Formats are never
// changed, only added.
const (
	formatPlain    = 1 // the segment may still grow: written often, read seldom
	formatDeflated = 2
)

// maxSegment is how many rounds a segment holds at most, maxHead how large its
// head may be, and maxInterval what nobody sets rounds apart: a file that says
// more is damaged.
const (
	maxSegment  = 2000
	maxHead     = 8 << 20
	maxInterval = 365 * 24 * time.Hour
)

// segmentHead is the JSON part of a body. Its keys stand in files.
type segmentHead struct {
	Interval int64         `json:"i"`           // ms
	Fresh    []freshMark   `json:"m,omitempty"` // breakers that were new
	Outcomes []outcomeHead `json:"o"`
	Runs     int           `json:"r"`
}

// outcomeHead is one outcome with the latencies of all its rounds.
type outcomeHead struct {
	Outcome
	Rounds  int        `json:"k"`
	Latency [][3]int64 `json:"l,omitempty"` // min, mean, max in µs per address
	sums    []time.Duration
}

type freshMark struct {
	Round int    `json:"r"` // before this round, counted from 0
	Born  int64  `json:"b"` // ms before its At
	Pool  string `json:"p"`
}

// segmentWriter grows a segment.
type segmentWriter struct {
	federation  string
	head        segmentHead
	interval    time.Duration
	first, last time.Time
	gaps, took  []int64 // of each round
	outcome     []int64 // of each run
	rounds      []int64 // likewise
}

func newSegmentWriter(federation string) *segmentWriter {
	return &segmentWriter{federation: federation}
}

// add takes one round in and reports whether it told anything new.
func (w *segmentWriter) add(s Seen) (news bool) {
	if w.empty() {
		w.first, w.last, w.interval = s.At, s.At, s.Interval
		w.head.Interval = s.Interval.Milliseconds()
	}
	for _, f := range s.Fresh {
		w.head.Fresh = append(w.head.Fresh, freshMark{Round: len(w.gaps), Born: f.Born.Milliseconds(), Pool: f.Pool})
	}
	w.gaps = append(w.gaps, s.At.Sub(w.last).Milliseconds())
	w.took = append(w.took, s.Took.Milliseconds())
	w.last = s.At
	k := w.find(&s)
	w.head.Outcomes[k].measure(s.Latency)
	if n := len(w.outcome); n > 0 && w.outcome[n-1] == int64(k) {
		w.rounds[n-1]++
		return len(s.Fresh) > 0
	}
	w.outcome, w.rounds = append(w.outcome, int64(k)), append(w.rounds, 1)
	return true
}

func (w *segmentWriter) empty() bool { return len(w.gaps) == 0 }

// find is the index of the round's outcome.
func (w *segmentWriter) find(s *Seen) int {
	for i := range w.head.Outcomes {
		if w.head.Outcomes[i].equal(&s.Outcome) {
			return i
		}
	}
	n := len(s.Latency)
	w.head.Outcomes = append(w.head.Outcomes, outcomeHead{Outcome: s.Outcome, Latency: make([][3]int64, n), sums: make([]time.Duration, n)})
	return len(w.head.Outcomes) - 1
}

// measure counts a round's latencies.
func (o *outcomeHead) measure(took []time.Duration) {
	o.Rounds++
	for i, d := range took[:min(len(took), len(o.Latency))] {
		l, us := &o.Latency[i], d.Microseconds()
		o.sums[i] += d
		if o.Rounds == 1 {
			*l = [3]int64{us, us, us}
			continue
		}
		*l = [3]int64{min(l[0], us), o.sums[i].Microseconds() / int64(o.Rounds), max(l[2], us)}
	}
}

// full reports whether s belongs into the next segment.
func (w *segmentWriter) full(s Seen) bool {
	age := s.At.Sub(w.first)
	return !w.empty() && (len(w.gaps) >= maxSegment || age >= SegmentTime || age < 0 || s.Interval != w.interval)
}

// segment is what was added so far. A closed one is deflated.
func (w *segmentWriter) segment(closed bool) (Segment, error) {
	w.head.Runs = len(w.outcome)
	head, err := json.Marshal(&w.head)
	if err != nil {
		return Segment{}, fmt.Errorf("encode rounds: %w", err)
	}
	body := []byte{formatPlain}
	if closed {
		body[0] = formatDeflated
		if head, err = deflated(head); err != nil {
			return Segment{}, fmt.Errorf("compress rounds: %w", err)
		}
	}
	body = append(binary.AppendUvarint(body, uint64(len(head))), head...)
	for _, column := range [][]int64{w.outcome, w.rounds, w.gaps, w.took} {
		body = pack(body, column)
	}
	return Segment{Federation: w.federation, First: w.first, Last: w.last, Rounds: len(w.gaps), Body: body}, nil
}

func deflated(b []byte) ([]byte, error) {
	var out bytes.Buffer
	z, err := flate.NewWriterDict(&out, flate.BestCompression, []byte(dictionary))
	if err != nil {
		return nil, err
	}
	_, err = z.Write(b)
	err = errors.Join(err, z.Close())
	return out.Bytes(), err
}

// EncodeRounds makes segments of rounds, oldest first, as a Recorder does.
func EncodeRounds(federation string, rounds []Seen) ([]Segment, error) {
	var out []Segment
	w := newSegmentWriter(federation)
	for i, s := range rounds {
		w.add(s)
		if last := i == len(rounds)-1; last || w.full(rounds[i+1]) {
			seg, err := w.segment(true)
			if err != nil {
				return nil, err
			}
			out, w = append(out, seg), newSegmentWriter(federation)
		}
	}
	return out, nil
}

// dictionary is what most heads hold, for the compressor. It is part of
// formatDeflated: it never changes.
var dictionary = strings.Join([]string{
	`"c":"timeout"`, `"c":"refused"`, `"c":"reset"`, `"c":"auth_required"`, `"l":"inconclusive","p":"connect"`, `"v":"inconclusive"`, `"v":"degraded"`,
	`{"i":10000,"m":[{"r":0,"b":60,"p":"*"}],"o":[{"a":"EdgePool1","p":[{"n":"EdgePool1","v":"down","t":true,"s":[{"a":"198.51.100.`,
	`:5269","l":"down","p":"connect","c":"timeout"}]},{"n":"EdgePool2","v":"up","s":[{"a":"192.0.2.`,
	`:5269","l":"up","p":"done","c":"ok"},{"a":"203.0.113.`,
	`:5269","l":"up","p":"done","c":"ok"}]}],"g":2,"n":2,"c":true,"k":360,"l":[[`,
}, "")

var errSegment = errors.New("the recorded rounds cannot be understood")

// opened is a segment that was read.
type opened struct {
	head            segmentHead
	outcome, rounds []int64 // of each run
	columns         []byte
}

func (s *Segment) open() (o opened, err error) {
	if len(s.Body) == 0 {
		return o, fmt.Errorf("%w: they are empty", errSegment)
	}
	format, body := s.Body[0], s.Body[1:]
	n, size := binary.Uvarint(body)
	if size <= 0 || n > uint64(len(body)-size) {
		return o, fmt.Errorf("%w: their head is cut off", errSegment)
	}
	head, body := body[size:size+int(n)], body[size+int(n):]
	switch format {
	case formatPlain:
	case formatDeflated:
		z := flate.NewReaderDict(bytes.NewReader(head), []byte(dictionary))
		if head, err = io.ReadAll(io.LimitReader(z, maxHead)); err != nil {
			return o, fmt.Errorf("%w: %w", errSegment, err)
		}
	default:
		return o, fmt.Errorf("%w: they are of format %d, which a newer edgewatch wrote", errSegment, format)
	}
	if err := json.Unmarshal(head, &o.head); err != nil {
		return o, fmt.Errorf("%w: %w", errSegment, err)
	}
	if o.head.Runs < 0 || o.head.Runs > maxSegment {
		return o, fmt.Errorf("%w: %d runs", errSegment, o.head.Runs)
	}
	if o.outcome, body, err = unpack(body, o.head.Runs); err != nil {
		return o, err
	}
	if o.rounds, o.columns, err = unpack(body, o.head.Runs); err != nil {
		return o, err
	}
	return o, s.check(&o)
}

// check holds what was read to what a writer can have written.
func (s *Segment) check(o *opened) error {
	if i := o.head.Interval; i < 0 || i > maxInterval.Milliseconds() {
		return fmt.Errorf("%w: an interval of %d ms", errSegment, i)
	}
	sum := int64(0)
	for i, n := range o.rounds {
		if k := o.outcome[i]; k < 0 || k >= int64(len(o.head.Outcomes)) || n < 1 || n > maxSegment {
			return fmt.Errorf("%w: run of outcome %d, %d rounds", errSegment, k, n)
		}
		sum += n
	}
	if sum != int64(s.Rounds) || sum > maxSegment {
		return fmt.Errorf("%w: %d rounds in a segment of %d", errSegment, sum, s.Rounds)
	}
	return nil
}

// Runs returns the segment's runs in order.
func (s *Segment) Runs() ([]Run, error) {
	o, err := s.open()
	if err != nil {
		return nil, err
	}
	out := make([]Run, len(o.rounds))
	for i, n := range o.rounds {
		head := &o.head.Outcomes[o.outcome[i]]
		out[i] = Run{Outcome: head.Outcome, Rounds: int(n)}
		for _, l := range head.Latency {
			out[i].Latency = append(out[i].Latency, Latency{Min: us(l[0]), Mean: us(l[1]), Max: us(l[2])})
		}
	}
	return out, nil
}

func us(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// All returns the segment's rounds in order, without latencies. Equal
// outcomes share their memory: treat them as read-only.
func (s *Segment) All() ([]Seen, error) {
	o, err := s.open()
	if err != nil {
		return nil, err
	}
	gaps, rest, err := unpack(o.columns, s.Rounds)
	if err != nil {
		return nil, err
	}
	took, _, err := unpack(rest, s.Rounds)
	if err != nil {
		return nil, err
	}
	out := make([]Seen, 0, s.Rounds)
	at := s.First
	for i, n := range o.rounds {
		outcome := o.head.Outcomes[o.outcome[i]].Outcome
		for range n {
			k := len(out)
			if absurd(gaps[k]) || absurd(took[k]) {
				return nil, fmt.Errorf("%w: %d ms from one round to the next, which took %d ms", errSegment, gaps[k], took[k])
			}
			at = at.Add(ms(gaps[k]))
			out = append(out, Seen{At: at, Took: ms(took[k]), Interval: ms(o.head.Interval), Outcome: outcome})
		}
	}
	for _, m := range o.head.Fresh {
		if m.Round < 0 || m.Round >= len(out) || absurd(m.Born) {
			return nil, fmt.Errorf("%w: a breaker that began %d ms before round %d of %d", errSegment, m.Born, m.Round, len(out))
		}
		out[m.Round].Fresh = append(out[m.Round].Fresh, Fresh{Pool: m.Pool, Born: ms(m.Born)})
	}
	return out, nil
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// absurd reports whether that many milliseconds are no duration.
func absurd(n int64) bool {
	const longest = math.MaxInt64 / int64(time.Millisecond)
	return n > longest || n < -longest
}
