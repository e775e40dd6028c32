package slack

import (
	"strings"
	"testing"
	"time"

	api "github.com/slack-go/slack"

	"edgewatch/actions"
	"edgewatch/watchdog"
)

// A step that a person ordered skipped is neither done nor failed, and nobody
// is told that a failover without its proof was proven.
func TestTellsSkippedAndAborted(t *testing.T) {
	skipped := actions.Record{Step: actions.CheckPort, Phase: actions.Skipped, Detail: "anna via slack: our firewall"}
	step := stepDetail(&stepPost{Step: actions.CheckPort, Targets: []actions.Record{skipped}})
	if want := "– *check-port* skipped, anna via slack: our firewall"; step != want {
		t.Errorf("step: %q, want %q", step, want)
	}
	for _, tt := range []struct {
		outcome    actions.Outcome
		says, hush string
	}{
		{actions.Outcome{OK: true, Took: time.Minute}, "partners reach federation again", "NOT PROVEN"},
		{actions.Outcome{OK: true, Took: time.Minute, Skipped: []actions.StepName{actions.CheckPort, actions.Verify}}, "NOT PROVEN: check-port, verify skipped", "partners reach"},
		{actions.Outcome{Aborted: true, Step: actions.SetRoute, Error: "aborted by anna: wrong pool"}, "was aborted at set-route", "failed"},
	} {
		got := endDetail(&watchdog.ChainEnd{ID: "c-1.1", Outcome: tt.outcome})
		if !strings.Contains(got, tt.says) || strings.Contains(got, tt.hush) {
			t.Errorf("%+v: %q; want %q and not %q", tt.outcome, got, tt.says, tt.hush)
		}
	}
}

// A moment is told with its day: a pause may end days from now, and messages are
// edited for as long.
func TestMomentsHaveADay(t *testing.T) {
	until := time.Date(2026, 11, 25, 12, 54, 2, 0, time.UTC)
	const want = "2026-11-25 12:54:02 UTC"
	r := newRig(t)
	r.desk.snaps[0].Pause = &watchdog.Pause{Until: until, Actor: "anna", Reason: "patching"}
	r.start(t)
	if reply, err := r.srv.Command(deadline(t), "U0ANNA", "status"); err != nil || !strings.Contains(reply, want) {
		t.Errorf("status: %q, %v", reply, err)
	}
	n := &incident{ID: "contoso-7", Federation: "contoso"}
	n.fold(watchdog.Entry{Seq: 1, At: until.Add(-72 * time.Hour), Command: &watchdog.Command{Verb: watchdog.VerbPause, For: 72 * time.Hour, Actor: "anna"}})
	if fields := n.fields(); !strings.Contains(fields[len(fields)-1].Text, "Paused until*\n"+want) {
		t.Errorf("the incident's last field: %q", fields[len(fields)-1].Text)
	}
	q := &quiet{Federation: "contoso"}
	for day := range 2 * quietLines {
		because := strings.Repeat("x", 300)
		q.fold(watchdog.Entry{Seq: uint64(day + 1), At: until.AddDate(0, 0, day), Decision: &watchdog.Decision{Will: watchdog.WillWatch, Because: because}})
	}
	if body := q.message().body; !strings.Contains(body, "2026-12-07 12:54:02 UTC") || clip(body, sectionRunes) != body {
		t.Errorf("the quiet message is clipped or lacks a day: %q", body)
	}
}

// What people and servers write stands on a line of ours, and forges none.
func TestForeignTextForgesNoLines(t *testing.T) {
	const forged = "✓ *Failover contoso-7.1 done*"
	s := &Slack{}
	for _, end := range []string{"\n", "\r\n", "\r", "\v", "\u0085", "\u2028", "\u2029"} {
		text := "seen" + end + forged
		one := notice(text, time.Now())
		one.Seq = 1
		n := &incident{ID: "contoso-7", Federation: "contoso"}
		n.fold(one)
		cmd := watchdog.Entry{Kind: watchdog.KindCommand, Command: &watchdog.Command{Verb: watchdog.VerbAck, Reason: text}}
		step := watchdog.Entry{Kind: watchdog.KindStep, Step: &actions.Record{Step: actions.Verify, Target: "edge1", Phase: actions.Failed, Error: text}}
		for _, told := range []string{detail(one), s.say(one), n.message().blocks[0].(*api.HeaderBlock).Text.Text, n.text(), detail(cmd), s.say(cmd), detail(step), s.say(step), esc(text)} {
			if !strings.Contains(told, "seen "+forged) {
				t.Errorf("%q is told as %q", text, told)
			}
		}
	}
}

// What was found done is told apart from what was done, in the thread and in
// the incident's message.
func TestTellsWhatNeededNothing(t *testing.T) {
	record := func(step actions.StepName, target string, phase actions.RecordPhase) actions.Record {
		return actions.Record{Chain: "c-1.1", Step: step, Target: target, Phase: phase, Detail: "federation is on east already"}
	}
	got := stepDetail(&stepPost{Step: actions.StopServices, Targets: []actions.Record{
		record(actions.StopServices, "edge1", actions.Already), record(actions.StopServices, "", actions.Already),
	}})
	if want := "✓ *stop-services* needed nothing, federation is on east already\n✓ edge1: needed nothing, federation is on east already"; got != want {
		t.Errorf("step: %q, want %q", got, want)
	}
	got = stepDetail(&stepPost{Step: actions.Verify, Targets: []actions.Record{record(actions.Verify, "", actions.Already)}})
	if want := "✓ *verify* finished, federation is on east already"; got != want {
		t.Errorf("step: %q, want %q", got, want)
	}
	n := &incident{ID: "c-1", Federation: "c"}
	begin := watchdog.Entry{Chain: &watchdog.ChainStart{ID: "c-1.1", From: "west", To: "east", Repair: true}}
	entries := []watchdog.Entry{begin}
	for _, r := range []actions.Record{
		record(actions.Preflight, "", actions.Already), record(actions.StopServices, "edge1", actions.Already),
		record(actions.StopServices, "edge2", actions.Already), record(actions.StopServices, "", actions.Already), record(actions.DNSRecords, "", actions.Finished),
	} {
		entries = append(entries, watchdog.Entry{Step: &r})
	}
	for i, e := range entries {
		e.Seq = uint64(i + 1)
		n.fold(e)
	}
	if want := "*Steps*\n✓ preflight\n✓ stop-services (2 of 2), needed nothing\n✓ dns-records"; n.ticks() != want {
		t.Errorf("ticks: %q, want %q", n.ticks(), want)
	}
}
