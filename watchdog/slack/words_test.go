package slack

import (
	"strings"
	"testing"
	"time"

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
