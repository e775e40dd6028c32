package actions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"
)

// world is a small estate that the runner's tests fail over: what tasks see
// and change, how often, and what goes wrong.
type world struct {
	mu      sync.Mutex
	running map[string]bool // by server
	route   string
	dns     string
	log     []string // every Apply that reached the world, e.g. "stop e1"
	fail    map[string][]error
	checks  map[string][]error
	onApply func(what string)
	onCheck func(what string) // called before anything is seen
	life    int               // of the process that acts; a dead one reaches nothing
}

var errDead = errors.New("this process is dead")

var servers = []string{"e1", "e2"}

func newWorld() *world {
	return &world{
		running: map[string]bool{"e1": true, "e2": true}, route: "old", dns: "old",
		fail: map[string][]error{}, checks: map[string][]error{},
	}
}

// applied says how often an Apply reached the world.
func (w *world) applied(what string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := 0
	for _, l := range w.log {
		if l == what {
			n++
		}
	}
	return n
}

// end is the world's state in a word, for comparing ends.
func (w *world) end() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return fmt.Sprintf("e1=%v e2=%v route=%s dns=%s", w.running["e1"], w.running["e2"], w.route, w.dns)
}

// job is a Task on the world.
type job struct {
	w      *world
	what   string // "stop e1"
	target string
	see    func(*world) bool
	do     func(*world)
	life   int
}

func (j *job) Target() string    { return j.target }
func (j *job) Preview() []string { return []string{j.what} }

func (j *job) Check(ctx context.Context) (Observation, error) {
	j.w.mu.Lock()
	hook := j.w.onCheck
	j.w.mu.Unlock()
	if hook != nil {
		hook(j.what)
	}
	if err := ctx.Err(); err != nil {
		return Observation{}, err
	}
	j.w.mu.Lock()
	defer j.w.mu.Unlock()
	if j.life != j.w.life {
		return Observation{}, errDead
	}
	if err := pop(j.w.checks, j.what); err != nil {
		return Observation{}, err
	}
	if j.see(j.w) {
		return Observation{Status: Done, Detail: "as wanted"}, nil
	}
	return Observation{Status: Pending, Detail: "not yet"}, nil
}

// lost is an answer that got lost after the change was made.
var lost = &Error{Kind: Indeterminate, Host: "host", Op: "apply", Err: errors.New("connection reset")}

func (j *job) Apply(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j.w.mu.Lock()
	if j.life != j.w.life {
		j.w.mu.Unlock()
		return errDead
	}
	err := pop(j.w.fail, j.what)
	if err == nil || errors.Is(err, lost) {
		j.w.log = append(j.w.log, j.what)
		if j.do != nil {
			j.do(j.w)
		}
	}
	hook := j.w.onApply
	j.w.mu.Unlock()
	if hook != nil {
		hook(j.what)
	}
	return err
}

func pop(m map[string][]error, key string) error {
	if len(m[key]) == 0 {
		return nil
	}
	err := m[key][0]
	m[key] = m[key][1:]
	return err
}

// plan is the documented failover on the world.
func (w *world) plan() *Plan { return w.planOf(Failover) }

// planOf is the documented order of a kind on the world.
func (w *world) planOf(kind PlanKind) *Plan {
	per := func(verb string, want bool) []Task {
		var tasks []Task
		for _, s := range servers {
			tasks = append(tasks, &job{w, verb + " " + s, s,
				func(w *world) bool { return w.running[s] == want },
				func(w *world) { w.running[s] = want }, w.life})
		}
		return tasks
	}
	one := func(what string, see func(*world) bool, do func(*world)) []Task {
		return []Task{&job{w, what, what, see, do, w.life}}
	}
	yes := func(*world) bool { return true }
	step := func(name StepName, tasks []Task) Step {
		return Step{Name: name, Tasks: tasks, Timeout: 5 * time.Minute}
	}
	steps := map[StepName]Step{
		Preflight:     step(Preflight, one("preflight", yes, nil)),
		StopServices:  step(StopServices, per("stop", false)),
		SetRoute:      step(SetRoute, one("route", func(w *world) bool { return w.route == "new" }, func(w *world) { w.route = "new" })),
		DNSRecords:    step(DNSRecords, one("dns", func(w *world) bool { return w.dns == "new" }, func(w *world) { w.dns = "new" })),
		CheckPort:     step(CheckPort, one("port", yes, nil)),
		StartServices: step(StartServices, per("start", true)),
		Verify: step(Verify, one("verify", func(w *world) bool {
			return w.running["e1"] && w.running["e2"] && w.route == "new" && w.dns == "new"
		}, nil)),
	}
	plan := &Plan{Kind: kind, Federation: "contoso", From: "EdgePool1", To: "EdgePool2", Timeout: time.Hour}
	for _, name := range kind.Steps() {
		plan.Steps = append(plan.Steps, steps[name])
	}
	return plan
}

// notebook is a durable record keeper that can fail or crash.
type notebook struct {
	mu      sync.Mutex
	records []Record
	given   int                         // numbers, each to one record
	before  func(n int, r Record) error // called before the n-th record is kept
	after   func(n int, r Record)       // called once it is kept
}

func (n *notebook) record(_ context.Context, r Record) error {
	n.mu.Lock()
	i := n.given
	n.given++
	n.mu.Unlock()
	if n.before != nil {
		if err := n.before(i, r); err != nil {
			return err
		}
	}
	n.mu.Lock()
	n.records = append(n.records, r)
	n.mu.Unlock()
	if n.after != nil {
		n.after(i, r)
	}
	return nil
}

func (n *notebook) progress() Progress {
	var p Progress
	for _, r := range n.records {
		p.Add(r)
	}
	return p
}

// order is the sequence of steps as a whole, e.g. "stop-services started".
func (n *notebook) order() []string {
	var out []string
	for _, r := range n.records {
		if r.Target == "" {
			out = append(out, string(r.Step)+" "+string(r.Phase))
		}
	}
	return out
}

func (n *notebook) has(step StepName, target string, phase RecordPhase) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.records, func(r Record) bool {
		return r.Step == step && r.Target == target && r.Phase == phase
	})
}

func mustEnd(t *testing.T, w *world, want string) {
	t.Helper()
	if got := w.end(); got != want {
		t.Errorf("the estate ended as %s, want %s", got, want)
	}
}

const (
	restored  = "e1=true e2=true route=new dns=new"
	untouched = "e1=true e2=true route=old dns=old"
)
