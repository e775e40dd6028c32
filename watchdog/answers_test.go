package watchdog

import (
	"slices"
	"strings"
	"testing"
)

// What an order is answered with is what a person goes by.
func TestAnswers(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		want  []string // in what followed the last line
		never string
	}{
		{
			"a pause replaces another",
			[]string{"boot", "round EdgePool1=up", "pause 2h patching", "pause 1h other"},
			[]string{`paused until 2026-01-02 04:00:00 UTC, instead of until 2026-01-02 05:00:00 UTC by anna for "patching"; a failover`},
			"",
		},
		{
			"a pause that has ended is not replaced",
			[]string{"boot", "pause 1h patching", "wait 2h", "pause 1h other"},
			nil,
			"instead",
		},
		{
			"a name as near to several",
			[]string{"boot", "round EdgePool1=up", "failover EdgePool9 gone"},
			[]string{`there is no pool "EdgePool9": known are EdgePool1, EdgePool2, EdgePool3`},
			"did you mean",
		},
		{
			"a name nearer to one",
			[]string{"boot", "round EdgePool1=up", "failover EgdePool2 gone"},
			[]string{`there is no pool "EgdePool2": did you mean "EdgePool2"?`},
			"known are",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newScript(t)
			before := 0
			for _, line := range tt.lines {
				before = s.out.Len()
				s.tell(line)
			}
			got := s.out.String()[before:]
			if i := slices.IndexFunc(tt.want, func(w string) bool { return !strings.Contains(got, w) }); i >= 0 {
				t.Errorf("it does not say %q:\n%s", tt.want[i], got)
			}
			if tt.never != "" && strings.Contains(got, tt.never) {
				t.Errorf("it says %q:\n%s", tt.never, got)
			}
		})
	}
}
