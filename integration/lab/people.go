package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"edgewatch/actions"
	"edgewatch/watchdog"
)

// The scenarios in which people order, forbid or are asked.

func failbackSetup(o *Options) { o.Timing.ReadinessInterval = time.Second }

// failback: of the restored pool one server came up without its services, and
// meanwhile somebody cleared the route of its site, which a failover leaves in
// place. So there is something to start and a route to set.
func failback(ctx context.Context, l *Lab, r *Report) error {
	home, away := l.Pools[0], l.Pools[1]
	if err := primaryDown(ctx, l, r); err != nil {
		return err
	}
	asleep := home.Servers[1]
	if err := errors.Join(l.Restore(home.Name), l.StopServices(asleep.Name), l.Windows.SetRoute(home.Site, "")); err != nil {
		return err
	}
	if _, err := l.awaitNotice(ctx, watchdog.NoticeOldPoolBack); err != nil {
		return err
	}
	if err := l.Until(ctx, "that the old pool is stable and ready", func(s *watchdog.Snapshot) bool {
		return s.Pools[0].Quarantined == "" && s.Pools[0].Readiness.Ready
	}); err != nil {
		return err
	}
	if err := l.partnerFinds(ctx, away.Name); err != nil {
		return err
	}
	done, last := len(l.changes()), l.Snapshot(ctx).LastSeq
	ordered := time.Now()
	if err := l.order(ctx, watchdog.Command{Verb: watchdog.VerbFailback, Pool: home.Name, Reason: "repaired"}); err != nil {
		return err
	}
	if err := l.awaitMove(ctx, last, home.Name, ordered, &Report{}); err != nil {
		return err
	}
	return errors.Join(l.inFailbackOrder(ctx, last, done, home, asleep), l.Until(ctx, "that home is the active pool", func(s *watchdog.Snapshot) bool {
		return s.Active == home.Name && s.State == watchdog.Watching
	}))
}

// inFailbackOrder holds the failback against the documented order: what was
// not running was started, then the route was moved, and nothing was stopped.
func (l *Lab) inFailbackOrder(ctx context.Context, after uint64, done int, home Pool, asleep Server) error {
	var ran []string
	for _, c := range l.changes()[done:] {
		ran = append(ran, c.Cmdlet+" on "+strings.ToLower(c.Host))
	}
	want := []string{startServices + " on " + asleep.FQDN, setSite + " on fe1.contoso.local"}
	if !slices.Equal(ran, want) {
		return fmt.Errorf("the failback ran %q, not %q", ran, want)
	}
	entries, err := l.Journal(ctx)
	if err != nil {
		return err
	}
	var steps []actions.StepName
	for _, e := range entries {
		if e.Seq > after && e.Kind == watchdog.KindStep && e.Step.Target == "" && e.Step.Phase == actions.Started {
			steps = append(steps, e.Step.Step)
		}
	}
	order := []actions.StepName{actions.Preflight, actions.StartServices, actions.SetRoute, actions.DNSRecords, actions.CheckPort, actions.Verify}
	if !slices.Equal(steps, order) {
		return fmt.Errorf("the failback to %s went %q, not %q", home.Name, steps, order)
	}
	return nil
}

func switchover(ctx context.Context, l *Lab, _ *Report) error {
	from, to := l.Pools[0], l.Pools[1]
	if err := l.refused(ctx, watchdog.Command{Verb: watchdog.VerbFailover, Pool: to.Name, Reason: "patch day"}, from.Name+" answers", "switchover "+to.Name); err != nil {
		return err
	}
	if err := l.nothingMoved(ctx); err != nil {
		return err
	}
	if err := l.order(ctx, watchdog.Command{Verb: watchdog.VerbSwitchover, Pool: to.Name, Reason: "patch day"}); err != nil {
		return err
	}
	if err := l.awaitMove(ctx, 0, to.Name, time.Now(), &Report{}); err != nil {
		return err
	}
	if err := l.rounds(ctx, 4); err != nil {
		return err
	}
	if s := l.Snapshot(ctx); s == nil || !s.Cooldown.IsZero() || s.Incident != "" {
		return errors.New("a planned move is followed by a cool-down, or by an incident")
	}
	return errors.Join(
		l.untouched(from), l.ranTimes(1, stopServices, to), l.ranTimes(1, startServices, to),
		l.never(ctx, "a pool that went down", isTrip),
		l.never(ctx, "that an old pool is back", isNotice(watchdog.NoticeOldPoolBack)),
		l.times(ctx, 1, "a move", isChain),
	)
}

func approveSetup(timeout time.Duration) func(*Options) {
	return func(o *Options) {
		o.Mode = watchdog.ModeApprove
		o.Timing.Approval = timeout
	}
}

// asked takes the pool down and waits until a person is asked for the second.
func (l *Lab) asked(ctx context.Context) error {
	if err := l.Kill(l.Pools[0].Name); err != nil {
		return err
	}
	if _, err := l.Await(ctx, "the question", isQuestion); err != nil {
		return err
	}
	if err := l.slackShows(ctx, "approve "+l.Pools[1].Name); err != nil {
		return err
	}
	return l.nothingMoved(ctx)
}

func isQuestion(e watchdog.Entry) bool {
	return e.Kind == watchdog.KindDecision && e.Decision.Will == watchdog.WillAsk
}

