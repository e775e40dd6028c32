package lab

import (
	"context"
	"fmt"
	"strings"
	"time"

	"edgewatch/actions"
)

// Scenario is something that happens to an estate, and what must come of it.
type Scenario struct {
	Name  string
	About string // one sentence
	Setup func(*Options)
	// Process: edgewatch must be a process of its own, which can be killed.
	Process bool
	// Play makes it happen on a settled lab and judges from outside: what a
	// partner finds, what Slack shows, what the journal says.
	Play func(ctx context.Context, l *Lab, r *Report) error
}

// Report is how a scenario ended, as one line of JSON.
type Report struct {
	Scenario string     `json:"scenario"`
	OK       bool       `json:"ok"`
	Error    string     `json:"error,omitempty"` // what was not as it must be
	Active   string     `json:"active"`          // the pool that partners reach in the end
	Detected float64    `json:"detected_seconds,omitempty"`
	Restored float64    `json:"restored_seconds,omitempty"`
	Steps    []StepTime `json:"steps,omitempty"`
}

// StepTime is how long one step of the failover took.
type StepTime struct {
	Name    actions.StepName `json:"name"`
	Seconds float64          `json:"seconds"`
}

// Scenarios lists the scenarios.
func Scenarios() []Scenario {
	return []Scenario{
		{Name: "primary-down", About: "the pool that hosts federation dies; the second pool takes over", Play: primaryDown},
		{Name: "silent-standby", About: "the same, where a pool without the route does not answer XMPP",
			Setup: func(o *Options) { o.SilentStandby = true }, Play: primaryDown},
		{Name: "server-down", About: "one server of two dies; people are told which, and nothing moves", Setup: quick, Play: serverDown},
		{Name: "flapping", About: "a pool comes and goes, less than half of the time; people are told once, and nothing moves", Setup: flappingSetup, Play: flapping},
		{Name: "zombie", About: "the pool answers one time in three; the share of bad rounds gives it away", Setup: zombieSetup, Play: zombie},
		{Name: "cut-off", About: "the watchdog's own line dies; it knows, moves nothing, and goes on by itself once the line is back", Play: cutOff},
		{Name: "second-opinion", About: "only edgewatch's own way to the pool is cut, which a witness in another network tells; once the pool is really dead, it moves",
			Setup: secondOpinionSetup, Play: secondOpinion},
		{Name: "standby-down", About: "no standby is ready, so that people are called; the first that is ready takes over", Setup: standbyDownSetup, Play: standbyDown},
		{Name: "crash-mid-chain", About: "edgewatch is killed three times in the middle of a failover; each start goes on, and nothing is done twice",
			Process: true, Play: crashMidChain},
		{Name: "old-pool-returns", About: "the old pool is back; it is told, kept in quarantine, and not followed", Setup: oldPoolReturnsSetup, Play: oldPoolReturns},
		{Name: "failback", About: "a person takes federation home in the documented order, which stops nothing", Setup: failbackSetup, Play: failback},
		{Name: "switchover", About: "a planned move away from a pool that is well; a failover of it is refused", Play: switchover},
		{Name: "approve", About: "mode approve asks; a stranger's yes does nothing, and the operator's moves federation", Setup: approveSetup(time.Minute), Play: approve},
		{Name: "approve-timeout", About: "mode approve asks and nobody answers: it holds, until a person orders the failover", Setup: approveSetup(3 * time.Second), Play: approveTimeout},
		{Name: "paused", About: "the pool dies during a pause; it is moved once the pause is ended", Play: paused},
		{Name: "hold-release", About: "the pool dies while a person holds edgewatch; it is moved once they release it", Play: holdRelease},
		{Name: "abort", About: "a person ends a failover under way: what it stopped is started, and an ack lets edgewatch act again", Play: abort},
	}
}

// Find returns the scenario of that name.
func Find(name string) (Scenario, error) {
	var names []string
	for _, s := range Scenarios() {
		if s.Name == name {
			return s, nil
		}
		names = append(names, s.Name)
	}
	return Scenario{}, fmt.Errorf("there is no scenario %q; there are %s", name, strings.Join(names, ", "))
}

// Play waits until the lab has settled, plays the scenario and reports. It
// fails only in its report.
func (l *Lab) Play(ctx context.Context, s Scenario) Report {
	r := Report{Scenario: s.Name}
	err := l.Settled(ctx)
	if err == nil {
		err = s.Play(ctx, l, &r)
	}
	if err == nil {
		err = l.unharmed(ctx)
	}
	if found, perr := l.Partner(ctx); perr == nil {
		r.Active = found.Pool
	}
	if err != nil {
		r.Error = err.Error()
	}
	r.OK = err == nil
	return r
}
