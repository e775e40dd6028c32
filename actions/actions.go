// Package actions runs a plan: the documented failover or failback as a list
// of steps that can be observed and repeated. Every step is checked, recorded as
// started, applied, checked again and recorded as finished, so that a run
// which died anywhere is continued and nothing is done twice.
package actions

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"
)

// StepName names a step of the documented procedure. Names never change:
// they stand in journals.
type StepName string

// The steps in documented order ("Failing over the Edge pool used for XMPP
// federation"; the numbers are the page's).
const (
	Preflight     StepName = "preflight"      // step 1 and all that must hold before anything is touched
	StopServices  StepName = "stop-services"  // step 2: Stop-CsWindowsService on every server of the target pool
	SetRoute      StepName = "set-route"      // step 3: Set-CsSite moves the XMPP federation route
	DNSRecords    StepName = "dns-records"    // steps 4 and 5: A/AAAA changed, SRV added if missing
	CheckPort     StepName = "check-port"     // step 6: port 5269 of the target pool is reachable
	StartServices StepName = "start-services" // step 7: Start-CsWindowsService on every server of the target pool
	Verify        StepName = "verify"         // a partner's view: SRV, address, stream
)

// Steps lists all step names, in the documented order of a failover.
func Steps() []StepName { return Failover.Steps() }

// Skippable reports whether a person may order the step skipped: it only
// looks, and nothing stays half-done without it. The preflight only looks too,
// but is what guards the rest.
func Skippable(name StepName) bool { return name == CheckPort || name == Verify }

// Status is what a Check saw.
type Status uint8

// Unknown is the harmless zero: nothing may be concluded from it.
const (
	Unknown Status = iota
	Pending        // observed, and not yet as wanted: nothing has changed
	Partly         // observed, and not yet as wanted everywhere: where it counts it is already, or may be
	Done           // observed, and as wanted
)

var statusWords = []string{"unknown", "pending", "partly", "done"}

// String is the word used in journals and messages.
func (s Status) String() string {
	if int(s) < len(statusWords) {
		return statusWords[s]
	}
	return fmt.Sprintf("invalid(%d)", uint8(s))
}

// MarshalText implements encoding.TextMarshaler.
func (s Status) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *Status) UnmarshalText(b []byte) error {
	i := slices.Index(statusWords, string(b))
	if i < 0 {
		return fmt.Errorf("unknown status %q", b)
	}
	*s = Status(i)
	return nil
}

// Observation is what a Check saw, with the evidence in words.
type Observation struct {
	Status Status
	Detail string // e.g. "7 of 7 services Stopped"; never a secret
	Unsure bool   // of Partly: where it counts nobody could look
}

// Task is one step on one target: a server, a site or a zone. Its methods
// may be called again after any failure or crash and must then converge.
type Task interface {
	// Target is the host or zone the task acts on. It is unique within its
	// step and the same in every run: progress is kept by it.
	Target() string

	// Preview is what Apply would run or send, as an operator would type it.
	// It contacts nobody.
	Preview() []string

	// Check observes and changes nothing. A Pending observation comes with a
	// nil error, and so does one of Partly: both are applied and looked at
	// again, but only Pending says that nothing has moved. An error says that
	// nothing could be observed, or that what was seen can never become done
	// (Rejected).
	Check(ctx context.Context) (Observation, error)

	// Apply makes the change and is never called before it is recorded. Its
	// nil error is no proof: the Check after it is. For a task that only
	// observes, Apply does nothing.
	Apply(ctx context.Context) error
}

// Step is a set of tasks that run in parallel.
type Step struct {
	Name    StepName
	Tasks   []Task
	Timeout time.Duration // for the step as a whole, retries included
	Need    int           // how many tasks must be done for the step to count as done; 0 means all
}

func (s Step) need() int {
	if s.Need <= 0 || s.Need > len(s.Tasks) {
		return len(s.Tasks)
	}
	return s.Need
}

// Plan is the move of one federation from one pool to another.
type Plan struct {
	Kind       PlanKind
	Federation string
	From, To   string // pool names
	Steps      []Step // in the order they run
	Timeout    time.Duration

	// Repair says that To is taken to carry federation already and only what
	// is wrong around it shall be put right: where its route is right and its
	// services run, they are not stopped.
	Repair bool

	// Before is what earlier runs of the chain came to. The Runner sets it.
	Before Progress

	// Owed names servers of To whose services an earlier chain stopped and did
	// not see running again: this chain owes them a start as if it had stopped
	// them itself.
	Owed []string

	// Skip has the steps that a person ordered skipped, each with the reason,
	// which names that person.
	Skip map[StepName]string
}

// Validate reports what Run would refuse before anything begins: a kind that
// nobody knows, or an order to skip what may not be. Its error is AskHuman.
func (p *Plan) Validate() error {
	_, err := p.refusal()
	return err
}

// refusal is Validate with the step that it is about.
func (p *Plan) refusal() (StepName, error) {
	refuse := func(op, next, format string, args ...any) error {
		return &Error{Kind: AskHuman, Host: p.Federation, Op: op, Next: next, Err: fmt.Errorf(format, args...)}
	}
	if !p.Kind.Known() {
		return Preflight, refuse("plan", "report this as a bug of edgewatch", "there is no procedure %q", string(p.Kind))
	}
	for _, name := range slices.Sorted(maps.Keys(p.Skip)) {
		if !Skippable(name) {
			return name, refuse("skip "+string(name), fmt.Sprintf("mend what holds it up, or abort the %s", p.Kind),
				"only %s and %s, which change nothing, may be skipped", CheckPort, Verify)
		}
		if p.Skip[name] == "" {
			return name, refuse("skip "+string(name), "say who skips it and why", "no reason is given")
		}
	}
	return "", nil
}

// Step returns the step of that name, and whether the plan has it.
func (p *Plan) Step(name StepName) (Step, bool) {
	i := slices.IndexFunc(p.Steps, func(s Step) bool { return s.Name == name })
	if i < 0 {
		return Step{}, false
	}
	return p.Steps[i], true
}

// Outline is the plan in words: what would be run and sent, in order. It
// contacts nobody.
func (p *Plan) Outline() []StepOutline {
	out := make([]StepOutline, 0, len(p.Steps))
	for _, s := range p.Steps {
		o := StepOutline{Step: s.Name}
		for _, t := range s.Tasks {
			o.Tasks = append(o.Tasks, TaskOutline{Target: t.Target(), Commands: t.Preview()})
		}
		out = append(out, o)
	}
	return out
}

// StepOutline is one step of Plan.Outline.
type StepOutline struct {
	Step  StepName      `json:"step"`
	Tasks []TaskOutline `json:"tasks"`
}

// TaskOutline is one task of a StepOutline.
type TaskOutline struct {
	Target   string   `json:"target"`
	Commands []string `json:"commands"`
}
