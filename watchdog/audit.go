package watchdog

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"edgewatch/actions"
)

// Auditor holds what is about to be written to edgewatch's promises, as far
// as a journal alone can show them. It folds entries on its own and asks the
// machine nothing, so that a defect in one of the two is seen by the other.
// The numbers are those of the invariants in the README:
//
//	I1  nothing is reported done that was not recorded as begun
//	I2  one failover at a time, and every record belongs to it
//	I3  nothing is touched before the preflight has passed, and DNS follows the route
//	I4  nothing that edgewatch began by itself is carried on after a time in which nobody looked
//	I5  a failover that went well names the servers that it left stopped
//	I6  nothing begins by itself while paused or held, in a mode that leaves it to people, or before they had their time to answer
//	I7  budget, cool-down and the number of attempts are kept
//
// It is not safe for concurrent use.
type Auditor struct {
	rules    Rules
	chain    audited
	paused   time.Time            // automatic failover is paused until then …
	pausing  time.Duration        // … as it was ordered for so long
	held     bool                 // until a person releases it
	started  bool                 // a process began since the newest failover did or was carried on
	ordered  bool                 // … or a person ordered one
	incident string               // the newest
	asked    map[string]time.Time // since when it was asked in it whether to fail over to which pool, unless somebody held edgewatch back meanwhile
	asking   bool                 // the newest decision is that question
	denied   bool                 // … and a person said no
	autos    map[string]time.Time // by incident: its first automatic failover; a failback is none
	cooldown time.Time            // of the last automatic failover that went well
	failed   int                  // failovers of the open incident that failed since a person spoke
}

// audited is the newest failover.
type audited struct {
	id, incident string
	auto, open   bool
	own          bool      // auto, or a person's yes to edgewatch's question
	dropped      bool      // it is not carried on
	moved        bool      // federation was seen moved, or may have as far as a run that ended could see
	newest       time.Time // of it
	done         bool      // it went well
	owed         []string  // servers that an earlier failover left stopped
	steps        map[actions.StepName]actions.RecordPhase
	tasks        map[auditedTask]actions.RecordPhase
}

type auditedTask struct {
	step   actions.StepName
	target string
}

// NewAuditor returns an auditor that has seen nothing.
func NewAuditor(rules Rules) *Auditor {
	return &Auditor{rules: rules, autos: map[string]time.Time{}, asked: map[string]time.Time{}}
}

// Check says which promise the entries would break if they were written next,
// in that order; nil when none. It changes nothing.
func (a *Auditor) Check(entries []Entry) error {
	_, err := a.sound(entries)
	return err
}

// sound counts the entries that may be written, up to the first that would
// break a promise, and says which.
func (a *Auditor) sound(entries []Entry) (int, error) {
	c := *a
	c.autos, c.asked = maps.Clone(a.autos), maps.Clone(a.asked)
	c.chain.steps, c.chain.tasks = maps.Clone(a.chain.steps), maps.Clone(a.chain.tasks)
	for i, e := range entries {
		if err := c.check(e); err != nil {
			return i, fmt.Errorf("%w (%s: %s)", err, e.Kind, e.Sentence())
		}
		c.Apply(e)
	}
	return len(entries), nil
}

func (a *Auditor) check(e Entry) error {
	switch e.Kind {
	case KindChain:
		return a.checkChain(e)
	case KindStep:
		return a.checkStep(e.Step)
	case KindChainEnd:
		return a.checkEnd(e.ChainEnd)
	case KindNotice:
		if e.Notice.Kind == NoticePauseEnded && e.At.Before(a.paused) {
			return fmt.Errorf("I6: the pause is said to have ended, but lasts until %s", clock(a.paused))
		}
	case KindPool, KindDecision, KindCommand:
	}
	return nil
}

