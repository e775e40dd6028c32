package sim

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/actions"
	"edgewatch/watchdog"
)

// inRun does something in a bubble, in a run of which nothing has happened yet.
func inRun(t *testing.T, do func(r *run)) {
	t.Helper()
	f, err := exampleFederation()
	if err != nil {
		t.Fatal(err)
	}
	e, err := newEstate(f)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRun(t, e, &story{}, 1)
		if err := r.openZones(); err != nil {
			t.Fatal(err)
		}
		defer r.closeZones()
		do(r)
	})
}

// A failover that had moved nothing when its process died may go on only where
// the pool is dead still, or was seen down a moment ago, where it is edgewatch's
// to go on, and where it had not failed.
func TestCarriedOnIsChecked(t *testing.T) {
	const from = "EdgePool1"
	start := watchdog.ChainStart{ID: "contoso-1.1", From: from, To: "EdgePool2", Trigger: watchdog.TriggerAuto}
	refused := &actions.Error{Kind: actions.Rejected, Err: errors.New("no right to do that")}
	lost := &actions.Error{Kind: actions.Indeterminate, Err: errors.New("connection reset by peer")}
	fails := func(r *run) {
		r.checks.carried.stepped(&actions.Record{Step: actions.SetRoute, Phase: actions.Failed})
		r.checks.carried.stepped(&actions.Record{Step: actions.StartServices, Phase: actions.Started, Rescue: true})
	}
	sends := func(r *run, err error) {
		route := &task{step: actions.SetRoute, target: "fe1"}
		r.checks.moving(route)
		r.checks.carried.moved(route, err)
	}
	dead := func(r *run) {
		for _, h := range r.world.poolNamed(from).hosts {
			r.world.setPower(h, false)
		}
	}
	for name, c := range map[string]struct {
		before func(r *run) // … the process dies
		order  bool         // a person's
		want   string       // the promise that is broken; "" none
	}{
		"the pool is well":                      {func(*run) {}, false, "I4"},
		"… and a person ordered it":             {func(*run) {}, true, ""},
		"… and its way was cut for us alone":    {func(r *run) { r.world.poolNamed(from).pathCut = true }, false, ""},
		"… and edgewatch was away for a moment": {func(r *run) { r.checks.died = time.Now().Add(-20 * time.Second) }, false, ""},
		"… and edgewatch was away for minutes":  {func(r *run) { r.checks.died = time.Now().Add(-2 * time.Minute) }, false, "I4"},
		"… and the route was refused":           {func(r *run) { sends(r, refused) }, false, "I4"},
		"… and nobody knows whether it moved":   {func(r *run) { sends(r, lost) }, false, ""},
		"… and the route has moved":             {func(r *run) { r.checks.moved[start.ID] = "Site2" }, false, ""},
		"the pool is dead":                      {dead, false, ""},
		"… and it had failed":                   {func(r *run) { dead(r); fails(r) }, false, "I7"},
		"… and edgewatch was to end":            {func(r *run) { dead(r); r.ending(); fails(r) }, false, ""},
		"… and mode is observe by now":          {func(r *run) { dead(r); r.rules.Mode = watchdog.ModeObserve }, false, "I6"},
		"… and mode is approve by now":          {func(r *run) { dead(r); r.rules.Mode = watchdog.ModeApprove }, false, "I6"},
		"… and a person had it tried anew":      {func(r *run) { dead(r); fails(r); r.checks.chain = ""; r.checks.goesOn(&start) }, false, ""},
		"the pool is well, and it was retried":  {func(r *run) { r.checks.chain = ""; r.checks.goesOn(&start) }, false, ""},
	} {
		inRun(t, func(r *run) {
			first := start
			if c.order {
				first.Trigger = "cli"
			}
			time.Sleep(time.Hour)
			r.checks.goesOn(&first)
			r.checks.chain, r.checks.newest = first.ID, first
			c.before(r)
			r.checks.chain = first.ID
			r.checks.goesOn(&first)
			r.checks.moving(&task{step: actions.SetRoute, target: "fe1", chain: first.ID})
			got := ""
			if r.violation != nil {
				got = r.violation.Invariant
			}
			if got != c.want {
				t.Errorf("%s: %+v, want %q", name, r.violation, c.want)
			}
		})
	}
}

// A move that ended does not deny what its own update did.
func TestDeniedRecordsAreChecked(t *testing.T) {
	for _, c := range []struct {
		led, moved, denied bool
	}{{true, false, true}, {true, true, false}, {false, false, false}} {
		inRun(t, func(r *run) {
			r.checks.newest = watchdog.ChainStart{ID: "contoso-2.1", From: "EdgePool2", To: "EdgePool1", Kind: actions.Failback}
			r.checks.carried.led = c.led
			r.checks.named(watchdog.Entry{Kind: watchdog.KindChainEnd, ChainEnd: &watchdog.ChainEnd{ID: "contoso-2.1", Outcome: actions.Outcome{RouteMoved: c.moved}}})
			if (r.violation != nil) != c.denied {
				t.Errorf("%+v: %+v", c, r.violation)
			}
		})
	}
}

// A repair that failed and keeps edgewatch from leaving a dead pool is found,
// unless something else does.
func TestMissedIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		change func(r *run, snap *watchdog.Snapshot)
		found  bool
	}{
		"nothing else":             {func(*run, *watchdog.Snapshot) {}, true},
		"it waits for a person":    {func(_ *run, s *watchdog.Snapshot) { s.Decision.BlockedBy = watchdog.GuardUnconfirmed }, true},
		"a hold":                   {func(_ *run, s *watchdog.Snapshot) { s.Hold = &watchdog.Hold{} }, false},
		"a cool-down":              {func(_ *run, s *watchdog.Snapshot) { s.Cooldown = s.At.Add(time.Hour) }, false},
		"the standby is not ready": {func(_ *run, s *watchdog.Snapshot) { s.Pools[1].Readiness.Ready = false }, false},
		"our own line":             {func(r *run, _ *watchdog.Snapshot) { r.world.cut = true }, false},
		"DNS leads elsewhere":      {func(r *run, _ *watchdog.Snapshot) { r.editDNS("EdgePool2") }, false},
		"the pool is well":         {func(r *run, _ *watchdog.Snapshot) { r.world.heal() }, false},
		"it was no repair":         {func(r *run, _ *watchdog.Snapshot) { r.checks.newest.Repair = false }, false},
		"a person aborted it": {func(r *run, _ *watchdog.Snapshot) {
			r.checks.entries = []watchdog.Entry{{Kind: watchdog.KindCommand, Command: &watchdog.Command{Verb: watchdog.VerbAbort}}}
		}, false},
	} {
		inRun(t, func(r *run) {
			for _, h := range r.world.pools[0].hosts {
				r.world.setPower(h, false)
			}
			time.Sleep(time.Minute)
			r.checks.newest = watchdog.ChainStart{ID: "contoso-1.1", From: "EdgePool2", To: "EdgePool1", Repair: true}
			snap := &watchdog.Snapshot{At: time.Now(), Active: "EdgePool1", Decision: watchdog.Decision{State: watchdog.Faulted},
				Pools: []watchdog.PoolStatus{{Name: "EdgePool1"}, {Name: "EdgePool2", Readiness: watchdog.Readiness{Ready: true}}}}
			c.change(r, snap)
			for range disarmed {
				r.checks.missedBy(snap)
			}
			if (r.violation != nil) != c.found {
				t.Errorf("%s: %+v", name, r.violation)
			}
		})
	}
}
