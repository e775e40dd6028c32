package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"edgewatch/probe/probetest"
	"edgewatch/watchdog"
)

// The scenarios in which something breaks, and edgewatch decides alone.

func primaryDown(ctx context.Context, l *Lab, r *Report) error {
	killed := time.Now()
	if err := l.Kill(l.Pools[0].Name); err != nil {
		return err
	}
	if err := l.awaitFailover(ctx, l.Pools[1].Name, killed, r); err != nil {
		return err
	}
	return errors.Join(l.untouched(l.Pools[0]), l.ranTimes(1, stopServices, l.Pools[1]), l.ranTimes(1, startServices, l.Pools[1]))
}

// quick watches as often as a lab can, for scenarios of many rounds. Their
// partners are not looked at a second time: that would be a stream more.
func quick(o *Options) {
	o.Timing = Timing{Interval: 500 * time.Millisecond, SuspectInterval: 250 * time.Millisecond, ProbeTimeout: 400 * time.Millisecond, ReadinessInterval: 5 * time.Minute}
}

func serverDown(ctx context.Context, l *Lab, _ *Report) error {
	dead, alive := l.Pools[0].Servers[0], l.Pools[0].Servers[1]
	if err := l.Kill(dead.Name); err != nil {
		return err
	}
	notice, err := l.awaitNotice(ctx, watchdog.NoticeDegraded)
	if err != nil {
		return err
	}
	if text := notice.Notice.Text; !strings.Contains(text, dead.XMPP.String()) || strings.Contains(text, alive.XMPP.String()) {
		return fmt.Errorf("the notice does not name %s alone: %s", dead.XMPP, text)
	}
	if err := l.slackShows(ctx, l.Pools[0].Name, "with trouble", dead.XMPP.String()); err != nil {
		return err
	}
	if err := l.stillNothing(ctx); err != nil {
		return err
	}
	if err := l.partnerFinds(ctx, l.Pools[0].Name); err != nil {
		return err
	}
	if err := l.Restore(dead.Name); err != nil {
		return err
	}
	if _, err := l.awaitNotice(ctx, watchdog.NoticeRecovered); err != nil {
		return err
	}
	return errors.Join(
		l.times(ctx, 1, "a notice of trouble", isNotice(watchdog.NoticeDegraded)),
		l.never(ctx, "a pool that went down", isTrip),
		l.nothingMoved(ctx),
	)
}

// inTurn answers one connection after the other with the next behaviour.
func inTurn(behaviours ...probetest.Behaviour) func() probetest.Behaviour {
	return func() probetest.Behaviour {
		var n atomic.Int64
		return func(c *probetest.Conn) error {
			return behaviours[int(n.Add(1)-1)%len(behaviours)](c)
		}
	}
}

func flappingSetup(o *Options) {
	quick(o)
	o.Timing.BadRounds = 3
	o.Timing.SuspectInterval = o.Timing.Interval // trouble is counted by normal intervals
}

// flapping: of eight rounds one server is dead in six, and the whole pool in
// the last of these. The pool is never bad twice in a row, nor half of the time.
func flapping(ctx context.Context, l *Lab, _ *Report) error {
	bad, good := probetest.Reset, probetest.Healthy
	if err := l.rounds(ctx, 1); err != nil {
		return err // from here to the next round both servers learn their turns
	}
	pool := l.Pools[0]
	if err := errors.Join(
		l.Behave(pool.Servers[0].Name, inTurn(bad, bad, bad, bad, bad, bad, good, good)),
		l.Behave(pool.Servers[1].Name, inTurn(good, good, good, good, good, bad, good, good)),
	); err != nil {
		return err
	}
	const cycles = 5
	downRounds := 0
	var last time.Time
	n := 8 * cycles
	if err := l.Until(ctx, fmt.Sprintf("%d cycles", cycles), func(s *watchdog.Snapshot) bool {
		if !s.LastRound.After(last) {
			return false
		}
		last = s.LastRound
		n--
		if s.Pools[0].Verdict == watchdog.PoolDown {
			downRounds++
		}
		return n < 0
	}); err != nil {
		return err
	}
	if downRounds < cycles-1 {
		return fmt.Errorf("the pool flapped in %d rounds only: the scenario proves nothing", downRounds)
	}
	if err := l.partnerFindsAmong(ctx, 8, pool.Name); err != nil {
		return err
	}
	const told = 3 // times that the same coming and going is worth an entry
	confirming := func(e watchdog.Entry) bool {
		return e.Kind == watchdog.KindDecision && e.Decision.State == watchdog.Confirming
	}
	return errors.Join(
		l.times(ctx, 1, "a notice of trouble", isNotice(watchdog.NoticeDegraded)),
		l.never(ctx, "an end of the trouble", isNotice(watchdog.NoticeRecovered)),
		l.never(ctx, "a pool that went down", isTrip),
		l.times(ctx, told, "a doubt about the pool", confirming),
		l.nothingMoved(ctx),
	)
}

