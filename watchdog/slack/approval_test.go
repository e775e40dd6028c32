package slack

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgewatch/actions"
	"edgewatch/watchdog"
	"edgewatch/watchdog/slack/slacktest"
)

// question is an outage about which a person is asked.
func question() []watchdog.Entry {
	ask := story("contoso-7")[1]
	ask.Decision = &watchdog.Decision{
		State: watchdog.AwaitingApproval, Will: watchdog.WillAsk, To: "EdgePool2", BlockedBy: watchdog.GuardApproval, NextAt: ask.At.Add(15 * time.Minute),
		Because: "EdgePool1 is down and EdgePool2 is ready: approve EdgePool2 REASON, or deny REASON; without an answer edgewatch holds from 03:15:00 UTC on",
	}
	return []watchdog.Entry{story("contoso-7")[0], ask}
}

// command is an accepted command of anna in the incident.
func command(verb watchdog.Verb, pool string) watchdog.Entry {
	return watchdog.Entry{Federation: "contoso", Incident: "contoso-7", At: time.Now(), Kind: watchdog.KindCommand,
		Command: &watchdog.Command{Verb: verb, Pool: pool, Actor: "U0ANNA (anna)", Via: "slack", Reason: "go"}}
}

func asking() *watchdog.Snapshot {
	return &watchdog.Snapshot{
		Federation: "contoso", Active: "EdgePool1", Incident: "contoso-7", State: watchdog.AwaitingApproval, Decision: *question()[1].Decision,
	}
}

func buttons(m slacktest.Message) []string {
	var out []string
	for _, a := range []string{actionAck, actionPause, actionFailover, actionApprove, actionDeny, actionAbort} {
		if _, ok := m.Button(a); ok {
			out = append(out, a)
		}
	}
	return out
}

// TestAPersonIsAsked: the incident says what is asked, until when and what
// happens then; the channel sees it; and after the answer the buttons are gone
// and the message says whose it was.
func TestAPersonIsAsked(t *testing.T) {
	for verb, answered := range map[watchdog.Verb]string{watchdog.VerbApprove: "*Approved by*", watchdog.VerbDeny: "*Denied by*"} {
		t.Run(string(verb), func(t *testing.T) {
			r := newRig(t)
			r.start(t, noCommands)
			r.add(t, question()...)
			r.told(t)
			root := r.srv.Messages()[0]
			for _, want := range []string{"fail over to EdgePool2? A person is asked", "without an answer edgewatch holds from 03:15:00 UTC on"} {
				if !strings.Contains(root.Text, want) {
					t.Errorf("the notification does not say %q: %s", want, root.Text)
				}
			}
			if all := blocksOf(root); !strings.Contains(all, "*Answer until*") || !strings.Contains(all, "stops the services of EdgePool2") {
				t.Errorf("no deadline, or no effect in the confirmation:\n%s", all)
			}
			if diff := cmp.Diff([]string{actionPause, actionApprove, actionDeny}, buttons(root)); diff != "" {
				t.Errorf("buttons (-want +got):\n%s", diff)
			}
			if replies := r.srv.Thread(root.TS); !replies[2].Broadcast || !strings.HasPrefix(replies[2].Text, "waiting for approval") {
				t.Errorf("the channel does not see the question: %s", show(replies))
			}
			r.add(t, command(verb, "EdgePool2"))
			r.told(t)
			root = r.srv.Messages()[0]
			for _, b := range []string{actionApprove, actionDeny} {
				if _, there := root.Button(b); there {
					t.Errorf("%s is still there", b)
				}
			}
			if all := blocksOf(root); !strings.Contains(all, answered+`\nU0ANNA (anna)`) || strings.Contains(all, "*Answer until*") {
				t.Errorf("it does not say who answered:\n%s", all)
			}
		})
	}
}

