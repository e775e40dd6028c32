package watchdog

import (
	"strings"
	"testing"
	"time"
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

// The same order under an id that was used is answered as before; another one
// is refused, since whoever gave it would take it for done.
func TestAnotherOrderUnderAUsedID(t *testing.T) {
	s := newScript(t)
	for _, line := range []string{"boot", "ready EdgePool2", "round EdgePool1=up EdgePool2=up", "pause 1h patching"} {
		s.do(line)
	}
	order := func(c Command) Ready {
		return s.m.Step(Input{At: s.now, Levels: s.levels, Event: Submitted{c}})
	}
	again := s.last
	again.Reason = "in other words"
	if r := order(again); !r.Answer.Accepted || r.Answer.Entry != s.m.LastSeq() || len(r.Entries) > 0 {
		t.Errorf("the same order again: %+v", r)
	}
	for _, c := range []Command{
		{Verb: VerbFailover, Pool: "EdgePool2", Force: true, Reason: "x"},
		{Verb: VerbPause, For: 2 * time.Hour, Reason: "patching"},
	} {
		c.ID = s.last.ID
		if r := order(c); r.Answer.Accepted || r.Refused == "" || !strings.Contains(r.Answer.Text, "paused for 1h") {
			t.Errorf("%s: %+v", c.Verb, r)
		}
	}
}
