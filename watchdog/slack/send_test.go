package slack

import (
	"strings"
	"testing"
	"time"

	"edgewatch/watchdog/slack/slacktest"
)

// What Slack, or a proxy or filter on the way, never takes in one form is told
// in another; what comes behind it is told, too, and both of them once.
func TestMessageThatNeverGoesThroughIsToldPlainly(t *testing.T) {
	const bad = "Stop-CsWindowsService"
	for name, f := range map[string]slacktest.Fault{
		"internal_error":       {Error: "internal_error", If: func(f map[string]string) bool { return strings.Contains(f["blocks"], bad) }},
		"proxy 403":            {Status: 403, If: func(f map[string]string) bool { return strings.Contains(f["blocks"], bad) }},
		"too large":            {Status: 413, If: func(f map[string]string) bool { return strings.Contains(f["blocks"], bad) }},
		"filter on every word": {Status: 403, If: func(f map[string]string) bool { return strings.Contains(f["text"], bad) }},
		"connection is cut":    {Status: 502, If: func(f map[string]string) bool { return strings.Contains(f["text"], bad) }},
		"only a bare pointer": {Status: 403, If: func(f map[string]string) bool {
			return strings.Contains(f["text"], bad) || f["metadata"] != "" && strings.Contains(f["text"], "tell entry 1")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.srv.Fail(f)
			r.start(t, noCommands)
			now := time.Now()
			want := messageOf(1, now).pointer()
			r.add(t, notice("run "+bad, now), notice("PARTNERS DO NOT FIND IT", time.Now()))
			r.told(t)
			msgs := r.srv.Messages()
			if len(msgs) != 2 || !strings.Contains(msgs[1].Text, "PARTNERS") || msgs[1].Blocks == nil {
				t.Fatalf("messages:\n%s", show(msgs))
			}
			if text := msgs[0].Text; !strings.Contains(text, bad) && text != want {
				t.Errorf("told as %q", text)
			}
			until(t, func() bool { return r.slack.Health() == nil })
		})
	}
}

// Where nothing goes through, it is not the message's fault: none is told more
// plainly than it can be.
func TestOutageMakesNoMessagePlainer(t *testing.T) {
	for name, f := range map[string]slacktest.Fault{"500": {Status: 500}, "proxy refuses all": {Status: 403}, "filtered page": {Status: 400}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.start(t, noCommands)
			s := story("contoso-7")
			r.add(t, s[:3]...)
			r.told(t)
			heal := r.srv.Fail(f)
			r.add(t, s[3:]...)
			failed := r.slack.Stats().Failed
			until(t, func() bool { return r.slack.Stats().Failed > failed+4*stuckAfter })
			heal()
			r.told(t)
			r.checkStory(t)
			for _, m := range r.srv.Messages() {
				if m.Blocks == nil {
					t.Errorf("%v has no blocks: %q", m.Metadata["id"], m.Text)
				}
			}
		})
	}
}

// A bare pointer whose answer was lost is recognized, though it has no metadata.
func TestBarePointerIsToldOnce(t *testing.T) {
	r := newRig(t)
	bare := func(f map[string]string) bool { return f["metadata"] == "" }
	r.srv.Fail(slacktest.Fault{Method: "chat.postMessage", Error: "invalid_blocks", If: func(f map[string]string) bool { return !bare(f) }})
	r.srv.Fail(slacktest.Fault{Method: "chat.postMessage", Drop: true, Times: 1, If: bare})
	r.add(t, story("contoso-7")[0])
	r.start(t, noCommands)
	r.told(t)
	if msgs := r.srv.Messages(); len(msgs) != 2 || msgs[1].ThreadTS != msgs[0].TS {
		t.Errorf("messages:\n%s", show(msgs))
	}
}

// messageOf names the message of an entry of contoso.
func messageOf(seq uint64, at time.Time) name {
	return name{federation: "contoso", seq: seq, at: at, part: partEvent}
}
