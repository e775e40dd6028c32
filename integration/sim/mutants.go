package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Mutant is the product with one defect put into it on purpose. The simulator
// must find it: a check that cannot fail proves nothing.
type Mutant struct {
	Name   string
	File   string // of this module
	Old    string // stands there exactly once
	New    string
	Breaks []string // the invariants that it may be seen to break
}

// Mutants lists the defects that the simulator must find.
func Mutants() []Mutant {
	return slices.Concat(guardMutants, resumeMutants, returnMutants, evidenceMutants, chainMutants, dnsMutants, journalMutants, outboxMutants)
}

var guardMutants = []Mutant{
	{"witnesses ignored", "watchdog/decide.go", "if why := q.doubt(); why != \"\" {", "if why := q.doubt(); why != \"\" && false {", []string{"I4"}},
	{"stale testimony believed", "watchdog/witness.go", "case t.Age < 0 || age > most:", "case t.Age < 0:", []string{"I4"}},
	{"a witness in doubt believed", "watchdog/witness.go", "case t.Unsure != \"\":", "case t.Unsure == \"never\":", []string{"I4"}},
	{"pause ignored", "watchdog/decide.go", "if p := f.pause; p != nil && q.at.Before(p.Until) {", "if p := f.pause; p != nil && false {", []string{"I6"}},
	{"hold ignored", "watchdog/decide.go", "if h := f.hold; h != nil {", "if h := f.hold; h != nil && false {", []string{"I6"}},
	{"a no ignored", "watchdog/decide.go", "case f.denied != nil && r.Mode != ModeObserve:", "case false:", []string{"I6"}},
	{"the time to answer runs on in a pause", "watchdog/ask.go", "f.ask.cut = true", "f.ask.cut = false", []string{"I6"}},
	{"mode ignored", "watchdog/decide.go", "case r.Mode == ModeAuto:", "case true:", []string{"I6"}},
	{"cool-down ignored", "watchdog/decide.go", "if q.at.Before(f.cooldown) {", "if false {", []string{"I7"}},
	{"budget ignored", "watchdog/decide.go", "n >= r.Budget && !f.charged {", "false {", []string{"I7"}},
	{"budget not charged", "watchdog/chain.go", "f.autos, f.charged = append(f.autos, e.At), true", "f.charged = true", []string{"I7"}},
	{"failovers run side by side", "watchdog/transitions.go", "eventName(VerbFailover):   {refuse: oneAtATime},", "eventName(VerbFailover):   {do: (*step).failover},", []string{"I2"}},
	{"lease ignored", "watchdog/engine.go", "e.levels.Lease = e.lease()", "e.levels.Lease = \"\"", []string{"I1"}},
	{"edge instead of level", "watchdog/machine.go", "case d.Will == WillFailover:", "case d.Will == WillFailover && slices.ContainsFunc(s.ready.Entries, func(e Entry) bool { return e.Kind == KindPool }):", []string{"I8"}},
}

var resumeMutants = []Mutant{
	{"nothing is taken up after a crash", "watchdog/resume.go", "if s.fold.running() {\n\t\ts.continueAs(", "if false {\n\t\ts.continueAs(", []string{"I8"}},
	{"what had failed is taken up", "watchdog/resume.go", "case c.rescued:", "case false:", []string{"I7"}},
	{"what lay for hours is carried on", "watchdog/resume.go", "case c.own() && away.Abs() > s.rules.awayFor():", "case away.Abs() < 0:", []string{"I4"}},
	{"what began by itself is carried on in mode observe", "watchdog/resume.go", "case c.own() && s.rules.Mode == ModeObserve:", "case false:", []string{"I6"}},
}

var returnMutants = []Mutant{
	{"an unsteady pool is returned to", "watchdog/decide.go", "back && f.quarantine(p, q.at, r) == \"\" &&", "back &&", []string{"I4"}},
}

var evidenceMutants = []Mutant{
	{"inconclusive counts as down", "watchdog/detector.go", "switch v {\n\tcase PoolDown:", "if v == Inconclusive {\n\t\tv = PoolDown\n\t}\n\tswitch v {\n\tcase PoolDown:", []string{"I4"}},
	{"canaries ignored", "watchdog/look.go", "s.OK = s.Good >= minGood", "s.OK = true", []string{"I4"}},
	{"a freeze is not noticed", "watchdog/look.go", "r.Frozen = frozen(", "_ = frozen(", []string{"I4"}},
	{"one server down is the pool down", "watchdog/round.go", "case down == n:", "case down >= 1:", []string{"I4"}},
	{"one bad round is enough", "watchdog/detector.go", "int(c.ConsecutiveFailures) >= d.rules.BadRounds &&", "", []string{"I4"}},
}

