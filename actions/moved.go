package actions

import (
	"context"
	"errors"
	"slices"
	"time"
)

// routeMoved reports whether the route may have been moved: in doubt, yes.
// Sites keep their old route when federation leaves them, so that the way back
// may find it right. Where the source is well, or federation is where it is
// brought to, or nothing else was touched, that has moved nothing before DNS
// has; otherwise there is no way back in any case.
func (x *run) routeMoved(ctx context.Context) bool {
	x.mu.Lock()
	found, touched := x.progress.found(SetRoute), x.progress.Touched()
	x.mu.Unlock()
	if found && touched && !x.plan.Kind.planned() && !x.plan.Repair {
		return true
	}
	moved, _ := x.moved(ctx)
	return moved
}

// moved reports whether federation has moved or may have, and whether that could
// not be seen. There is no way back where DNS has moved, whatever became of the
// route since.
func (x *run) moved(ctx context.Context) (moved, unsure bool) {
	x.mu.Lock()
	found := x.progress.found(SetRoute)
	x.mu.Unlock()
	route, routeUnsure := false, false
	if !found {
		route, routeUnsure = x.changed(ctx, SetRoute)
	}
	if route && !routeUnsure {
		return true, false
	}
	dns, dnsUnsure := x.changed(ctx, DNSRecords)
	if dns && !dnsUnsure {
		return true, false
	}
	return route || dns, routeUnsure || dnsUnsure
}

// seeMoved is moved for a chain that is not carried on: it has time to look again
// where nothing could be seen, as when the management host is still starting.
func (x *run) seeMoved(ctx context.Context) (moved, unsure bool) {
	begin, pause := time.Now(), orDefault(x.Poll, 100*time.Millisecond)
	_, can := x.plan.Step(SetRoute)
	for {
		moved, unsure = x.moved(ctx)
		if !unsure || !can || time.Since(begin) > seeFor || sleep(ctx, pause) != nil {
			return moved, unsure
		}
		pause = min(2*pause, orDefault(x.PollMax, 5*time.Second))
	}
}

// seeFor is longer than a management host takes to start.
const seeFor = 15 * time.Minute

// changed reports whether the chain has changed what the step is about or may
// have, and whether that could not be seen.
func (x *run) changed(ctx context.Context, name StepName) (changed, unsure bool) {
	x.mu.Lock()
	did, touched := x.progress.Step(name) == Finished, x.progress.touched(name)
	x.mu.Unlock()
	s, ok := x.plan.Step(name)
	switch {
	case did || !touched:
		return did, false
	case !ok:
		return true, true
	}
	if x.stepDoubt(name) > 0 && ctx.Err() != nil && !errors.Is(context.Cause(ctx), ErrAborted) {
		return true, true // whoever takes it up sees; this process is to end
	}
	ctx = context.WithoutCancel(ctx)
	if d := x.stepDoubt(name); d > 0 {
		if changed, unsure = x.lookFor(ctx, s, min(d, s.Timeout)); changed && !unsure {
			return true, false
		}
		_ = sleep(ctx, x.stepDoubt(name)) // what was not seen may come yet, or came since
	}
	return x.lookFor(ctx, s, s.Timeout)
}

// lookFor looks once, for no longer than limit, whether anything that may have been
// applied of the step has changed, and whether that could not be seen.
func (x *run) lookFor(ctx context.Context, s Step, limit time.Duration) (changed, unsure bool) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tasks, gone := x.touched(s)
	for _, t := range tasks {
		switch obs, err := look(ctx, t); {
		case err != nil || obs.Status == Unknown || obs.Unsure:
			changed, unsure = true, true
		case obs.Status != Pending:
			return true, false
		}
	}
	return changed || gone, unsure || gone
}

// touched are the tasks of the step that may have been applied: what was found as
// it should be says nothing. Where one of them is no longer in the plan, all hosts
// may show what became of the route, because there is one topology; of a zone that
// is gone the others say nothing.
func (x *run) touched(s Step) (tasks []Task, gone bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	all := x.progress.targets(s.Name)
	for _, t := range s.Tasks {
		if slices.Contains(all, t.Target()) {
			tasks = append(tasks, t)
		}
	}
	switch {
	case len(tasks) == len(all):
		return tasks, false
	case s.Name == SetRoute:
		return s.Tasks, false
	}
	return tasks, true
}
