package winrm

import (
	"strings"
	"testing"
	"time"

	"edgewatch/actions"
	"edgewatch/actions/actionstest"
)

// resumed is a chain of which an earlier run may have set the route.
func resumed(route *SetRoute) func() (time.Time, bool) {
	return func() (time.Time, bool) { return route.WrittenAt(), true }
}

// The route was written, and the proof waits for the replicas when the run ends:
// edgewatch dies, the step runs out of time, or the answer of Set-CsSite is lost.
// The tasks of the next run find the route right and have written nothing. The
// old snapshot proves as little to them as to those that wrote.
func TestTheNextRunTakesNoOldSnapshotForProof(t *testing.T) {
	e, _, c := manager(t)
	e.Set(func(k *actionstest.Knobs) { k.ReplicationLag, k.ClockAhead = time.Hour, 3*time.Hour })
	if err := NewSetRoute(c, target).Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	route := NewSetRoute(c, target)
	if o := check(t, route); o.Status != actions.Done {
		t.Fatalf("the route: %+v", o)
	}
	task := NewReplication(c, []string{edgeHost, "edge2b.contoso.com"}, 0, resumed(route))
	for range 2 {
		if o := check(t, task); o.Status != actions.Pending || !strings.Contains(o.Detail, edgeHost+" (up to date, but the route may be newer than that)") {
			t.Errorf("nothing was replicated since: %+v", o)
		}
	}
	if err := task.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o := check(t, task); o.Status != actions.Done {
		t.Errorf("each was told and replicated: %+v", o)
	}
}

// A run that is carried on long after the route was written ends proven, and soon: each
// replica is told once, but for one that is behind: what it has next is new.
func TestAnOrdinaryRepeatIsProvenSoon(t *testing.T) {
	e, _, c := manager(t)
	if err := e.SetServices("edge2b.contoso.com", "Stopped"); err != nil {
		t.Fatal(err)
	}
	task := NewReplication(c, []string{edgeHost, "edge2b.contoso.com"}, 1, resumed(NewSetRoute(c, target)))
	if o := check(t, task); o.Status != actions.Pending {
		t.Fatalf("before they were told: %+v", o)
	}
	begin := time.Now()
	if err := task.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o := check(t, task); o.Status != actions.Done || time.Since(begin) > replicationPause/2 {
		t.Errorf("after %v: %+v", time.Since(begin), o)
	}
	if n := len(e.Commands("Invoke-CsManagementStoreReplication")); n != 1 {
		t.Errorf("told %d times, want the one that is up to date, once", n)
	}
}

// What could not be told is told by the next try.
func TestReplicaThatCouldNotBeToldIsToldLater(t *testing.T) {
	e, _, c := manager(t)
	e.Set(func(k *actionstest.Knobs) {
		k.Fail = map[string]actionstest.Failure{"Invoke-CsManagementStoreReplication": {ID: "Denied", Type: "System.UnauthorizedAccessException", Category: "PermissionDenied"}}
	})
	task := NewReplication(c, []string{edgeHost}, 0, resumed(NewSetRoute(c, target)))
	if err := task.Apply(t.Context()); err == nil || actions.KindOf(err) == actions.Indeterminate {
		t.Fatalf("Apply = %v, want a refusal", err)
	}
	e.Set(func(k *actionstest.Knobs) { k.Fail = nil })
	if err := task.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o := check(t, task); o.Status != actions.Done {
		t.Errorf("%+v", o)
	}
}

// A status that is the one from before says nothing, even once its replica was
// told; one that was deleted and is back does, whatever its time.
func TestStatusFromBeforeTheTelling(t *testing.T) {
	task := NewReplication(nil, []string{edgeHost}, 0, func() (time.Time, bool) { return time.Time{}, true }).(*replication)
	old := replica{ReplicaFqdn: edgeHost, UpToDate: true, LastUpdateCreation: "2026-01-01T00:00:00Z"}
	task.first(old)
	gone := old
	gone.UpToDate = false
	for i, step := range []struct {
		row  replica
		want bool
	}{{old, false}, {gone, false}, {old, true}} {
		if got := task.current(step.row); got != step.want {
			t.Errorf("%d: %+v is current: %v, want %v", i, step.row, got, step.want)
		}
	}
}

// The replicas could not be told to replicate, so that the proof failed. The next try
// does not take what they had before for it.
func TestAReplicaThatCouldNotBeToldIsNoProof(t *testing.T) {
	e, _, c := manager(t)
	e.Set(func(k *actionstest.Knobs) {
		k.ReplicationLag, k.ClockAhead = time.Hour, 3*time.Hour
		k.Fail = map[string]actionstest.Failure{"Invoke-CsManagementStoreReplication": {ID: "Denied", Type: "System.UnauthorizedAccessException", Category: "PermissionDenied"}}
	})
	var before actions.Progress
	written := func(r *SetRoute) func() (time.Time, bool) {
		return func() (time.Time, bool) { return r.Written(before) }
	}
	replicas := []string{edgeHost, "edge2b.contoso.com"}
	route := NewSetRoute(c, target)
	if err := route.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	task := NewReplication(c, replicas, 0, written(route))
	if o := check(t, task); o.Status != actions.Pending {
		t.Fatalf("run 1: %+v", o)
	}
	if err := task.Apply(t.Context()); err == nil {
		t.Fatal("told")
	}
	for _, r := range []actions.Record{
		{Step: actions.SetRoute, Target: route.Target(), Phase: actions.Finished}, {Step: actions.SetRoute, Phase: actions.Finished},
		{Step: actions.Verify, Target: task.Target(), Phase: actions.Started}, {Step: actions.Verify, Target: task.Target(), Phase: actions.Failed},
	} {
		before.Add(r)
	}
	route = NewSetRoute(c, target)
	if o := check(t, NewReplication(c, replicas, 0, written(route))); o.Status != actions.Pending {
		t.Errorf("run 2, nothing was replicated and none was told: %+v", o)
	}
}
