package winrm

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"edgewatch/actions"
	"edgewatch/actions/actionstest"

	"github.com/google/go-cmp/cmp"
)

func TestStopThenStartOfOneServer(t *testing.T) {
	var mu sync.Mutex
	var hooked []string
	note := func(what string) func(string) {
		return func(server string) {
			mu.Lock()
			defer mu.Unlock()
			hooked = append(hooked, what+" "+server)
		}
	}
	e := newEstateWith(actionstest.Hooks{OnStop: note("stop"), OnStart: note("start")})
	c := dial(t, listen(t, edgeHost, e, actionstest.WinRMOptions{}), nil)
	stop, start := NewStopServices(c), NewStartServices(c)

	if o := check(t, stop); o.Status != actions.Pending {
		t.Errorf("before: %+v, want pending", o)
	}
	if err := stop.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(actions.Observation{Status: actions.Done, Detail: "7 of 7 services Stopped"}, check(t, stop)); diff != "" {
		t.Error(diff)
	}
	if o := check(t, start); o.Status != actions.Pending {
		t.Errorf("start before Apply: %+v, want pending", o)
	}
	if err := start.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o := check(t, start); o.Status != actions.Done {
		t.Errorf("start after Apply: %+v, want done", o)
	}
	if n := len(e.Commands("Stop-CsWindowsService")); n != 1 {
		t.Errorf("Stop-CsWindowsService ran %d times, want once", n)
	}
	if diff := cmp.Diff([]string{"stop " + edgeHost, "start " + edgeHost}, hooked); diff != "" {
		t.Error(diff)
	}
}

func TestSetRouteMovesTheRoute(t *testing.T) {
	for _, tc := range []struct {
		name       string
		parameters []string
		route      Route
		wantArg    string
		wantValue  string
	}{
		{"the reference's parameter", []string{"XmppFederationRoute"}, Route{}, "XmppFederationRoute", "EdgeServer:edgepool2.contoso.com"},
		{"the pages' parameter", []string{"XmppExternalFederationRoute"}, Route{}, "XmppExternalFederationRoute", edgeHost},
		{"pinned value", []string{"XmppFederationRoute"}, Route{Value: "edgepool2.contoso.com"}, "XmppFederationRoute", "edgepool2.contoso.com"},
		{"pinned parameter", []string{"XmppFederationRoute", "XmppExternalFederationRoute"}, Route{Parameter: "XmppExternalFederationRoute"}, "XmppExternalFederationRoute", edgeHost},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, _, c := manager(t)
			e.Set(func(k *actionstest.Knobs) { k.RouteParameters = tc.parameters })
			tc.route.Site, tc.route.PoolFQDN, tc.route.ServerFQDN, tc.route.From = "Site2", "edgepool2.contoso.com", edgeHost, "Site1"
			task := NewSetRoute(c, tc.route)
			o := check(t, task)
			if o.Status != actions.Pending {
				t.Errorf("before: %+v", o)
			}
			began := time.Now()
			if err := task.Apply(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := actions.Observation{Status: actions.Done, Detail: "Site2 routes to edgepool2.contoso.com; another site keeps a route: Site1 (the site it leaves) to edgepool1.contoso.com"}
			if diff := cmp.Diff(want, check(t, task)); diff != "" {
				t.Error(diff)
			}
			sets := e.Commands("Set-CsSite")
			if len(sets) != 1 {
				t.Fatalf("Set-CsSite ran %d times, want once", len(sets))
			}
			if diff := cmp.Diff(map[string]string{"Identity": "Site2", tc.wantArg: tc.wantValue, "Force": "true", "Confirm": "false"}, sets[0].Args); diff != "" {
				t.Error(diff)
			}
			if at := task.WrittenAt(); at.Before(began.Add(-time.Second)) || at.After(time.Now().Add(time.Second)) {
				t.Errorf("written at %v, want about now", at)
			}
			// again: nothing to do, nothing done
			if err := task.Apply(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := len(e.Commands("Set-CsSite")); n != 1 {
				t.Errorf("a second Apply ran Set-CsSite again (%d)", n)
			}
		})
	}
}

