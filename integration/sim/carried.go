package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"edgewatch/actions"
	"edgewatch/watchdog"
)

// carried is what the checks know of the newest failover for the case that its
// process dies and the next one goes on with it. It is guarded by the world's
// lock.
type carried struct {
	mode    watchdog.Mode // in which it began
	ordered bool          // a person had it taken up
	spoken  bool          // a person has said something since it began
	ended   bool          // edgewatch was to end, in good order or because it lost its lease
	broke   bool          // a step of it failed while that was not so …
	failed  bool          // … and the start of services had begun
	unsure  bool          // a change of route or records by it may have come true, and nobody saw whether
	against *objection    // what stands against it since the newest start; nil: nothing
	led     bool          // it changed the records, and nobody else has since
	newest  time.Time     // of its records, or when it was taken up
}

// objection is why a failover must not go on.
type objection struct {
	invariant, why string
	steps          []actions.StepName // with which it would
}

// moves are the steps that take federation elsewhere.
var moves = []actions.StepName{actions.SetRoute, actions.DNSRecords}

// goesOn is I4, I6 and I7 for a failover that edgewatch had begun by itself and
// that had moved nothing when its process died: what spoke for it was known to
// that process, however long ago that is. A pool that is well by the measure of
// false failovers when the next process takes it up is not left any more, unless
// edgewatch was away for a moment only; nor is one where it may not act by itself
// by now; and what had failed does not begin anew. The caller holds the world's
// lock.
func (c *checks) goesOn(start *watchdog.ChainStart) {
	k := &c.carried
	switch {
	case start.ID != c.newest.ID:
		*k = carried{mode: c.r.rules.Mode}
		return
	case start.ID != c.chain: // it had ended, and is tried again
		dropped := c.newest.Dropped != "" && !k.spoken && !k.led && c.moved[start.ID] == ""
		*k = carried{mode: k.mode, ordered: true, led: k.led}
		if dropped {
			k.against = &objection{"I4", "it was not carried on, and nobody has spoken since", moves}
		}
		return
	}
	gone := time.Since(k.newest)
	k.against, k.ended, k.newest = nil, false, time.Now()
	own := start.Trigger == watchdog.TriggerAuto && start.Kind != actions.Failback && !k.ordered
	if !own || k.unsure || k.led || c.moved[start.ID] != "" {
		return
	}
	mode := c.r.rules.Mode
	switch {
	case gone > max(30*time.Second, c.r.rules.EvidenceAge) && c.r.world.needless(start.From) && !c.looked(start.From):
		k.against = &objection{"I4", "the restart found " + start.From + " serving partners", moves}
	case mode == watchdog.ModeObserve, mode == watchdog.ModeApprove && k.mode == watchdog.ModeAuto:
		k.against = &objection{"I6", fmt.Sprintf("mode is %s by now, and it began in mode %s", mode, k.mode), moves}
	case k.failed:
		k.against = &objection{"I7", "it had failed, and its services were being started again", append([]actions.StepName{actions.StopServices}, moves...)}
	}
}

// looked reports whether what the process that died knew of the pool is evidence
// still: a crash that is over so soon ends as none would. A way to it that is cut
// for us alone says nothing else. The caller holds the world's lock.
func (c *checks) looked(pool string) bool {
	return c.r.world.poolNamed(pool).pathCut || time.Since(c.died) <= c.r.rules.EvidenceAge+c.r.estate.settings.Watch.RoundTimeout
}

// stepped takes in what was recorded of a step. The caller holds the world's lock.
func (k *carried) stepped(r *actions.Record) {
	k.newest = time.Now()
	k.broke = k.broke || r.Target == "" && r.Phase == actions.Failed && !k.ended
	k.failed = k.failed || r.Rescue && k.broke
}

// ending notes that edgewatch is to end: what it ends then has not failed.
func (r *run) ending() {
	r.world.with(func() { r.checks.carried.ended = true })
}

// moving is told of every change that a failover is about to make. The caller
// holds the world's lock.
func (c *checks) moving(t *task) {
	k := &c.carried
	if o := k.against; o != nil && slices.Contains(o.steps, t.step) {
		c.r.violate(o.invariant, fmt.Sprintf("%s had moved nothing when edgewatch died, and goes on with %s on %s, although %s", t.chain, t.step, t.target, o.why))
	}
	k.unsure = k.unsure || slices.Contains(moves, t.step)
}

// moved is told what came of it. The caller holds the world's lock.
func (k *carried) moved(t *task, err error) {
	var failure *actions.Error
	known := err == nil || errors.As(err, &failure) && failure.Kind != actions.Indeterminate
	if t.step == actions.SetRoute && known {
		k.unsure = false
	}
}
