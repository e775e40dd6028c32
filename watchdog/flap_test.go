package watchdog

import "testing"

// A pool that flaps for hours does not fill the journal and the channel, and
// what is so in the end is told all the same.
func TestFlappingIsNotToldForEver(t *testing.T) {
	for _, states := range [][]string{{"down", "up"}, {"tripped", "back"}, {"unclear", "up"}} {
		s := newScript(t)
		s.do("mode observe")
		s.do("boot")
		for i := range 6 * 360 {
			s.do("wait 10s")
			if i%60 == 0 {
				s.do("ready EdgePool2")
			}
			extra := ""
			if states[i%2] == "unclear" {
				extra = " canaries=bad"
			}
			s.do("round EdgePool1=" + states[i%2] + extra)
		}
		if n := len(s.kept); n > 6*10 {
			t.Errorf("%v: %d entries in six hours", states, n)
		}
		for range 360 {
			s.do("wait 10s")
			s.do("round EdgePool1=up")
		}
		if d := s.m.fold.decision; d.State != Watching {
			t.Errorf("%v: an hour after it answers for good: %+v", states, d)
		}
	}
}

// However often it flapped, what was not told lately is told at once.
func TestFlappingHidesNoNews(t *testing.T) {
	s := newScript(t)
	s.do("mode approve")
	s.do("boot")
	for range 100 {
		s.do("wait 10s")
		s.do("round EdgePool1=down")
		s.do("wait 10s")
		s.do("round EdgePool1=up")
	}
	s.do("ready EdgePool2")
	s.do("round EdgePool1=tripped")
	for range 100 {
		s.do("wait 10s")
		s.do("round EdgePool1=back")
		s.do("wait 10s")
		s.do("ready EdgePool2")
		s.do("round EdgePool1=tripped")
	}
	if d := s.m.fold.decision; d.BlockedBy != GuardApproval || d.To != "EdgePool2" {
		t.Errorf("told last: %+v", d)
	}
}
