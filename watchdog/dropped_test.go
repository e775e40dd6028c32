package watchdog_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/actions"
	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// slowCheck is a task whose look takes long, so that a crash can be put before it.
type slowCheck struct {
	actions.Task
	wait time.Duration
}

func (s slowCheck) Check(ctx context.Context) (actions.Observation, error) {
	time.Sleep(s.wait)
	return s.Task.Check(ctx)
}

// wrapped puts another task in the place of the step's first one.
func wrapped(name actions.StepName, wrap func(actions.Task) actions.Task) func(*watchdog.Ports) {
	return func(ports *watchdog.Ports) {
		plan := ports.Plan
		ports.Plan = func(kind actions.PlanKind, from, to string) (*actions.Plan, error) {
			made, err := plan(kind, from, to)
			for i, s := range made.Steps {
				if s.Name == name {
					made.Steps[i].Tasks[0] = wrap(s.Tasks[0])
				}
			}
			return made, err
		}
	}
}

// dies kills the process at its next write, and returns the journal for the next
// one; EdgePool1 is well by then.
func (p *process) dies(w *estate, j *watchdogtest.MemJournal) *watchdogtest.MemJournal {
	w.with(func(w *estate) { w.life++; w.dead["EdgePool1"] = false })
	dead := j.CrashAt(1, false)
	<-dead
	p.cancel()
	j = j.Reopen()
	<-p.ended
	return j
}

// diesInRoute lets EdgePool1 die, and then edgewatch while Set-CsSite is under way,
// which has no effect; EdgePool1 is well by then.
func diesInRoute(t *testing.T, w *estate, j *watchdogtest.MemJournal) *watchdogtest.MemJournal {
	t.Helper()
	w.with(func(w *estate) { w.dead["EdgePool1"] = true })
	p := startEngine(t, w, j)
	p.until(2*time.Minute, "in set-route", func(*watchdog.Snapshot) bool { return has(kinds(t, j), "set-route started") })
	time.Sleep(time.Second) // Apply takes two
	return p.dies(w, j)
}

// dieBefore starts an engine and kills it in the middle of the step, before anything
// of it was applied; EdgePool1 is well by then.
func dieBefore(t *testing.T, w *estate, j *watchdogtest.MemJournal, name actions.StepName) *watchdogtest.MemJournal {
	t.Helper()
	p := startEngineWith(t, w, j, wrapped(name, func(t actions.Task) actions.Task { return slowCheck{t, 10 * time.Second} }))
	p.until(2*time.Minute, "in "+string(name), func(*watchdog.Snapshot) bool { return has(kinds(t, j), string(name)+" started") })
	return p.dies(w, j)
}

// The second failover of a site finds its route right, as sites keep theirs. It dies
// before DNS; two days later the pool is well.
func TestEngineMovesNothingWhereTheRouteWasFoundRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true; w.route = "EdgePool2" })
		j = dieBefore(t, w, j, actions.DNSRecords)
		time.Sleep(48 * time.Hour)
		p := startEngine(t, w, j)
		time.Sleep(20 * time.Minute)
		if s := p.Snapshot(); s.Active != "EdgePool1" || !strings.Contains(w.String(), "dns=EdgePool1") {
			t.Errorf("EdgePool1 answers for days, and federation was taken off it: active %s, %s, log %v", s.Active, w, w.log)
		}
		p.stop()
	})
}

// As above, and the failover had failed at DNS: its rescue had begun.
func TestEngineMovesNothingAfterItFailedAndDied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.refuse["dns"] = &actions.Error{Kind: actions.Rejected, Host: "ns1", Op: "UPDATE", Err: errors.New("REFUSED")}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true; w.route = "EdgePool2" })
		j = dieBefore(t, w, j, actions.StartServices)
		w.with(func(w *estate) { clear(w.refuse) })
		time.Sleep(48 * time.Hour)
		p := startEngine(t, w, j)
		time.Sleep(20 * time.Minute)
		if s := p.Snapshot(); s.Active != "EdgePool1" || !strings.Contains(w.String(), "dns=EdgePool1") {
			t.Errorf("EdgePool1 answers for days, and federation was taken off it: active %s, %s, log %v", s.Active, w, w.log)
		}
		p.stop()
	})
}