func TestServicesThatLinger(t *testing.T) {
	e, _, c := edge(t)
	e.Set(func(k *actionstest.Knobs) { k.Settle = 300 * time.Millisecond })
	stop := NewStopServices(c)
	if err := c.Run(t.Context(), Script{Op: "Stop-CsWindowsService", Module: true, Writes: true, Calls: []Call{{Cmdlet: "Stop-CsWindowsService"}}}, nil); err != nil {
		t.Fatal(err)
	}
	o := check(t, stop)
	if o.Status != actions.Pending || !strings.Contains(o.Detail, "0 of 7 services Stopped; REPLICA StopPending") {
		t.Errorf("while they stop: %+v", o)
	}
	if err := stop.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if o := check(t, stop); o.Status != actions.Done {
		t.Errorf("after Apply: %+v, want done: Apply waits for what lingers", o)
	}
}

func TestServiceThatDoesNotStart(t *testing.T) {
	e, _, c := edge(t)
	e.Set(func(k *actionstest.Knobs) { k.Dead = []string{edgeHost + "/RTCXMPPPROXY"} })
	if err := e.SetServices(edgeHost, "Stopped"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	start := NewStartServices(c)
	if err := start.Apply(ctx); err != nil {
		t.Fatal(err)
	}
	want := actions.Observation{Status: actions.Pending, Detail: "6 of 7 services Running; RTCXMPPPROXY Stopped"}
	if diff := cmp.Diff(want, check(t, start)); diff != "" {
		t.Error(diff)
	}
}

func TestReady(t *testing.T) {
	_, _, c := edge(t)
	want := actions.Observation{Status: actions.Done, Detail: "logon works; 7 Cs services, 7 Running; Skype for Business Server XMPP Translating Gateway Proxy is there"}
	if diff := cmp.Diff(want, check(t, NewReady(c, ""))); diff != "" {
		t.Error(diff)
	}
	_, err := NewReady(c, "*Jabber*").Check(t.Context())
	wantError(t, err, actions.Rejected, edgeHost, "none of 7 Cs services", "*Jabber*", "Topology Builder")
}

func TestReadyOnAHostThatIsNoEdgeServer(t *testing.T) {
	w := listen(t, "other.contoso.com", newEstate(), actionstest.WinRMOptions{})
	_, err := NewReady(dial(t, w, nil), "").Check(t.Context())
	wantError(t, err, actions.Rejected, "other.contoso.com", "no Cs service", "is an Edge Server")
}

func TestModules(t *testing.T) {
	for _, tc := range []struct {
		installed []string
		option    string
		want      string // "" fails
	}{
		{[]string{"Lync", "SkypeForBusiness"}, "", "SkypeForBusiness"},
		{[]string{"Lync"}, ModuleAuto, "Lync"},
		{[]string{"Lync", "SkypeForBusiness"}, "Lync", "Lync"},
		{nil, ModuleAuto, ""},
		{[]string{"Lync"}, "SkypeForBusiness", ""},
	} {
		e := newEstate()
		e.Set(func(k *actionstest.Knobs) { k.Modules = tc.installed })
		c := dial(t, listen(t, edgeHost, e, actionstest.WinRMOptions{}), func(o *Options) { o.Module = tc.option })
		var a Answer
		err := c.Run(t.Context(), getServices(), &a)
		if tc.want == "" {
			wantError(t, err, actions.Rejected, edgeHost, "administrative tools")
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{tc.want}, a.Module); diff != "" {
			t.Error(diff)
		}
	}
}

func TestPowerShellErrorsAreClassedByTypeNotText(t *testing.T) {
	for _, tc := range []struct {
		name    string
		failure actionstest.Failure
		want    actions.Kind
		says    string
	}{
		{"timeout", actionstest.Failure{ID: "StopFailed", Type: "System.ServiceProcess.TimeoutException", Message: "Timeout scaduto"}, actions.Indeterminate, "Get-CsWindowsService"},
		{"denied by type", actionstest.Failure{ID: "x", Type: "System.UnauthorizedAccessException", Message: "Accesso negato"}, actions.Rejected, "local Administrators"},
		{"denied by category", actionstest.Failure{ID: "x", Type: "System.Exception", Category: "PermissionDenied", Message: "Accès refusé"}, actions.Rejected, "local Administrators"},
		{"anything else", actionstest.Failure{ID: "x", Type: "System.Exception", Category: "NotSpecified", Message: "boh"}, actions.Rejected, "by hand"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, _, c := edge(t)
			e.Set(func(k *actionstest.Knobs) {
				k.Fail = map[string]actionstest.Failure{"Stop-CsWindowsService": tc.failure}
			})
			err := NewStopServices(c).Apply(t.Context())
			wantError(t, err, tc.want, edgeHost, tc.says, tc.failure.Message, tc.failure.ID)
			if p, ok := errors.AsType[*PSError](err); !ok || p.Cmdlet != "Stop-CsWindowsService" || !errorID(err, tc.failure.ID) {
				t.Errorf("typed error is %+v", p)
			}
		})
	}
}