// TestApproveIsDangerAndConfirmed: both answers change what happens, so that
// both are confirmed, and the one that acts looks like it.
func TestApproveIsDangerAndConfirmed(t *testing.T) {
	n := &incident{ID: "contoso-7", Federation: "contoso"}
	for i, e := range question() {
		e.Seq = uint64(i + 1)
		n.fold(e)
	}
	all, err := json.Marshal(n.buttons())
	if err != nil {
		t.Fatal(err)
	}
	var got []struct {
		ActionID string `json:"action_id"`
		Style    string `json:"style"`
		Confirm  struct {
			Text struct {
				Text string `json:"text"`
			} `json:"text"`
		} `json:"confirm"`
	}
	if err := json.Unmarshal(all, &got); err != nil {
		t.Fatal(err)
	}
	if len(got) != 3 || got[0].ActionID != actionApprove || got[0].Style != "danger" || got[1].ActionID != actionDeny || got[1].Style != "" {
		t.Errorf("buttons: %+v", got)
	}
	for _, b := range got {
		if b.Confirm.Text.Text == "" {
			t.Errorf("%s is not confirmed", b.ActionID)
		}
	}
}

// TestTheThreadTellsTheWholeQuestion: every entry, once and in order.
func TestTheThreadTellsTheWholeQuestion(t *testing.T) {
	r := newRig(t)
	r.start(t, noCommands)
	entries := append(question(), command(watchdog.VerbDeny, ""), command(watchdog.VerbAck, ""))
	entries = append(entries, question()[1], command(watchdog.VerbApprove, "EdgePool2"))
	entries = append(entries, story("contoso-7")[2:]...)
	r.add(t, entries...)
	r.told(t)
	threads, roots := shown(r.srv.Messages())
	if diff := cmp.Diff(expected(r.store.entries), threads); diff != "" || roots["contoso-7"] != 1 {
		t.Errorf("threads (-want +got), %d incidents:\n%s", roots["contoso-7"], diff)
	}
}