// A failover that a person approved had moved the route. The mode is observe by now.
func TestEngineObservesWhatWasApproved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		approve := func(s *watchdog.Settings) { s.Rules.Mode = watchdog.ModeApprove }
		p := startEngine(t, w, j, approve)
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		p.until(2*time.Minute, "asked", func(s *watchdog.Snapshot) bool { return s.Decision.Will == watchdog.WillAsk })
		p.order(watchdog.Command{ID: "1", Verb: watchdog.VerbApprove, Pool: "EdgePool2", Reason: "go", Actor: "anna", Via: "slack"})
		p.until(time.Minute, "route", func(*watchdog.Snapshot) bool { return has(kinds(t, j), "set-route finished") })
		j = p.dies(w, j)
		p = startEngine(t, w, j, func(s *watchdog.Settings) { s.Rules.Mode = watchdog.ModeObserve })
		time.Sleep(20 * time.Minute)
		if w.count("dns") > 0 {
			t.Errorf("carried on in mode observe: %s, %v", w, w.log)
		}
		p.stop()
	})
}

// A gone federation's failover had moved the route; people moved it back by hand and
// acknowledged that. Then its name returns.
func TestAckedGoneFederationReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		j = dieBefore(t, w, j, actions.DNSRecords)
		n := rename(t, w, j)
		w.with(func(w *estate) { w.route = "EdgePool1"; w.running["edge3"], w.running["edge4"] = true, true }) // put right by hand
		if a, err := n.Submit(t.Context(), watchdog.Command{ID: "2", Federation: "contoso", Verb: watchdog.VerbAck, Actor: "anna", Via: "cli"}); err != nil || !a.Accepted {
			t.Fatalf("ack: %+v, %v", a, err)
		}
		n.stop(t)
		time.Sleep(30 * 24 * time.Hour)
		p := startEngine(t, w, j)
		time.Sleep(20 * time.Minute)
		if s := p.Snapshot(); s.Active != "EdgePool1" || w.String() != onPool1 {
			t.Errorf("put right by hand and acknowledged a month ago, and moved again: active %s, %s, %v", s.Active, w, w.log)
		}
		p.stop()
	})
}

// The management host does not answer for the first minutes after the power came
// back, and nothing was moved.
func TestEngineLooksAgainWhereTheHostIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		j = diesInRoute(t, w, j)
		time.Sleep(10 * time.Minute)
		silent := time.Now().Add(5 * time.Minute)
		p := startEngineWith(t, w, j, wrapped(actions.SetRoute, func(t actions.Task) actions.Task { return silentUntil{t, silent} }))
		time.Sleep(30 * time.Minute)
		if s := p.Snapshot(); s.Active != "EdgePool1" || w.String() != onPool1 {
			t.Errorf("nothing had moved and EdgePool1 answers: active %s, %s, %v", s.Active, w, w.log)
		}
		p.stop()
	})
}

// silentUntil is a task of a host that does not answer before then.
type silentUntil struct {
	actions.Task
	until time.Time
}

func (s silentUntil) Check(ctx context.Context) (actions.Observation, error) {
	if time.Now().Before(s.until) {
		return actions.Observation{}, &actions.Error{Kind: actions.Transient, Host: "fe1", Op: "Get-CsSite", Err: errors.New("connection refused")}
	}
	return s.Task.Check(ctx)
}

// refusedRepair is an engine with whom a person has just ordered to bring records
// back to EdgePool1 that lead to EdgePool2, and DNS refused.
func refusedRepair(t *testing.T, w *estate, change func(*watchdog.Rules)) *process {
	t.Helper()
	w.with(func(w *estate) { w.dns = "EdgePool2" })
	s := testSettings()
	s.Rules.Domains, s.Rules.PartnerAge = []string{"contoso.com"}, 15*time.Minute
	change(&s.Rules)
	senses := w.senses()
	senses.Partner = func(context.Context) []watchdog.PartnerView {
		w.mu.Lock()
		defer w.mu.Unlock()
		return []watchdog.PartnerView{{Domain: "contoso.com", Pool: w.dns, Text: "…"}}
	}
	p := runEngine(t, s, watchdog.Ports{Senses: senses, Plan: w.plan, Journal: &watchdogtest.MemJournal{}})
	time.Sleep(11 * time.Minute)
	w.with(func(w *estate) {
		w.refuse["dns"] = &actions.Error{Kind: actions.Rejected, Host: "ns1", Op: "UPDATE", Err: errors.New("REFUSED")}
	})
	p.order(watchdog.Command{ID: "1", Verb: watchdog.VerbFailover, Pool: "EdgePool1", Reason: "drift", Actor: "anna", Via: "cli"})
	time.Sleep(30 * time.Second)
	w.with(func(w *estate) { clear(w.refuse) })
	return p
}

