package configs

import (
	"fmt"
	"time"

	"edgewatch/watchdog"
)

// BreakerRules are the rules by which a pool of the federation counts as down.
func (f *Federation) BreakerRules() watchdog.BreakerRules {
	b := &f.Breaker
	return watchdog.BreakerRules{
		BadRounds: b.BadRounds, MinBadTime: b.MinBadTime.Duration, Every: f.Probe.Interval.Duration,
		Window: b.Window.Duration, MinRounds: watchdog.MinRounds, BadRatio: b.Ratio,
		RetryAfter: b.RetryAfter.Duration, GoodRounds: b.GoodRounds, MinGoodTime: b.MinGoodTime.Duration,
	}
}

// detect is how long it takes until a pool counts as down whose port is
// closed, and one that is silent, so that a bad round lasts as long as a probe
// may.
func (f *Federation) detect() (closed, silent watchdog.Detection) {
	rules, suspect := f.BreakerRules(), f.Probe.SuspectInterval.Duration
	return watchdog.Detect(rules, suspect, 0), watchdog.Detect(rules, suspect, f.Probe.Timeout.Duration)
}

// Detection tells in a sentence how long it takes until a pool counts as down
// under these settings, while edgewatch and the canaries are well.
func (f *Federation) Detection() string {
	closed, silent := f.detect()
	text := fmt.Sprintf("a dead pool counts as down after %s to %s when its port is closed, after %s to %s when it is silent",
		rounded(closed.DeadMin), rounded(closed.DeadMax), rounded(silent.DeadMin), rounded(silent.DeadMax))
	if closed.Zombie == 0 || silent.Zombie == 0 {
		return text + "; one that answers one time in three may never"
	}
	return text + fmt.Sprintf("; one that answers one time in three after at most %s", rounded(max(closed.Zombie, silent.Zombie)))
}

// rounded is a duration to the second, or as it is when it is short.
func rounded(d time.Duration) Duration {
	if d > 10*time.Second {
		return Duration{d.Round(time.Second)}
	}
	return Duration{d.Round(100 * time.Millisecond)}
}

// slow is how long the detection of a dead pool may take before that deserves
// a look.
const slow = 5 * time.Minute

// detection holds the rules between the settings by which a pool counts as
// down.
func (r *rules) detection() {
	b, p := &r.f.Breaker, &r.f.Probe
	if r.wrongPace() {
		return
	}
	closed, silent := r.f.detect()
	if b.Ratio > 0 {
		r.cumulative(silent.Zombie == 0)
	}
	if silent.DeadMax > slow {
		path := r.in("breaker.bad_rounds")
		if b.MinBadTime.Duration > slow/2 {
			path = r.in("breaker.min_bad_time")
		}
		r.warn(path, "a dead pool counts as down only after up to %s", rounded(silent.DeadMax))
	}
	if 2*p.Timeout.Duration > p.Interval.Duration {
		r.warn(r.in("probe.timeout"), "a server gets one stream of ours at a time, so that two probes of %s in turn last longer than interval (%s)", p.Timeout, p.Interval)
	}
	if g := r.f.Guards.StartupGrace; g.Duration > 0 && g.Duration < closed.DeadMin && r.given(r.in("guards.startup_grace")) {
		r.warn(r.in("guards.startup_grace"), "%s has no effect: no pool counts as down sooner than %s after the start", g, rounded(closed.DeadMin))
	}
}

// wrongPace reports whether a setting that says how often is looked and how
// rounds count is wrong: what would follow from it is no news.
func (r *rules) wrongPace() bool {
	return r.wrong(r.in("breaker")) || r.wrong(r.in("probe.interval")) || r.wrong(r.in("probe.suspect_interval")) || r.wrong(r.in("probe.timeout"))
}

// cumulative holds the rules of the share of bad rounds in a window.
func (r *rules) cumulative(blind bool) {
	b, p := &r.f.Breaker, &r.f.Probe
	rounds := int(b.Window.Duration / p.SuspectInterval.Duration)
	switch bad := b.Ratio * b.Window.Seconds() / p.Interval.Seconds(); {
	case rounds < watchdog.MinRounds:
		r.bad(r.in("breaker.window"), "%s holds %s at most, and the cumulative rule wants %d: it can never trip; lengthen it, or set ratio: 0", b.Window, plural(rounds, "round"), watchdog.MinRounds)
	case b.Window.Duration < b.MinBadTime.Duration:
		r.bad(r.in("breaker.window"), "%s is shorter than min_bad_time (%s): what a share of it says would not be old enough to count", b.Window, b.MinBadTime)
	case bad < float64(b.BadRounds):
		r.warn(r.in("breaker.ratio"), "%v of the rounds in %s are fewer than bad_rounds (%d): a few scattered ones trip sooner than as many in a row", b.Ratio, b.Window, b.BadRounds)
	case blind:
		r.warn(r.in("breaker.ratio"), "%v in %s: a pool that answers one time in three may never count as down; lower it, or lengthen window", b.Ratio, b.Window)
	}
}

