package slack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rs/zerolog"

	"edgewatch/watchdog"
	"edgewatch/watchdog/slack/slacktest"
)

// logs is a log that tests read while others write.
type logs struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

var anyID = cmpopts.IgnoreFields(watchdog.Command{}, "ID")

func TestCommandsReachTheWatchdog(t *testing.T) {
	r := newRig(t)
	r.srv.Name("U0ANNA", "anna")
	r.start(t)
	for text, want := range map[string]watchdog.Command{
		"failover EdgePool2 power is out": {Verb: watchdog.VerbFailover, Pool: "EdgePool2", Reason: "power is out"},
		"switchover EdgePool2 --force go": {Verb: watchdog.VerbSwitchover, Pool: "EdgePool2", Force: true, Reason: "go"},
		"skip-step verify it is fine":     {Verb: watchdog.VerbSkipStep, Step: "verify", Reason: "it is fine"},
		"hold the network is rebuilt":     {Verb: watchdog.VerbHold, Reason: "the network is rebuilt"},
		"pause 2h patching":               {Verb: watchdog.VerbPause, For: 2 * time.Hour, Reason: "patching"},
		"resume":                          {Verb: watchdog.VerbResume},
		"ack":                             {Verb: watchdog.VerbAck},
	} {
		reply, err := r.srv.Command(deadline(t), "U0ANNA", text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if want := "✓ " + string(want.Verb); !strings.HasPrefix(reply, want) {
			t.Errorf("%s: reply %q, want %q…", text, reply, want)
		}
		all := r.desk.commands()
		want.Federation, want.Actor, want.Via = "contoso", "U0ANNA (anna)", "slack"
		if diff := cmp.Diff(want, all[len(all)-1], anyID); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
		if id := all[len(all)-1].ID; !strings.HasPrefix(id, "slack-") || len(id) != 30 {
			t.Errorf("%s: id %q", text, id)
		}
	}
}

func TestReadsAreAnsweredToTheUserOnly(t *testing.T) {
	r := newRig(t)
	r.desk.snaps[0].Decision = watchdog.Decision{Will: watchdog.WillHold, Because: "paused by <anna>", BlockedBy: watchdog.GuardPause}
	r.desk.snaps[0].Pools = []watchdog.PoolStatus{{Name: "EdgePool1", Active: true, Verdict: watchdog.PoolUp}, {Name: "EdgePool2", Verdict: watchdog.PoolDown}}
	r.desk.snaps[0].Witnesses = []watchdog.WitnessStatus{{URL: "https://ew2.example", Vantage: "<host2>", Says: watchdog.SaysUp, Why: "2 of 2 answer"}}
	r.start(t)
	r.add(t, notice("started", time.Now()))
	r.told(t)
	for text, want := range map[string]string{
		"status":          "✕ EdgePool2: standby, down",
		"why":             "paused by &lt;anna&gt;\nHeld by: pause",
		"why now":         "Witness &lt;host2&gt; says of EdgePool1: up, 2 of 2 answer",
		"history":         "started",
		"help":            "failover POOL",
		"":                "failover POOL",
		"why -f contoso":  "paused by",
		"why -f fabrikam": "no federation",
		"sttaus":          `did you mean "status"?`,
	} {
		reply, err := r.srv.Command(deadline(t), "U0ANNA", text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if !strings.Contains(reply, want) {
			t.Errorf("%q: reply %q, want %q in it", text, reply, want)
		}
	}
	if got := len(r.srv.Messages()); got != 1 {
		t.Errorf("%d messages in the channel, want 1", got)
	}
	if got := r.desk.commands(); len(got) != 0 {
		t.Errorf("reading made commands: %v", got)
	}
}

// Where not all of it fits into one answer, the oldest events are left out.
func TestHistoryKeepsTheNewestEvents(t *testing.T) {
	r := newRig(t)
	r.start(t, noCommands)
	read := func() string { return r.slack.read(t.Context(), watchdog.Request{Read: "history"}) }
	for i := range historyLen {
		r.add(t, notice(fmt.Sprintf("event %02d: %s", i, strings.Repeat("edge1 answers <stream:error/> & more ", 8)), time.Now()))
	}
	newest := fmt.Sprintf("event %02d", historyLen-1)
	if text := read(); clip(text, textRunes) != text || !strings.Contains(text, newest) || !strings.Contains(text, "event 08") || strings.Contains(text, "event 00") {
		t.Errorf("%d bytes: %q", len(text), text)
	}
	r.desk.snaps = append(r.desk.snaps, &watchdog.Snapshot{Federation: "fabrikam"})
	e := notice("fabrikam is told too", time.Now())
	e.Federation = "fabrikam"
	r.add(t, e)
	if text := read(); clip(text, textRunes) != text || !strings.Contains(text, newest) || !strings.Contains(text, "fabrikam is told too") {
		t.Errorf("two federations, %d bytes: %q", len(text), text)
	}
}

func TestStrangersAreRefusedAndLogged(t *testing.T) {
	for name, tc := range map[string]struct {
		user   string
		change func(*Options)
		want   string
	}{
		"user not on the list": {"U0EVE", func(*Options) {}, "U0EVE is not on edgewatch's list"},
		"nobody on the list":   {"U0ANNA", func(o *Options) { o.Users = nil }, "is not on edgewatch's list"},
		"other workspace":      {"U0ANNA", func(o *Options) { o.Team = "T0OTHER" }, "slack.team"},
		"other channel":        {"U0ANNA", func(o *Options) { o.Channels = []string{"C0OPS"} }, "slack.channels"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			var log logs
			r.start(t, tc.change, func(o *Options) { o.Log = zerolog.New(&log) })
			for _, text := range []string{"failover EdgePool2 now", "status"} {
				reply, err := r.srv.Command(deadline(t), tc.user, text)
				if err != nil || !strings.Contains(reply, tc.want) || !strings.Contains(reply, "Nothing was done") {
					t.Errorf("%s: reply %q, %v", text, reply, err)
				}
			}
			r.add(t, story("contoso-7")[:2]...)
			r.told(t)
			if reply, err := r.srv.Click(deadline(t), tc.user, r.srv.Messages()[0].TS, actionPause); err != nil || !strings.Contains(reply, tc.want) {
				t.Errorf("click: reply %q, %v", reply, err)
			}
			if got := r.desk.commands(); len(got) != 0 {
				t.Errorf("commands: %v", got)
			}
			if n := strings.Count(log.String(), "slack command refused"); n != 3 || !strings.Contains(log.String(), tc.user) {
				t.Errorf("%d refusals logged:\n%s", n, log.String())
			}
		})
	}
}

// Nobody waits for the answers to others, least of all to strangers.
func TestAnswersHoldUpNoCommand(t *testing.T) {
	r := newRig(t)
	r.srv.Fail(slacktest.Fault{Method: "response_url", Hang: true})
	r.start(t, func(o *Options) { o.Timing.Answer = time.Hour })
	r.connected(t)
	ctx := deadline(t)
	for i := range 2 * queueSize {
		sent, err := r.srv.Type(ctx, "U0STRANGER", fmt.Sprintf("status %d", i))
		if err != nil {
			t.Fatal(err)
		}
		if err := sent.Acked(ctx); err != nil {
			t.Fatal(err)
		}
	}
	for _, text := range []string{"pause 2h patching", "resume"} {
		if _, err := r.srv.Type(ctx, "U0ANNA", text); err != nil {
			t.Fatal(err)
		}
	}
	until(t, func() bool { return len(r.desk.commands()) == 2 })
}

func TestRedeliveredEnvelopeRunsOnce(t *testing.T) {
	r := newRig(t)
	r.start(t)
	ctx := deadline(t)
	sent, err := r.srv.Type(ctx, "U0ANNA", "failover EdgePool2 now")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sent.Reply(ctx); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := sent.Redeliver(ctx); err != nil {
			t.Fatal(err)
		}
	}
	r.srv.DropSockets()
	if err := sent.Redeliver(ctx); err != nil {
		t.Fatal(err)
	}
	// Commands are carried out in order: when this is answered, those were seen.
	if _, err := r.srv.Command(ctx, "U0ANNA", "resume"); err != nil {
		t.Fatal(err)
	}
	if got := r.desk.commands(); len(got) != 2 {
		t.Errorf("commands: %v", got)
	}
}

