package actions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// RecordFunc makes a record durable before it returns nil. The runner calls
// it from several goroutines.
type RecordFunc func(ctx context.Context, r Record) error

// Runner runs plans. Its zero durations mean the defaults.
type Runner struct {
	Record RecordFunc
	Log    zerolog.Logger

	Poll    time.Duration // first pause between two looks at a task; doubles up to PollMax. Default 100 ms
	PollMax time.Duration // default 5 s
	Reapply time.Duration // a task applied and not seen done is applied again after this. Default 1 min
	Doubt   time.Duration // what was sent and not answered may take effect for so long; a stop is sent again no earlier, within a third of its limit. Default 30 s
	Grace   time.Duration // what is left of a step once enough of its tasks are done. Default 30 s
}

// Run carries the plan from where progress says it stands to its end and
// returns when nothing of it runs any more. What it guarantees:
//
//   - no task is applied before its Started record is durable;
//   - a task whose effect Check can see is not applied;
//   - once a server's services may have been stopped, start-services is run
//     on every way out, also when ctx is cancelled, a step fails or records
//     can no longer be written (runbook step 7);
//   - after set-route nothing is rolled back;
//   - what Plan.Validate objects to is refused before anything begins, but
//     what earlier runs of the chain stopped is started.
//
// Ctx ends the run, and its cause says what for: ErrAborted makes the Outcome
// Aborted, any other Interrupted. Once all is done an end of ctx changes
// nothing.
func (r *Runner) Run(ctx context.Context, plan *Plan, chain string, progress Progress) Outcome {
	begin := time.Now()
	x := r.begin(plan, chain, progress)
	failed, err := x.forward(ctx)
	if err == nil && x.missed {
		x.catchUp(ctx)
	}
	if err != nil && len(x.stillStopped()) > 0 {
		if rescue := x.rescue(ctx); rescue != nil {
			err = Join(err, fmt.Errorf("and services could not all be started again: %w", rescue))
		}
	}
	out := Outcome{OK: err == nil, Step: failed, RouteMoved: true, Took: time.Since(begin)}
	if err != nil {
		out.RouteMoved = x.routeMoved(ctx)
		out.Aborted = errors.Is(context.Cause(ctx), ErrAborted)
		out.Interrupted = ctx.Err() != nil && !out.Aborted
		out.Unrecorded = errors.Is(err, errUnrecorded)
		if out.Aborted {
			err = aborted(err, context.Cause(ctx), out.RouteMoved)
		}
		out.Error = err.Error()
	}
	out.Stopped, out.Skipped = x.stillStopped(), x.skipped()
	return out
}

// aborted is err with what a person who ended the run has to know.
func aborted(err, cause error, moved bool) error {
	if !errors.Is(err, ErrAborted) { // it had failed by itself before
		err = Join(err, cause)
	}
	if moved {
		err = fmt.Errorf("%w; the route had moved by then, or may have: nothing is rolled back", err)
	}
	return err
}

// Abandon ends a chain that is not to be carried on: it starts the services
// that the chain stopped, sees whether federation has moved and does nothing
// else. Its Outcome counts as Interrupted, or as Aborted where that is the cause
// of ctx: nothing is known against the target.
func (r *Runner) Abandon(ctx context.Context, plan *Plan, chain string, progress Progress, why string) Outcome {
	begin := time.Now()
	x := r.begin(plan, chain, progress)
	err := errors.New(why)
	if len(x.stillStopped()) > 0 {
		if rescue := x.rescue(ctx); rescue != nil {
			err = fmt.Errorf("%w, and services could not all be started again: %w", err, rescue)
		}
	}
	out := Outcome{Step: x.reachedStep()}
	out.RouteMoved, out.Unsure = x.seeMoved(ctx)
	out.Aborted = errors.Is(context.Cause(ctx), ErrAborted)
	out.Interrupted = !out.Aborted
	if out.Aborted {
		err = aborted(err, context.Cause(ctx), out.RouteMoved)
	}
	out.Error, out.Stopped, out.Skipped, out.Took = err.Error(), x.stillStopped(), x.skipped(), time.Since(begin)
	return out
}

// run is one run of one plan.
type run struct {
	*Runner
	plan   *Plan
	chain  string
	missed bool // enough servers run, and one was not started because that could not be written down

	mu       sync.Mutex // guards what is below
	progress Progress
	rescuing bool
	sent     map[progressKey]time.Time // tasks that were sent and not answered: when
}