// trust holds the rules between the settings by which a pool counts as up
// again and an automatic failover is held back.
func (r *rules) trust() {
	b, g := &r.f.Breaker, &r.f.Guards
	if r.wrongPace() || r.wrong(r.in("guards")) {
		return
	}
	good := max(time.Duration(b.GoodRounds-1)*r.f.Probe.Interval.Duration, b.MinGoodTime.Duration)
	if b.RetryAfter.Duration+good > slow*2 {
		r.warn(r.in("breaker.retry_after"), "a pool that is well again counts as down for %s (retry_after, and good_rounds over min_good_time)", rounded(b.RetryAfter.Duration+good))
	} else if good > b.Window.Duration {
		r.warn(r.in("breaker.good_rounds"), "%d of them take %s, longer than window (%s): a pool comes back later than it can be judged", b.GoodRounds, rounded(good), b.Window)
	}
	if fast := time.Duration(b.GoodRounds-1) * r.f.Probe.SuspectInterval.Duration; max(fast, b.MinGoodTime.Duration) < shortest {
		r.warn(r.in("breaker.min_good_time"), "%s is short: services start one after the other, and a pool that is trusted too early goes down again", b.MinGoodTime)
	}
	switch {
	case g.Cooldown.Duration == 0:
		r.warn(r.in("guards.cooldown"), "0s lets one automatic failover follow the other: only the budget stops them")
	case g.Cooldown.Duration < b.RetryAfter.Duration:
		r.warn(r.in("guards.cooldown"), "%s is shorter than breaker.retry_after (%s): it ends before the pool that failed could be trusted again", g.Cooldown, b.RetryAfter)
	case time.Duration(g.Budget)*g.Cooldown.Duration >= g.BudgetWindow.Duration:
		r.warn(r.in("guards.budget"), "%d cannot be used up within %s when each failover is followed by a cooldown of %s: the budget never holds anything back", g.Budget, g.BudgetWindow, g.Cooldown)
	}
}

// readiness holds the rules of what makes a standby ready.
func (r *rules) readiness() {
	g := &r.f.Guards
	if g.ReadinessInterval.Duration > time.Hour {
		r.warn(r.in("guards.readiness_interval"), "%s: what is known of a standby may be that old when it is needed", g.ReadinessInterval)
	}
	if g.ReadinessInterval.Duration < 10*time.Second {
		r.warn(r.in("guards.readiness_interval"), "%s is for labs: each check logs on to every server of every standby", g.ReadinessInterval)
	}
	seen := map[int]bool{}
	for i, port := range g.StandbyPorts {
		path := r.in("guards.standby_ports[%d]", i)
		switch {
		case port < 1 || port > 65535:
			r.bad(path, "%d is no port", port)
		case seen[port]:
			r.bad(path, "%d is in the list already", port)
		}
		seen[port] = true
	}
	if len(g.StandbyPorts) > 0 && g.StandbyReady != StandbyPorts {
		r.bad(r.in("guards.standby_ports"), "has no use without standby_ready: %s", StandbyPorts)
	}
}

// StandbyPorts is the standby_ready that wants ports open too.
const StandbyPorts = "preflight_and_ports"

// StandbyPorts are the ports that must be open on every address of a standby;
// none when its preflight is enough.
func (f *Federation) StandbyPorts() []int {
	switch {
	case f.Guards.StandbyReady != StandbyPorts:
		return nil
	case len(f.Guards.StandbyPorts) > 0:
		return f.Guards.StandbyPorts
	}
	return []int{5061, 443, f.Port}
}

// allCanaries tells when one canary that is down blinds edgewatch.
func (r *rules) allCanaries() {
	if n := len(r.f.Canaries.Targets); n > 1 && r.f.Canaries.MinGood == n {
		r.warn(r.in("canaries.min_good"), "all %d must answer: while one of them is down there is no automatic failover", n)
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
