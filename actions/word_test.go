package actions

import "testing"

// What was found done is told apart from what was done, but not where a step
// only looks.
func TestRecordInAWord(t *testing.T) {
	for want, r := range map[string]Record{
		"done":           {Step: SetRoute, Phase: Finished},
		"needed nothing": {Step: SetRoute, Phase: Already},
		"passed":         {Step: Verify, Phase: Already},
		"failed":         {Step: SetRoute, Phase: Failed},
	} {
		if got := r.Word(); got != want || r.Unneeded() != (want == "needed nothing") {
			t.Errorf("%s %s: %q, unneeded %t; want %q", r.Step, r.Phase, got, r.Unneeded(), want)
		}
	}
}