// The same act delivered to a new process has the same id, so that the
// journal accepts it once.
func TestRedeliveryAfterRestartHasTheSameID(t *testing.T) {
	r := newRig(t)
	r.start(t)
	ctx := deadline(t)
	sent, err := r.srv.Type(ctx, "U0ANNA", "ack")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sent.Reply(ctx); err != nil {
		t.Fatal(err)
	}
	r.stop()
	if err := r.srv.Until(ctx, func() bool { return r.srv.Connected() == 0 }); err != nil {
		t.Fatal(err)
	}
	r.start(t)
	if err := sent.Redeliver(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := r.srv.Command(ctx, "U0BERT", "ack"); err != nil {
		t.Fatal(err)
	}
	got := r.desk.commands()
	if len(got) != 3 || got[0].ID != got[1].ID || got[1].ID == got[2].ID {
		t.Errorf("commands: %v", got)
	}
}

func TestButtons(t *testing.T) {
	r := newRig(t)
	r.desk.snaps[0].Decision = watchdog.Decision{Will: watchdog.WillHold, To: "EdgePool2", BlockedBy: watchdog.GuardMode, Because: "mode is observe"}
	r.start(t)
	s := story("contoso-7")
	d := *s[1].Decision
	s[1].Decision = &d
	d.Will, d.BlockedBy = watchdog.WillHold, watchdog.GuardMode
	r.add(t, s[:2]...)
	r.told(t)
	root := r.srv.Messages()[0].TS
	for action, want := range map[string]watchdog.Command{
		actionAck:      {Verb: watchdog.VerbAck, Reason: "acknowledged on the message of incident contoso-7"},
		actionPause:    {Verb: watchdog.VerbPause, For: time.Hour, Reason: "paused on the message of incident contoso-7"},
		actionFailover: {Verb: watchdog.VerbFailover, Pool: "EdgePool2", Reason: "ordered on the message of incident contoso-7"},
	} {
		reply, err := r.srv.Click(deadline(t), "U0BERT", root, action)
		if err != nil || !strings.HasPrefix(reply, "✓ ") {
			t.Fatalf("%s: reply %q, %v", action, reply, err)
		}
		all := r.desk.commands()
		want.Federation, want.Actor, want.Via = "contoso", "U0BERT (u0bert)", "slack"
		if diff := cmp.Diff(want, all[len(all)-1], anyID); diff != "" {
			t.Errorf("%s (-want +got):\n%s", action, diff)
		}
	}
}

func TestButtonsGoWhenTheyAreDone(t *testing.T) {
	r := newRig(t)
	r.start(t, noCommands)
	has := func(want ...string) {
		t.Helper()
		r.told(t)
		root := r.srv.Messages()[0]
		var got []string
		for _, a := range []string{actionAck, actionPause, actionFailover, actionApprove, actionDeny, actionAbort} {
			if _, ok := root.Button(a); ok {
				got = append(got, a)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("buttons of %q (-want +got):\n%s", root.Text, diff)
		}
	}
	cmd := func(c watchdog.Command) {
		c.Actor = "U0ANNA (anna)"
		r.add(t, watchdog.Entry{Federation: "contoso", Incident: "contoso-7", At: time.Now(), Kind: watchdog.KindCommand, Command: &c})
	}
	s := story("contoso-7")
	r.add(t, s[:3]...)
	has(actionPause, actionAbort) // there is nothing to acknowledge while it runs
	cmd(watchdog.Command{Verb: watchdog.VerbPause, For: time.Hour})
	has(actionAbort)
	cmd(watchdog.Command{Verb: watchdog.VerbAbort})
	has()
	r.add(t, s[15])
	has(actionAck)
	cmd(watchdog.Command{Verb: watchdog.VerbAck})
	has()
}

func TestClicksAreCheckedWhenClicked(t *testing.T) {
	now := time.Now()
	for name, tc := range map[string]struct {
		action string
		value  string
		at     time.Time
		want   string
	}{
		"older incident":       {actionAck, `{"f":"contoso","i":"contoso-6"}`, now, "belongs to incident contoso-6"},
		"federation gone":      {actionAck, `{"f":"fabrikam","i":"contoso-7"}`, now, "no federation"},
		"late":                 {actionAck, `{"f":"contoso","i":"contoso-7"}`, now.Add(-12*time.Minute - time.Second), "reached edgewatch 12 min late"},
		"not asked any more":   {actionFailover, `{"f":"contoso","i":"contoso-7","p":"EdgePool2"}`, now, "does not ask for this failover any more"},
		"unknown button":       {"edgewatch_dance", `{"f":"contoso","i":"contoso-7"}`, now, "does not know this button"},
		"value of another app": {actionAck, `hello`, now, "Nothing was done"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.start(t)
			r.add(t, story("contoso-7")[0])
			r.told(t)
			reply, err := r.srv.ClickStale(deadline(t), "U0ANNA", r.srv.Messages()[0], tc.action, tc.value, tc.at)
			if err != nil || !strings.Contains(reply, tc.want) {
				t.Errorf("reply %q, %v, want %q", reply, err, tc.want)
			}
			if got := r.desk.commands(); len(got) != 0 {
				t.Errorf("commands: %v", got)
			}
		})
	}
}

// slackTime shows Slack at another time than ours.
type slackTime struct{ ahead time.Duration }

func (s slackTime) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err == nil {
		resp.Header.Set("Date", time.Now().Add(s.ahead).UTC().Format(http.TimeFormat))
	}
	return resp, err
}

