package sim

import (
	"fmt"
	"slices"
	"time"

	"edgewatch/watchdog"
)

// disarmed is for so many looks, one a minute, a pool may be dead after a repair
// of it that failed: the limits of what may still be running then, and the
// detection.
const disarmed = 15

// missed is the part of I8 that is about repairs: one that a person ordered and
// that fails leaves edgewatch as it was. When the pool dies that carries
// federation, and another one is ready, and nothing else stands against it, the
// repair does not either.
func (c *checks) missed(p *process) {
	if p != nil {
		c.missedBy(p.engine.Snapshot())
	}
}

func (c *checks) missedBy(snap *watchdog.Snapshot) {
	w := c.r.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if snap == nil || !c.repairAlone(snap) || !w.calm() || !c.couldLeave(snap) {
		c.idle = 0
		return
	}
	if c.idle++; c.idle == disarmed {
		c.r.violate("I8", fmt.Sprintf("%s is dead for %d minutes and another pool is ready, but %s was to repair it and did not get through: %s",
			snap.Active, disarmed, c.newest.ID, snap.Decision.Because))
	}
}

// repairAlone reports whether nothing but a repair that is not through may keep
// edgewatch from acting by itself. The caller holds the world's lock.
func (c *checks) repairAlone(snap *watchdog.Snapshot) bool {
	d, rules := snap.Decision, c.r.rules
	stuck := c.chain == c.newest.ID || d.State == watchdog.Faulted && d.BlockedBy == watchdog.GuardNone || d.BlockedBy == watchdog.GuardUnconfirmed
	free := snap.Hold == nil && snap.Pause == nil && snap.JournalError == "" && snap.Frozen == "" && snap.Lease == "" && !snap.At.Before(snap.Cooldown)
	spent := rules.Budget > 0 && c.figures.failovers >= rules.Budget
	return c.newest.Repair && rules.Mode == watchdog.ModeAuto && stuck && free && !spent && c.undisturbed()
}

// undisturbed reports whether nothing was half-way before the newest repair, and
// nobody aborted that. The caller holds the world's lock.
func (c *checks) undisturbed() bool {
	half := false
	for _, e := range c.entries {
		ordered := func(v watchdog.Verb) bool { return e.Kind == watchdog.KindCommand && e.Command.Verb == v }
		switch {
		case e.Kind == watchdog.KindChainEnd && !e.ChainEnd.Repair:
			half = !e.ChainEnd.Outcome.OK && (half || e.ChainEnd.Outcome.RouteMoved)
		case ordered(watchdog.VerbAdopt), ordered(watchdog.VerbAck):
			half = false
		case ordered(watchdog.VerbAbort):
			return false
		}
	}
	return !half
}

// couldLeave reports whether the active pool is dead, DNS leads to it, and another
// one is ready. The caller holds the world's lock.
func (c *checks) couldLeave(snap *watchdog.Snapshot) bool {
	w := c.r.world
	active, leads := w.poolNamed(snap.Active), w.leads()
	if active == nil || w.answering(active) > 0 || active.pathCut || len(leads) == 0 || leads[0] != snap.Active {
		return false
	}
	return slices.ContainsFunc(snap.Pools, func(s watchdog.PoolStatus) bool {
		p := w.poolNamed(s.Name)
		return s.Name != snap.Active && s.Readiness.Ready && !slices.ContainsFunc(p.hosts, func(h *host) bool { return !h.power || h.winrm != winrmWorks })
	})
}

// calm reports whether nothing of ours is broken, nor a witness. The caller holds
// the lock.
func (w *world) calm() bool {
	well := func(by *witness) bool { return *by == witness{url: by.url, phase: by.phase} }
	return !w.cut && w.loss == 0 && !w.local && time.Now().After(w.frozen) && w.clock == 0 && !w.diskFull && time.Now().After(w.diskHangs) &&
		!slices.ContainsFunc(w.witnesses, func(by *witness) bool { return !well(by) })
}
