package actions

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"
)

// attempt is one task on its way: what was applied and seen so far.
type attempt struct {
	*run
	step Step
	task Task

	before  RecordPhase // what earlier runs recorded of it
	begin   time.Time
	tries   int       // how often this run applied it
	applied time.Time // when it was last applied without an error; zero after one
	touched bool      // an earlier run may have applied it
	last    error     // the newest error that trying again may cure
	saw     string    // the newest thing a Check saw
}

// task brings one task to done, within ctx, and reports whether this chain
// did it (rather than finding it done).
func (x *run) task(ctx context.Context, s Step, t Task) (did bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%s: %s: a defect in edgewatch: %v\n%s", t.Target(), s.Name, p, debug.Stack())
		}
	}()
	x.mu.Lock()
	phase, sent := x.progress.Task(s.Name, t.Target()), x.progress.sent[progressKey{s.Name, t.Target()}]
	x.mu.Unlock()
	a := &attempt{run: x, step: s, task: t, before: phase, begin: time.Now(), touched: sent}
	if err := a.converge(ctx); err != nil {
		x.recordBestEffort(ctx, a.recordOf(Failed, err))
		return a.did(), err
	}
	return a.did(), nil
}

func (a *attempt) did() bool { return a.tries > 0 || a.touched }

// converge checks, applies and checks again until the task is done, an error
// says that trying on is useless, or ctx ends.
func (a *attempt) converge(ctx context.Context) error {
	first := orDefault(a.Poll, 100*time.Millisecond)
	for pause := first; ; pause = min(2*pause, orDefault(a.PollMax, 5*time.Second)) {
		doubtful := a.doubtful()
		obs, err := a.task.Check(ctx)
		switch {
		case err == nil && obs.Status == Done && doubtful:
			a.saw = obs.Detail // not for long, maybe
		case err == nil && obs.Status == Done:
			a.saw = obs.Detail
			a.answered(a.step.Name, a.task.Target(), true)
			if a.tries == 0 && !observes(a.step.Name) && (a.before == Finished || a.before == Already) {
				return nil // as the journal has it
			}
			if a.did() {
				return a.record(ctx, a.recordOf(Finished, nil))
			}
			return a.record(ctx, a.recordOf(Already, nil))
		case ctx.Err() != nil:
			return a.outOfTime(context.Cause(ctx))
		case err != nil && !retryable(err):
			return err
		case err != nil:
			a.last = err
		case obs.Status == Pending || obs.Status == Partly:
			a.saw = obs.Detail
			if !a.due() {
				break
			}
			if again, err := a.apply(ctx); err != nil {
				return err
			} else if again {
				pause = first / 2
				continue // look at once: most calls return when their work is done
			}
		}
		if err := sleep(ctx, pause); err != nil {
			return a.outOfTime(err)
		}
	}
}

// doubtful reports whether a look that begins now may find services running that
// a stop, sent and not answered, is about to end. A limit of the step is kept.
func (a *attempt) doubtful() bool {
	return a.step.Name == StartServices && a.tries == 0 && time.Since(a.begin) < a.step.Timeout*2/3 &&
		a.run.doubt(StopServices, a.task.Target()) > 0
}

// due reports whether a pending task should be applied now: never applied,
// or applied so long ago that it must have been without effect.
func (a *attempt) due() bool {
	if a.step.Name == StopServices && time.Since(a.begin) < a.step.Timeout/3 && a.run.doubt(StopServices, a.task.Target()) > 0 {
		return false // it was sent: two at a time get into each other's way
	}
	return a.applied.IsZero() || time.Since(a.applied) >= orDefault(a.Reapply, time.Minute)
}

// apply records and applies the task. It reports whether a look at the task
// is worth while at once; an error ends the task.
func (a *attempt) apply(ctx context.Context) (look bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, a.outOfTime(context.Cause(ctx))
	}
	if err := a.record(ctx, Record{Step: a.step.Name, Target: a.task.Target(), Phase: Started, Detail: a.saw}); err != nil {
		return false, err
	}
	a.tries++
	a.applied = time.Time{}
	err = a.task.Apply(ctx)
	a.answered(a.step.Name, a.task.Target(), err == nil || KindOf(err) != Indeterminate && ctx.Err() == nil)
	if err == nil {
		a.applied, a.last = time.Now(), nil
		return true, nil
	}
	a.last = err
	if retryable(err) || ctx.Err() != nil {
		return false, nil // the next look, or the end of ctx, tells
	}
	// Refused, they say. What counts is what is seen.
	if obs, cerr := a.task.Check(ctx); cerr == nil && obs.Status == Done {
		return true, nil
	}
	return false, err
}

func (a *attempt) outOfTime(cause error) error {
	why := a.last
	if why == nil && a.saw != "" {
		why = errors.New("last seen: " + a.saw)
	}
	if why == nil {
		return fmt.Errorf("%s: %w", a.task.Target(), cause)
	}
	return fmt.Errorf("%s: %w: %w", a.task.Target(), cause, why)
}

func (a *attempt) recordOf(phase RecordPhase, err error) Record {
	r := Record{Step: a.step.Name, Target: a.task.Target(), Phase: phase, Detail: a.saw, Took: time.Since(a.begin)}
	if err != nil {
		r.Error = err.Error()
	}
	if a.tries > 1 {
		r.Tries = a.tries
	}
	return r
}

// retryable reports whether trying again, a Check first, may help.
func retryable(err error) bool {
	k := KindOf(err)
	return k == Transient || k == Indeterminate
}

// sleep waits for d or for the end of ctx, whose cause it then returns.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