// A repair of the preferred pool that failed is no failback that failed.
func TestEngineGoesHomeAfterARepairThatFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEstate()
		p := refusedRepair(t, w, func(r *watchdog.Rules) {
			r.Failback = watchdog.FailbackRules{Auto: true, StableFor: 30 * time.Minute, To: 24 * time.Hour}
		})
		w.with(func(w *estate) { w.dns = "EdgePool1" }) // by hand
		time.Sleep(15 * time.Minute)
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		p.until(20*time.Minute, "failed over", activeIs("EdgePool2"))
		w.with(func(w *estate) { w.dead["EdgePool1"] = false })
		time.Sleep(6 * time.Hour)
		if snap := p.Snapshot(); snap.Active != "EdgePool1" {
			t.Errorf("EdgePool1 is well for hours: %s", snap.Headline())
		}
		p.stop()
	})
}

// An orderly stop in the middle of the drop leaves the route in doubt. The next
// start does not carry on what was dropped: it looks again.
func TestEngineStoppedWhileItDrops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		j = diesInRoute(t, w, j)
		time.Sleep(48 * time.Hour)
		p := startEngine(t, w, j)
		time.Sleep(time.Second) // services are being started
		p.stop()
		p = startEngine(t, w, j)
		time.Sleep(20 * time.Minute)
		if s := p.Snapshot(); s.Active != "EdgePool1" || w.String() != onPool1 {
			t.Errorf("nothing had moved and EdgePool1 answers for days: active %s, %s, %v", s.Active, w, w.log)
		}
		p.stop()
	})
}

// While a failover is dropped, status does not say that it is on its way.
func TestStatusOfADroppedFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		j = dieBefore(t, w, j, actions.SetRoute)
		time.Sleep(time.Hour)
		p := startEngine(t, w, j)
		time.Sleep(time.Second)
		if s := p.Snapshot(); s.State != watchdog.Watching && strings.Contains(s.Headline(), "failover from EdgePool1 to EdgePool2 is running") {
			t.Errorf("it is dropped: %s", s.Headline())
		}
		p.stop()
	})
}

// An ack of a gone federation whose journal has an entry that cannot be read.
func TestAckOfAnUnreadableGoneFederation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, j := stoppedByContoso(t)
		read := func() *watchdog.GoneFederations {
			gone, err := watchdog.ReadGone(t.Context(), watchdog.GoneOptions{Names: []string{"contoso"}, Journal: unreadable{j}})
			if err != nil {
				t.Fatal(err)
			}
			return gone
		}
		gone := read()
		sup := watchdog.NewSupervisor(j)
		sup.Mind(gone)
		a, err := sup.Submit(t.Context(), watchdog.Command{ID: "1", Federation: "contoso", Verb: watchdog.VerbAck})
		if err != nil || !a.Accepted {
			t.Fatalf("ack: %+v, %v", a, err)
		}
		if left := read().Left(); len(left) > 0 && !strings.Contains(a.Text, "until the next start") {
			t.Errorf("%q, and told at the next start: %q", a.Text, left)
		}
	})
}

// A repair that DNS refused can be tried again with retry, as people are told to.
func TestEngineRetriesARepair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newEstate()
		p := refusedRepair(t, w, func(*watchdog.Rules) {})
		a, err := p.Submit(t.Context(), watchdog.Command{ID: "2", Verb: watchdog.VerbRetry, Reason: "key mended", Actor: "anna", Via: "cli"})
		if err != nil || !a.Accepted {
			t.Errorf("retry: %+v, %v; %s", a, err, p.Snapshot().Headline())
		}
		time.Sleep(5 * time.Minute)
		if w.String() != onPool1 {
			t.Errorf("the records are not back: %s; %s", w, p.Snapshot().Headline())
		}
		p.stop()
	})
}
