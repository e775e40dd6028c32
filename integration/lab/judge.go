package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"edgewatch/actions"
	"edgewatch/actions/actionstest"
	"edgewatch/watchdog"
	"edgewatch/watchdog/slack/slacktest"
)

// The cmdlets that change something.
const (
	stopServices  = "Stop-CsWindowsService"
	setSite       = "Set-CsSite"
	startServices = "Start-CsWindowsService"
)

// changes are the cmdlets that changed something, oldest first.
func (l *Lab) changes() []actionstest.Command {
	return l.Windows.Commands(stopServices, setSite, startServices)
}

// awaitFailover waits for the first failover that comes to an end other than
// a crash, which must be to that pool, and judges it from outside.
func (l *Lab) awaitFailover(ctx context.Context, to string, since time.Time, r *Report) error {
	return l.awaitMove(ctx, 0, to, since, r)
}

// awaitMove is awaitFailover for a move that began after that entry.
func (l *Lab) awaitMove(ctx context.Context, after uint64, to string, since time.Time, r *Report) error {
	var failed error
	var start watchdog.ChainStart
	end, err := l.Await(ctx, "the end of the move to "+to, func(e watchdog.Entry) bool {
		if e.Seq <= after {
			return false
		}
		switch {
		case e.Kind == watchdog.KindPool && e.Pool.Tripped && r.Detected == 0:
			r.Detected = seconds(e.At.Sub(since))
		case e.Kind == watchdog.KindChain:
			start = *e.Chain
		case e.Kind == watchdog.KindStep && e.Step.Phase == actions.Failed:
			failed = errors.Join(failed, fmt.Errorf("the journal has a failed step: %s", e.Sentence()))
		case e.Kind == watchdog.KindStep && e.Step.Target == "" && e.Step.Phase != actions.Started:
			r.Steps = append(r.Steps, StepTime{e.Step.Step, seconds(e.Step.Took)})
		}
		return e.Kind == watchdog.KindChainEnd
	})
	switch {
	case err != nil:
		return err
	case !end.ChainEnd.Outcome.OK:
		return errors.New(end.Sentence())
	case start.To != to:
		return fmt.Errorf("federation was moved to %s, not to %s", start.To, to)
	case failed != nil:
		return failed
	}
	r.Restored = seconds(end.At.Sub(since))
	if err := l.partnerFinds(ctx, to); err != nil {
		return err
	}
	return l.slackShows(ctx, "restored")
}

// partnerFinds holds what a partner finds against what it should.
func (l *Lab) partnerFinds(ctx context.Context, pool string) error {
	found, err := l.Partner(ctx)
	if err != nil {
		return fmt.Errorf("a partner does not find %s: %w", l.Domain, err)
	}
	if found.Pool != pool {
		return fmt.Errorf("a partner finds %s on %s (%s), not on %s", l.Domain, found.Pool, found.Addr, pool)
	}
	return nil
}

// slackShows waits for a message that holds all the words, without case.
func (l *Lab) slackShows(ctx context.Context, words ...string) error {
	_, err := l.Slack.Wait(ctx, func(m slacktest.Message) bool { return holdsAll(m.Text, words) })
	if err != nil {
		return fmt.Errorf("no message in Slack says %q: %w", words, err)
	}
	return nil
}

func holdsAll(text string, words []string) bool {
	text = strings.ToLower(text)
	return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, strings.ToLower(w)) })
}

// awaitHold waits for the decision not to act.
func (l *Lab) awaitHold(ctx context.Context, g watchdog.Guard) (watchdog.Entry, error) {
	return l.Await(ctx, "the decision not to act: "+string(g), func(e watchdog.Entry) bool {
		return e.Kind == watchdog.KindDecision && e.Decision.Will == watchdog.WillHold && e.Decision.BlockedBy == g
	})
}

// awaitNotice waits for a notice of that kind.
func (l *Lab) awaitNotice(ctx context.Context, kind watchdog.NoticeKind) (watchdog.Entry, error) {
	return l.Await(ctx, "the notice "+string(kind), isNotice(kind))
}

func isNotice(kind watchdog.NoticeKind) func(watchdog.Entry) bool {
	return func(e watchdog.Entry) bool { return e.Kind == watchdog.KindNotice && e.Notice.Kind == kind }
}

func isTrip(e watchdog.Entry) bool  { return e.Kind == watchdog.KindPool && e.Pool.Tripped }
func isChain(e watchdog.Entry) bool { return e.Kind == watchdog.KindChain }

// rounds lets so many more rounds go by: long enough for what must not follow.
func (l *Lab) rounds(ctx context.Context, n int) error {
	var last time.Time
	return l.Until(ctx, fmt.Sprintf("%d more rounds", n), func(s *watchdog.Snapshot) bool {
		if s.LastRound.After(last) {
			last = s.LastRound
			n--
		}
		return n < 0
	})
}

