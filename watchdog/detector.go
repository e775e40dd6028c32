package watchdog

import (
	"time"

	"github.com/sony/gobreaker/v2"
)

// BreakerRules say when a pool counts as down and when it is trusted again.
// Both rules for down, consecutive and cumulative, want MinBadTime.
type BreakerRules struct {
	BadRounds  int           // consecutive bad rounds that trip it …
	MinBadTime time.Duration // … once the first of them is this old

	Every time.Duration // normal distance between rounds; 0: none is closer than that

	Window    time.Duration // a pool that answers now and then: over this time …
	MinRounds int           // … with at least this many conclusive rounds …
	BadRatio  float64       // … this share of them bad trips it too. 0: off

	RetryAfter  time.Duration // tripped for this long before good rounds count
	GoodRounds  int           // consecutive good rounds that close it then …
	MinGoodTime time.Duration // … once the first of them is this old
}

// MinRounds is how many conclusive rounds the cumulative rule wants before a
// share of them means anything.
const MinRounds = 10

// buckets is in how many parts the window moves on.
const buckets = 6

// breaker is one of gobreaker's, reported to by hand: it never wraps a probe.
type breaker = gobreaker.TwoStepCircuitBreaker[struct{}]

// detector is the circuit breaker of one pool or one server, fed with
// verdicts. Probing goes on while it is open. One goroutine owns it.
type detector struct {
	rules  BreakerRules
	steady *breaker // consecutive bad rounds
	ratio  *breaker // bad share of the rounds of a window; nil when off

	last     time.Time // when the newest round that was fed was started
	slot     int64     // the normal interval that it was in, counted from …
	epoch    time.Time // … the first round
	bad      int       // consecutive
	firstBad time.Time
	lastBad  time.Time // the newest bad verdict
	back     time.Time // first good verdict since; zero while there was none
	anyBad   time.Time // first bad verdict since the last time everything was clean
	tripped  time.Time
	good     int // consecutive, since the breakers are half open
	firstOK  time.Time
	degraded int       // normal intervals in a row that began degraded
	healthy  int       // likewise up without trouble
	calm     int       // likewise either of both
	unclear  time.Time // first Inconclusive verdict since the last that said something
}

// newDetector returns a detector that has seen nothing.
func newDetector(rules BreakerRules) *detector {
	d := &detector{rules: rules, slot: -1}
	d.renew()
	return d
}

// renew closes the breakers and forgets all rounds that they counted.
func (d *detector) renew() {
	settings := gobreaker.Settings{Timeout: d.rules.RetryAfter}
	// Interval stays 0: with an interval, failures that straddle its edge are
	// forgotten and a consecutive rule may never trip.
	steady := settings
	steady.ReadyToTrip = func(c gobreaker.Counts) bool {
		return int(c.ConsecutiveFailures) >= d.rules.BadRounds && d.last.Sub(d.firstBad) >= d.rules.MinBadTime
	}
	d.steady = gobreaker.NewTwoStepCircuitBreaker[struct{}](steady)
	if d.rules.BadRatio <= 0 {
		return
	}
	ratio := settings
	ratio.Interval = d.rules.Window
	ratio.BucketPeriod = d.rules.Window / buckets // without, failures that straddle its edge are lost
	ratio.ReadyToTrip = func(c gobreaker.Counts) bool {
		return int(c.Requests) >= d.rules.MinRounds &&
			float64(c.TotalFailures) >= d.rules.BadRatio*float64(c.Requests) &&
			d.last.Sub(d.anyBad) >= d.rules.MinBadTime
	}
	d.ratio = gobreaker.NewTwoStepCircuitBreaker[struct{}](ratio)
}

// feed takes the verdict of a round that was started at began. An
// Inconclusive verdict changes nothing, and neither does a round that was fed
// already or was started before one that was.
func (d *detector) feed(began time.Time, v Verdict) Breaker {
	if !began.After(d.last) {
		return d.breaker(began)
	}
	d.last = began
	switch v {
	case PoolDown:
		d.feedBad()
	case PoolUp, PoolDegraded:
		d.feedGood(v)
	case Inconclusive:
		if d.unclear.IsZero() {
			d.unclear = began
		}
	}
	return d.breaker(began)
}

// some takes a round, before feed does, in which too few servers answered for the
// pool to be up, and one did. The pool is not dead: that ends a row of bad
// rounds, and is none of a share of them. Whether it is well is not said.
func (d *detector) some(began time.Time) {
	if began.After(d.last) && d.state() == BreakerClosed {
		d.bad, d.firstBad = 0, time.Time{}
		d.report(nil)
	}
}

func (d *detector) feedBad() {
	d.unclear = time.Time{}
	if d.bad++; d.bad == 1 {
		d.firstBad = d.last
	}
	if d.anyBad.IsZero() {
		d.anyBad = d.last
	}
	d.lastBad, d.back = d.last, time.Time{}
	d.healthy, d.degraded, d.calm, d.good = 0, 0, 0, 0
	d.report(errBad)
}

