package watchdog

import (
	"context"
	"fmt"
	"runtime/debug"

	"edgewatch/actions"
)

// start runs a chain in a goroutine of its own.
func (e *Engine) start(ctx context.Context, effect Effect) {
	c := effect.Chain
	ctx, cancel := context.WithCancelCause(ctx)
	e.chain, e.endChain = c.ID, cancel
	runner := e.settings.Runner
	runner.Log = e.ports.Log.With().Str("component", "chain").Str("op", c.ID).Logger()
	runner.Record = func(_ context.Context, r actions.Record) error { return e.record(r) }
	e.work.Go(func() {
		defer cancel(nil)
		out, lost := actions.Outcome{Step: actions.Preflight}, false
		defer func() {
			if p := recover(); p != nil {
				out = actions.Outcome{Error: fmt.Sprintf("a defect in edgewatch: %v\n%s", p, debug.Stack())}
				lost = true
			}
			e.ended <- Ended{Chain: c.ID, Outcome: out, lost: lost}
		}()
		plan, abandon, err := e.plan(effect)
		switch {
		case err != nil:
			// Nothing can be done, so that what earlier runs did is all there is to say.
			out.Error = err.Error()
			out.RouteMoved = effect.Progress.Moved(c.Kind)
			out.Unsure = out.RouteMoved && c.Dropped != ""
			out.Stopped = effect.Progress.StillStopped(c.Owed)
		case abandon != "":
			out = runner.Abandon(ctx, plan, c.ID, effect.Progress, abandon)
		default:
			out = runner.Run(ctx, plan, c.ID, effect.Progress)
		}
	})
}

// plan is the chain's plan, and why it is to be abandoned, "" where it is not.
// Where what is carried on cannot be planned any more, because the pool that
// federation left is no longer configured, the services of the other are started
// all the same. A move that only begins has failed then, and counts as tried.
func (e *Engine) plan(effect Effect) (plan *actions.Plan, abandon string, err error) {
	c := effect.Chain
	plan, err = e.ports.Plan(c.Kind, c.From, c.To)
	abandon = c.Dropped
	switch {
	case err != nil && c.Retry == 0:
		return nil, "", err
	case err != nil:
		why := fmt.Errorf("it cannot be carried on: %w", err)
		if effect.Progress.Moved(c.Kind) {
			why = fmt.Errorf("%w; retry brings route and records to %s anew, adopt %s says that it was done by hand", why, c.To, c.To)
		}
		if plan, err = e.ports.Plan(c.Kind, "", c.To); err != nil {
			return nil, "", why
		}
		abandon = why.Error()
	}
	plan.Repair, plan.Skip, plan.Owed = c.Repair, c.Skip, c.Owed
	return plan, abandon, nil
}