// never holds that the journal has no such entry.
func (l *Lab) never(ctx context.Context, what string, is func(watchdog.Entry) bool) error {
	return l.times(ctx, 0, what, is)
}

// times holds how many such entries the journal has.
func (l *Lab) times(ctx context.Context, n int, what string, is func(watchdog.Entry) bool) error {
	entries, err := l.Journal(ctx)
	if err != nil {
		return err
	}
	var found []string
	for _, e := range entries {
		if is(e) {
			found = append(found, e.Sentence())
		}
	}
	if len(found) != n {
		return fmt.Errorf("the journal has %s %d times, not %d: %q", what, len(found), n, found)
	}
	return nil
}

// nothingMoved holds that no cmdlet changed anything and no failover began.
func (l *Lab) nothingMoved(ctx context.Context) error {
	if c := l.changes(); len(c) > 0 {
		return fmt.Errorf("%s was run on %s", c[0].Cmdlet, c[0].Host)
	}
	return l.never(ctx, "a failover", isChain)
}

// stillNothing holds that nothing has moved, and does not for some rounds.
func (l *Lab) stillNothing(ctx context.Context) error {
	if err := l.nothingMoved(ctx); err != nil {
		return err
	}
	if err := l.rounds(ctx, 4); err != nil {
		return err
	}
	return l.nothingMoved(ctx)
}

// runs counts how often a cmdlet was run on the servers of a pool.
func (l *Lab) runs(cmdlet string, pool Pool) map[string]int {
	out := map[string]int{}
	for _, s := range pool.Servers {
		out[s.FQDN] = 0
	}
	for _, c := range l.Windows.Commands(cmdlet) {
		if _, ok := out[strings.ToLower(c.Host)]; ok {
			out[strings.ToLower(c.Host)]++
		}
	}
	return out
}

// ranTimes holds that a cmdlet was run so often on each server of a pool.
func (l *Lab) ranTimes(n int, cmdlet string, pool Pool) error {
	for host, ran := range l.runs(cmdlet, pool) {
		if ran != n {
			return fmt.Errorf("%s was run %d times on %s, not %d", cmdlet, ran, host, n)
		}
	}
	return nil
}

// untouched holds that no services of a pool were stopped or started.
func (l *Lab) untouched(pool Pool) error {
	return errors.Join(l.ranTimes(0, stopServices, pool), l.ranTimes(0, startServices, pool))
}

// order gives a command as the operator of the lab.
func (l *Lab) order(ctx context.Context, c watchdog.Command) error {
	a, err := l.Order(ctx, c)
	if err != nil {
		return err
	}
	if !a.Accepted {
		return fmt.Errorf("%s was refused: %s", c.Verb, a.Text)
	}
	return nil
}

// refused holds that a command is refused with all of these words.
func (l *Lab) refused(ctx context.Context, c watchdog.Command, words ...string) error {
	a, err := l.Order(ctx, c)
	if err != nil {
		return err
	}
	if a.Accepted || !holdsAll(a.Text, words) {
		return fmt.Errorf("%s %s was not refused with %q: accepted %t, %s", c.Verb, c.Pool, words, a.Accepted, a.Text)
	}
	return nil
}

// unharmed holds what must be so after every scenario, whatever happened.
func (l *Lab) unharmed(ctx context.Context) error {
	entries, err := l.Journal(ctx)
	if err != nil {
		return err
	}
	return errors.Join(l.allStarted(), oneAtATime(entries), l.toldOnce())
}

// allStarted holds that services that were stopped by a cmdlet run again.
func (l *Lab) allStarted() error {
	var errs []error
	for _, c := range l.Windows.Commands(stopServices) {
		if !l.Windows.Running(c.Host) {
			errs = append(errs, fmt.Errorf("the services of %s were stopped and do not run", c.Host))
		}
	}
	return errors.Join(errs...)
}

// oneAtATime holds that no move began while another was under way.
func oneAtATime(entries []watchdog.Entry) error {
	running := ""
	for _, e := range entries {
		switch e.Kind {
		case watchdog.KindChain:
			if running != "" && running != e.Chain.ID {
				return fmt.Errorf("%s began while %s was under way", e.Chain.ID, running)
			}
			running = e.Chain.ID
		case watchdog.KindChainEnd:
			running = ""
		case watchdog.KindPool, watchdog.KindDecision, watchdog.KindCommand, watchdog.KindStep, watchdog.KindNotice:
		}
	}
	return nil
}

// toldOnce holds that Slack shows nothing twice.
func (l *Lab) toldOnce() error {
	seen := map[string]bool{}
	for _, m := range l.Slack.Messages() {
		id := fmt.Sprint(m.Metadata["part"], m.Metadata["id"])
		if seen[id] {
			return fmt.Errorf("told twice in Slack: %s %s", id, m.Text)
		}
		seen[id] = true
	}
	return nil
}

func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }
