package sim

import (
	"cmp"
	"time"

	"edgewatch/actions"
	"edgewatch/watchdog"
)

// evenly is the share of a window in which a pool must be down, where the
// configuration names none, for a failover from it to be right whatever the
// pool does in the second of the decision.
const evenly = 0.5

// measured is what the failovers of one run were like, in virtual time. It is
// guarded by the world's lock.
type measured struct {
	trip, begin, end, dns time.Time // of the first automatic failover
	ok                    bool
	failovers             int // that began by themselves
	needless              int // of them, from a pool that served partners then and for most of the window before, and not just since a moment ago
}

func (m *measured) tripped() {
	if m.begin.IsZero() {
		m.trip = time.Now()
	}
}

func (m *measured) began(w *world, c watchdog.ChainStart) {
	if !itself(&c) {
		return
	}
	m.failovers++
	if w.needless(c.From) {
		m.needless++
	}
	if m.begin.IsZero() {
		m.begin = time.Now()
	}
}

// needless reports whether a failover from the pool is false now: it serves
// partners, and did for most of the window before, and not just since a moment
// ago. Nobody can know of a recovery that is younger than the newest look. The
// caller holds the lock.
func (w *world) needless(from string) bool {
	look := w.f.Probe.SuspectInterval.Duration + w.f.Probe.Timeout.Duration
	p := w.poolNamed(from)
	return p != nil && w.up(p) && !p.justBack(look, w.f.Breaker.MinBadTime.Duration) &&
		p.served(w.f.Breaker.Window.Duration) > 1-cmp.Or(w.f.Breaker.Ratio, evenly)
}

func (m *measured) led() { m.dns = time.Now() }

func (m *measured) ended(out actions.Outcome) {
	if !m.begin.IsZero() && !m.ok {
		m.end, m.ok = time.Now(), out.OK
	}
}
