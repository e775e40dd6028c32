package watchdog_test

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/probe"
	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// halves are ways in which a pool is neither up nor down: too few of its
// servers answer, or one is down and nothing can be said of the other.
var halves = map[string]struct {
	minUp int
	addrs []string
	spoil func(i int, r *probe.Result)
}{
	"below min_up": {2, []string{"203.0.113.1:5269", "203.0.113.11:5269", "203.0.113.12:5269"}, func(i int, r *probe.Result) {
		if i > 0 {
			r.Level, r.Class, r.Phase, r.Blame = probe.Down, probe.Refused, probe.PhaseConnect, probe.Remote
		}
	}},
	"one cannot be judged": {1, []string{"203.0.113.1:5269", "[2001:db8::1]:5269"}, func(i int, r *probe.Result) {
		if i == 0 {
			r.Level, r.Class, r.Phase, r.Blame = probe.Down, probe.Refused, probe.PhaseConnect, probe.Remote
			return
		}
		r.Level, r.Class, r.Phase, r.Blame = probe.Inconclusive, probe.LocalError, probe.PhaseConnect, probe.Local
	}},
}

// startHalf starts an engine whose EdgePool1 is as half says while ill is set,
// and whose partners find what level says.
func startHalf(t *testing.T, w *estate, j *watchdogtest.MemJournal, half string, ill *atomic.Bool, level func() probe.Level) *process {
	t.Helper()
	s, senses, h := testSettings(), w.senses(), halves[half]
	s.Watch.Pools[0].Targets, s.Watch.Pools[0].MinUp = nil, h.minUp
	for _, a := range h.addrs {
		s.Watch.Pools[0].Targets = append(s.Watch.Pools[0].Targets, probe.Target{Addr: netip.MustParseAddrPort(a), Domain: "contoso.com"})
	}
	inner := senses.Probe
	senses.Probe = func(ctx context.Context, target probe.Target) probe.Result {
		r := inner(ctx, target)
		if i := slices.Index(h.addrs, target.Addr.String()); i >= 0 && ill.Load() {
			h.spoil(i, &r)
		}
		return r
	}
	senses.Partner = func(context.Context) []watchdog.PartnerView {
		return []watchdog.PartnerView{{Domain: "contoso.com", Level: level(), Pool: "EdgePool1", Text: "connect/refused"}}
	}
	return runEngine(t, s, watchdog.Ports{Senses: senses, Plan: w.plan, Journal: j})
}

// decided are the decisions since entry number from that are as wanted.
func decided(t *testing.T, j *watchdogtest.MemJournal, from int, want func(*watchdog.Decision) bool) []string {
	t.Helper()
	entries, err := j.Read(t.Context(), "contoso", 0, 10000)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries[from:] {
		if e.Kind == watchdog.KindDecision && want(e.Decision) {
			out = append(out, e.Sentence())
		}
	}
	return out
}

func unclear(d *watchdog.Decision) bool { return d.BlockedBy == watchdog.GuardUnclear }
func calm(d *watchdog.Decision) bool    { return d.Will == watchdog.WillWatch }

// A pool that is neither up nor down for five minutes is told once, with a guard
// of its own, and again when it is over; what is known of its servers and of
// partners is told too. Nothing moves.
func TestPoolOfWhichNobodyCanTellIsTold(t *testing.T) {
	for half, h := range halves {
		t.Run(half, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, j := newEstate(), &watchdogtest.MemJournal{}
				var ill atomic.Bool
				p := startHalf(t, w, j, half, &ill, func() probe.Level {
					if ill.Load() {
						return probe.Down
					}
					return probe.Up
				})
				time.Sleep(2 * time.Minute)
				from := len(kinds(t, j))
				ill.Store(true)
				time.Sleep(watchdog.UnclearTime - 20*time.Second)
				if got := decided(t, j, from, unclear); got != nil {
					t.Errorf("told too soon: %q", got)
				}
				time.Sleep(6 * time.Hour)
				if got := decided(t, j, from, unclear); len(got) != 1 || !strings.Contains(got[0], "nobody can tell since") {
					t.Errorf("told %q", got)
				}
				if s := p.Snapshot(); s.State != watchdog.Held || s.Decision.BlockedBy != watchdog.GuardUnclear || s.Active != "EdgePool1" {
					t.Errorf("shown: %s, %+v", s.State, s.Decision)
				}
				servers := 0 // that are seen down
				for i := range h.addrs {
					var r probe.Result
					if h.spoil(i, &r); r.Level == probe.Down {
						servers++
					}
				}
				if told := notices(t, j, watchdog.NoticeServerDown); len(told) != servers || !strings.Contains(told[0], "nobody can tell whether the pool is up or down") {
					t.Errorf("servers told: %q", told)
				}
				if told := notices(t, j, watchdog.NoticePartnerLost); len(told) != 1 || !strings.Contains(told[0], "nobody can tell whether EdgePool1 is up or down, and partners of contoso.com do not reach it") {
					t.Errorf("partners told: %q", told)
				}
				ill.Store(false)
				over := len(kinds(t, j))
				p.until(time.Minute, "over", func(*watchdog.Snapshot) bool { return len(decided(t, j, over, calm)) == 1 })
				time.Sleep(30 * time.Minute)
				if told := notices(t, j, watchdog.NoticeServerBack); len(told) != servers {
					t.Errorf("servers told back: %q", told)
				}
				if told := notices(t, j, watchdog.NoticePartnerBack); len(told) != 1 {
					t.Errorf("partners told back: %q", told)
				}
				p.stop()
				if has(kinds(t, j), "chain") {
					t.Error("a failover of a pool of which nobody can tell")
				}
			})
		})
	}
}

// A pool that keeps coming back from there fills no channel.
func TestPoolOfWhichNobodyCanTellNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		var ill atomic.Bool
		p := startHalf(t, w, j, "below min_up", &ill, func() probe.Level { return probe.Up })
		time.Sleep(2 * time.Minute)
		from := len(kinds(t, j))
		for range 60 { // 10 hours
			ill.Store(true)
			time.Sleep(6 * time.Minute)
			ill.Store(false)
			time.Sleep(4 * time.Minute)
		}
		p.stop()
		if got := decided(t, j, from, unclear); len(got) > 30 {
			t.Errorf("told %d times in ten hours", len(got))
		}
	})
}

// While our own line is down nothing can be told of any pool, which has a guard
// of its own, and does not count once it is back.
func TestPoolIsNotUnclearWhileWeAreCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		var ill atomic.Bool
		p := startHalf(t, w, j, "below min_up", &ill, func() probe.Level { return probe.Up })
		time.Sleep(2 * time.Minute)
		w.with(func(w *estate) { w.cutOff = true })
		ill.Store(true)
		time.Sleep(time.Hour)
		w.with(func(w *estate) { w.cutOff = false })
		time.Sleep(4 * time.Minute)
		ill.Store(false)
		time.Sleep(4 * time.Minute)
		p.stop()
		if got := decided(t, j, 0, unclear); got != nil {
			t.Errorf("told %q", got)
		}
	})
}