// forward runs what is left of the plan, in order, and names the step that
// stopped it.
func (x *run) forward(ctx context.Context) (StepName, error) {
	if name, err := x.plan.refusal(); err != nil {
		return name, err
	}
	if x.plan.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, x.plan.Timeout,
			fmt.Errorf("the %s took longer than %v", x.plan.Kind, x.plan.Timeout))
		defer cancel()
	}
	for _, s := range x.plan.Steps {
		if x.settled(s) {
			continue
		}
		if ctx.Err() != nil { // what was not begun is not begun now
			return s.Name, fmt.Errorf("%s: %w", s.Name, context.Cause(ctx))
		}
		if why, ok := x.plan.Skip[s.Name]; ok {
			if err := x.record(ctx, Record{Step: s.Name, Phase: Skipped, Detail: why}); err != nil {
				return s.Name, err
			}
			continue
		}
		if s.Name == StopServices && x.untouched(s.Name) && x.reached(ctx) {
			if err := x.pass(ctx, s, fmt.Sprintf("nothing is stopped: federation is on %s already", x.plan.To)); err != nil {
				return s.Name, err
			}
			continue
		}
		if err := x.step(ctx, s); err != nil {
			return s.Name, fmt.Errorf("%s: %w", s.Name, err)
		}
	}
	return "", nil
}

// reachedStep is the last step of the plan that earlier runs came to, the
// preflight when they came to none. A start of services out of turn was a
// rescue, which tells nothing.
func (x *run) reachedStep() StepName {
	x.mu.Lock()
	defer x.mu.Unlock()
	at, passed := Preflight, true
	for _, s := range x.plan.Steps {
		if x.progress.Step(s.Name) != "" && (s.Name != StartServices || passed) {
			at = s.Name
		}
		passed = x.progress.passed(s.Name)
	}
	return at
}

// settled reports whether a continued chain need not look at the step again.
// What was seen done speaks of then: somebody may have put it back since, or a
// service may have died. But once the move has begun there is no way back to a
// gate, and nothing is stopped twice.
func (x *run) settled(s Step) bool {
	x.mu.Lock()
	skipped, passed := x.progress.skipped(s.Name), x.progress.passed(s.Name)
	x.mu.Unlock()
	switch s.Name {
	case Preflight:
		return x.committed()
	case SetRoute, DNSRecords, StartServices, Verify:
		return skipped
	case StopServices, CheckPort:
	}
	return passed
}

// committed reports whether the chain may have changed something that has to
// be carried through: services that were stopped, the route, DNS. The start of
// services that a failback begins with does no harm where it ends there.
func (x *run) committed() bool {
	for _, name := range []StepName{StopServices, SetRoute, DNSRecords} {
		if !x.untouched(name) {
			return true
		}
	}
	return false
}

func (x *run) untouched(name StepName) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	return !x.progress.touched(name)
}

// reached reports whether there is nothing that services would have to be
// stopped for: the end state is there already, or, in a repair, all of it but
// DNS. In a failover a route that is right alone does not count: sites keep
// their old route when federation leaves them, and the procedure still orders
// the stop.
func (x *run) reached(ctx context.Context) bool {
	names := []StepName{SetRoute, DNSRecords, StartServices}
	if x.plan.Repair {
		names = []StepName{SetRoute, StartServices}
	}
	for _, name := range names {
		s, ok := x.plan.Step(name)
		if !ok {
			return false
		}
		for _, t := range s.Tasks {
			cctx, cancel := context.WithTimeout(ctx, s.Timeout)
			obs, err := look(cctx, t)
			cancel()
			if err != nil || obs.Status != Done {
				return false
			}
		}
	}
	return true
}

// look is a Check outside of the task's own run; a defect in it is no answer.
func look(ctx context.Context, t Task) (obs Observation, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: a defect in edgewatch: %v", t.Target(), p)
		}
	}()
	return t.Check(ctx)
}

// pass records all of s as found done.
func (x *run) pass(ctx context.Context, s Step, why string) error {
	for _, t := range s.Tasks {
		if err := x.record(ctx, Record{Step: s.Name, Target: t.Target(), Phase: Already, Detail: why}); err != nil {
			return err
		}
	}
	return x.record(ctx, Record{Step: s.Name, Phase: Already, Detail: why})
}