func TestUnknownCmdletAndParameter(t *testing.T) {
	_, _, c := edge(t)
	err := c.Run(t.Context(), Script{Op: "Stop-Computer", Module: true, Calls: []Call{{Cmdlet: "Stop-Computer"}}}, nil)
	wantError(t, err, actions.Rejected, edgeHost, "Stop-Computer is not a cmdlet of")
	err = c.Run(t.Context(), Script{Op: "x", Module: true, Calls: []Call{{Cmdlet: "Get-CsWindowsService", Args: []Arg{Switch("Nope")}}}}, nil)
	wantError(t, err, actions.Rejected, edgeHost, "(Get-Command Get-CsWindowsService).Parameters.Keys")
}

var target = Route{Site: "site:SITE2", PoolFQDN: "EdgePool2.contoso.com", ServerFQDN: edgeHost, From: "Site1"}

func TestSetRouteRefusals(t *testing.T) {
	change := func(f func(*Route)) Route { r := target; f(&r); return r }
	for _, tc := range []struct {
		name  string
		knobs func(*actionstest.Knobs)
		route Route
		says  []string
	}{
		{"no such site", nil, change(func(r *Route) { r.Site = "Site9" }), []string{`no site "Site9"; there are Site1, Site2`, "configuration"}},
		{"no such pool", nil, change(func(r *Route) { r.PoolFQDN = "edgepool9.contoso.com" }), []string{"knows no pool edgepool9.contoso.com", "edgepool2.contoso.com"}},
		{"parameter is not there", func(k *actionstest.Knobs) { k.RouteParameters = nil }, target, []string{"no parameter XmppFederationRoute or XmppExternalFederationRoute", "pin"}},
		{"pinned parameter is not there", nil, change(func(r *Route) { r.Parameter = "XmppRoute" }), []string{"no parameter XmppRoute"}},
		{"value is refused", nil, change(func(r *Route) { r.Value = "EdgeServer:nowhere" }), []string{"InvalidRoute"}},
		{"store is out of reach", func(k *actionstest.Knobs) { k.DoubleHop = true }, target, []string{"ConnectionFailure"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, _, c := manager(t)
			if tc.knobs != nil {
				e.Set(tc.knobs)
			}
			task := NewSetRoute(c, tc.route)
			wantError(t, task.Apply(t.Context()), actions.Rejected, manageHost, tc.says...)
			if got := e.Route("Site2"); got != "" {
				t.Errorf("the route is %q", got)
			}
			if !task.WrittenAt().IsZero() {
				t.Error("a write was noted")
			}
		})
	}
}

func TestSetRouteLeavesAloneWhatChangedMeanwhile(t *testing.T) {
	e, _, c := manager(t)
	task := NewSetRoute(c, target)
	// what Apply read was empty; before it writes, an operator sets another
	if err := e.SetRoute("Site2", "EdgeServer:edgepool1.contoso.com"); err != nil {
		t.Fatal(err)
	}
	err := c.Run(t.Context(), task.write(parameterReference, "EdgeServer:edgepool2.contoso.com", ""), nil)
	wantError(t, err, actions.Rejected, manageHost, "somebody changed it")
	if n := len(e.Commands("Set-CsSite")); n > 0 {
		t.Errorf("Set-CsSite ran %d times", n)
	}
}

func TestSetRouteOnAnEdgeServerIsRefused(t *testing.T) {
	_, _, c := edge(t)
	wantError(t, NewSetRoute(c, target).Apply(t.Context()), actions.Rejected, edgeHost)
}

