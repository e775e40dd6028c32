package actions

import (
	"testing"
	"testing/synctest"
)

// A run that takes over from one which died keeps the duty to start what that
// one stopped, whatever is seen done already and whatever was started before.
func TestResumedRunStillOwesTheStart(t *testing.T) {
	stopped := []Record{
		{Step: StopServices, Phase: Started},
		{Step: StopServices, Target: "e1", Phase: Started}, {Step: StopServices, Target: "e2", Phase: Started},
		{Step: StopServices, Target: "e1", Phase: Finished}, {Step: StopServices, Target: "e2", Phase: Finished},
	}
	rescued := []Record{
		{Step: StopServices, Phase: Started},
		{Step: StopServices, Target: "e1", Phase: Started}, {Step: StopServices, Target: "e1", Phase: Finished},
		{Step: StopServices, Target: "e2", Phase: Started}, {Step: StopServices, Target: "e2", Phase: Failed},
		{Step: StopServices, Phase: Failed},
		{Step: StartServices, Phase: Started},
		{Step: StartServices, Target: "e1", Phase: Finished}, {Step: StartServices, Target: "e2", Phase: Already},
		{Step: StartServices, Phase: Finished},
	}
	tests := []struct {
		name    string
		records []Record
		running bool // both servers, when the run takes over
		fail    string
		end     string
	}{
		{"died between the last stop and the step's end, then the route is refused", stopped, false, "route", untouched},
		{"died after a rescue, then stop fails again", rescued, true, "stop e2", untouched},
		{"died after a rescue, then all goes well", rescued, true, "", restored},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, n := newWorld(), &notebook{records: tt.records}
				w.running["e1"], w.running["e2"] = tt.running, tt.running
				w.fail[tt.fail] = []error{refused}
				out := runPlan(t.Context(), w, n)
				if out.OK != (tt.fail == "") || len(out.Stopped) != 0 {
					t.Errorf("outcome %+v", out)
				}
				mustEnd(t, w, tt.end)
			})
		})
	}
}