// partnerFindsAmong lets a partner try so often, as one does whose stream is
// refused now and then.
func (l *Lab) partnerFindsAmong(ctx context.Context, tries int, pool string) (err error) {
	for range tries {
		if err = l.partnerFinds(ctx, pool); err == nil {
			return nil
		}
	}
	return err
}

// zombieSetup: it is never bad five times in a row.
func zombieSetup(o *Options) {
	quick(o)
	o.ServersPerPool = 1
	o.Timing.BadRounds = 5
	o.Timing.Window = 8 * time.Second
}

// Sicken makes a pool or server a zombie: it answers one stream in three.
func (l *Lab) Sicken(name string) error {
	return l.Behave(name, inTurn(probetest.Reset, probetest.Reset, probetest.Healthy))
}

// Heal ends what Sicken and Behave began.
func (l *Lab) Heal(name string) error { return l.Behave(name, nil) }

func zombie(ctx context.Context, l *Lab, r *Report) error {
	if err := l.rounds(ctx, 1); err != nil {
		return err
	}
	began := time.Now()
	if err := l.Sicken(l.Pools[0].Name); err != nil {
		return err
	}
	if err := l.awaitFailover(ctx, l.Pools[1].Name, began, r); err != nil {
		return err
	}
	trip, err := l.Await(ctx, "the trip", isTrip)
	if err != nil {
		return err
	}
	if trip.Pool.Bad >= 5 {
		return fmt.Errorf("%d bad rounds in a row gave it away: the scenario proves nothing", trip.Pool.Bad)
	}
	// Once the window holds nothing but the zombie, two thirds of it are bad.
	const bound = 8*time.Second + 2*time.Second
	if r.Detected > bound.Seconds() {
		return fmt.Errorf("it was caught after %.1f s, later than %s", r.Detected, bound)
	}
	if err := l.rounds(ctx, 7); err != nil {
		return err
	}
	return errors.Join(
		l.times(ctx, 1, "a failover", isChain),
		l.never(ctx, "that the old pool is back", isNotice(watchdog.NoticeOldPoolBack)),
		l.untouched(l.Pools[0]),
	)
}

// cutOff cuts edgewatch's own line twice. The second time the pool dies
// meanwhile, which shows only afterwards.
func cutOff(ctx context.Context, l *Lab, r *Report) error {
	if err := l.CutOff(); err != nil {
		return err
	}
	if _, err := l.awaitHold(ctx, watchdog.GuardCanaries); err != nil {
		return err
	}
	if err := l.slackShows(ctx, "canaries"); err != nil {
		return err
	}
	if err := l.stillNothing(ctx); err != nil {
		return err
	}
	if err := l.Reconnect(); err != nil {
		return err
	}
	if err := l.Until(ctx, "the end of the hold", func(s *watchdog.Snapshot) bool {
		return s.Decision.Will == watchdog.WillWatch && Settled(s)
	}); err != nil {
		return err
	}
	if err := errors.Join(l.stillNothing(ctx), l.partnerFinds(ctx, l.Pools[0].Name), l.never(ctx, "a pool that went down", isTrip)); err != nil {
		return err
	}
	if err := l.CutOff(); err != nil {
		return err
	}
	if err := l.Kill(l.Pools[0].Name); err != nil {
		return err
	}
	if err := l.Until(ctx, "the hold", func(s *watchdog.Snapshot) bool { return s.Decision.BlockedBy == watchdog.GuardCanaries }); err != nil {
		return err
	}
	if err := errors.Join(l.stillNothing(ctx), l.never(ctx, "a pool that went down", isTrip)); err != nil {
		return err
	}
	back := time.Now()
	if err := l.Reconnect(); err != nil {
		return err
	}
	if err := l.awaitFailover(ctx, l.Pools[1].Name, back, r); err != nil {
		return err
	}
	return l.never(ctx, "a command", func(e watchdog.Entry) bool { return e.Kind == watchdog.KindCommand })
}

