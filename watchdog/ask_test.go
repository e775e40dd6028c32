package watchdog

import (
	"strings"
	"testing"
	"time"
)

// lines does them and returns what came of it.
func (s *script) lines(lines ...string) string {
	from := s.out.Len()
	for _, l := range lines {
		s.out.WriteString("> " + l + "\n")
		s.do(l)
	}
	return s.out.String()[from:]
}

const runs = "EFFECT run"

// People were asked, and then the canaries are away for a moment: a no counts
// all the same.
func TestANoCountsWhileSomethingElseHolds(t *testing.T) {
	s := newScript(t)
	s.lines("rules approval=10m,failover", "mode approve", "boot", "ready EdgePool2",
		"round EdgePool1=tripped EdgePool2=up", "wait 10s", "round EdgePool1=tripped EdgePool2=up canaries=bad")
	if said := s.lines("deny EdgePool1 reboots, leave it"); !strings.Contains(said, "answer: denied") {
		t.Errorf("a no to a question that stands was turned away: %s", said)
	}
	s.lines("wait 10m", "ready EdgePool2")
	if did := s.lines("round EdgePool1=tripped EdgePool2=up"); strings.Contains(did, runs) || !strings.Contains(did, "anna denied") {
		t.Errorf("what follows:\n%s", did)
	}
}

// The time to answer ends while something else keeps edgewatch from acting, or
// while people hold it back: they are asked anew, and have all of it.
func TestTheTimeToAnswerEndsWhileNobodyIsAsked(t *testing.T) {
	for _, between := range [][]string{
		{"pause 2h we look at it", "wait 2h"},
		{"pause 5m we look at it", "wait 5m"},
		{"hold we look at it", "wait 1m", "release"},
		{"round EdgePool1=tripped EdgePool2=up canaries=bad", "wait 10m"},
	} {
		t.Run(between[0], func(t *testing.T) {
			s := newScript(t)
			s.lines("rules approval=10m,failover", "mode approve", "boot", "ready EdgePool2", "round EdgePool1=tripped EdgePool2=up", "wait 10s")
			s.lines(between...)
			s.lines("ready EdgePool2", "round EdgePool1=tripped EdgePool2=up", "wait 9m", "ready EdgePool2")
			if did := s.lines("round EdgePool1=tripped EdgePool2=up"); strings.Contains(did, runs) || s.m.State() != AwaitingApproval {
				t.Errorf("nine minutes later:\n%s", s.out.String())
			}
			s.lines("wait 1m")
			if did := s.lines("round EdgePool1=tripped EdgePool2=up"); !strings.Contains(did, runs) {
				t.Errorf("and ten:\n%s", did)
			}
			if err := s.audit(); err != nil {
				t.Error(err)
			}
		})
	}
}

// What keeps edgewatch from acting for a moment does not lengthen the time to
// answer.
func TestAMomentOfDoubtDoesNotAskAnew(t *testing.T) {
	s := newScript(t)
	s.lines("rules approval=10m,failover", "mode approve", "boot", "ready EdgePool2", "round EdgePool1=tripped EdgePool2=up", "wait 5m",
		"round EdgePool1=tripped EdgePool2=up canaries=bad", "round EdgePool1=tripped EdgePool2=up", "wait 5m")
	if did := s.lines("round EdgePool1=tripped EdgePool2=up"); !strings.Contains(did, runs) {
		t.Errorf("ten minutes after the question:\n%s", did)
	}
}

// The question comes to be about another pool in its last second: whoever is
// asked has the whole time for that one, and for the first one no longer than
// before.
func TestTheQuestionChangesItsPool(t *testing.T) {
	s := newScript(t)
	three := "round EdgePool1=tripped EdgePool2=up EdgePool3=up"
	s.lines("rules approval=10m,failover", "mode approve", "boot", "ready EdgePool2", "ready EdgePool3", three, "wait 9m58s",
		three, "unready EdgePool2 WinRM refuses", "ready EdgePool3", three, "wait 2s")
	if did := s.lines(three); strings.Contains(did, runs) {
		t.Errorf("people had 2 s to say no to EdgePool3:\n%s", s.out.String())
	}
	if did := s.lines("ready EdgePool2"); !strings.Contains(did, runs+" contoso-1.1 from EdgePool1 to EdgePool2") {
		t.Errorf("EdgePool2 was asked about ten minutes ago:\n%s", did)
	}
	if err := s.audit(); err != nil {
		t.Error(err)
	}
}