// How late a click is goes by Slack's clock alone, however wrong ours is.
func TestLateClicksGoBySlacksClock(t *testing.T) {
	for _, ahead := range []time.Duration{-time.Hour, time.Hour} {
		r := newRig(t)
		client := &http.Client{Transport: slackTime{ahead}}
		t.Cleanup(client.CloseIdleConnections)
		r.start(t, func(o *Options) { o.HTTPClient = client })
		r.add(t, story("contoso-7")[0])
		r.told(t)
		for late, want := range map[time.Duration]string{0: "✓ ack", maxClick + 65*time.Second: "6 min late"} {
			reply, err := r.srv.ClickStale(deadline(t), "U0ANNA", r.srv.Messages()[0], actionAck, `{"f":"contoso","i":"contoso-7"}`, time.Now().Add(ahead-late))
			if err != nil || !strings.Contains(reply, want) {
				t.Errorf("Slack's clock %s ahead, a click %s late: reply %q, %v", ahead, late, reply, err)
			}
		}
	}
}

// What is left to do once an incident is over belongs to the newest one.
func TestButtonsOfPastIncidentsDoNothing(t *testing.T) {
	r := newRig(t)
	r.desk.snaps[0].Incident, r.desk.snaps[0].Newest = "", "contoso-9"
	r.desk.snaps[0].Cooldown = time.Now().Add(time.Hour)
	r.start(t)
	r.add(t, story("contoso-7")[0])
	r.told(t)
	for incident, want := range map[string]int{"contoso-7": 0, "contoso-9": 2} {
		for _, action := range []string{actionAck, actionPause} {
			value := fmt.Sprintf(`{"f":"contoso","i":%q}`, incident)
			reply, err := r.srv.ClickStale(deadline(t), "U0ANNA", r.srv.Messages()[0], action, value, time.Now())
			if err != nil || strings.HasPrefix(reply, "✓") != (want > 0) {
				t.Errorf("%s of %s: reply %q, %v", action, incident, reply, err)
			}
		}
	}
	if got := r.desk.commands(); len(got) != 2 {
		t.Errorf("commands: %v", got)
	}
}