// CutWay cuts edgewatch's own way to a pool or server: partners and the witness
// reach it as before. Heal ends it.
func (l *Lab) CutWay(name string) error {
	cut := probetest.Against("probe."+l.Domain, probetest.Reset)
	return l.Behave(name, func() probetest.Behaviour { return cut })
}

func secondOpinionSetup(o *Options) {
	quick(o)
	o.Witness = true
	o.Timing.ReadinessInterval = 2 * time.Second // when a witness is asked that nobody needs
}

// secondOpinion cuts edgewatch's own way to the pool twice. The second time the
// pool dies meanwhile.
func secondOpinion(ctx context.Context, l *Lab, r *Report) error {
	home := l.Pools[0].Name
	sees := func(says watchdog.Says) func(*watchdog.Snapshot) bool {
		return func(s *watchdog.Snapshot) bool { return len(s.Witnesses) == 1 && s.Witnesses[0].Says == says }
	}
	if err := l.Until(ctx, "the witness, while nobody needs it", sees(watchdog.SaysUp)); err != nil {
		return err
	}
	if err := l.CutWay(home); err != nil {
		return err
	}
	hold, err := l.awaitHold(ctx, watchdog.GuardWitness)
	if err != nil {
		return err
	}
	if err := l.slackShows(ctx, "sees it answering", "the way from here to it may be cut"); err != nil {
		return err
	}
	if err := errors.Join(l.stillNothing(ctx), l.partnerFinds(ctx, home)); err != nil {
		return err
	}
	if err := l.Heal(home); err != nil {
		return err
	}
	if err := l.Until(ctx, "the end of the hold", func(s *watchdog.Snapshot) bool {
		return s.Decision.Will == watchdog.WillWatch && Settled(s)
	}); err != nil {
		return err
	}
	if err := l.CutWay(home); err != nil {
		return err
	}
	if err := l.Until(ctx, "the hold again", func(s *watchdog.Snapshot) bool {
		return s.Decision.BlockedBy == watchdog.GuardWitness && sees(watchdog.SaysUp)(s)
	}); err != nil {
		return err
	}
	if err := l.stillNothing(ctx); err != nil {
		return err
	}
	killed := time.Now()
	if err := l.Kill(home); err != nil {
		return err
	}
	if err := l.awaitMove(ctx, hold.Seq, l.Pools[1].Name, killed, r); err != nil {
		return err
	}
	r.Detected = 0 // it was down for edgewatch long before
	return errors.Join(
		l.times(ctx, 1, "a failover", isChain), l.untouched(l.Pools[0]),
		l.never(ctx, "a command", func(e watchdog.Entry) bool { return e.Kind == watchdog.KindCommand }),
	)
}

func standbyDownSetup(o *Options) {
	o.Pools, o.ServersPerPool = 3, 1
	o.Timing.ReadinessInterval = time.Second
}

func standbyDown(ctx context.Context, l *Lab, r *Report) error {
	active, second, third := l.Pools[0], l.Pools[1], l.Pools[2]
	if err := errors.Join(l.Kill(second.Name), l.Kill(third.Name)); err != nil {
		return err
	}
	if err := l.Until(ctx, "that no standby is ready", func(s *watchdog.Snapshot) bool {
		return !s.Pools[1].Readiness.Ready && !s.Pools[2].Readiness.Ready
	}); err != nil {
		return err
	}
	killed := time.Now()
	if err := l.Kill(active.Name); err != nil {
		return err
	}
	hold, err := l.awaitHold(ctx, watchdog.GuardCandidate)
	if err != nil {
		return err
	}
	hosts := []string{second.Servers[0].FQDN, third.Servers[0].FQDN}
	if !holdsAll(hold.Sentence(), hosts) {
		return fmt.Errorf("the hold does not name %q: %s", hosts, hold.Sentence())
	}
	if err := l.slackShows(ctx, append(hosts, "no other pool is ready")...); err != nil {
		return err
	}
	if err := l.stillNothing(ctx); err != nil {
		return err
	}
	if err := l.Restore(third.Name); err != nil {
		return err
	}
	if err := l.awaitFailover(ctx, third.Name, killed, r); err != nil {
		return err
	}
	return errors.Join(l.untouched(active), l.untouched(second), l.times(ctx, 1, "a failover", isChain))
}