func TestSetRouteWithALostAnswerIsSeenByCheck(t *testing.T) {
	e, w, c := manager(t)
	task := NewSetRoute(c, target)
	w.Inject(actionstest.Fault{On: "Command", Kind: actionstest.ResetAfter, Times: 2}) // one for the read, one for the write
	wantError(t, task.Apply(t.Context()), actions.Transient, manageHost)
	wantError(t, c.Run(t.Context(), task.write(parameterReference, "EdgeServer:edgepool2.contoso.com", ""), nil), actions.Indeterminate, manageHost)
	// The host works on although nobody listens any more.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for o := check(t, task); o.Status != actions.Done; o = check(t, task) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("after the lost answer: %+v", o)
		}
	}
	if n := len(e.Commands("Set-CsSite")); n != 1 {
		t.Errorf("Set-CsSite ran %d times", n)
	}
}

func TestReached(t *testing.T) {
	for _, tc := range []struct {
		route string
		want  bool
	}{
		{"", false}, {" ", false}, {"EdgeServer:", false},
		{"EdgeServer:edgepool2.contoso.com", true}, {"edgeserver:EDGEPOOL2.CONTOSO.COM", true}, {"1-EdgeServer-2:edgepool2.contoso.com", true},
		{edgeHost, true}, {"EdgeServer:" + edgeHost, true}, {"pinned", false}, {"EdgeServer:edgepool1.contoso.com", false},
		{"EdgeServer:edgepool2.contoso.com.evil", false},
	} {
		if got := target.reached(tc.route); got != tc.want {
			t.Errorf("reached(%q) = %v", tc.route, got)
		}
	}
	if empty := (Route{}); empty.reached("EdgeServer:") {
		t.Error("no route is taken for a route to no pool")
	}
}

