package actions

import "time"

// Record is what the runner makes durable about one task. A Started record
// is durable before Apply is called.
type Record struct {
	Chain  string        `json:"chain"`
	Step   StepName      `json:"step"`
	Target string        `json:"target"`
	Phase  RecordPhase   `json:"phase"`
	Detail string        `json:"detail,omitempty"` // what Check saw
	Error  string        `json:"error,omitempty"`
	Took   time.Duration `json:"took,omitempty"`
}

// RecordPhase says what a Record tells.
type RecordPhase string

// The phases of a task.
const (
	Started  RecordPhase = "started"  // about to be applied
	Finished RecordPhase = "finished" // seen done after it was applied
	Already  RecordPhase = "already"  // seen done before anything was applied
	Failed   RecordPhase = "failed"   // given up
)

// Outcome is how a run of a plan ended.
type Outcome struct {
	OK         bool          `json:"ok"`
	Step       StepName      `json:"step,omitempty"`    // where it failed
	Error      string        `json:"error,omitempty"`   // names host, step and the next thing to do
	RouteMoved bool          `json:"route_moved"`       // set-route was begun and not seen unchanged: nothing is rolled back
	Stopped    []string      `json:"stopped,omitempty"` // servers whose services this chain stopped and could not start again
	Took       time.Duration `json:"took"`
}
