package sim

import (
	"time"

	"edgewatch/actions"
	"edgewatch/watchdog"
)

// measured is what the failovers of one run were like, in virtual time. It is
// guarded by the world's lock.
type measured struct {
	trip, begin, end, dns time.Time // of the first automatic failover
	ok                    bool
	failovers             int // that began by themselves
	needless              int // of them, while the pool served partners
}

func (m *measured) tripped() {
	if m.begin.IsZero() {
		m.trip = time.Now()
	}
}

func (m *measured) began(w *world, c watchdog.ChainStart) {
	if c.Trigger != watchdog.TriggerAuto || c.Retry > 0 || c.Kind == actions.Failback {
		return
	}
	m.failovers++
	if p := w.poolNamed(c.From); p != nil && w.up(p) {
		m.needless++
	}
	if m.begin.IsZero() {
		m.begin = time.Now()
	}
}

func (m *measured) led() { m.dns = time.Now() }

func (m *measured) ended(out actions.Outcome) {
	if !m.begin.IsZero() && !m.ok {
		m.end, m.ok = time.Now(), out.OK
	}
}
