package rfc2136_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"edgewatch/actions"
	"edgewatch/actions/actionstest"
	"edgewatch/actions/rfc2136"
)

// right is a task that finds all as it should be, as the route of a site that
// kept it when federation left.
type right struct{ target string }

func (r right) Target() string              { return r.target }
func (r right) Preview() []string           { return nil }
func (r right) Apply(context.Context) error { return nil }
func (r right) Check(context.Context) (actions.Observation, error) {
	return actions.Observation{Status: actions.Done}, nil
}

// followed is a task with something that happens once it was applied.
type followed struct {
	actions.Task
	then func()
}

func (f followed) Apply(ctx context.Context) error {
	err := f.Task.Apply(ctx)
	f.then()
	return err
}

// home runs a planned move in which all but DNS is as it should be already, as
// on the way home, with limit for the records.
func home(ctx context.Context, kind actions.PlanKind, records actions.Task, limit time.Duration) actions.Outcome {
	plan := &actions.Plan{Kind: kind, Federation: "contoso", From: "EdgePool2", To: "EdgePool1"}
	for _, name := range kind.Steps() {
		s := actions.Step{Name: name, Tasks: []actions.Task{right{string(name)}}, Timeout: time.Minute}
		if name == actions.DNSRecords {
			s.Tasks, s.Timeout = []actions.Task{records}, limit
		}
		plan.Steps = append(plan.Steps, s)
	}
	r := &actions.Runner{Record: func(context.Context, actions.Record) error { return nil }}
	return r.Run(ctx, plan, "contoso-1.1", actions.Progress{})
}

// TestRecordsThatMovedOnThePrimaryHaveMoved: from the moment at which the
// primary took the update partners are led to the new pool, more of them with
// every secondary that follows. A move that ends before the last one did has
// moved federation, and has to be carried through.
func TestRecordsThatMovedOnThePrimaryHaveMoved(t *testing.T) {
	for name, c := range map[string]struct {
		kind   actions.PlanKind
		hidden bool          // nobody but edgewatch asks the primary
		dies   bool          // the primary, once it took the update
		limit  time.Duration // of the step
		cause  error         // of an end from outside
	}{
		"a failback out of time":              {kind: actions.Failback, limit: time.Second},
		"a switchover out of time":            {kind: actions.Switchover, limit: time.Second},
		"edgewatch is stopped":                {kind: actions.Failback, limit: time.Minute, cause: errors.New("edgewatch is stopping")},
		"a person aborts":                     {kind: actions.Failback, limit: time.Minute, cause: actions.AbortedBy("anna", "wrong day")},
		"a primary that the world never asks": {kind: actions.Failback, limit: time.Minute, hidden: true, cause: errors.New("edgewatch is stopping")},
		"a primary that died of it":           {kind: actions.Failback, limit: time.Minute, dies: true, cause: errors.New("edgewatch is stopping")},
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			second := follow(t, s)
			second.Hold(true)
			u := updater(t, s, func(z *rfc2136.Zone) {
				z.Authoritative = []string{s.Addr(), second.Addr()}
				if c.hidden {
					z.Authoritative = []string{second.Addr()}
				}
			})
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			records := followed{u.Records(moved()), func() {
				if c.dies {
					s.FailQueries(actionstest.DNSServFail)
				}
				if c.cause != nil {
					cancel(c.cause)
				}
			}}
			out := home(ctx, c.kind, records, c.limit)
			if len(s.Updates()) != 1 || out.OK || out.Step != actions.DNSRecords {
				t.Fatalf("%d updates, and then: %+v", len(s.Updates()), out)
			}
			if !out.RouteMoved {
				t.Errorf("the primary leads partners to the new pool, and the outcome says that nothing moved: %+v", out)
			}
		})
	}
}

// What no server took has moved nothing, whether one of them is silent or not.
func TestRecordsThatNoServerTookHaveNotMoved(t *testing.T) {
	for name, hidden := range map[string]bool{"a primary that the world asks": false, "one that it does not": true} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			second, third := follow(t, s), follow(t, s)
			third.FailQueries(actionstest.DNSServFail)
			s.FailUpdates(actionstest.DNSRefuse)
			u := updater(t, s, func(z *rfc2136.Zone) {
				z.Authoritative = []string{s.Addr(), second.Addr(), third.Addr()}
				if hidden {
					z.Authoritative = z.Authoritative[1:]
				}
			})
			if out := home(t.Context(), actions.Failback, u.Records(moved()), time.Minute); out.OK || out.RouteMoved {
				t.Errorf("the update was refused: %+v", out)
			}
		})
	}
}

// A secondary that has what is wanted in an older version of the zone than the
// primary follows: nothing was taken, and the primary is told.
func TestRecordsThatOnlyASecondaryHasAreSent(t *testing.T) {
	s := serve(t)
	second := follow(t, s)
	u := updater(t, s, func(z *rfc2136.Zone) { z.Authoritative = append(z.Authoritative, second.Addr()) })
	if err := u.Records(moved()).Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := second.Synced(t.Context(), zoneName, 101); err != nil {
		t.Fatal(err)
	}
	second.Hold(true)
	for rtype, line := range map[string]string{"A": "xmpp 300 A 192.0.2.11", "AAAA": "xmpp 300 AAAA 2001:db8::11"} {
		if err := s.Edit(zoneName, "xmpp", rtype, line); err != nil {
			t.Fatal(err)
		}
	}
	check(t.Context(), t, u.Records(moved()), actions.Pending)
	sent := followed{u.Records(moved()), func() { second.Hold(false) }}
	if out := home(t.Context(), actions.Failback, sent, time.Minute); !out.OK {
		t.Errorf("%+v", out)
	}
}

// A server that numbers the zone itself, as one that signs it, may be ahead of the
// primary for ever: what the primary took it has taken.
func TestRecordsThatMovedOnAPrimaryWithALowerSerial(t *testing.T) {
	for name, hidden := range map[string]bool{"the world asks it": false, "it does not": true} {
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			signer := serveZones(t, actionstest.DNSZone{Name: zoneName, Records: []string{
				"@ 3600 SOA ns1 hostmaster 2000 3600 600 86400 60", "xmpp 300 A 192.0.2.11", "xmpp 300 AAAA 2001:db8::11",
			}})
			u := updater(t, s, func(z *rfc2136.Zone) {
				z.Authoritative = []string{s.Addr(), signer.Addr()}
				if hidden {
					z.Authoritative = z.Authoritative[1:]
				}
			})
			out := home(t.Context(), actions.Failback, u.Records(moved()), time.Second)
			if len(s.Updates()) != 1 || out.OK || !out.RouteMoved {
				t.Errorf("%d updates, and then: %+v", len(s.Updates()), out)
			}
		})
	}
}

// Where the primary cannot be asked and no other server has what is wanted, nobody
// knows whether it was taken.
func TestRecordsOfWhichNobodyKnows(t *testing.T) {
	s := serve(t)
	second := follow(t, s)
	second.Hold(true)
	u := updater(t, s, func(z *rfc2136.Zone) { z.Authoritative = []string{s.Addr(), second.Addr()} })
	task := u.Records(moved())
	look := func() actions.Observation {
		o, err := task.Check(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	if o := look(); o.Status != actions.Pending || o.Unsure {
		t.Errorf("before: %+v", o)
	}
	if err := task.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o := look(); o.Status != actions.Partly || o.Unsure {
		t.Errorf("the primary has it: %+v", o)
	}
	s.FailQueries(actionstest.DNSServFail)
	if o := look(); o.Status != actions.Partly || !o.Unsure {
		t.Errorf("the primary cannot be asked: %+v", o)
	}
}
