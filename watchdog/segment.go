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

// The body of a segment is one byte that says how it is kept and then, plain
// or deflated, a JSON head (its length before it) and two columns of varints:
// the distance of each round from the one before it, against the interval,
// and how long it took. Formats are never changed, only added.
const (
	formatPlain    = 1 // the segment may still grow: written often, read seldom
	formatDeflated = 2
)

// maxSegment is how many rounds a segment holds at most, and maxBody how
// large its content may be: a file that says more is damaged.
const (
	maxSegment = 2000
	maxBody    = 8 << 20
)

// segmentHead is the JSON part of a body. Its keys stand in files.
type segmentHead struct {
	Interval int64       `json:"i"`           // ms
	Fresh    []freshMark `json:"m,omitempty"` // breakers that were new
	Outcomes []Outcome   `json:"o"`
	Runs     []runHead   `json:"r"`
}

type freshMark struct {
	Round int    `json:"r"` // before this round, counted from 0
	Born  int64  `json:"b"` // ms before its At
	Pool  string `json:"p"`
}

type runHead struct {
	Outcome int        `json:"o,omitempty"` // index
	Rounds  int        `json:"n"`
	Latency [][3]int64 `json:"l,omitempty"` // min, mean, max in µs per address
}

// segmentWriter grows a segment. The zero value is empty.
type segmentWriter struct {
	head         segmentHead
	first, last  time.Time
	rounds       int
	gaps, took   []byte
	sums         []time.Duration // latencies of the open run, per address
	federation   string
	lastInterval time.Duration
}

func newSegmentWriter(federation string) *segmentWriter {
	return &segmentWriter{federation: federation}
}

// add takes one round in and reports whether it began a run.
func (w *segmentWriter) add(s Seen) (changed bool) {
	if w.rounds == 0 {
		w.first, w.last, w.lastInterval = s.At, s.At, s.Interval
		w.head.Interval = s.Interval.Milliseconds()
	}
	w.gaps = binary.AppendVarint(w.gaps, s.At.Sub(w.last).Milliseconds()-w.expected())
	w.took = binary.AppendVarint(w.took, s.Took.Milliseconds())
	for _, f := range s.Fresh {
		w.head.Fresh = append(w.head.Fresh, freshMark{Round: w.rounds, Born: f.Born.Milliseconds(), Pool: f.Pool})
	}
	w.last = s.At
	w.rounds++
	changed = w.extend(&s)
	w.measure(s.Latency)
	return changed || len(s.Fresh) > 0
}

// expected is how far the next round should be from the last, in ms.
func (w *segmentWriter) expected() int64 {
	if w.rounds == 0 {
		return 0
	}
	return w.head.Interval
}

// extend counts the round into the open run, or begins another.
func (w *segmentWriter) extend(s *Seen) (changed bool) {
	if n := len(w.head.Runs); n > 0 {
		open := &w.head.Runs[n-1]
		if w.head.Outcomes[open.Outcome].equal(&s.Outcome) {
			open.Rounds++
			return false
		}
	}
	w.sums = make([]time.Duration, len(s.Latency))
	r := runHead{Outcome: -1, Rounds: 1, Latency: make([][3]int64, len(s.Latency))}
	for i := range w.head.Outcomes {
		if w.head.Outcomes[i].equal(&s.Outcome) {
			r.Outcome = i
		}
	}
	if r.Outcome < 0 {
		r.Outcome = len(w.head.Outcomes)
		w.head.Outcomes = append(w.head.Outcomes, s.Outcome)
	}
	w.head.Runs = append(w.head.Runs, r)
	return true
}

// measure counts the round's latencies into the open run.
func (w *segmentWriter) measure(took []time.Duration) {
	open := &w.head.Runs[len(w.head.Runs)-1]
	for i, d := range took {
		if i >= len(open.Latency) {
			return
		}
		l := &open.Latency[i]
		w.sums[i] += d
		us := d.Microseconds()
		if open.Rounds == 1 {
			*l = [3]int64{us, us, us}
			continue
		}
		*l = [3]int64{min(l[0], us), w.sums[i].Microseconds() / int64(open.Rounds), max(l[2], us)}
	}
}

// full reports whether s belongs into the next segment.
func (w *segmentWriter) full(s Seen) bool {
	age := s.At.Sub(w.first)
	return w.rounds > 0 && (w.rounds >= maxSegment || age >= SegmentTime || age < 0 || s.Interval != w.lastInterval)
}

// segment is what was added so far. A closed one is deflated.
func (w *segmentWriter) segment(closed bool) (Segment, error) {
	head, err := json.Marshal(&w.head)
	if err != nil {
		return Segment{}, fmt.Errorf("encode rounds: %w", err)
	}
	var body bytes.Buffer
	content := binary.AppendUvarint(nil, uint64(len(head)))
	content = append(append(append(content, head...), w.gaps...), w.took...)
	if closed {
		body.WriteByte(formatDeflated)
		z, err := flate.NewWriterDict(&body, flate.BestCompression, []byte(dictionary))
		if err != nil {
			return Segment{}, fmt.Errorf("compress rounds: %w", err)
		}
		if _, err := z.Write(content); err != nil {
			return Segment{}, fmt.Errorf("compress rounds: %w", err)
		}
		if err := z.Close(); err != nil {
			return Segment{}, fmt.Errorf("compress rounds: %w", err)
		}
	} else {
		body.WriteByte(formatPlain)
		body.Write(content)
	}
	return Segment{Federation: w.federation, First: w.first, Last: w.last, Rounds: w.rounds, Body: body.Bytes()}, nil
}