var chainMutants = []Mutant{
	{"effect before record", "actions/task.go", "if err := a.record(ctx, Record{Step: a.step.Name, Target: a.task.Target(), Phase: Started, Detail: a.saw}); err != nil {", "if err := ctx.Err(); err != nil {", []string{"I1"}},
	{"record not awaited", "watchdog/writing.go", "case err := <-done:\n\t\treturn err\n", "default:\n\t\treturn nil\n", []string{"I1", "I3"}},
	{"DNS before preflight", "actions/kind.go", "return []StepName{Preflight, StopServices, SetRoute, DNSRecords, CheckPort, StartServices, Verify}", "return []StepName{DNSRecords, Preflight, StopServices, SetRoute, CheckPort, StartServices, Verify}", []string{"I3"}},
	{"a resumed run believes instead of looking", "actions/task.go", "case err == nil && obs.Status == Done:", "case err == nil && (obs.Status == Done || a.touched):", []string{"I5", "I8"}},
	{"services stay stopped after a failure", "actions/runner.go", "if err != nil && len(x.stillStopped()) > 0 {", "if false {", []string{"I5"}},
	{"what stays stopped is not named", "actions/runner.go", "out.Stopped, out.Skipped = x.stillStopped(), x.skipped()", "out.Stopped, out.Skipped = nil, x.skipped()", []string{"I5"}},
	{"a moved route is denied", "actions/runner.go", "\t\tout.RouteMoved = x.routeMoved(ctx)\n", "\t\tout.RouteMoved = false\n", []string{"I8"}},
	{"what was sent late is believed not to come", "actions/doubt.go", "return max(0, x.doubtTime()-time.Since(at))", "return 0 * time.Since(at)", []string{"I5", "I8"}},
	{"a repair that is not through stands in the way", "watchdog/fold.go", "if f.unfinished() && f.chain.Repair && !f.chain.outcome.Aborted {", "if false {", []string{"I8"}},
	{"a move in doubt is taken back", "watchdog/chain.go", "f.chain.moved, f.undone = true, f.chain.word()", "f.chain.moved, f.undone = false, \"\"", []string{"I8"}},
	{"a look that outlives the doubt is believed", "actions/moved.go", "x.lookFor(ctx, s, min(d, s.Timeout)); changed && !unsure {\n\t\t\treturn true, false", "x.lookFor(ctx, s, s.Timeout); changed && !unsure || x.stepDoubt(name) <= 0 {\n\t\t\treturn changed, unsure", []string{"I8"}},
	{"a zone that needed nothing has moved", "actions/moved.go", "tasks, gone := x.touched(s)\n", "tasks, gone := s.Tasks, false\n", []string{"I4", "I8"}},
	{"a failover is run twice", "watchdog/engine.go", "\t\te.start(ctx, effect)\n", "\t\te.start(ctx, effect)\n\t\te.start(ctx, effect)\n", []string{"I2", "I1"}},
}

var dnsMutants = []Mutant{
	{"old records go and new ones do not come", "actions/rfc2136/edit.go", "e.remove, e.add = len(e.old) > 0, want", "e.remove, e.add = len(e.old) > 0, want[:0]", []string{"I3"}},
	{"new records stand beside the old ones", "actions/rfc2136/edit.go", "e.remove, e.add = len(e.old) > 0, want", "e.remove, e.add = false, want", []string{"I3"}},
	{"an edit made meanwhile is overwritten", "actions/rfc2136/edit.go", "if len(e.old) > 0 {\n\t\t\tm.Used(copies(e.old))\n\t\t\tcontinue\n\t\t}\n\t\tm.RRsetNotUsed", "if len(e.old) > 0 {\n\t\t\tcontinue\n\t\t}\n\t\tm.RRsetNotUsed", []string{"I3"}},
	{"records that one server holds have not moved", "actions/rfc2136/records.go", "o.Status, o.Unsure = actions.Partly, !held", "o.Status = actions.Pending", []string{"I8"}},
	{"addresses of no pool are overwritten", "actions/rfc2136/edit.go", "if !slices.Contains(a.Addrs, h) && !slices.Contains(a.Known, h) {", "if false {", []string{"I3"}},
}

