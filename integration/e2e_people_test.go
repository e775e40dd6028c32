//go:build integration && linux

package integration

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"edgewatch/integration/lab"
	"edgewatch/watchdog"
	"edgewatch/watchdog/slack/slacktest"
)

// slackSays waits for a message that holds all the words.
func (e *estate) slackSays(words ...string) slacktest.Message {
	e.t.Helper()
	m, err := e.Slack.Wait(e.ctx, func(m slacktest.Message) bool { return mentions(m.Text, words...) })
	if err != nil {
		e.t.Fatalf("no message in Slack says %q: %v", words, err)
	}
	return m
}

// TestSlackFails lets Slack answer 500 and 429 for as long as a failover
// takes. The failover does not notice, and afterwards every message arrives
// once and in order.
func TestSlackFails(t *testing.T) {
	e := newEstate(t, nil)
	e.start()
	e.Slack.Fail(slacktest.Fault{Method: "chat.update", Status: http.StatusTooManyRequests, RetryAfter: time.Second})
	e.Slack.Fail(slacktest.Fault{Method: "chat.postMessage", Status: http.StatusTooManyRequests, RetryAfter: time.Second, Times: 1})
	e.Slack.Fail(slacktest.Fault{Method: "chat.postMessage", Status: http.StatusInternalServerError, Late: true, Times: 1})
	e.Slack.Fail(slacktest.Fault{Method: "chat.postMessage", Status: http.StatusInternalServerError})
	before := len(e.Slack.Messages())
	e.mustKill("EdgePool1")
	e.awaitRestored("EdgePool2")
	e.Slack.Heal()

	root := e.slackSays("failed over to EdgePool2")
	last := func(m slacktest.Message) bool { return m.ThreadTS == root.TS && mentions(m.Text, "restored") }
	if _, err := e.Slack.Wait(e.ctx, last); err != nil {
		t.Fatal(err)
	}
	// What the journal tells of the incident, in its order, must be what the
	// thread tells. Steps are told by their name alone.
	var want []string
	for _, entry := range e.journal() {
		switch {
		case entry.Incident == "" || entry.Kind == watchdog.KindDecision && entry.Decision.Will == watchdog.WillWatch:
		case entry.Kind == watchdog.KindStep:
			if entry.Step.Target == "" && entry.Step.Phase != "started" {
				want = append(want, string(entry.Step.Step)+" finished")
			}
		default:
			want = append(want, entry.Sentence())
		}
	}
	var got []string
	for _, m := range e.Slack.Thread(root.TS) {
		if m.ThreadTS != "" {
			got = append(got, m.Text)
		}
	}
	if len(want) < 10 {
		t.Fatalf("the journal tells only %q of the incident", want)
	}
	if len(got) < len(want) {
		t.Errorf("the thread has %d messages, want the %d of the journal\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	at := 0
	for _, w := range want {
		next := at
		for next < len(got) && !strings.Contains(got[next], w) {
			next++
		}
		if next == len(got) {
			t.Errorf("after message %d the thread does not tell %q:\n%s", at, w, strings.Join(got, "\n"))
			break
		}
		at = next + 1
	}
	seen := map[string]bool{}
	for _, m := range e.Slack.Messages()[before:] {
		id := fmt.Sprint(m.Metadata)
		if seen[id] {
			t.Errorf("told twice: %s %s", id, m.Text)
		}
		seen[id] = true
	}
}

// TestPaused holds that a pause keeps a dead primary where it is until it is
// ended, from Slack and from the command line.
func TestPaused(t *testing.T) {
	type order func(e *estate, words ...string) string
	fromSlack := func(e *estate, words ...string) string {
		e.t.Helper()
		answer, err := e.Slack.Command(e.ctx, lab.Operator, strings.Join(words, " "))
		if err != nil {
			e.t.Fatal(err)
		}
		return answer
	}
	fromCLI := func(e *estate, words ...string) string {
		e.t.Helper()
		out, code := e.cli(words...)
		if code != 0 {
			e.t.Fatalf("%v: exit code %d\n%s", words, code, out)
		}
		return out
	}
	for via, give := range map[string]order{"slack": fromSlack, "cli": fromCLI} {
		t.Run(via, func(t *testing.T) {
			e := newEstate(t, nil)
			e.start()
			if got := give(e, "pause", "10m", "patching", "tonight"); !mentions(got, "pause") {
				t.Errorf("pause was answered with %q", got)
			}
			e.mustKill("EdgePool1")
			hold := e.awaitHold(watchdog.GuardPause)
			if !mentions(hold.Sentence(), "patching tonight") {
				t.Errorf("the decision does not name the reason of the pause: %s", hold.Sentence())
			}
			e.nothingMoved(4)
			if got := give(e, "resume", "patched"); !mentions(got, "is on again") {
				t.Errorf("resume was answered with %q", got)
			}
			e.awaitRestored("EdgePool2")
			for _, entry := range e.journal() {
				if entry.Kind == watchdog.KindCommand && entry.Command.Via != via {
					t.Errorf("the journal says the command came from %q, want %q", entry.Command.Via, via)
				}
			}
		})
	}
}

// TestSlackApproval presses Approve on the incident's message: the failover
// runs, the buttons go, the message says who it was, and the same button
// pressed later changes nothing.
func TestSlackApproval(t *testing.T) {
	e := newEstate(t, func(o *lab.Options) { o.Mode = watchdog.ModeApprove })
	e.start()
	e.mustKill("EdgePool1")
	const approve = "edgewatch_approve"
	asked, err := e.Slack.Wait(e.ctx, func(m slacktest.Message) bool { _, ok := m.Button(approve); return ok })
	if err != nil {
		t.Fatalf("nobody is asked: %v", err)
	}
	if !mentions(asked.Text, "fail over to EdgePool2", "without an answer") {
		t.Errorf("the question is %q", asked.Text)
	}
	if out, code := e.cli("status"); code != 0 || !mentions(out, "edgewatch approve EdgePool2 REASON") {
		t.Errorf("status: exit code %d\n%s", code, out)
	}
	e.nothingMoved(2)
	value, _ := asked.Button(approve)
	if answer, err := e.Slack.Click(e.ctx, lab.Operator, asked.TS, approve); err != nil || !mentions(answer, "approved", "EdgePool2") {
		t.Fatalf("approve was answered with %q, %v", answer, err)
	}
	e.awaitRestored("EdgePool2")
	done, err := e.Slack.Wait(e.ctx, func(m slacktest.Message) bool {
		_, still := m.Button(approve)
		return m.TS == asked.TS && !still && mentions(m.Text, "failed over to EdgePool2")
	})
	if err != nil || !strings.Contains(string(done.Blocks), "Approved by") || !strings.Contains(string(done.Blocks), lab.Operator) {
		t.Errorf("the incident does not say who approved: %v\n%s", err, done.Blocks)
	}
	if answer, err := e.Slack.ClickStale(e.ctx, lab.Operator, asked, approve, value, time.Now()); err != nil || !mentions(answer, "Nothing was done", "already") {
		t.Errorf("the same button later was answered with %q, %v", answer, err)
	}
	chains := 0
	for _, entry := range e.journal() {
		if entry.Kind == watchdog.KindChain {
			chains++
			if entry.Chain.Trigger != "slack" || !strings.HasPrefix(entry.Chain.Actor, lab.Operator) {
				t.Errorf("the failover is told as %s", entry.Sentence())
			}
		}
	}
	if chains != 1 {
		t.Errorf("%d failovers began", chains)
	}
}