func (d *detector) feedGood(v Verdict) {
	d.unclear = time.Time{}
	d.bad, d.firstBad = 0, time.Time{}
	if d.back.IsZero() && !d.lastBad.IsZero() {
		d.back = d.last
	}
	d.report(nil)
	if d.begins() {
		d.healthy, d.degraded, d.calm = d.healthy+1, d.degraded+1, d.calm+1
	}
	if v == PoolUp {
		d.degraded = 0
	} else {
		d.healthy = 0
	}
	if d.state() != BreakerHalfOpen {
		d.good = 0
		return
	}
	if d.good++; d.good == 1 {
		d.firstOK = d.last
	}
	if d.good >= d.rules.GoodRounds && d.last.Sub(d.firstOK) >= d.rules.MinGoodTime {
		// All of them anew: one that never opened remembers the outage in its
		// window, and one bad round would make it trip.
		d.renew()
		d.good, d.anyBad, d.lastBad = 0, time.Time{}, time.Time{}
	}
}

// blind reports whether nothing could be said for a whole window: what was
// seen before is no evidence any more.
func (d *detector) blind(now time.Time) bool {
	return d.rules.Window > 0 && !d.unclear.IsZero() && now.Sub(d.unclear) > d.rules.Window
}

// orNew is the detector to feed with the round: a new one, so that a pool is
// watched anew before it counts as down, when what was seen before the round
// is no evidence. How long nothing could be said is not forgotten.
func (d *detector) orNew(r *Round) *detector {
	blind := d.blind(r.At)
	if r.Frozen == "" && !blind {
		return d
	}
	n := newDetector(d.rules)
	if blind {
		n.unclear = d.unclear
	}
	return n
}

// suspect reports whether a look sooner than usual would tell more: something
// is wrong, or was a short while ago, and it is not settled what. It ends with
// a trip, once good rounds have lasted, and, when nothing can be said, after a
// window: then it is we who are blind, and asking more often would only burden
// the servers.
func (d *detector) suspect(now time.Time, v Verdict) bool {
	doubt := d.bad > 0 || v == Inconclusive && !d.blind(now) || !d.lastBad.IsZero() && now.Sub(d.lastBad) < d.rules.linger()
	return doubt && d.state() == BreakerClosed
}

// linger is how long a pool is suspected after its last bad round. Were it
// looked at less often as soon as it answers, then its bad spells would hold
// more rounds than its good ones of the same length, and short spells that are
// far below the ratio would reach it. Those that the consecutive rule lets
// pass are shorter than MinBadTime, or than the distance between rounds; with
// so many good rounds after each they stay well below it.
func (r *BreakerRules) linger() time.Duration {
	if r.BadRatio <= 0 {
		return 0
	}
	return scale(max(r.MinBadTime, r.Every), 2*(1-r.BadRatio)/r.BadRatio)
}

// report feeds the breakers. An open one refuses, and that is right: it
// listens again after RetryAfter. A half open one is told of bad rounds only,
// which open it again; the good ones are counted beside it, because it would
// close after a number of them in no time.
func (d *detector) report(err error) {
	for _, b := range d.breakers() {
		if err != nil || b.State() == gobreaker.StateClosed {
			if done, refused := b.Allow(); refused == nil {
				done(err)
			}
		}
	}
}

// begins reports whether the newest round is the first good one of a normal
// interval: trouble is told by its length, and a suspected pool is looked at
// more often.
func (d *detector) begins() bool {
	if d.rules.Every <= 0 {
		return true
	}
	if d.epoch.IsZero() {
		d.epoch = d.last
	}
	slot := int64(d.last.Sub(d.epoch) / d.rules.Every)
	if slot == d.slot {
		return false
	}
	d.slot = slot
	return true
}

// breakers are those that can trip.
func (d *detector) breakers() []*breaker {
	if d.ratio == nil {
		return []*breaker{d.steady}
	}
	return []*breaker{d.steady, d.ratio}
}

// state is that of both breakers together: half open is not closed.
func (d *detector) state() BreakerState {
	state := BreakerClosed
	for _, b := range d.breakers() {
		switch b.State() {
		case gobreaker.StateOpen:
			return BreakerOpen
		case gobreaker.StateHalfOpen:
			state = BreakerHalfOpen
		case gobreaker.StateClosed:
		}
	}
	return state
}

func (d *detector) breaker(now time.Time) Breaker {
	out := Breaker{State: d.state(), Bad: d.bad, Since: d.firstBad}
	switch {
	case out.State == BreakerClosed:
		d.tripped = time.Time{}
		if d.bad == 0 && d.clean() {
			d.anyBad = time.Time{}
		}
	case d.tripped.IsZero():
		d.tripped = now
	}
	if out.Tripped() && out.Since.IsZero() {
		out.Since = d.tripped
	}
	return out
}

// clean reports whether no bad round is remembered in the window.
func (d *detector) clean() bool {
	return d.ratio == nil || d.ratio.Counts().TotalFailures == 0
}

// errBad is what a bad round is reported with.
var errBad = badRound{}

type badRound struct{}

func (badRound) Error() string { return "the pool is down" }