func TestAnswersReachTheWatchdog(t *testing.T) {
	for action, want := range map[string]watchdog.Command{
		actionApprove: {Verb: watchdog.VerbApprove, Pool: "EdgePool2", Reason: "approved on the message of incident contoso-7"},
		actionDeny:    {Verb: watchdog.VerbDeny, Reason: "denied on the message of incident contoso-7"},
	} {
		r := newRig(t)
		r.desk.snaps[0] = asking()
		r.start(t)
		r.add(t, question()...)
		r.told(t)
		ctx := deadline(t)
		root := r.srv.Messages()[0]
		value, _ := root.Button(action)
		sent, err := r.srv.Press(ctx, "U0BERT", root, action, value, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if reply, err := sent.Reply(ctx); err != nil || !strings.HasPrefix(reply, "✓ ") {
			t.Fatalf("%s: %q, %v", action, reply, err)
		}
		// Delivered again, to this process and to the next: once, and under one id.
		if err := sent.Redeliver(ctx); err != nil {
			t.Fatal(err)
		}
		if _, err := r.srv.Command(ctx, "U0ANNA", "resume"); err != nil {
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
		if _, err := r.srv.Command(ctx, "U0ANNA", "resume"); err != nil {
			t.Fatal(err)
		}
		got := r.desk.commands()
		if len(got) != 4 || got[0].ID != got[2].ID || got[1].Verb != watchdog.VerbResume {
			t.Fatalf("%s: commands %+v", action, got)
		}
		want.Federation, want.Actor, want.Via = "contoso", "U0BERT (u0bert)", "slack"
		if diff := cmp.Diff(want, got[0], anyID); diff != "" {
			t.Errorf("%s (-want +got):\n%s", action, diff)
		}
	}
}

// TestStaleAnswersChangeNothing: what the buttons meant is over.
func TestStaleAnswersChangeNothing(t *testing.T) {
	running := &watchdog.ChainStatus{ChainStart: watchdog.ChainStart{ID: "contoso-7.1", From: "EdgePool1", To: "EdgePool2", Trigger: "slack", Actor: "U0ANNA (anna)"}}
	ended := *running
	ended.Outcome, ended.EndedAt = &actions.Outcome{OK: true}, time.Date(2026, 11, 22, 12, 54, 2, 0, time.UTC)
	abort := `{"f":"contoso","i":"contoso-7","c":"contoso-7.1"}`
	answer := `{"f":"contoso","i":"contoso-7","p":"EdgePool2"}`
	for name, tc := range map[string]struct {
		change        func(*watchdog.Snapshot)
		action, value string
		want          string
	}{
		"running": {func(s *watchdog.Snapshot) {
			s.State, s.Decision, s.Chain = watchdog.FailingOver, watchdog.Decision{Will: watchdog.WillFinish, Because: "it is running"}, running
		}, actionApprove, answer, "already answered: the failover contoso-7.1 to EdgePool2 is running, ordered by U0ANNA (anna)"},
		"deny while running": {func(s *watchdog.Snapshot) {
			s.State, s.Decision, s.Chain = watchdog.FailingOver, watchdog.Decision{Will: watchdog.WillFinish, Because: "it is running"}, running
		}, actionDeny, answer, "already answered: the failover"},
		"done": {func(s *watchdog.Snapshot) {
			s.Active, s.Incident, s.Decision, s.Chain = "EdgePool2", "", watchdog.Decision{Because: "all is well"}, &ended
		}, actionApprove, answer, "already done: EdgePool2 carries federation since 2026-11-22 12:54:02 UTC, ordered by U0ANNA (anna)"},
		"denied": {func(s *watchdog.Snapshot) {
			s.State = watchdog.Held
			s.Decision = watchdog.Decision{Will: watchdog.WillHold, To: "EdgePool2", BlockedBy: watchdog.GuardApproval, Because: "bert denied the failover"}
		}, actionApprove, answer, "already answered, or is not asked any more. bert denied the failover"},
		"another pool is asked for": {func(s *watchdog.Snapshot) { s.Decision.To = "EdgePool3" }, actionApprove, answer, "not asked any more"},
		"pool came back": {func(s *watchdog.Snapshot) {
			s.Incident, s.Decision = "", watchdog.Decision{Because: "EdgePool1 answers"}
		}, actionDeny, answer, "EdgePool1 answers"},
		"nothing runs": {func(*watchdog.Snapshot) {}, actionAbort, abort, "already over"},
		"another failover runs": {func(s *watchdog.Snapshot) {
			c := *running
			c.ID = "contoso-7.2"
			s.Chain = &c
		}, actionAbort, abort, "already over"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.desk.snaps[0] = asking()
			tc.change(r.desk.snaps[0])
			r.start(t)
			r.add(t, question()[0])
			r.told(t)
			reply, err := r.srv.ClickStale(deadline(t), "U0ANNA", r.srv.Messages()[0], tc.action, tc.value, time.Now())
			if err != nil || !strings.HasPrefix(reply, "Nothing was done: ") || !strings.Contains(reply, tc.want) {
				t.Errorf("reply %q, %v, want %q", reply, err, tc.want)
			}
			if got := r.desk.commands(); len(got) != 0 {
				t.Errorf("commands: %v", got)
			}
		})
	}
}

func TestAbortButton(t *testing.T) {
	r := newRig(t)
	r.desk.snaps[0].Chain = &watchdog.ChainStatus{ChainStart: watchdog.ChainStart{ID: "contoso-7.1", From: "EdgePool1", To: "EdgePool2"}}
	r.start(t)
	r.add(t, story("contoso-7")[:3]...)
	r.told(t)
	reply, err := r.srv.Click(deadline(t), "U0BERT", r.srv.Messages()[0].TS, actionAbort)
	if err != nil || !strings.HasPrefix(reply, "✓ ") {
		t.Fatalf("reply %q, %v", reply, err)
	}
	want := watchdog.Command{Federation: "contoso", Verb: watchdog.VerbAbort, Reason: "aborted on the message of incident contoso-7", Actor: "U0BERT (u0bert)", Via: "slack"}
	if diff := cmp.Diff([]watchdog.Command{want}, r.desk.commands(), anyID); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestEveryVerbIsTold: no verb of the table is lost on its way through Slack.
func TestEveryVerbIsTold(t *testing.T) {
	for _, v := range watchdog.Verbs() {
		e := command(v.Verb, "")
		e.Seq = 1
		if got := detail(e); !strings.Contains(got, "*"+string(v.Verb)) || !strings.Contains(got, "anna") {
			t.Errorf("%s: %s", v.Verb, got)
		}
		n := &incident{ID: "contoso-7", Federation: "contoso"}
		n.fold(e)
		if n.Seen != 1 || n.title() == "" {
			t.Errorf("%s: %+v", v.Verb, n)
		}
	}
}

func TestStatusTellsWhatHoldsAndWhatIsAsked(t *testing.T) {
	r := newRig(t)
	s := asking()
	s.Hold = &watchdog.Hold{Since: time.Now(), Actor: "<anna>", Reason: "rebuild"}
	s.Lease = "the lock file was replaced"
	s.Approval = &watchdog.Approval{To: "EdgePool2", Since: time.Now(), Until: time.Date(2026, 11, 22, 12, 54, 2, 0, time.UTC), Then: watchdog.ApprovalHolds}
	s.Pools = []watchdog.PoolStatus{{Name: "EdgePool1", Stopped: []string{"edge1"}, Quarantined: "EdgePool1 answers again since 12:00 only"}}
	r.desk.snaps[0] = s
	r.start(t)
	reply, err := r.srv.Command(deadline(t), "U0ANNA", "status")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"held by &lt;anna&gt; until release", "MAY NOT ACT", "`/edgewatch approve EdgePool2 REASON…`", "until 2026-11-22 12:54:02 UTC", "then holds", "not seen running since on edge1", "quarantined: EdgePool1 answers again since 12:00 only"} {
		if !strings.Contains(reply, want) {
			t.Errorf("status does not say %q:\n%s", want, reply)
		}
	}
	if reply, err := r.srv.Command(deadline(t), "U0ANNA", "why"); err != nil || !strings.Contains(reply, "edgewatch will ask a person about a failover to EdgePool2") {
		t.Errorf("why: %q, %v", reply, err)
	}
}

// A no that is clicked while something else keeps edgewatch from acting counts,
// and a yes does not. Right after a restart that is the wait for the first round.
func TestDenyWhileSomethingElseHolds(t *testing.T) {
	for name, d := range map[string]watchdog.Decision{
		"canaries":        {State: watchdog.Held, Will: watchdog.WillHold, BlockedBy: watchdog.GuardCanaries, Because: "0 of 2 canaries answer"},
		"after a restart": {State: watchdog.Watching, Will: watchdog.WillWatch, Because: "no round of probes is complete yet"},
	} {
		for action, want := range map[string][]watchdog.Verb{actionDeny: {watchdog.VerbDeny}, actionApprove: nil} {
			r := newRig(t)
			s := asking()
			s.State, s.Decision, s.Approval = d.State, d, nil
			r.desk.snaps[0] = s
			r.start(t)
			r.add(t, question()[0])
			r.told(t)
			reply, err := r.srv.ClickStale(deadline(t), "U0ANNA", r.srv.Messages()[0], action, `{"f":"contoso","i":"contoso-7","p":"EdgePool2"}`, time.Now())
			if err != nil || strings.HasPrefix(reply, "Nothing was done: ") != (want == nil) {
				t.Errorf("%s, %s: %q, %v", name, action, reply, err)
			}
			var got []watchdog.Verb
			for _, c := range r.desk.commands() {
				got = append(got, c.Verb)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", name, action, diff)
			}
		}
	}
}

// The question went on to another pool: a no on the message that people got is a
// no, for the incident.
func TestDenyOnceTheQuestionChangedItsPool(t *testing.T) {
	r := newRig(t)
	s := asking()
	s.Decision.To = "EdgePool3"
	r.desk.snaps[0] = s
	r.start(t)
	r.add(t, question()[0])
	r.told(t)
	reply, err := r.srv.ClickStale(deadline(t), "U0ANNA", r.srv.Messages()[0], actionDeny, `{"f":"contoso","i":"contoso-7","p":"EdgePool2"}`, time.Now())
	if err != nil || len(r.desk.commands()) != 1 || r.desk.commands()[0].Verb != watchdog.VerbDeny {
		t.Errorf("%q, %v, %v", reply, err, r.desk.commands())
	}
}

// Whoever clicks while the journal is still read is not told that the federation
// is watched no more.
func TestClickWhileTheJournalIsRead(t *testing.T) {
	r := newRig(t)
	r.desk.snaps = nil
	r.start(t)
	r.add(t, question()...)
	r.told(t)
	reply, err := r.srv.Click(deadline(t), "U0ANNA", r.srv.Messages()[0].TS, actionDeny)
	if err != nil || !strings.HasPrefix(reply, "Nothing was done: ") || !strings.Contains(reply, "still reads its journal") {
		t.Errorf("%q, %v", reply, err)
	}
}
