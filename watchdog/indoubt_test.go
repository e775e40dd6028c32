package watchdog_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/actions"
	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// partlyUntil is a zone whose primary does not answer before then, while its
// secondaries hold the old records: rfc2136 says Partly, with no error.
type partlyUntil struct {
	actions.Task
	until time.Time
}

func (s partlyUntil) Check(ctx context.Context) (actions.Observation, error) {
	o, err := s.Task.Check(ctx)
	if err == nil && o.Status == actions.Pending && time.Now().Before(s.until) {
		o.Status, o.Unsure = actions.Partly, true
	}
	return o, err
}

// The second failover of a site finds its route right; dies while DNS was Started and
// had no effect. Two days later EdgePool1 is well; primary name server is slow to start.
func TestEngineLooksAgainWhereThePrimaryIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true; w.route = "EdgePool2" })
		p := startEngine(t, w, j)
		p.until(2*time.Minute, "in dns", func(*watchdog.Snapshot) bool { return has(kinds(t, j), "dns-records started") })
		time.Sleep(time.Second) // Apply takes two
		j = p.dies(w, j)
		time.Sleep(48 * time.Hour)
		silent := time.Now().Add(5 * time.Minute)
		p = startEngineWith(t, w, j, wrapped(actions.DNSRecords, func(t actions.Task) actions.Task { return partlyUntil{t, silent} }))
		time.Sleep(30 * time.Minute)
		if s := p.Snapshot(); s.Active != "EdgePool1" || !strings.Contains(w.String(), "dns=EdgePool1") {
			t.Errorf("active %s, %s, %v\n%s\n%v", s.Active, w, w.log, s.Headline(), kinds(t, j))
		}
		p.stop()
	})
}

// The file lacks EdgePool1 in one start, and has it again in the next.
func TestEngineStartedOnceWithoutThePool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		j = diesInRoute(t, w, j)
		time.Sleep(48 * time.Hour)
		s := testSettings()
		s.Rules.Pools = []string{"EdgePool2"}
		s.Watch.Pools = s.Watch.Pools[1:]
		plan := func(kind actions.PlanKind, from, to string) (*actions.Plan, error) {
			if from == "EdgePool1" || to == "EdgePool1" {
				return nil, errors.New("no such pool is configured")
			}
			return w.plan(kind, from, to)
		}
		p := runEngine(t, s, watchdog.Ports{Senses: w.senses(), Plan: plan, Journal: j})
		time.Sleep(50 * time.Second)
		p.stop()
		p = startEngine(t, w, j)
		time.Sleep(30 * time.Minute)
		if s := p.Snapshot(); w.String() != onPool1 {
			t.Errorf("active %s, %s, %v\n%s\n%v", s.Active, w, w.log, s.Headline(), kinds(t, j))
		}
		p.stop()
	})
}

// slowJournal takes a second for every write once slow.
type slowJournal struct {
	*watchdogtest.MemJournal
	slow atomic.Bool
}

func (d *slowJournal) Append(ctx context.Context, e []watchdog.Entry) ([]watchdog.Entry, error) {
	if d.slow.Load() {
		time.Sleep(time.Second)
	}
	return d.MemJournal.Append(ctx, e)
}

// Edgewatch is stopped while its loop is busy writing, in the middle of a drop.
func TestEngineStoppedWhileItWritesAndDrops(t *testing.T) {
	ended := 0
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			w, j := newEstate(), &watchdogtest.MemJournal{}
			j = diesInRoute(t, w, j)
			time.Sleep(48 * time.Hour)
			silent := time.Now().Add(10 * time.Minute)
			sj := &slowJournal{MemJournal: j}
			p := startEngineWith(t, w, j, func(ports *watchdog.Ports) {
				ports.Journal = sj
				wrapped(actions.SetRoute, func(t actions.Task) actions.Task { return silentUntil{t, silent} })(ports)
			})
			time.Sleep(2 * time.Minute)
			sj.slow.Store(true)
			go func() {
				_, _ = p.Submit(t.Context(), watchdog.Command{ID: "1", Verb: watchdog.VerbHold, Reason: "maintenance", Actor: "anna", Via: "cli"})
			}()
			time.Sleep(500 * time.Millisecond)
			p.stop()
			if has(kinds(t, j), "chain_end") {
				ended++
			}
		})
	}
	if ended > 0 {
		t.Errorf("%d of 20 ended in doubt at a stop, and the next process does not see", ended)
	}
}

