package winrm

import (
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