func TestSubmitFailsAndPanics(t *testing.T) {
	r := newRig(t)
	r.desk.err = errors.New("the journal is <full>")
	r.start(t)
	reply, err := r.srv.Command(deadline(t), "U0ANNA", "ack")
	if err != nil || !strings.Contains(reply, "the journal is &lt;full&gt;. Nothing is known to have changed") {
		t.Errorf("reply %q, %v", reply, err)
	}
	r.desk.err = fmt.Errorf("%w: wait for contoso: %w", watchdog.ErrUnsure, context.DeadlineExceeded)
	reply, err = r.srv.Command(deadline(t), "U0ANNA", "ack")
	if err != nil || !strings.Contains(reply, "may or may not have been accepted") || strings.Contains(reply, "Nothing") {
		t.Errorf("reply %q, %v", reply, err)
	}
	r.desk.snaps = []*watchdog.Snapshot{nil}
	if reply, err = r.srv.Command(deadline(t), "U0ANNA", "status"); err != nil || !strings.Contains(reply, "a fault of its own") {
		t.Errorf("reply %q, %v", reply, err)
	}
	if reply, err = r.srv.Command(deadline(t), "U0ANNA", "help"); err != nil || !strings.Contains(reply, "resume") {
		t.Errorf("after the panic: reply %q, %v", reply, err)
	}
}