func TestManagementPreflight(t *testing.T) {
	change := func(f func(*Route)) Route { r := target; f(&r); return r }
	for _, tc := range []struct {
		name  string
		knobs func(*actionstest.Knobs)
		route Route
		want  string // of the observation
		says  []string
	}{
		{"all is well", nil, target, "module SkypeForBusiness, Set-CsSite -XmppFederationRoute, Central Management store on fe1.contoso.com, Site2 routes to nothing; another site keeps a route: Site1 (the site it leaves) to edgepool1.contoso.com", nil},
		{"the pages' parameter", func(k *actionstest.Knobs) {
			k.RouteParameters, k.Modules = []string{"XmppExternalFederationRoute"}, []string{"Lync"}
		}, target, "module Lync, Set-CsSite -XmppExternalFederationRoute, Central Management store on fe1.contoso.com, Site2 routes to nothing; another site keeps a route: Site1 (the site it leaves) to edgepool1.contoso.com", nil},
		{"no module", func(k *actionstest.Knobs) { k.Modules = nil }, target, "", []string{"administrative tools"}},
		{"no parameter", func(k *actionstest.Knobs) { k.RouteParameters = nil }, target, "", []string{"Get-Command Set-CsSite", "pin the parameter"}},
		{"double hop", func(k *actionstest.Knobs) { k.DoubleHop = true }, target, "", []string{"double hop", "RunAs", "constrained delegation", "scheduled task", "host of the Central Management store"}},
		{"store is down", func(k *actionstest.Knobs) { k.StoreDown = true }, target, "", []string{"no active master", "never automated"}},
		{"no site", nil, change(func(r *Route) { r.Site = "Site9" }), "", []string{"there are Site1, Site2"}},
		{"no pool", nil, change(func(r *Route) { r.PoolFQDN = "edgepool9.contoso.com" }), "", []string{"knows no pool"}},
		{"server of another pool", nil, change(func(r *Route) { r.ServerFQDN = "edge1a.contoso.com" }), "", []string{"edge1a.contoso.com is not a computer of pool", edgeHost}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, _, c := manager(t)
			if tc.knobs != nil {
				e.Set(tc.knobs)
			}
			task := NewManagement(c, tc.route)
			o, err := task.Check(t.Context())
			for _, ran := range e.Commands() {
				if !strings.HasPrefix(ran.Cmdlet, "Get-") {
					t.Errorf("the preflight ran %s", ran.Cmdlet)
				}
			}
			if tc.want == "" {
				wantError(t, err, actions.Rejected, manageHost, tc.says...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(actions.Observation{Status: actions.Done, Detail: tc.want}, o); diff != "" {
				t.Error(diff)
			}
			if err := task.Apply(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestReplicationWaitsForTheNewSnapshot(t *testing.T) {
	e, _, c := manager(t)
	e.Set(func(k *actionstest.Knobs) { k.ReplicationLag, k.ClockAhead = time.Hour, 3*time.Hour })
	set := NewSetRoute(c, target)
	if err := set.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	replicas := []string{edgeHost, "edge2b.contoso.com"}
	if o := check(t, NewReplication(c, replicas, 0, nil)); o.Status != actions.Done {
		t.Errorf("without a time: %+v, want done: the old snapshot is up to date", o)
	}
	task := NewReplication(c, replicas, 0, func() (time.Time, bool) { return set.WrittenAt(), false })
	want := actions.Observation{Status: actions.Pending, Detail: "0 of 2 replicas up to date; behind: edge2a.contoso.com, edge2b.contoso.com"}
	if diff := cmp.Diff(want, check(t, task)); diff != "" {
		t.Errorf("up to date with the old snapshot: %s", diff)
	}
	e.Set(func(k *actionstest.Knobs) { k.ReplicationLag = 0 })
	if o := check(t, task); o.Status != actions.Done {
		t.Errorf("with the new snapshot: %+v", o)
	}
}

// A server that was left behind when enough others were started has no replica
// that could be up to date: enough is enough here too.
func TestReplicationOfEnough(t *testing.T) {
	e, _, c := manager(t)
	e.Set(func(k *actionstest.Knobs) { k.Stuck = []string{edgeHost} })
	replicas := []string{edgeHost, "edge2b.contoso.com"}
	for need, want := range map[int]actions.Status{0: actions.Pending, 1: actions.Done, 2: actions.Pending} {
		o := check(t, NewReplication(c, replicas, need, nil))
		if o.Status != want || !strings.Contains(o.Detail, "behind: "+edgeHost) {
			t.Errorf("%d of 2 are needed: %+v, want %s and the one that is behind", need, o, want)
		}
	}
}

func TestStuckReplicaIsToldOnce(t *testing.T) {
	e, _, c := manager(t)
	e.Set(func(k *actionstest.Knobs) { k.Stuck = []string{edgeHost} })
	task := NewReplication(c, []string{edgeHost, "edge2b.contoso.com"}, 0, nil)
	if o := check(t, task); o.Status != actions.Pending || !strings.Contains(o.Detail, "behind: "+edgeHost) {
		t.Errorf("stuck: %+v", o)
	}
	for range 2 {
		if err := task.Apply(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if o := check(t, task); o.Status != actions.Done {
		t.Errorf("after Apply: %+v", o)
	}
	told := e.Commands("Invoke-CsManagementStoreReplication")
	if len(told) != 1 || told[0].Args["ReplicaFqdn"] != edgeHost {
		t.Errorf("told %+v, want %s once", told, edgeHost)
	}
}

func TestReplicaThatStaysBehind(t *testing.T) {
	e, _, c := manager(t)
	if err := e.SetServices(edgeHost, "Stopped"); err != nil {
		t.Fatal(err)
	}
	task := &replication{c: c, replicas: []string{edgeHost}, written: func() (time.Time, bool) { return time.Time{}, false }, patience: 50 * time.Millisecond, pause: 10 * time.Millisecond, told: map[string]*telling{}}
	for range 3 {
		if err := task.Apply(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if o := check(t, task); o.Status != actions.Pending {
		t.Errorf("its services are stopped: %+v", o)
	}
	if n := len(e.Commands("Invoke-CsManagementStoreReplication")); n != 1 {
		t.Errorf("told %d times, want once", n)
	}
}

func TestUnknownReplica(t *testing.T) {
	_, _, c := manager(t)
	_, err := NewReplication(c, []string{"edge9.contoso.com"}, 0, nil).Check(t.Context())
	wantError(t, err, actions.Rejected, manageHost, "no replica edge9.contoso.com")
}