// unsure is an estate and journal whose failover was dropped in doubt.
func unsure(t *testing.T, silentFor time.Duration) (*estate, *watchdogtest.MemJournal, *process) {
	w, j := newEstate(), &watchdogtest.MemJournal{}
	j = diesInRoute(t, w, j)
	time.Sleep(48 * time.Hour)
	silent := time.Now().Add(silentFor)
	p := startEngineWith(t, w, j, wrapped(actions.SetRoute, func(t actions.Task) actions.Task { return silentUntil{t, silent} }))
	return w, j, p
}

// People are asked what became of it, and then the federation is renamed.
func TestFederationThatIsGoneInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j, p := unsure(t, time.Hour)
		time.Sleep(30 * time.Minute)
		p.stop()
		n := rename(t, w, j)
		if len(n.gone.Left()) == 0 {
			t.Errorf("nobody is told that the route may have moved")
		}
		n.stop(t)
	})
}

// Edgewatch is stopped in order while Set-CsSite is under way; it had no effect. Two days later.
func TestEngineStoppedWhileTheRouteIsSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		p := startEngine(t, w, j)
		p.until(2*time.Minute, "in set-route", func(*watchdog.Snapshot) bool { return has(kinds(t, j), "set-route started") })
		w.with(func(w *estate) {
			w.dead["EdgePool1"] = false
			w.refuse["route"] = &actions.Error{Kind: actions.Indeterminate, Host: "fe1", Op: "Set-CsSite", Err: errors.New("no answer")}
		})
		time.Sleep(time.Second)
		p.stop()
		w.with(func(w *estate) { clear(w.refuse) })
		time.Sleep(48 * time.Hour)
		p = startEngine(t, w, j)
		time.Sleep(20 * time.Minute)
		if s := p.Snapshot(); w.String() != onPool1 {
			t.Errorf("active %s, %s, %v\n%v", s.Active, w, w.log, kinds(t, j))
		}
		p.stop()
	})
}

// A retry, months after a repair failed, while the pool is down.
func TestEngineRetriesNoRepairOfADeadPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEstate()
		p := refusedRepair(t, w, func(r *watchdog.Rules) { r.Mode = watchdog.ModeObserve })
		w.with(func(w *estate) { w.dns = "EdgePool1" }) // by hand
		time.Sleep(60 * 24 * time.Hour)
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		time.Sleep(2 * time.Minute)
		a, err := p.Submit(t.Context(), watchdog.Command{ID: "2", Verb: watchdog.VerbRetry, Reason: "x", Actor: "anna", Via: "cli"})
		if err != nil || a.Accepted {
			t.Errorf("retry: %+v, %v", a, err)
		}
		p.stop()
	})
}

// As TestEngineMovesNothingWhereTheRouteWasFoundRight, but stopped in order.
func TestEngineStoppedWhereTheRouteWasFoundRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true; w.route = "EdgePool2" })
		p := startEngineWith(t, w, j, wrapped(actions.DNSRecords, func(t actions.Task) actions.Task { return slowCheck{t, 10 * time.Second} }))
		p.until(2*time.Minute, "in dns", func(*watchdog.Snapshot) bool { return has(kinds(t, j), "dns-records started") })
		w.with(func(w *estate) { w.dead["EdgePool1"] = false })
		p.stop()
		time.Sleep(48 * time.Hour)
		p = startEngine(t, w, j)
		time.Sleep(20 * time.Minute)
		if s := p.Snapshot(); s.Active != "EdgePool1" || !strings.Contains(w.String(), "dns=EdgePool1") {
			t.Errorf("active %s, %s, %v\n%v", s.Active, w, w.log, kinds(t, j))
		}
		p.stop()
	})
}

// A person need not wait until it was looked at for long: an abort ends that, and
// the doubt is told.
func TestEngineAbortsADropInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, p := unsure(t, time.Hour)
		time.Sleep(5 * time.Minute)
		p.order(watchdog.Command{ID: "9", Verb: watchdog.VerbAbort, Reason: "x", Actor: "anna", Via: "cli"})
		s := p.until(time.Minute, "ended", func(s *watchdog.Snapshot) bool { return s.Chain.Outcome != nil })
		if !s.Chain.Outcome.Aborted || s.Active != "EdgePool1" || s.Decision.BlockedBy != watchdog.GuardUnconfirmed {
			t.Errorf("%+v; %s", s.Chain.Outcome, s.Headline())
		}
		p.stop()
	})
}