func (a *Auditor) checkChain(e Entry) error {
	c := e.Chain
	switch {
	case c.Retry > 0:
		return a.checkRetry(e)
	case a.chain.open:
		return fmt.Errorf("I2: %s begins while %s is running", c.ID, a.chain.id)
	case c.ID == a.chain.id:
		return fmt.Errorf("I2: %s begins a second time", c.ID)
	case c.Trigger == TriggerAuto:
		return a.checkItself(e)
	}
	return nil
}

// checkRetry holds a failover that is carried on: after a crash, by a person's
// order, or because it was not through.
func (a *Auditor) checkRetry(e Entry) error {
	c := e.Chain
	itself := a.chain.open && a.chain.own && c.Dropped == ""
	switch {
	case c.ID != a.chain.id:
		return fmt.Errorf("I2: %s is carried on, but %s is the newest failover", c.ID, a.chain.id)
	case a.chain.done:
		return fmt.Errorf("I2: %s is carried on, but went well", c.ID)
	case a.chain.open && !a.started:
		return fmt.Errorf("I2: %s is carried on while it is running", c.ID)
	case !a.chain.open && !a.ordered && a.held:
		return errors.New("I6: a failover is carried on by itself while held")
	case (itself || !a.chain.open && !a.ordered && a.chain.own) && a.rules.Mode == ModeObserve:
		return errors.New("I6: a failover is carried on by itself in mode observe")
	case itself && !a.chain.moved && e.At.Sub(a.chain.newest).Abs() > a.rules.awayFor():
		return fmt.Errorf("I4: a failover is carried on by itself, and the last of it was %s", ago(e.At.Sub(a.chain.newest)))
	}
	return nil
}

// checkItself holds a failover that begins by itself.
func (a *Auditor) checkItself(e Entry) error {
	c := e.Chain
	switch {
	case a.rules.Mode != ModeAuto && (a.rules.Mode != ModeApprove || a.rules.ApprovalThen != ApprovalActs):
		return fmt.Errorf("I6: a failover begins by itself in mode %s", a.rules.Mode)
	case a.denied && e.Incident == a.incident:
		return errors.New("I6: a failover begins by itself although a person denied it")
	case a.rules.Mode == ModeApprove && (a.asked[c.To].IsZero() || e.At.Before(a.asked[c.To].Add(a.rules.ApprovalTimeout))):
		return fmt.Errorf("I6: a failover begins by itself before people had %s to answer", Span(a.rules.ApprovalTimeout))
	case e.At.Before(a.paused):
		return fmt.Errorf("I6: a failover begins by itself, paused until %s", clock(a.paused))
	case a.held:
		return errors.New("I6: a failover begins by itself while held")
	case e.At.Before(a.cooldown):
		return fmt.Errorf("I7: a failover begins by itself in the cool-down until %s", clock(a.cooldown))
	case a.rules.Budget > 0 && a.spent(e) >= a.rules.Budget:
		return fmt.Errorf("I7: a failover begins by itself after %d within %s", a.spent(e), Span(a.rules.BudgetWindow))
	case e.Incident == a.chain.incident && a.failed >= a.rules.MaxAttempts:
		return fmt.Errorf("I7: a failover begins by itself after %d of its incident failed", a.failed)
	}
	return nil
}

// spent counts the other incidents within the budget's window that had an
// automatic failover; none for an incident that had one itself.
func (a *Auditor) spent(e Entry) int {
	if _, charged := a.autos[e.Incident]; charged {
		return 0
	}
	n := 0
	for _, at := range a.autos {
		if at.After(e.At.Add(-a.rules.BudgetWindow)) {
			n++
		}
	}
	return n
}

