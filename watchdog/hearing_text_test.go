package watchdog

import (
	"strings"
	"testing"
)

// What follows from a silent witness depends on who is left.
func TestSilentWitnessTellsWhatFollows(t *testing.T) {
	one := Hearing{Witness: "https://ew2.example:8081", Name: "host2", Silent: true, Since: t0, Settled: true, Why: "connection refused"}
	two := Hearing{Witness: "https://ew3.example:8081", Name: "host3", Since: t0, Settled: true}
	quiet := two
	quiet.Silent, quiet.Why = true, "it does not answer in time"
	for name, c := range map[string]struct {
		minDown  int
		hearings []Hearing
		want     []string
	}{
		"the only one":        {1, []Hearing{one}, []string{"host2 is silent since 2026-01-02 03:00:00 UTC (connection refused); nothing moves by itself until it is back: 0 of 1 witnesses answer, 1 must see the pool down too"}},
		"nobody waits for it": {0, []Hearing{one}, []string{"; a failover does not wait for it"}},
		"one of two":          {1, []Hearing{one, two}, []string{"(connection refused); 1 of 2 witnesses answer, 1 must see the pool down too"}},
		"one of two needed":   {2, []Hearing{two, one}, []string{"; nothing moves by itself until it is back: 1 of 2 witnesses answer, 2 must see the pool down too"}},
		"both": {1, []Hearing{one, quiet}, []string{
			"(connection refused); 1 of 2 witnesses answer", "host3 is silent since 2026-01-02 03:00:00 UTC (it does not answer in time); nothing moves by itself until it is back: 0 of 2",
		}},
	} {
		s := newScript(t)
		s.rules.Witnesses, s.rules.MinDown = nil, c.minDown
		for _, h := range c.hearings {
			s.rules.Witnesses = append(s.rules.Witnesses, h.Witness)
		}
		s.m.rules = s.rules
		s.do("boot")
		s.levels.Hearings = c.hearings
		s.do("round EdgePool1=up")
		s.do("round EdgePool1=up")
		var got []string
		for _, e := range s.kept {
			if e.Kind == KindNotice && e.Notice.Kind == NoticeWitnessSilent {
				got = append(got, e.Sentence())
			}
		}
		if len(got) != len(c.want) {
			t.Errorf("%s: told %q, want %q", name, got, c.want)
			continue
		}
		for i := range got {
			if !strings.Contains(got[i], c.want[i]) {
				t.Errorf("%s: told %q, want %q", name, got[i], c.want[i])
			}
		}
	}
}
