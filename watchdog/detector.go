package watchdog

import (
	"time"

	"github.com/sony/gobreaker/v2"
)

// BreakerRules say when a pool counts as down and when it is trusted again.
type BreakerRules struct {
	BadRounds  int           // consecutive bad rounds that trip it …
	MinBadTime time.Duration // … once the first of them is this old

	Window    time.Duration // a pool that answers now and then: over this time …
	MinRounds int           // … with at least this many conclusive rounds …
	BadRatio  float64       // … this share of them bad trips it too. 0: off

	RetryAfter time.Duration // tripped for this long before good rounds count
	GoodRounds int           // consecutive good rounds that close it then
}

// detector is the circuit breaker of one pool, fed with verdicts. It never
// wraps the probe: probing goes on while it is open. One goroutine owns it.
type detector struct {
	steady *gobreaker.TwoStepCircuitBreaker[struct{}] // consecutive bad rounds
	ratio  *gobreaker.TwoStepCircuitBreaker[struct{}] // bad share of a window; nil when off

	window   time.Duration
	bad      int // consecutive
	firstBad time.Time
	tripped  time.Time
	degraded int
	healthy  int       // likewise PoolUp
	now      time.Time // of the verdict being fed: the breakers' callbacks need it
	anyBad   time.Time // first bad verdict since the last time both breakers were clean
	unclear  time.Time // first Inconclusive verdict since the last that said something
}

func newDetector(rules BreakerRules) *detector {
	d := &detector{window: rules.Window}
	settings := gobreaker.Settings{
		Timeout:     rules.RetryAfter,
		MaxRequests: uint32(max(rules.GoodRounds, 1)),
	}
	// Interval stays 0: with an interval, failures that straddle its edge are
	// forgotten and a consecutive rule may never trip.
	steady := settings
	steady.ReadyToTrip = func(c gobreaker.Counts) bool {
		return int(c.ConsecutiveFailures) >= rules.BadRounds && d.now.Sub(d.firstBad) >= rules.MinBadTime
	}
	d.steady = gobreaker.NewTwoStepCircuitBreaker[struct{}](steady)
	if rules.BadRatio > 0 {
		ratio := settings
		ratio.Interval = rules.Window
		ratio.BucketPeriod = rules.Window / 6
		ratio.ReadyToTrip = func(c gobreaker.Counts) bool {
			return int(c.Requests) >= rules.MinRounds &&
				float64(c.TotalFailures) >= rules.BadRatio*float64(c.Requests) &&
				d.now.Sub(d.anyBad) >= rules.MinBadTime
		}
		d.ratio = gobreaker.NewTwoStepCircuitBreaker[struct{}](ratio)
	}
	return d
}

// feed takes the verdict of a round that was started at now. An Inconclusive
// verdict changes nothing.
func (d *detector) feed(now time.Time, v Verdict) Breaker {
	d.now = now
	if v != Inconclusive {
		d.unclear = time.Time{}
	}
	switch v {
	case PoolDown:
		if d.bad++; d.bad == 1 {
			d.firstBad = now
		}
		if d.anyBad.IsZero() {
			d.anyBad = now
		}
		d.healthy, d.degraded = 0, 0
		d.report(errBad)
	case PoolUp, PoolDegraded:
		d.bad, d.firstBad = 0, time.Time{}
		d.healthy, d.degraded = d.healthy+1, d.degraded+1
		if v == PoolUp {
			d.degraded = 0
		} else {
			d.healthy = 0
		}
		d.report(nil)
	case Inconclusive:
		if d.unclear.IsZero() {
			d.unclear = now
		}
	}
	return d.breaker(now)
}

// blind reports whether nothing could be said for a whole window: what was
// seen before is no evidence any more.
func (d *detector) blind(now time.Time) bool {
	return d.window > 0 && !d.unclear.IsZero() && now.Sub(d.unclear) > d.window
}

// report feeds both breakers. An open breaker refuses, and that is right: it
// listens again after RetryAfter.
func (d *detector) report(err error) {
	for _, b := range d.breakers() {
		if done, refused := b.Allow(); refused == nil {
			done(err)
		}
	}
}

func (d *detector) breakers() []*gobreaker.TwoStepCircuitBreaker[struct{}] {
	if d.ratio == nil {
		return []*gobreaker.TwoStepCircuitBreaker[struct{}]{d.steady}
	}
	return []*gobreaker.TwoStepCircuitBreaker[struct{}]{d.steady, d.ratio}
}

func (d *detector) breaker(now time.Time) Breaker {
	state := BreakerClosed
	for _, b := range d.breakers() {
		switch b.State() {
		case gobreaker.StateOpen:
			state = BreakerOpen
		case gobreaker.StateHalfOpen:
			if state == BreakerClosed {
				state = BreakerHalfOpen
			}
		case gobreaker.StateClosed:
		}
	}
	out := Breaker{State: state, Bad: d.bad, Since: d.firstBad}
	switch {
	case state == BreakerClosed:
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