var journalMutants = []Mutant{
	{"a write that hangs is not awaited by the next", "watchdog/writing.go", "if e.hanging != nil {\n\t\treturn nil,", "if false {\n\t\treturn nil,", []string{"I8"}},
	{"doubt about the journal ignored", "watchdog/writing.go", "if errors.Is(err, ErrJournalUnsure) {", "if false {", []string{"I2", "I8", "I9"}},
	{"effects without a durable journal", "watchdog/engine.go", "if err := e.save(ctx, &ready); err != nil {\n\t\treturn ready, err\n\t}", "_ = e.save(ctx, &ready)", []string{"I1", "I2", "I5"}},
}

var outboxMutants = []Mutant{
	{"lost outbox cursor", "watchdog/slack/outbox.go", "if err := b.s.o.Cursors.SaveCursor(ctx, cursorName, data); err != nil {", "if err := error(nil); len(data) == 0 {", []string{"I9"}},
	{"a post whose answer was lost is posted again", "watchdog/slack/send.go", "b.unsure = err != nil && classify(err) == ambiguous", "b.unsure = false", []string{"I9"}},
	{"a message that is refused holds up all behind it", "watchdog/slack/send.go", "if plain == plainest || kind", "if plain == 0 || kind", []string{"I8"}},
	{"the first post of a process is not looked up", "watchdog/slack/outbox.go", "unsure: true, edited", "unsure: false, edited", []string{"I9"}},
}

// apply is the file's text with the defect in it.
func (m Mutant) apply(root string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(root, m.File))
	if err != nil {
		return nil, fmt.Errorf("defect %q: %w", m.Name, err)
	}
	if n := bytes.Count(text, []byte(m.Old)); n != 1 {
		return nil, fmt.Errorf("defect %q: %s holds what it changes %d times, once is wanted: %q", m.Name, m.File, n, m.Old)
	}
	return bytes.Replace(text, []byte(m.Old), []byte(m.New), 1), nil
}

// find builds the product with the defect, without touching the tree at root,
// and plays seeds until it shows.
func (m Mutant) find(ctx context.Context, root string, seeds int) (*Violation, error) {
	text, err := m.apply(root)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "edgelab-mutant-")
	if err != nil {
		return nil, fmt.Errorf("defect %q: %w", m.Name, err)
	}
	defer os.RemoveAll(dir)
	changed, overlay, program := filepath.Join(dir, "changed.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "edgelab")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, m.File): changed}})
	if err != nil {
		return nil, fmt.Errorf("defect %q: %w", m.Name, err)
	}
	if err := errors.Join(os.WriteFile(changed, text, 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		return nil, fmt.Errorf("defect %q: %w", m.Name, err)
	}
	build := exec.CommandContext(ctx, "go", "build", "-overlay", overlay, "-o", program, "./cmd/edgelab")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("defect %q: build: %w\n%s", m.Name, err, out)
	}
	var out, errOut bytes.Buffer
	play := exec.CommandContext(ctx, program, "simulate", "--seeds", fmt.Sprint(seeds), "--first", "-o", "json")
	play.Stdout, play.Stderr = &out, &errOut
	if err := play.Run(); err == nil {
		return nil, fmt.Errorf("defect %q was not found in %d seeds", m.Name, seeds)
	}
	var report Report
	if err := json.Unmarshal(out.Bytes(), &report); err != nil || len(report.Violations) == 0 {
		return nil, fmt.Errorf("defect %q: the simulator failed (%w):\n%s%s", m.Name, err, out.String(), errOut.String())
	}
	v := report.Violations[0]
	if !slices.Contains(m.Breaks, v.Invariant) {
		return &v, fmt.Errorf("defect %q showed as %s: %s; want one of %v", m.Name, v.Invariant, v.Text, m.Breaks)
	}
	return &v, nil
}

// FindMutants looks for every defect whose name contains only, one after
// another, and tells how each showed. Root is the module's directory.
func FindMutants(ctx context.Context, root, only string, seeds int, out io.Writer) error {
	var errs []error
	found := 0
	for _, m := range Mutants() {
		if !strings.Contains(m.Name, only) {
			continue
		}
		begin := time.Now()
		v, err := m.find(ctx, root, seeds)
		if err != nil {
			fmt.Fprintf(out, "NOT FOUND %v\n", err)
			errs = append(errs, err)
			continue
		}
		found++
		fmt.Fprintf(out, "found     %-45s by seed %d, %s, in %s\n", m.Name, v.Seed, v.Invariant, time.Since(begin).Round(time.Second))
	}
	if found == 0 && len(errs) == 0 {
		return usageError{fmt.Errorf("there is no defect whose name contains %q", only)}
	}
	fmt.Fprintf(out, "%d defects found, %d not\n", found, len(errs))
	return errors.Join(errs...)
}
