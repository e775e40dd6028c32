package watchdog

import "testing"

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
