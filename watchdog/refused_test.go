package watchdog

import (
	"strings"
	"testing"
)

// An order whose verb is the name of an internal event is no such event, and is
// refused like every word that is no verb.
func TestOrdersAreVerbs(t *testing.T) {
	for _, verb := range []Verb{"", "start", "tick", "step record", "end of a failover", "status", "FAILOVER", "\xff"} {
		for _, running := range []bool{false, true} {
			s := newScript(t)
			s.do("boot")
			if running {
				s.do("ready EdgePool2")
				s.do("round EdgePool1=tripped")
			}
			ready := s.m.Step(Input{At: s.now, Levels: s.levels, Event: Submitted{Command{ID: "x", Verb: verb, Reason: "x", Actor: "root", Via: "api"}}})
			if ready.Refused == "" || ready.Answer.Text != ready.Refused || ready.Answer.Accepted || len(ready.Entries)+len(ready.Effects) > 0 {
				t.Errorf("the order %q is not refused: %+v", verb, ready)
			}
		}
	}
}

// A failover to a pool that is no longer configured is not tried again.
func TestRetryToAPoolThatIsGone(t *testing.T) {
	s := newScript(t)
	for _, line := range []string{"boot", "ready EdgePool2", "round EdgePool1=tripped", "end preflight", "wait 1m", "tick"} {
		s.do(line)
	}
	s.rules.Pools = []string{"EdgePool1", "EdgePool3"}
	for _, line := range []string{"restart", "round EdgePool1=tripped"} {
		s.do(line)
	}
	ready := s.m.Step(Input{At: s.now, Levels: s.levels, Event: Submitted{Command{ID: "x", Verb: VerbRetry}}})
	if !strings.Contains(ready.Refused, "EdgePool2 is no longer configured") {
		t.Errorf("%+v", ready)
	}
}