func approve(ctx context.Context, l *Lab, r *Report) error {
	to := l.Pools[1].Name
	began := time.Now()
	if err := l.asked(ctx); err != nil {
		return err
	}
	answer, err := l.Slack.Command(ctx, "U0NOBODY", "approve "+to+" why not")
	if err != nil {
		return err
	}
	if !strings.Contains(answer, "Nothing was done") {
		return fmt.Errorf("a stranger's approval was answered with %q", answer)
	}
	if err := l.stillNothing(ctx); err != nil {
		return err
	}
	if _, err := l.Slack.Command(ctx, Operator, "approve "+to+" go ahead"); err != nil {
		return err
	}
	if err := l.awaitFailover(ctx, to, began, r); err != nil {
		return err
	}
	return errors.Join(l.times(ctx, 1, "the question", isQuestion), l.times(ctx, 1, "a failover by "+Operator, func(e watchdog.Entry) bool {
		return isChain(e) && e.Chain.Trigger == "slack" && strings.HasPrefix(e.Chain.Actor, Operator)
	}))
}

func approveTimeout(ctx context.Context, l *Lab, r *Report) error {
	to := l.Pools[1].Name
	began := time.Now()
	if err := l.asked(ctx); err != nil {
		return err
	}
	hold, err := l.awaitHold(ctx, watchdog.GuardApproval)
	if err != nil {
		return err
	}
	if !strings.Contains(hold.Sentence(), "nobody approved") {
		return fmt.Errorf("the hold does not say that nobody approved: %s", hold.Sentence())
	}
	if err := l.slackShows(ctx, "nobody approved"); err != nil {
		return err
	}
	if err := l.refused(ctx, watchdog.Command{Verb: watchdog.VerbApprove, Pool: to, Reason: "too late"}, "asks for no approval now"); err != nil {
		return err
	}
	if err := errors.Join(l.stillNothing(ctx), l.times(ctx, 1, "the question", isQuestion)); err != nil {
		return err
	}
	if err := l.order(ctx, watchdog.Command{Verb: watchdog.VerbFailover, Pool: to, Reason: "I am here now"}); err != nil {
		return err
	}
	if err := l.awaitFailover(ctx, to, began, r); err != nil {
		return err
	}
	return l.never(ctx, "a failover by itself", func(e watchdog.Entry) bool { return isChain(e) && e.Chain.Trigger == watchdog.TriggerAuto })
}

func paused(ctx context.Context, l *Lab, r *Report) error {
	return l.heldBack(ctx, r, watchdog.GuardPause,
		watchdog.Command{Verb: watchdog.VerbPause, For: time.Hour, Reason: "maintenance"},
		watchdog.Command{Verb: watchdog.VerbResume, Reason: "maintenance is over"})
}

func holdRelease(ctx context.Context, l *Lab, r *Report) error {
	return l.heldBack(ctx, r, watchdog.GuardHold,
		watchdog.Command{Verb: watchdog.VerbHold, Reason: "the network is being rebuilt"},
		watchdog.Command{Verb: watchdog.VerbRelease, Reason: "it is rebuilt"})
}

// heldBack lets the pool die while a person's order forbids a failover, and
// ends that.
func (l *Lab) heldBack(ctx context.Context, r *Report, g watchdog.Guard, begin, end watchdog.Command) error {
	if err := l.order(ctx, begin); err != nil {
		return err
	}
	killed := time.Now()
	if err := l.Kill(l.Pools[0].Name); err != nil {
		return err
	}
	hold, err := l.awaitHold(ctx, g)
	if err != nil {
		return err
	}
	if !strings.Contains(hold.Sentence(), begin.Reason) {
		return fmt.Errorf("the decision does not tell the reason %q: %s", begin.Reason, hold.Sentence())
	}
	if err := l.slackShows(ctx, begin.Reason); err != nil {
		return err
	}
	if err := l.stillNothing(ctx); err != nil {
		return err
	}
	if err := l.order(ctx, end); err != nil {
		return err
	}
	return l.awaitFailover(ctx, l.Pools[1].Name, killed, r)
}

func abort(ctx context.Context, l *Lab, r *Report) error {
	to := l.Pools[1]
	b := l.Break(stopServices, len(to.Servers))
	defer b.Release()
	killed := time.Now()
	if err := l.Kill(l.Pools[0].Name); err != nil {
		return err
	}
	select {
	case <-b.Reached:
	case <-ctx.Done():
		return fmt.Errorf("%s was not run: %w", stopServices, ctx.Err())
	}
	if err := l.order(ctx, watchdog.Command{Verb: watchdog.VerbAbort, Reason: "it is the firewall"}); err != nil {
		return err
	}
	b.Release()
	end, err := l.Await(ctx, "the end of the failover", func(e watchdog.Entry) bool { return e.Kind == watchdog.KindChainEnd })
	if err != nil {
		return err
	}
	if o := end.ChainEnd.Outcome; o.OK || !o.Aborted || o.RouteMoved || len(o.Stopped) > 0 {
		return fmt.Errorf("the failover did not end as an aborted one does: %s", end.Sentence())
	}
	if err := l.allStarted(); err != nil {
		return err
	}
	if _, err := l.awaitHold(ctx, watchdog.GuardUnconfirmed); err != nil {
		return err
	}
	if err := l.slackShows(ctx, "aborted by"); err != nil {
		return err
	}
	if err := l.rounds(ctx, 4); err != nil {
		return err
	}
	if err := errors.Join(l.times(ctx, 1, "a failover", isChain), l.ranTimes(1, stopServices, to)); err != nil {
		return err
	}
	if n := len(l.Windows.Commands(setSite)); n > 0 {
		return fmt.Errorf("the route was moved %d times in spite of the abort", n)
	}
	if err := l.order(ctx, watchdog.Command{Verb: watchdog.VerbAck, Reason: "it was not the firewall"}); err != nil {
		return err
	}
	return l.awaitMove(ctx, end.Seq, to.Name, killed, r)
}
