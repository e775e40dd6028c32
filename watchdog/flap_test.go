package watchdog

import (
	"strings"
	"testing"
)

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

// A standby that is ready every other minute, or DNS that leads now here, now
// there, while the active pool is down does not fill the journal in any mode,
// and what is so in the end is told.
func TestFlappingOfWhatAFailoverWaitsForIsNotToldForEver(t *testing.T) {
	for name, lines := range map[string][2]string{
		"observe, readiness": {"ready EdgePool2", "unready EdgePool2 edge3: WinRM: connection refused"},
		"approve, readiness": {"ready EdgePool2", "unready EdgePool2 edge3: WinRM: connection refused"},
		"observe, drift":     {"round EdgePool1=tripped drift=EdgePool1", "round EdgePool1=tripped EdgePool3=up drift=EdgePool3"},
		"auto, no reason":    {"unready EdgePool2 edge3: WinRM: connection refused", "unready EdgePool2 edge3: access denied"},
	} {
		s := newScript(t)
		mode, _, _ := strings.Cut(name, ",")
		s.do("mode " + mode)
		s.do("rules partner=15m")
		s.do("boot")
		s.do("ready EdgePool2")
		for i := range 24 * 60 {
			s.do("wait 1m")
			if strings.HasSuffix(name, "drift") {
				s.levels.Readiness["EdgePool2"] = Readiness{At: s.now, Ready: true}
			} else {
				s.levels.Round = nil
				s.round([]string{"EdgePool1=tripped", "drift=EdgePool1"})
			}
			s.do(lines[i%2])
		}
		if n := len(s.kept); n > 200 && !strings.HasSuffix(name, "drift") || n > 24*60+200 { // which is told as drift each time
			t.Errorf("%s: %d entries in a day, the last: %s", name, n, s.kept[n-1].Sentence())
		}
		n := 0
		for _, e := range s.kept {
			if e.Kind == KindDecision {
				n++
			}
		}
		if n > 200 {
			t.Errorf("%s: %d decisions in a day", name, n)
		}
		for range 61 {
			s.do("wait 1m")
			s.round([]string{"EdgePool1=tripped", "drift=EdgePool1"})
			s.do("unready EdgePool2 edge3: WinRM: connection refused")
		}
		if d := s.m.fold.decision; d.BlockedBy != GuardCandidate {
			t.Errorf("%s: told in the end: %+v", name, d)
		}
	}
}

// However often people were asked and the pool recovered, the question is over
// then: a no that comes late is turned down and says nothing of the next outage.
func TestLateNoDoesNotBarTheNextOutage(t *testing.T) {
	s := newScript(t)
	s.plays("rules approval=10m,hold", "mode approve", "boot")
	for range 5 {
		s.plays("ready EdgePool2", "round EdgePool1=tripped", "wait 5m", "round EdgePool1=up")
	}
	if st := s.m.State(); st != Watching || s.m.fold.incident != "" {
		t.Errorf("all is well, and the state is %s in incident %q", st, s.m.fold.incident)
	}
	if got := s.plays("deny it is back"); !strings.Contains(got, "refused: "+notAsked) {
		t.Errorf("nothing is asked, and a no is answered:\n%s", got)
	}
	s.plays("wait 100h", "ready EdgePool2", "round EdgePool1=tripped")
	if d := s.m.Decide(s.now, s.levels); d.Will != WillAsk {
		t.Errorf("a new outage, four days later: %s", d.Because)
	}
}

// A no counts while the question stands, also at a moment when the pool seems to
// come back, however often it has seemed so before.
func TestNoCountsWhileThePoolFlaps(t *testing.T) {
	s := newScript(t)
	s.plays("rules approval=10m,failover", "mode approve", "boot", "ready EdgePool2")
	for range 5 {
		s.plays("wait 10s", "round EdgePool1=tripped", "wait 10s", "round EdgePool1=back")
	}
	if got := s.plays("deny not now"); !strings.Contains(got, "answer: denied") {
		t.Error(got)
	}
	s.plays("wait 11m", "ready EdgePool2", "round EdgePool1=tripped")
	if s.m.fold.running() {
		t.Errorf("it was denied:\n%s", s.out.String())
	}
}
