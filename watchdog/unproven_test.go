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

// What was seen proven stays so, and people are told once.
func TestProvenStaysProven(t *testing.T) {
	s := newScript(t)
	for _, line := range []string{
		"rules partner=15m", "boot", "ready EdgePool2", "round EdgePool1=tripped drift=EdgePool1", "end ok skipped",
		"wait 1h", "round EdgePool2=up drift=EdgePool2", "wait 1000h", "round EdgePool2=up nowhere", "round EdgePool2=up drift=EdgePool2",
	} {
		s.do(line)
	}
	if d := s.m.Decide(s.now, s.levels); strings.Contains(d.Because, "NOT PROVEN") {
		t.Errorf("proven 1000 hours ago: %s", d.Because)
	}
	if n := strings.Count(s.out.String(), "is proven now"); n != 1 {
		t.Errorf("told %d times:\n%s", n, s.out.String())
	}
}

// A move that came to nothing proves nothing of the one before it.
func TestNotProvenOutlivesAFailedMove(t *testing.T) {
	s := newScript(t)
	for _, line := range []string{
		"rules partner=15m", "boot", "ready EdgePool2", "round EdgePool1=tripped drift=EdgePool1", "end ok skipped",
		"wait 1h", "ready EdgePool3", "round EdgePool2=up EdgePool3=up nowhere", "switchover EdgePool3 works",
	} {
		s.do(line)
	}
	if !s.m.fold.running() {
		t.Fatal(s.out.String())
	}
	s.do("end preflight")
	s.do("round EdgePool2=up EdgePool3=up nowhere")
	if d := s.m.Decide(s.now, s.levels); !strings.Contains(d.Because, "NOT PROVEN") {
		t.Errorf("nothing was proven meanwhile: %s", d.Because)
	}
}

// What was not proven of a pool is not said of the one that is taken for active
// once it has left the configuration.
func TestNotProvenEndsWithItsPool(t *testing.T) {
	s := newScript(t)
	for _, line := range []string{"boot", "ready EdgePool2", "round EdgePool1=tripped", "end ok skipped"} {
		s.do(line)
	}
	s.rules.Pools = []string{"EdgePool1", "EdgePool3"}
	for _, line := range []string{"restart", "wait 1h", "round EdgePool1=up EdgePool3=up"} {
		s.do(line)
	}
	if d := s.m.Decide(s.now, s.levels); strings.Contains(d.Because, "NOT PROVEN") {
		t.Errorf("of EdgePool1: %s", d.Because)
	}
}
