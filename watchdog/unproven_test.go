package watchdog

import (
	"strings"
	"testing"
)

// A step that a person had left out proves nothing: that is told until partners
// are seen to find the pool, or somebody acknowledges it.
func TestNotProven(t *testing.T) {
	s := newScript(t)
	because := func(line string) string {
		s.do(line)
		return s.m.Decide(s.now, s.levels).Because
	}
	skip := func() {
		s.anew()
		for _, line := range []string{"boot", "ready EdgePool2", "round EdgePool1=tripped", "end verify moved", "skip-step verify our partner is down", "end ok skipped", "wait 10s"} {
			s.do(line)
		}
	}
	const unproven = "EdgePool2 answers: done/ok; NOT PROVEN, because failover contoso-1.1 left verify out: until partners are seen to reach EdgePool2, or an ack"
	skip()
	if got := because("round EdgePool2=up"); got != unproven {
		t.Errorf("at first: %q", got)
	}
	if got := because("round EdgePool2=up lost=EdgePool2"); got != unproven {
		t.Errorf("while partners do not reach it: %q", got)
	}
	if got := because("round EdgePool2=up drift=EdgePool2"); got != "EdgePool2 answers: done/ok" {
		t.Errorf("once they do: %q", got)
	}
	skip()
	s.do("round EdgePool2=up")
	if got := because("ack they tell me it works"); got != "EdgePool2 answers: done/ok" {
		t.Errorf("after an ack: %q", got)
	}
	if !strings.Contains(s.out.String(), "answer: acknowledged: the cool-down is over, and failover contoso-1.1 counts as proven") {
		t.Errorf("it was answered\n%s", s.out.String())
	}
}
