package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"edgewatch/actions"
	"edgewatch/watchdog"
	"edgewatch/watchdog/slack/slacktest"
)

// Scenario is something that happens to an estate, and what must come of it.
type Scenario struct {
	Name  string
	About string // one sentence
	Setup func(*Options)
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
		{Name: "one-server-down", About: "one server of two dies; people are told and nothing moves", Play: oneServerDown},
		{Name: "cut-off", About: "the watchdog's own line dies; it knows, says so and moves nothing", Play: cutOff},
		{Name: "failback", About: "the old pool returns; nothing moves until a person says so", Play: failback},
		{Name: "paused", About: "the pool dies during a pause; it is moved once the pause is ended", Play: paused},
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
	if found, perr := l.Partner(ctx); perr == nil {
		r.Active = found.Pool
	}
	if err != nil {
		r.Error = err.Error()
	}
	r.OK = err == nil
	return r
}

func primaryDown(ctx context.Context, l *Lab, r *Report) error {
	killed := time.Now()
	if err := l.Kill(l.Pools[0].Name); err != nil {
		return err
	}
	return l.awaitFailover(ctx, l.Pools[1].Name, killed, r)
}

// awaitFailover waits for the failover to a pool and judges it from outside.
func (l *Lab) awaitFailover(ctx context.Context, to string, since time.Time, r *Report) error {
	var failed error
	end, err := l.Await(ctx, "the end of the failover", func(e watchdog.Entry) bool {
		switch {
		case e.Kind == watchdog.KindPool && e.Pool.Tripped && r.Detected == 0:
			r.Detected = seconds(e.At.Sub(since))
		case e.Kind == watchdog.KindStep && e.Step.Phase == actions.Failed:
			failed = errors.Join(failed, fmt.Errorf("the journal has a failed step: %s", e.Sentence()))
		case e.Kind == watchdog.KindStep && e.Step.Target == "" && e.Step.Phase != actions.Started:
			r.Steps = append(r.Steps, StepTime{e.Step.Step, seconds(e.Step.Took)})
		}
		return e.Kind == watchdog.KindChainEnd
	})
	if err != nil {
		return err
	}
	r.Restored = seconds(end.At.Sub(since))
	if !end.ChainEnd.Outcome.OK {
		return errors.New(end.Sentence())
	}
	if failed != nil {
		return failed
	}
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

func (l *Lab) slackShows(ctx context.Context, text string) error {
	_, err := l.Slack.Wait(ctx, func(m slacktest.Message) bool { return strings.Contains(strings.ToLower(m.Text), text) })
	if err != nil {
		return fmt.Errorf("no message in Slack says %q: %w", text, err)
	}
	return nil
}

func oneServerDown(ctx context.Context, l *Lab, _ *Report) error {
	if err := l.Kill(l.Pools[0].Servers[0].Name); err != nil {
		return err
	}
	_, err := l.Await(ctx, "the notice of trouble", func(e watchdog.Entry) bool {
		return e.Kind == watchdog.KindNotice && e.Notice.Kind == watchdog.NoticeDegraded
	})
	if err != nil {
		return err
	}
	if err := l.partnerFinds(ctx, l.Pools[0].Name); err != nil {
		return err
	}
	return l.nothingMoved()
}

func cutOff(ctx context.Context, l *Lab, _ *Report) error {
	if err := l.CutOff(); err != nil {
		return err
	}
	if err := l.awaitHold(ctx, watchdog.GuardCanaries); err != nil {
		return err
	}
	// Long enough for a failover, were one begun.
	rounds := 0
	var last time.Time
	err := l.Until(ctx, "more rounds without the canaries", func(s *watchdog.Snapshot) bool {
		if s.LastRound.After(last) {
			last = s.LastRound
			rounds++
		}
		return rounds > 4
	})
	if err != nil {
		return err
	}
	if err := l.nothingMoved(); err != nil {
		return err
	}
	if err := l.Reconnect(); err != nil {
		return err
	}
	if err := l.Settled(ctx); err != nil {
		return err
	}
	return l.partnerFinds(ctx, l.Pools[0].Name)
}

func paused(ctx context.Context, l *Lab, r *Report) error {
	if err := l.order(ctx, watchdog.Command{Verb: watchdog.VerbPause, For: time.Hour, Reason: "maintenance"}); err != nil {
		return err
	}
	killed := time.Now()
	if err := l.Kill(l.Pools[0].Name); err != nil {
		return err
	}
	if err := l.awaitHold(ctx, watchdog.GuardPause); err != nil {
		return err
	}
	if err := l.nothingMoved(); err != nil {
		return err
	}
	if err := l.order(ctx, watchdog.Command{Verb: watchdog.VerbResume, Reason: "maintenance is over"}); err != nil {
		return err
	}
	return l.awaitFailover(ctx, l.Pools[1].Name, killed, r)
}

func failback(ctx context.Context, l *Lab, r *Report) error {
	home, away := l.Pools[0].Name, l.Pools[1].Name
	if err := primaryDown(ctx, l, r); err != nil {
		return err
	}
	if err := l.Restore(home); err != nil {
		return err
	}
	_, err := l.Await(ctx, "the notice that the old pool is back", func(e watchdog.Entry) bool {
		return e.Kind == watchdog.KindNotice && e.Notice.Kind == watchdog.NoticeOldPoolBack
	})
	if err != nil {
		return err
	}
	if err := l.partnerFinds(ctx, away); err != nil {
		return err
	}
	if err := l.order(ctx, watchdog.Command{Verb: watchdog.VerbFailback, Pool: home, Force: true, Reason: "repaired"}); err != nil {
		return err
	}
	err = l.Until(ctx, "the end of the failback", func(s *watchdog.Snapshot) bool { return s.Active == home && s.State == watchdog.Watching })
	if err != nil {
		return err
	}
	return l.partnerFinds(ctx, home)
}

func (l *Lab) awaitHold(ctx context.Context, g watchdog.Guard) error {
	_, err := l.Await(ctx, "the decision not to act: "+string(g), func(e watchdog.Entry) bool {
		return e.Kind == watchdog.KindDecision && e.Decision.Will == watchdog.WillHold && e.Decision.BlockedBy == g
	})
	return err
}

// nothingMoved holds that no cmdlet and no update changed anything.
func (l *Lab) nothingMoved() error {
	if c := l.Windows.Commands("Stop-CsWindowsService", "Set-CsSite", "Start-CsWindowsService"); len(c) > 0 {
		return fmt.Errorf("%s was run on %s", c[0].Cmdlet, c[0].Host)
	}
	return nil
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

func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }
