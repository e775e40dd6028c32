package watchdog

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
)

// RecorderOptions say whose rounds a Recorder keeps, where and for how long.
type RecorderOptions struct {
	Federation string
	Store      RoundLog
	Keep       time.Duration // older rounds are removed; 0 keeps all
	Log        zerolog.Logger
}

// Recorder keeps the rounds of one federation, beside the decisions that
// follow from them and never in their way: the engine hands a round over
// without waiting, and whatever goes wrong here is told and changes nothing
// else. A nil *Recorder keeps nothing.
//
// A round that found something new is written at once, at most one a second,
// quiet ones every few minutes: a crash loses minutes of quiet at most.
type Recorder struct {
	o     RecorderOptions
	in    chan Seen
	lost  atomic.Uint64 // rounds that could not be kept
	state atomic.Pointer[recorded]

	fresh []born // owned by the engine's loop: not handed over yet

	// Owned by run.
	writer  *segmentWriter
	id      int64     // of the open segment, 0 when it was never written
	dirty   bool      // the open segment holds more than what was written
	closed  []closed  // segments that ended and were not written yet
	due     time.Time // when to write next; zero: there is nothing to write
	tried   time.Time // when something was written last, or was to be
	failed  error     // of the last try
	missed  uint64    // how many lost rounds were logged
	pruneAt time.Time // when to remove old segments next; zero: never
	countAt time.Time // when to add uptimes up again
	uptimes *Uptimes
}

// recorded is what a Recorder tells others.
type recorded struct {
	err    string
	uptime map[string][]Uptime
}

type born struct {
	pool string
	at   time.Time
}

// closed is a segment that grows no more.
type closed struct {
	id      int64
	segment Segment
}

// Bounds of a Recorder.
const (
	roundQueue   = 256              // rounds that wait while the disk is slow
	maxClosed    = 24               // ended segments that wait while it fails: a day
	writeQuiet   = 3 * time.Minute  // a run that goes on is written so often
	writeNews    = time.Second      // a new run is written at once, but not more often
	writeAgain   = 30 * time.Second // after a failure
	writeTimeout = 10 * time.Second
	pruneEvery   = time.Hour
	pruneMore    = time.Minute // while there is more to prune
	pruneStep    = 100         // segments
	countEvery   = time.Minute
)

// NewRecorder returns a Recorder that writes nothing before its engine runs.
func NewRecorder(o RecorderOptions) *Recorder {
	return &Recorder{o: o, in: make(chan Seen, roundQueue), writer: newSegmentWriter(o.Federation), uptimes: NewUptimes()}
}

// Error says why rounds cannot be kept, "" when they can.
func (r *Recorder) Error() string {
	if s := r.told(); s != nil {
		return s.err
	}
	return ""
}

// Uptime is the pool's, one for each of UptimeWindows; nil before it is known.
func (r *Recorder) Uptime(pool string) []Uptime {
	if s := r.told(); s != nil {
		return s.uptime[pool]
	}
	return nil
}

func (r *Recorder) told() *recorded {
	if r == nil {
		return nil
	}
	return r.state.Load()
}

// began notes that the breaker of the pool began anew. Only the engine calls
// it, from one goroutine at a time.
func (r *Recorder) began(pool string) {
	if r != nil {
		r.fresh = append(r.fresh, born{pool, time.Now()})
	}
}

// take hands a round over, without waiting: when the disk is so slow that too
// many wait already, it is lost. Only the engine's loop calls it.
func (r *Recorder) take(s Seen) {
	if r == nil {
		return
	}
	for _, f := range r.fresh {
		s.Fresh = append(s.Fresh, Fresh{Pool: f.pool, Born: s.At.Sub(wholeMS(f.at))})
	}
	select {
	case r.in <- s:
		r.fresh = nil
	default:
		r.lost.Add(1)
	}
}

// run keeps what it is handed until ctx ends, and then writes what is left.
func (r *Recorder) run(ctx context.Context) {
	if r == nil {
		return
	}
	r.load(ctx)
	if r.o.Keep > 0 {
		r.pruneAt = time.Now()
	}
	timer := time.NewTimer(r.work(ctx))
	defer timer.Stop()
	for {
		select {
		case s := <-r.in:
			r.add(s)
		case <-timer.C:
		case <-ctx.Done():
			r.finish(context.WithoutCancel(ctx))
			return
		}
		timer.Reset(r.work(ctx))
	}
}

// load adds up the uptime of what earlier lives kept.
func (r *Recorder) load(ctx context.Context) {
	windows := UptimeWindows()
	since := time.Now().Add(-windows[len(windows)-1])
	damaged, err := EachRound(ctx, r.o.Store, r.o.Federation, since, func(s Seen) error {
		r.uptimes.Add(s)
		return nil
	})
	if len(damaged) > 0 {
		r.o.Log.Warn().Err(damaged[0].Err).Int("segments", len(damaged)).Msg("recorded rounds are damaged and left out: uptime lacks them")
	}
	if err != nil && ctx.Err() == nil {
		r.o.Log.Warn().Err(err).Msg("recorded rounds cannot be read: uptime may be incomplete")
	}
}

// add takes one round into the open segment.
func (r *Recorder) add(s Seen) {
	r.uptimes.Add(s)
	if r.writer.full(s) {
		r.close()
	}
	news := r.writer.add(s)
	r.dirty = true
	switch now := time.Now(); {
	case news && r.failed == nil:
		r.due = r.tried.Add(writeNews)
	case r.due.IsZero():
		r.due = now.Add(writeQuiet)
	}
}