func (a *Auditor) checkStep(r *actions.Record) error {
	switch {
	case !a.chain.open || r.Chain != a.chain.id:
		return fmt.Errorf("I2: a record of %s, which is not running", r.Chain)
	case r.Rescue || !mutates(r.Step):
		return nil // what brings services back goes on even where nothing can be recorded
	case r.Target != "" && r.Phase == actions.Finished && !a.begun(r):
		return fmt.Errorf("I1: %s on %s is reported done and was never recorded as begun", r.Step, r.Target)
	case a.chain.dropped:
		return fmt.Errorf("I6: %s of a failover that is not carried on", r.Step)
	case !a.passed(actions.Preflight):
		return fmt.Errorf("I3: %s before the preflight has passed", r.Step)
	case r.Step == actions.DNSRecords && !a.passed(actions.SetRoute):
		return fmt.Errorf("I3: %s before the route is set", r.Step)
	}
	return nil
}

func mutates(s actions.StepName) bool {
	return s != actions.Preflight && s != actions.CheckPort && s != actions.Verify
}

func (a *Auditor) begun(r *actions.Record) bool {
	phase := a.chain.tasks[auditedTask{r.Step, r.Target}]
	return phase != "" && phase != actions.Already
}

func (a *Auditor) passed(s actions.StepName) bool {
	phase := a.chain.steps[s]
	return phase != "" && phase != actions.Started && phase != actions.Failed
}

func (a *Auditor) checkEnd(end *ChainEnd) error {
	if !a.chain.open || end.ID != a.chain.id {
		return fmt.Errorf("I2: the end of %s, which is not running", end.ID)
	}
	if !end.Outcome.OK {
		return nil // what brings services back need not be in the journal
	}
	named := map[string]bool{}
	for _, s := range end.Outcome.Stopped {
		named[s] = true
	}
	for _, server := range a.chain.owed {
		if phase := a.chain.tasks[auditedTask{actions.StartServices, server}]; phase != actions.Finished && phase != actions.Already && !named[server] {
			return fmt.Errorf("I5: %s was stopped by an earlier failover, was not seen started, and is not named", server)
		}
	}
	for task, phase := range a.chain.tasks {
		started := a.chain.tasks[auditedTask{actions.StartServices, task.target}]
		if task.step == actions.StopServices && phase != actions.Already && !named[task.target] &&
			started != actions.Finished && started != actions.Already {
			return fmt.Errorf("I5: %s was stopped, was not seen started, and is not named", task.target)
		}
	}
	return nil
}

// Apply folds a durable entry in, whether it would pass Check or not: an old
// journal is no reason to stop.
func (a *Auditor) Apply(e Entry) {
	a.rewind(e.At)
	if e.Incident != "" && e.Incident != a.incident {
		a.incident = e.Incident
		a.answered()
	}
	switch e.Kind {
	case KindChain:
		a.applyChain(e)
	case KindStep:
		a.applyStep(e.Step, e.At)
	case KindChainEnd:
		a.applyEnd(e)
	case KindCommand:
		a.applyCommand(e)
	case KindNotice:
		a.applyNotice(e.Notice)
	case KindDecision:
		a.applyDecision(e)
	case KindPool:
	}
}

// applyDecision notes what people are asked. A question whose time ended while
// nothing was asked is a new one, as is one after somebody held edgewatch back.
func (a *Auditor) applyDecision(e Entry) {
	d := e.Decision
	if d.Will == WillAsk && (a.asked[d.To].IsZero() || !a.asking && !e.At.Before(a.asked[d.To].Add(a.rules.ApprovalTimeout))) {
		a.asked[d.To] = e.At
	}
	a.asking = d.Will == WillAsk
}

// answered ends the question.
func (a *Auditor) answered() {
	clear(a.asked)
	a.denied = false
}

func (a *Auditor) applyNotice(n *Notice) {
	switch n.Kind {
	case NoticePauseEnded:
		// Whoever sets the clock back does not bring back a pause that people
		// were told has ended.
		a.paused = time.Time{}
	case NoticeStarted:
		a.started = true
	case NoticeClock:
		a.advance(n.By)
	default:
	}
}

