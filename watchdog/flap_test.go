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

// An incident says why nothing is done in it, however often others before it
// said the same.
func TestEachIncidentTellsWhyNothingIsDone(t *testing.T) {
	for _, why := range []string{"witness=host2:up", "canaries=bad"} {
		s := newScript(t)
		s.do("rules witnesses=1,1")
		s.do("boot")
		s.do("ready EdgePool2")
		for range 6 {
			s.do("wait 5m")
			s.do("round EdgePool1=tripped " + why)
			incident := s.m.fold.incident
			for range 3 {
				s.do("round EdgePool1=tripped " + why)
			}
			n := 0
			for _, e := range s.kept {
				if e.Kind == KindDecision && e.Decision.Will == WillHold && e.Incident == incident {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%s: incident %s tells %d times why nothing is done", why, incident, n)
			}
			s.do("wait 5m")
			s.do("round EdgePool1=up")
		}
	}
}
