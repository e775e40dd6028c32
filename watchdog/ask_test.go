package watchdog

import (
	"strings"
	"testing"
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
