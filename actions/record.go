package actions

import (
	"maps"
	"slices"
	"time"
)

// Record is what the runner makes durable about a task, or, with an empty
// Target, about a step as a whole. A task's Started record is durable before
// Apply is called.
type Record struct {
	Chain  string        `json:"chain"`
	Step   StepName      `json:"step"`
	Target string        `json:"target,omitempty"`
	Phase  RecordPhase   `json:"phase"`
	Detail string        `json:"detail,omitempty"` // what Check saw, or why it was skipped
	Error  string        `json:"error,omitempty"`
	Took   time.Duration `json:"took,omitempty"`
	Tries  int           `json:"tries,omitempty"`  // how often it was applied, when more than once
	Rescue bool          `json:"rescue,omitempty"` // start-services run because the chain failed
}

// RecordPhase says what a Record tells.
type RecordPhase string

// The phases of a step and of a task.
const (
	Started  RecordPhase = "started"  // about to be applied
	Finished RecordPhase = "finished" // seen done after it was applied
	Already  RecordPhase = "already"  // seen done before anything was applied
	Failed   RecordPhase = "failed"   // given up
	Skipped  RecordPhase = "skipped"  // of a step as a whole: not run, on the order of a person whom Detail names
)

// Word says how the step or task stands, e.g. "done", "passed" for what only
// looks, "needed nothing" for what was found done.
func (r Record) Word() string {
	switch {
	case r.Phase == Failed:
		return "failed"
	case r.Phase == Started:
		return "started"
	case r.Phase == Skipped:
		return "skipped"
	case observes(r.Step):
		return "passed"
	case r.Unneeded():
		return Needless
	}
	return "done"
}

// Needless is in a word how a step or task stands that was Unneeded.
const Needless = "needed nothing"

// Unneeded reports whether the step or task changes things, and nothing had to
// be changed: all was found as it should be.
func (r Record) Unneeded() bool { return r.Phase == Already && !observes(r.Step) }

// observes reports whether the step only looks.
func observes(name StepName) bool { return name == Preflight || name == CheckPort || name == Verify }

// Outcome is how a run of a plan ended.
type Outcome struct {
	OK         bool          `json:"ok"`
	Step       StepName      `json:"step,omitempty"`    // where it failed
	Error      string        `json:"error,omitempty"`   // names host, step and the next thing to do
	RouteMoved bool          `json:"route_moved"`       // set-route was begun and not seen unchanged: nothing is rolled back
	Stopped    []string      `json:"stopped,omitempty"` // servers whose services this chain stopped and did not see running again
	Took       time.Duration `json:"took"`

	// Unsure says of a chain that was abandoned that nobody could see whether
	// federation has moved: RouteMoved is the safe guess then.
	Unsure bool `json:"unsure,omitempty"`

	// Interrupted says that the run was ended from outside (edgewatch was
	// stopping, the lease was lost) and nothing is known against the target:
	// it is to be taken up again.
	Interrupted bool `json:"interrupted,omitempty"`

	// Aborted says that a person ended the run (ErrAborted), and Error says
	// who and why. It is not to be taken up again by itself. An Outcome is
	// never both interrupted and aborted.
	Aborted bool `json:"aborted,omitempty"`

	// Unrecorded says that the run ended because a record could not be made
	// durable. That is our own fault: nothing is known against the target.
	Unrecorded bool `json:"unrecorded,omitempty"`

	// Skipped are the steps that a person ordered skipped, in documented
	// order: what they would have proven is not proven, even if OK.
	Skipped []StepName `json:"skipped,omitempty"`
}

// Progress is how far a chain got: a fold over its records. The zero value
// is a chain that has not begun.
type Progress struct {
	last map[progressKey]RecordPhase
	sent map[progressKey]bool // tasks that may have been applied: what only failed to be looked at was not
}

type progressKey struct {
	step   StepName
	target string
}

// Add folds r in. A server that is about to be stopped is no longer one that
// was started, even if an earlier run rescued it.
func (p *Progress) Add(r Record) {
	if p.last == nil {
		p.last, p.sent = make(map[progressKey]RecordPhase), make(map[progressKey]bool)
	}
	key := progressKey{r.Step, r.Target}
	p.last[key] = r.Phase
	if r.Target != "" && (r.Phase == Started || r.Phase == Finished) {
		p.sent[key] = true
	}
	if r.Step == SetRoute && r.Target != "" && r.Phase == Started {
		maps.DeleteFunc(p.last, func(k progressKey, _ RecordPhase) bool { return k.step == Verify }) // a proof of what was before
	}
	if r.Step == StopServices && r.Target != "" && r.Phase == Started {
		delete(p.last, progressKey{StartServices, r.Target})
		delete(p.last, progressKey{StartServices, ""})
	}
}