// crashMidChain kills edgewatch at the worst moments, one after the other: a
// cmdlet has had its effect, and nobody heard of it.
func crashMidChain(ctx context.Context, l *Lab, r *Report) error {
	from, to := l.Pools[0], l.Pools[1]
	breaks := []*Break{l.Break(stopServices, len(to.Servers)), l.Break(setSite, 1), l.Break(startServices, 1)}
	killed := time.Now()
	if err := l.Kill(from.Name); err != nil {
		return err
	}
	for _, b := range breaks {
		select {
		case <-b.Reached:
		case <-ctx.Done():
			return fmt.Errorf("%s was not run: %w", b.cmdlet, ctx.Err())
		}
		if err := l.KillWatchdog(); err != nil {
			return err
		}
		b.Release()
		if err := l.StartWatchdog(); err != nil {
			return err
		}
	}
	if err := l.awaitFailover(ctx, to.Name, killed, r); err != nil {
		return err
	}
	if n := len(l.Windows.Commands(setSite)); n != 1 {
		return fmt.Errorf("%s was run %d times", setSite, n)
	}
	retaken := func(e watchdog.Entry) bool { return e.Kind == watchdog.KindChain && e.Chain.Retry > 0 }
	return errors.Join(
		l.ranTimes(1, stopServices, to), l.ranTimes(1, startServices, to), l.untouched(from),
		l.times(ctx, len(breaks), "the failover taken up again", retaken),
		l.times(ctx, 1, "a failover that began anew", func(e watchdog.Entry) bool { return e.Kind == watchdog.KindChain && e.Chain.Retry == 0 }),
	)
}

// oldPoolReturnsSetup: neither a cool-down nor a readiness that is not known
// yet keeps edgewatch from following the old pool.
func oldPoolReturnsSetup(o *Options) {
	o.Timing.Cooldown, o.Timing.ReadinessInterval = time.Second, time.Second
}

func oldPoolReturns(ctx context.Context, l *Lab, r *Report) error {
	home, away := l.Pools[0], l.Pools[1]
	if err := primaryDown(ctx, l, r); err != nil {
		return err
	}
	done := len(l.changes())
	if err := l.Restore(home.Name); err != nil {
		return err
	}
	if _, err := l.awaitNotice(ctx, watchdog.NoticeOldPoolBack); err != nil {
		return err
	}
	if err := l.refused(ctx, watchdog.Command{Verb: watchdog.VerbFailback, Pool: home.Name, Reason: "repaired"}, "counts as stable from"); err != nil {
		return err
	}
	if err := l.refused(ctx, watchdog.Command{Verb: watchdog.VerbFailover, Pool: home.Name, Reason: "repaired"}, away.Name+" answers", "switchover"); err != nil {
		return err
	}
	if s := l.Snapshot(ctx); s == nil || s.Pools[0].Quarantined == "" {
		return fmt.Errorf("the status does not say that %s is in quarantine", home.Name)
	}
	if err := l.slackShows(ctx, home.Name+" answers again", "stays on "+away.Name, "failback "+home.Name); err != nil {
		return err
	}
	if err := l.Until(ctx, "the end of the quarantine", func(s *watchdog.Snapshot) bool {
		return s.Pools[0].Quarantined == "" && s.Pools[0].Readiness.Ready && s.Pools[0].Verdict == watchdog.PoolUp && s.Cooldown.Before(s.At)
	}); err != nil {
		return err
	}
	if err := l.rounds(ctx, 4); err != nil {
		return err
	}
	if c := l.changes(); len(c) != done {
		return fmt.Errorf("%s was run on %s after the old pool was back", c[done].Cmdlet, c[done].Host)
	}
	return errors.Join(
		l.times(ctx, 1, "a failover", isChain),
		l.times(ctx, 1, "that the old pool is back", isNotice(watchdog.NoticeOldPoolBack)),
		l.partnerFinds(ctx, away.Name),
	)
}
