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
