package slack

import (
	"strings"
	"testing"
	"time"

	"edgewatch/watchdog/slack/slacktest"
)

func TestPacerSpacesWebsockets(t *testing.T) {
	p := &pacer{min: time.Second}
	now := time.Unix(1e9, 0)
	var got []time.Duration
	for range 8 {
		w := p.wait(now)
		got = append(got, w/time.Second)
		now = now.Add(w)
	}
	for i, want := range []time.Duration{0, 1, 2, 4, 8, 16, 30, 30} {
		if got[i] != want {
			t.Fatalf("waits %d, want the %dth to be %d", got, i, want)
		}
	}
	if w := p.wait(now.Add(time.Hour)); w != 0 {
		t.Errorf("after a quiet hour: %s, want 0", w)
	}
}

func TestReconnectStormIsPacedAndRaised(t *testing.T) {
	r := newRig(t)
	r.srv.SetFlaky(true)
	r.start(t)
	until(t, func() bool {
		err := r.slack.Health()
		return err != nil && strings.Contains(err.Error(), "breaks right after it is opened")
	})
	if err := r.srv.Until(deadline(t), func() bool { return len(r.srv.Opens()) >= 6 }); err != nil {
		t.Fatal(err)
	}
	opens := r.srv.Opens()
	// 5, 10, 20, 40 and 80 ms lie between them.
	if took := opens[5].Sub(opens[0]); took < 150*time.Millisecond {
		t.Errorf("6 websockets within %s", took)
	}
	r.srv.SetFlaky(false)
	if reply, err := r.srv.Command(deadline(t), "U0ANNA", "ack"); err != nil || !strings.HasPrefix(reply, "✓") {
		t.Errorf("afterwards: %q, %v", reply, err)
	}
	until(t, func() bool { return r.slack.Health() == nil && r.slack.Stats().Connected })
}

func TestWebsocketComesBack(t *testing.T) {
	for name, cut := range map[string]func(*slacktest.Server) error{
		"dropped":   func(s *slacktest.Server) error { s.DropSockets(); return nil },
		"refreshed": func(s *slacktest.Server) error { s.Refresh(); return nil },
		"restarted": func(s *slacktest.Server) error { s.Down(); return s.Up() },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.start(t)
			for range 3 {
				r.connected(t)
				opens := len(r.srv.Opens())
				if err := cut(r.srv); err != nil {
					t.Fatal(err)
				}
				if err := r.srv.Until(deadline(t), func() bool { return len(r.srv.Opens()) > opens && r.srv.Connected() > 0 }); err != nil {
					t.Fatal(err)
				}
				if reply, err := r.srv.Command(deadline(t), "U0ANNA", "ack"); err != nil || !strings.HasPrefix(reply, "✓") {
					t.Fatalf("afterwards: %q, %v", reply, err)
				}
			}
			until(t, func() bool { return r.slack.Health() == nil && r.slack.Stats().Connected })
		})
	}
}

func TestConnectionErrorsAreRaised(t *testing.T) {
	for name, tc := range map[string]struct {
		fault slacktest.Fault
		want  string
	}{
		"revoked":      {slacktest.Fault{Error: "token_revoked"}, "install the app"},
		"invalid auth": {slacktest.Fault{Error: "invalid_auth"}, "install the app"},
		"swapped":      {slacktest.Fault{Error: "not_allowed_token_type"}, "swapped"},
		"not found":    {slacktest.Fault{Status: 404}, "404"},
		"down":         {slacktest.Fault{Status: 500}, "check that edgewatch can reach"},
		"slow down":    {slacktest.Fault{Status: 429, RetryAfter: time.Second, Times: 1}, "as soon as Slack allows"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			tc.fault.Method = "apps.connections.open"
			heal := r.srv.Fail(tc.fault)
			r.start(t)
			until(t, func() bool {
				err := r.slack.Health()
				return err != nil && strings.Contains(err.Error(), "open the websocket") && strings.Contains(err.Error(), tc.want)
			})
			if r.slack.Stats().Connected {
				t.Error("connected")
			}
			heal()
			until(t, func() bool { return r.slack.Health() == nil && r.slack.Stats().Connected })
		})
	}
}

func TestRecentForgetsTheOldest(t *testing.T) {
	var r recent
	for i := range 3 * recentSize {
		r.add(string(rune('a' + i)))
	}
	if r.has("a") || !r.has(string(rune('a'+3*recentSize-1))) || len(r.seen) != recentSize {
		t.Errorf("%d remembered, the oldest %t", len(r.seen), r.has("a"))
	}
}