// close ends the open segment.
func (r *Recorder) close() {
	s, err := r.writer.segment(true)
	if err != nil {
		r.lost.Add(uint64(len(r.writer.gaps))) // a defect of ours: there is nothing to write
		r.outcome(err)
	} else {
		r.closed = append(r.closed, closed{r.id, s})
	}
	for len(r.closed) > maxClosed {
		r.lost.Add(uint64(r.closed[0].segment.Rounds))
		r.closed = r.closed[1:]
	}
	r.writer, r.id, r.dirty = newSegmentWriter(r.o.Federation), 0, false
}

// work does what is due and says how long there is nothing to do then.
func (r *Recorder) work(ctx context.Context) time.Duration {
	now := time.Now()
	if !r.due.IsZero() && !now.Before(r.due) {
		r.write(ctx)
	}
	if !r.pruneAt.IsZero() && !now.Before(r.pruneAt) {
		r.prune(ctx, now)
	}
	if !now.Before(r.countAt) {
		r.count(now)
	}
	next := r.countAt
	for _, t := range []time.Time{r.due, r.pruneAt} {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	return max(0, time.Until(next))
}

// write writes what ended, and the open segment as far as it is.
func (r *Recorder) write(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	err := r.save(ctx)
	r.tried = time.Now()
	r.due = time.Time{}
	if err != nil {
		r.due = r.tried.Add(writeAgain)
	}
	r.outcome(err)
}

func (r *Recorder) save(ctx context.Context) error {
	for len(r.closed) > 0 {
		c := r.closed[0]
		if _, err := r.o.Store.SaveRounds(ctx, c.id, c.segment); err != nil {
			return err
		}
		r.closed = r.closed[1:]
	}
	if !r.dirty {
		return nil
	}
	s, err := r.writer.segment(false)
	if err != nil {
		return err
	}
	id, err := r.o.Store.SaveRounds(ctx, r.id, s)
	if err != nil {
		return err
	}
	r.id, r.dirty = id, false
	return nil
}

// prune removes a few of the segments that are older than they are to be kept:
// a clock that is wrong for a moment must not cost the history.
func (r *Recorder) prune(ctx context.Context, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	n, err := r.o.Store.PruneRounds(ctx, now.Add(-r.o.Keep), pruneStep)
	r.pruneAt = now.Add(pruneEvery)
	if n == pruneStep {
		r.pruneAt = now.Add(pruneMore)
	}
	if err != nil {
		r.outcome(fmt.Errorf("remove old rounds: %w", err))
	}
}

// count tells the uptime as of now.
func (r *Recorder) count(now time.Time) {
	r.countAt = now.Add(countEvery)
	windows := UptimeWindows()
	r.uptimes.forget(now.Add(-windows[len(windows)-1]))
	uptime := map[string][]Uptime{}
	for pool := range r.uptimes.hours {
		for _, w := range windows {
			uptime[pool] = append(uptime[pool], r.uptimes.Sum(pool, now, w))
		}
	}
	r.tell(uptime)
}

// outcome notes how the last try went; only a change is logged.
func (r *Recorder) outcome(err error) {
	switch {
	case err != nil && r.failed == nil:
		r.o.Log.Error().Err(err).Msg("rounds cannot be recorded: decisions are not concerned, history and replay will have a gap if it lasts")
	case err == nil && r.failed != nil:
		r.o.Log.Info().Msg("rounds are recorded again")
	}
	if lost := r.lost.Load(); lost > r.missed {
		r.o.Log.Warn().Uint64("rounds", lost-r.missed).Msg("rounds were not recorded: the state file was too slow or could not be written for too long")
		r.missed = lost
	}
	r.failed = err
	var uptime map[string][]Uptime
	if s := r.state.Load(); s != nil {
		uptime = s.uptime
	}
	r.tell(uptime)
}

func (r *Recorder) tell(uptime map[string][]Uptime) {
	s := &recorded{uptime: uptime}
	if r.failed != nil {
		s.err = r.failed.Error()
	}
	r.state.Store(s)
}

// finish writes what was handed over before the end.
func (r *Recorder) finish(ctx context.Context) {
	for len(r.in) > 0 {
		r.add(<-r.in)
	}
	if r.dirty || r.id != 0 {
		r.close()
	}
	r.write(ctx)
}

// Damage is a segment that cannot be understood: from when to when its rounds
// are, and why.
type Damage struct {
	First, Last time.Time
	Err         error
}

// EachRound calls f with the federation's recorded rounds that segments hold
// which ended after since, in the order they were recorded, until f fails. A
// segment that cannot be understood is left out whole and listed in damaged.
func EachRound(ctx context.Context, log RoundLog, federation string, since time.Time, f func(Seen) error) (damaged []Damage, err error) {
	const batch = 50
	for after := int64(0); ; {
		segments, last, err := log.LoadRounds(ctx, federation, since, after, batch)
		if err != nil {
			return damaged, err
		}
		for i := range segments {
			rounds, err := segments[i].All()
			if err != nil {
				s := &segments[i]
				damaged = append(damaged, Damage{s.First, s.Last, fmt.Errorf("rounds of %s from %s on: %w", federation, clock(s.First), err)})
			}
			for _, s := range rounds {
				if err := f(s); err != nil {
					return damaged, err
				}
			}
		}
		if len(segments) < batch {
			return damaged, nil
		}
		after = last
	}
}
