package watchdog

import (
	"fmt"
	"strings"
	"time"

	"edgewatch/probe"
)

// Round is one look at everything: every address of every pool, and the
// canaries.
type Round struct {
	At       time.Time // when its probes were started
	Pools    []PoolRound
	Canaries CanaryStatus
	Frozen   string // why our own loop or clock cannot be trusted this round; empty when it can
	Vantage  string // where this process looks from
	Partner  []PartnerView
	Outdated bool      // the active pool answers, and Partner was looked at before it did
	Seen     time.Time // when Partner was looked at; zero: not since federation last moved

	// Unled and Led are surveys in a row in which nothing or something could be
	// learned from DNS about where partners are led.
	Unled, Led int

	Testimonies []Testimony // of the witnesses, in their order; none while there is no need to ask them
}

// PoolRound is one pool in a Round.
type PoolRound struct {
	Pool     string
	Results  []probe.Result // one per address
	Verdict  Verdict
	Why      string  // the verdict in words
	Breaker  Breaker // after this round
	Degraded int     // degraded rounds in a row, this one included, of one per normal interval
	Healthy  int     // likewise rounds without any trouble
	Suspect  bool    // whether something is wrong and a look sooner than usual would tell more

	// Unclear is since when the pool was seen neither up nor down although we
	// could trust ourselves; zero until that has lasted for UnclearTime.
	Unclear time.Time

	States []ServerState // one per address: what several rounds say of it
}

// UnclearTime is how long nobody may be able to tell whether the active pool is
// up or down before people are told: as long as the breaker's window is unless
// it is set.
const UnclearTime = 5 * time.Minute

// Pool returns the named pool's part of the round; the zero PoolRound, which
// is Inconclusive, when there is none.
func (r *Round) Pool(name string) PoolRound {
	if r != nil {
		for _, p := range r.Pools {
			if p.Pool == name {
				return p
			}
		}
	}
	return PoolRound{Pool: name}
}

// answers counts the addresses that answered.
func (p *PoolRound) answers() int {
	n := 0
	for _, r := range p.Results {
		if r.Level.Answers() {
			n++
		}
	}
	return n
}

// trusted reports whether nothing speaks against our own line, loop and clock.
func (r *Round) trusted() bool { return r != nil && r.Canaries.OK && r.Frozen == "" }

// Judge is what one round's results say of a pool: up with at least minUp
// servers answering, down when every server is seen down by its own fault
// while we can trust ourselves, and Inconclusive for all that lies between.
// Inconclusive never counts as down.
func Judge(results []probe.Result, minUp int, canaries CanaryStatus, frozen string) (Verdict, string) {
	var answers, down, degraded int
	for _, r := range results {
		switch {
		case r.Level.Answers():
			answers++
			if r.Level == probe.Degraded {
				degraded++
			}
		case r.Level == probe.Down:
			down++
		}
	}
	n := len(results)
	switch {
	case n == 0:
		return Inconclusive, "nothing was probed"
	case answers >= max(minUp, 1) && answers == n && degraded == 0:
		return PoolUp, fmt.Sprintf("%d of %d answer", answers, n)
	case answers >= max(minUp, 1):
		return PoolDegraded, fmt.Sprintf("%d of %d answer: %s", answers, n, trouble(results))
	case frozen != "":
		return Inconclusive, "our own fault is possible: " + frozen
	case !canaries.OK:
		return Inconclusive, "our own fault is possible: " + canaries.Why
	case down == n:
		return PoolDown, trouble(results)
	}
	return Inconclusive, fmt.Sprintf("%d of %d answer, %d are down, at least %d must answer: %s", answers, n, down, max(minUp, 1), trouble(results))
}

// trouble is what is wrong, an address at a time.
func trouble(results []probe.Result) string {
	var parts []string
	for _, r := range results {
		if r.Level != probe.Up {
			parts = append(parts, fmt.Sprintf("%s %s", r.Target.Addr, describe(r)))
		}
	}
	return strings.Join(parts, ", ")
}

// describe is one result in a few words: "connect/refused".
func describe(r probe.Result) string {
	s := fmt.Sprintf("%s/%s", r.Phase, r.Class)
	if r.Condition != "" {
		s += ":" + r.Condition
	}
	return s
}