func TestTwoFederationsWantAName(t *testing.T) {
	r := newRig(t)
	r.desk.snaps = append(r.desk.snaps, &watchdog.Snapshot{Federation: "fabrikam"})
	r.start(t)
	reply, err := r.srv.Command(deadline(t), "U0ANNA", "ack")
	if err != nil || !strings.Contains(reply, "-f contoso or -f fabrikam") || len(r.desk.commands()) != 0 {
		t.Errorf("reply %q, %v, commands %v", reply, err, r.desk.commands())
	}
}

func TestAnswerFindsAnotherWay(t *testing.T) {
	r := newRig(t)
	r.srv.Fail(slacktest.Fault{Method: "response_url", Status: 500})
	r.start(t)
	reply, err := r.srv.Command(deadline(t), "U0ANNA", "ack")
	if err != nil || !strings.HasPrefix(reply, "✓ ack") {
		t.Errorf("reply %q, %v", reply, err)
	}
}

// Slack's API is down, its websocket is not: the command is carried out, and
// what is told of it waits.
func TestCommandsWorkWhileTheAPIIsDown(t *testing.T) {
	r := newRig(t)
	r.start(t)
	r.connected(t)
	r.srv.Fail(slacktest.Fault{Status: 503})
	sent, err := r.srv.Type(deadline(t), "U0ANNA", "failover EdgePool2 now")
	if err != nil {
		t.Fatal(err)
	}
	if err := sent.Acked(deadline(t)); err != nil {
		t.Fatal(err)
	}
	until(t, func() bool { return len(r.desk.commands()) == 1 })
	r.add(t, story("contoso-7")...)
	until(t, func() bool { return r.slack.Health() != nil })
	r.srv.Heal()
	r.told(t)
	r.checkStory(t)
}

func TestSlowWorkerRefusesAndRecovers(t *testing.T) {
	r := newRig(t)
	r.desk.block = make(chan struct{})
	r.start(t, func(o *Options) { o.Timing.Answer = 20 * time.Second })
	ctx := deadline(t)
	var sent []*slacktest.Sent
	const typed = queueSize + 20
	for i := range typed {
		s, err := r.srv.Type(ctx, "U0ANNA", fmt.Sprintf("pause %dm busy", i+1))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Acked(ctx); err != nil {
			t.Fatalf("command %d: %v", i, err)
		}
		sent = append(sent, s)
	}
	close(r.desk.block)
	refused := 0
	for i, s := range sent {
		reply, err := s.Reply(ctx)
		if err != nil {
			t.Fatalf("command %d: %v", i, err)
		}
		if strings.Contains(reply, "too many commands waiting. Nothing was done") {
			refused++
		}
	}
	if got := len(r.desk.commands()); got+refused != typed || refused < 19 {
		t.Errorf("%d carried out, %d refused of %d", got, refused, typed)
	}
	if reply, err := r.srv.Command(ctx, "U0ANNA", "ack"); err != nil || !strings.HasPrefix(reply, "✓") {
		t.Errorf("afterwards: %q, %v", reply, err)
	}
}