// step runs the tasks of s in parallel and returns when all have ended.
func (x *run) step(ctx context.Context, s Step) error {
	begin := time.Now()
	if err := x.record(ctx, Record{Step: s.Name, Phase: Started}); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.Timeout, fmt.Errorf("%s took longer than %v", s.Name, s.Timeout))
	defer cancel()

	type result struct {
		task Task
		did  bool
		err  error
	}
	results := make(chan result)
	for _, t := range s.Tasks {
		go func() {
			did, err := x.task(ctx, s, t)
			results <- result{t, did, err}
		}()
	}
	var (
		failures []error
		done     int
		applied  bool
	)
	for range s.Tasks {
		got := <-results
		applied = applied || got.did
		if got.err != nil {
			failures = append(failures, got.err)
			x.missed = x.missed || s.Name == StartServices && errors.Is(got.err, errUnrecorded)
			continue
		}
		if done++; done == s.need() && done < len(s.Tasks) {
			grace := time.AfterFunc(orDefault(x.Grace, 30*time.Second), cancel)
			defer grace.Stop()
		}
	}
	end := Record{Step: s.Name, Phase: Already, Took: time.Since(begin)}
	if applied {
		end.Phase = Finished
	}
	err := Join(failures...)
	if done < s.need() {
		end.Phase, end.Error = Failed, err.Error()
		x.recordBestEffort(ctx, end)
		return err
	}
	if err != nil {
		end.Error = err.Error()
		end.Detail = fmt.Sprintf("%d of %d done, %d were needed", done, len(s.Tasks), s.need())
	}
	return x.record(ctx, end)
}

// rescue starts the services that this chain stopped, whatever happened to
// ctx and to the journal. A time in which this process stood still, longer than
// the step may take, is none in which that was tried.
func (x *run) rescue(ctx context.Context) (err error) {
	s, ok := x.plan.Step(StartServices)
	if !ok {
		return errors.New("the plan has no start-services")
	}
	x.mu.Lock()
	x.rescuing = true
	x.mu.Unlock()
	s.Need = 0 // all of them: the least is for federation, not for cleaning up
	for range rescues {
		begin := time.Now()
		if err = x.step(context.WithoutCancel(ctx), s); err == nil || time.Since(begin) < s.Timeout+stoodStill {
			return err
		}
	}
	return err
}

const (
	rescues    = 3                // rounds, where we stood still in those before
	stoodStill = 30 * time.Second // beyond its limit a step takes no longer otherwise
)

// catchUp starts what was not started because that could not be written down:
// the rest of the move could. Like a rescue it does not end with ctx. What stays
// stopped all the same is named.
func (x *run) catchUp(ctx context.Context) {
	s, ok := x.plan.Step(StartServices)
	if !ok {
		return
	}
	ctx = context.WithoutCancel(ctx)
	s.Need = 0 // all of them
	for range catchUps {
		err := x.step(ctx, s)
		if err == nil {
			return
		}
		x.Log.Error().Err(err).Msg("services could not all be started later either")
		if !errors.Is(err, errUnrecorded) || sleep(ctx, catchUpEvery) != nil {
			return
		}
	}
}

// How often it is tried again to write down that a server is started, and at
// what distance: for the minutes in which a disk hangs or is made room on.
const (
	catchUps     = 10
	catchUpEvery = 15 * time.Second
)

// stillStopped names the servers, sorted, that may be down because of this
// chain or of one before it: for as long as there is one, the chain owes a start.
func (x *run) stillStopped() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.progress.StillStopped(x.plan.Owed)
}

// skipped lists the steps that a person ordered skipped.
func (x *run) skipped() []StepName {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.progress.Skipped()
}

// errUnrecorded is why nothing more is done: it could not be written down.
var errUnrecorded = errors.New("not in the journal")

func (x *run) record(ctx context.Context, rec Record) error {
	rec.Chain = x.chain
	x.mu.Lock()
	rec.Rescue = x.rescuing
	x.mu.Unlock()
	err := x.Record(ctx, rec)
	if err != nil && !rec.Rescue {
		return fmt.Errorf("%w: %s of %s: %w", errUnrecorded, rec.Phase, strings.TrimSpace(string(rec.Step)+" "+rec.Target), err)
	}
	if err != nil {
		// Bringing services back matters more than writing it down.
		x.Log.Error().Err(err).Str("step", string(rec.Step)).Str("target", rec.Target).Msg("rescue goes on without its record")
	}
	x.mu.Lock()
	x.progress.Add(rec)
	x.mu.Unlock()
	return nil
}

// recordBestEffort is for facts that change nothing of what follows, written
// also when ctx is at its end.
func (x *run) recordBestEffort(ctx context.Context, rec Record) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := x.record(ctx, rec); err != nil {
		x.Log.Error().Err(err).Str("step", string(rec.Step)).Str("target", rec.Target).Msg("record not written")
	}
}

func orDefault(d, def time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return def
}