// Clone returns a copy that shares nothing with p.
func (p Progress) Clone() Progress {
	return Progress{last: maps.Clone(p.last), sent: maps.Clone(p.sent)}
}

// Step returns the newest phase of the step as a whole, "" before it began.
func (p Progress) Step(name StepName) RecordPhase { return p.last[progressKey{name, ""}] }

// Begun reports whether any task of the step may have been applied, or was
// found done. A step that was merely entered has not begun, nor one whose tasks
// could not be looked at.
func (p Progress) Begun(name StepName) bool {
	for key, phase := range p.last {
		if key.step == name && key.target != "" && (phase == Already || p.sent[key]) {
			return true
		}
	}
	return false
}

// Moved reports whether federation may have moved. A route that was found right
// moves nothing by itself where the source is well, or where nothing else was
// touched: sites keep theirs when federation leaves them.
func (p Progress) Moved(kind PlanKind) bool {
	return p.touched(SetRoute) || p.touched(DNSRecords) || !kind.planned() && p.Begun(SetRoute) && p.Touched()
}

// Changed reports whether any task of the step was applied and seen done.
func (p Progress) Changed(name StepName) bool {
	for key, phase := range p.last {
		if key.step == name && key.target != "" && phase == Finished {
			return true
		}
	}
	return false
}

// Touched reports whether any task that changes something may have been applied.
func (p Progress) Touched() bool {
	return slices.ContainsFunc(Steps(), func(name StepName) bool { return !observes(name) && p.touched(name) })
}

// Task returns the newest phase of one task, "" before it began.
func (p Progress) Task(name StepName, target string) RecordPhase {
	return p.last[progressKey{name, target}]
}

// Stopped names the servers, sorted, whose services the chain may have stopped
// and did not see running again.
func (p Progress) Stopped() []string {
	var out []string
	for key, phase := range p.last {
		if key.step != StopServices || key.target == "" || phase == Already {
			continue
		}
		if !p.running(key.target) {
			out = append(out, key.target)
		}
	}
	slices.Sort(out)
	return out
}

// StillStopped is Stopped with those of owed, which an earlier chain left
// stopped, that this one has not seen running either.
func (p Progress) StillStopped(owed []string) []string {
	out := p.Stopped()
	for _, server := range owed {
		if !p.running(server) && !slices.Contains(out, server) {
			out = append(out, server)
		}
	}
	slices.Sort(out)
	return out
}

// running reports whether the server's services were seen running.
func (p Progress) running(server string) bool {
	phase := p.Task(StartServices, server)
	return phase == Finished || phase == Already
}

// Skipped lists the steps that a person ordered skipped, in documented order.
func (p Progress) Skipped() []StepName {
	var out []StepName
	for _, name := range Steps() {
		if p.skipped(name) {
			out = append(out, name)
		}
	}
	return out
}

// skipped does not believe a journal that claims more than may be skipped.
func (p Progress) skipped(name StepName) bool {
	return p.Step(name) == Skipped && Skippable(name)
}

// found reports whether all that the step is about was found done, and nothing
// of it was ever applied.
func (p Progress) found(name StepName) bool {
	looked := false
	for key, phase := range p.last {
		if key.step != name || key.target == "" {
			continue
		}
		if phase != Already {
			return false
		}
		looked = true
	}
	return looked
}

// passed reports whether the step was seen done, or is skipped.
func (p Progress) passed(name StepName) bool {
	phase := p.Step(name)
	return phase == Finished || phase == Already || p.skipped(name)
}

// Applied reports whether a task of the step may have been applied.
func (p Progress) Applied(name StepName) bool { return p.touched(name) }

// touched reports whether any task of the step may have been applied, also
// one that today's configuration no longer has.
func (p Progress) touched(name StepName) bool { return len(p.targets(name)) > 0 }

// targets are the tasks of the step that may have been applied.
func (p Progress) targets(name StepName) []string {
	var out []string
	for key := range p.sent {
		if key.step == name {
			out = append(out, key.target)
		}
	}
	return out
}