// dictionary is what most heads hold, for the compressor. It is part of
// formatDeflated: it never changes.
var dictionary = strings.Join([]string{
	`"c":"timeout"`, `"c":"refused"`, `"c":"reset"`, `"c":"auth_required"`, `"l":"inconclusive","p":"connect"`, `"v":"inconclusive"`, `"v":"degraded"`,
	`{"i":10000,"m":[{"r":0,"b":60,"p":"*"}],"o":[{"a":"EdgePool1","p":[{"n":"EdgePool1","v":"down","t":true,"s":[{"a":"198.51.100.`,
	`:5269","l":"down","p":"connect","c":"timeout"}]},{"n":"EdgePool2","v":"up","s":[{"a":"192.0.2.`,
	`:5269","l":"up","p":"done","c":"ok"},{"a":"203.0.113.`,
	`:5269","l":"up","p":"done","c":"ok"}]}],"g":2,"n":2,"c":true}],"r":[{"n":360,"l":[[`,
}, "")

var errSegment = errors.New("the recorded rounds cannot be understood")

// open reads the body's head and its two columns.
func (s *Segment) open() (head segmentHead, columns []byte, err error) {
	if len(s.Body) == 0 {
		return head, nil, fmt.Errorf("%w: they are empty", errSegment)
	}
	content := s.Body[1:]
	switch s.Body[0] {
	case formatPlain:
	case formatDeflated:
		z := flate.NewReaderDict(bytes.NewReader(content), []byte(dictionary))
		content, err = io.ReadAll(io.LimitReader(z, maxBody))
		if err != nil {
			return head, nil, fmt.Errorf("%w: %w", errSegment, err)
		}
	default:
		return head, nil, fmt.Errorf("%w: they are of format %d, which a newer edgewatch wrote", errSegment, s.Body[0])
	}
	n, size := binary.Uvarint(content)
	if size <= 0 || n > uint64(len(content)-size) {
		return head, nil, fmt.Errorf("%w: their head is cut off", errSegment)
	}
	content = content[size:]
	if err := json.Unmarshal(content[:n], &head); err != nil {
		return head, nil, fmt.Errorf("%w: %w", errSegment, err)
	}
	return head, content[n:], s.check(&head)
}

// check holds the head to what a writer can have written.
func (s *Segment) check(head *segmentHead) error {
	rounds := 0
	for _, r := range head.Runs {
		if r.Outcome < 0 || r.Outcome >= len(head.Outcomes) || r.Rounds < 1 || r.Rounds > maxSegment {
			return fmt.Errorf("%w: run of outcome %d, %d rounds", errSegment, r.Outcome, r.Rounds)
		}
		rounds += r.Rounds
	}
	if rounds != s.Rounds || rounds > maxSegment {
		return fmt.Errorf("%w: %d rounds in a segment of %d", errSegment, rounds, s.Rounds)
	}
	return nil
}

// Runs returns the segment's runs in order.
func (s *Segment) Runs() ([]Run, error) {
	head, _, err := s.open()
	if err != nil {
		return nil, err
	}
	out := make([]Run, len(head.Runs))
	for i, r := range head.Runs {
		out[i] = Run{Outcome: head.Outcomes[r.Outcome], Rounds: r.Rounds}
		for _, l := range r.Latency {
			out[i].Latency = append(out[i].Latency, Latency{Min: us(l[0]), Mean: us(l[1]), Max: us(l[2])})
		}
	}
	return out, nil
}

func us(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// All returns the segment's rounds in order, without latencies. Equal
// outcomes share their memory: treat them as read-only.
func (s *Segment) All() ([]Seen, error) {
	head, columns, err := s.open()
	if err != nil {
		return nil, err
	}
	out := make([]Seen, 0, s.Rounds)
	interval := time.Duration(head.Interval) * time.Millisecond
	at := s.First
	for _, r := range head.Runs {
		for range r.Rounds {
			var gap int64
			if gap, columns, err = next(columns); err != nil {
				return nil, err
			}
			if len(out) > 0 {
				gap += head.Interval
			}
			at = at.Add(time.Duration(gap) * time.Millisecond)
			out = append(out, Seen{At: at, Interval: interval, Outcome: head.Outcomes[r.Outcome]})
		}
	}
	for i := range out {
		var took int64
		if took, columns, err = next(columns); err != nil {
			return nil, err
		}
		out[i].Took = time.Duration(took) * time.Millisecond
	}
	for _, m := range head.Fresh {
		if m.Round < 0 || m.Round >= len(out) {
			return nil, fmt.Errorf("%w: a new breaker before round %d of %d", errSegment, m.Round, len(out))
		}
		out[m.Round].Fresh = append(out[m.Round].Fresh, Fresh{Pool: m.Pool, Born: time.Duration(m.Born) * time.Millisecond})
	}
	return out, nil
}

// next takes one number off a column.
func next(column []byte) (int64, []byte, error) {
	v, n := binary.Varint(column)
	const longest = math.MaxInt64 / int64(time.Millisecond)
	if n <= 0 || v > longest/2 || v < -longest/2 {
		return 0, nil, fmt.Errorf("%w: a time is cut off or absurd", errSegment)
	}
	return v, column[n:], nil
}
