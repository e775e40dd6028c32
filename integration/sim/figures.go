package sim

import (
	"time"

	"edgewatch/actions"
	"edgewatch/watchdog"
)

// Figures are what a run was like, in virtual time.
type Figures struct {
	trip, begin, end, dns time.Time // of the first automatic failover
	ok                    bool
	failovers             int // that began by themselves
	needless              int // of them, while the pool served partners
}

func (f *Figures) tripped(string) {
	if f.begin.IsZero() {
		f.trip = time.Now()
	}
}

func (f *Figures) began(r *run, c watchdog.ChainStart) {
	if c.Trigger != watchdog.TriggerAuto || c.Retry > 0 {
		return
	}
	f.failovers++
	if p := r.world.poolNamed(c.From); p != nil && r.world.up(p) {
		f.needless++
	}
	if f.begin.IsZero() {
		f.begin = time.Now()
	}
}

func (f *Figures) led() { f.dns = time.Now() }

func (f *Figures) ended(out actions.Outcome) {
	if !f.begin.IsZero() && !f.ok {
		f.end, f.ok = time.Now(), out.OK
	}
}