// advance makes good for a clock that was set forward: what counts from before
// that goes on for as long as it would have.
func (a *Auditor) advance(by time.Duration) {
	if by <= 0 {
		return
	}
	a.paused, a.cooldown = a.paused.Add(by), a.cooldown.Add(by)
	for pool, since := range a.asked {
		a.asked[pool] = since.Add(by)
	}
	for incident, began := range a.autos {
		a.autos[incident] = began.Add(by)
	}
}

// rewind makes good for a clock that was set back to at: what was before it
// cannot be later.
func (a *Auditor) rewind(at time.Time) {
	a.paused = earlier(a.paused, at.Add(a.pausing))
	for pool, since := range a.asked {
		a.asked[pool] = earlier(since, at)
	}
	if end := at.Add(a.rules.Cooldown); a.cooldown.After(end) {
		a.cooldown = end
	}
	for incident, began := range a.autos {
		a.autos[incident] = earlier(began, at)
	}
}

func (a *Auditor) applyChain(e Entry) {
	c := e.Chain
	a.started, a.ordered = false, false
	a.answered()
	if c.ID == a.chain.id {
		a.chain.open, a.chain.dropped, a.chain.newest = true, c.Dropped != "", e.At
		return
	}
	if e.Incident != a.chain.incident {
		a.failed = 0
	}
	a.chain = audited{
		id: c.ID, incident: e.Incident, auto: c.Trigger == TriggerAuto, own: c.Trigger == TriggerAuto || c.Asked, open: true, newest: e.At, owed: c.Owed,
		steps: map[actions.StepName]actions.RecordPhase{}, tasks: map[auditedTask]actions.RecordPhase{},
	}
	if _, known := a.autos[e.Incident]; a.chain.auto && c.Kind != actions.Failback && !known {
		a.autos[e.Incident] = e.At
	}
	maps.DeleteFunc(a.autos, func(incident string, at time.Time) bool {
		return incident != e.Incident && at.Before(e.At.Add(-2*a.rules.BudgetWindow))
	})
}

func (a *Auditor) applyStep(r *actions.Record, at time.Time) {
	if a.chain.id == "" || r.Chain != a.chain.id {
		return
	}
	a.chain.newest = at
	if r.Target == "" {
		a.chain.steps[r.Step] = r.Phase
		return
	}
	a.chain.tasks[auditedTask{r.Step, r.Target}] = r.Phase
	a.chain.moved = a.chain.moved || r.Phase == actions.Finished && (r.Step == actions.SetRoute || r.Step == actions.DNSRecords)
	if r.Step == actions.StopServices && r.Phase == actions.Started {
		delete(a.chain.tasks, auditedTask{actions.StartServices, r.Target})
	}
}

func (a *Auditor) applyEnd(e Entry) {
	if e.ChainEnd.ID != a.chain.id {
		return
	}
	a.chain.open, a.chain.done = false, e.ChainEnd.Outcome.OK
	a.chain.moved = a.chain.moved || e.ChainEnd.Outcome.RouteMoved
	switch out := e.ChainEnd.Outcome; {
	case out.OK && a.chain.auto:
		a.cooldown = e.At.Add(a.rules.Cooldown)
	case !out.OK && !out.RouteMoved && !out.Interrupted && !out.Aborted:
		a.failed++
	}
}

func (a *Auditor) applyCommand(e Entry) {
	switch cmd := e.Command; cmd.Verb {
	case VerbPause:
		a.paused, a.pausing = e.At.Add(cmd.For), cmd.For
		clear(a.asked)
	case VerbResume:
		a.paused = time.Time{}
	case VerbHold:
		a.held = true
		clear(a.asked)
	case VerbRelease:
		a.held = false
	case VerbAck, VerbAdopt:
		a.chain.open = false // of a federation that was gone: nothing runs
		a.cooldown, a.failed = time.Time{}, 0
		a.answered()
	case VerbFailover, VerbRetry, VerbSkipStep:
		a.failed, a.ordered = 0, true
	case VerbSwitchover, VerbFailback, VerbApprove:
		a.failed = 0
	case VerbDeny:
		a.denied = true
	case VerbAbort:
	}
}