// A no is for the incident, whatever the mode is by then.
func TestANoOutlivesTheMode(t *testing.T) {
	s := newScript(t)
	s.lines("rules approval=10m,hold", "mode approve", "boot", "ready EdgePool2", "round EdgePool1=tripped EdgePool2=up",
		"deny EdgePool1 reboots, leave it", "wait 1m", "mode auto", "restart", "ready EdgePool2")
	if did := s.lines("round EdgePool1=tripped EdgePool2=up"); strings.Contains(did, runs) {
		t.Errorf("denied in this incident, and no ack since:\n%s", did)
	}
	if did := s.lines("ack"); !strings.Contains(did, runs) {
		t.Errorf("and acknowledged:\n%s", did)
	}
}

// steady lets time go by as it does: a round every ten seconds, and every standby
// ready.
func (s *script) steady(d time.Duration, round string) string {
	from := s.out.Len()
	for range d / (10 * time.Second) {
		s.now = s.now.Add(10 * time.Second)
		for p := range s.levels.Readiness {
			s.levels.Readiness[p] = Readiness{At: s.now, Ready: true}
		}
		s.lines("round " + round)
	}
	return s.out.String()[from:]
}

// Whoever holds edgewatch back while something else does too is asked anew all
// the same.
func TestAHoldWhileSomethingElseHolds(t *testing.T) {
	for _, between := range [][2]string{{"pause 8m we look at it", "tick"}, {"hold we look at it", "release"}} {
		s := newScript(t)
		s.lines("rules approval=10m,failover", "mode approve", "boot", "ready EdgePool2", "round EdgePool1=tripped EdgePool2=up", "wait 10s",
			"round EdgePool1=tripped EdgePool2=up canaries=bad", between[0])
		s.steady(8*time.Minute, "EdgePool1=tripped EdgePool2=up canaries=bad")
		s.lines(between[1], "round EdgePool1=tripped EdgePool2=up")
		if did := s.steady(9*time.Minute, "EdgePool1=tripped EdgePool2=up"); strings.Contains(did, runs) {
			t.Errorf("%s: less than nine minutes after it was over:\n%s", between[0], did)
		}
		if did := s.steady(time.Minute+10*time.Second, "EdgePool1=tripped EdgePool2=up"); !strings.Contains(did, runs) {
			t.Errorf("%s: ten minutes after it was over: %s", between[0], did)
		}
		if err := s.audit(); err != nil {
			t.Error(err)
		}
	}
}

// The question comes back to a pool whose time is over, while people had to think
// of another: it is asked anew.
func TestTheQuestionComesBack(t *testing.T) {
	s := newScript(t)
	three := "round EdgePool1=tripped EdgePool2=up EdgePool3=up"
	s.lines("rules approval=10m,hold", "mode approve", "boot", "ready EdgePool2", "ready EdgePool3", three, "wait 9m58s",
		three, "unready EdgePool2 WinRM refuses", "ready EdgePool3", three, "wait 12s", three)
	if did := s.lines("ready EdgePool2", three, "approve EdgePool2 go"); !strings.Contains(did, runs) {
		t.Errorf("asked with a deadline that is over:\n%s", did)
	}
}

// A no of an incident that is long over keeps nothing from going home.
func TestANoOfAnIncidentThatIsOver(t *testing.T) {
	s := newScript(t)
	s.lines("rules approval=10m,hold failback=1h,00:00,23:59", "mode approve", "boot", "ready EdgePool2", "ready EdgePool1", "round EdgePool1=tripped EdgePool2=up",
		"approve EdgePool2 go", "end ok", "round EdgePool1=up EdgePool2=up", "wait 2h", "ready EdgePool1", "ready EdgePool3",
		"round EdgePool1=up EdgePool2=tripped", "deny EdgePool2 reboots, leave it", "round EdgePool1=up EdgePool2=up", "wait 24h",
		"mode auto", "restart", "wait 2h", "ready EdgePool1")
	if did := s.lines("round EdgePool1=up EdgePool2=up"); !strings.Contains(did, runs) {
		t.Errorf("it does not go home:\n%s", did)
	}
	if err := s.audit(); err != nil {
		t.Error(err)
	}
}
