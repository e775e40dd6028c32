package watchdog

import (
	"testing"
)

// plays plays lines and gives the last one's output.
func (s *script) plays(lines ...string) string {
	last := ""
	for _, l := range lines {
		before := s.out.Len()
		s.do(l)
		last = s.out.String()[before:]
	}
	return last
}

// A pool is decommissioned that once, long ago, was failed over to half-way,
// acknowledged, and had an outage of its own. The next failover has a name that
// none had before.
func TestNamesAreNeverGivenTwice(t *testing.T) {
	s := newScript(t)
	s.plays("boot", "ready EdgePool2", "ready EdgePool3", "round EdgePool1=tripped", "step preflight already", "step set-route started site1", "end dns-records moved", "ack done by hand")
	s.plays("hold wait", "round EdgePool1=up EdgePool2=tripped", "wait 1m", "round EdgePool1=up EdgePool2=up", "release") // contoso-2
	s.plays("ready EdgePool1", "switchover EdgePool1 --force home", "failover EdgePool1 --force home", "end ok", "wait 1m", "round EdgePool1=up EdgePool2=up")
	last := s.chain
	if s.m.Active() != "EdgePool1" || s.m.fold.incident != "" {
		t.Fatalf("active %s, incident %q\n%s", s.m.Active(), s.m.fold.incident, s.out.String())
	}
	// A month later.
	s.rules.Pools = []string{"EdgePool1", "EdgePool3"}
	s.plays("wait 720h", "restart", "ready EdgePool3")
	got := s.plays("round EdgePool1=tripped EdgePool3=up")
	if s.chain == last {
		t.Errorf("the next failover is %s, as the last was", last)
	}
	if err := s.audit(); err != nil {
		t.Errorf("refused: %v\n%s", err, got)
	}
}

// The number is what follows the last mark, whatever the federation is called.
func TestNumberOf(t *testing.T) {
	for _, tt := range []struct {
		name, mark string
		want       int
	}{
		{"contoso-7", incidentMark, 7}, {"contoso-2-11", incidentMark, 11}, {"contoso-7.12", chainMark, 12},
		{"", incidentMark, 0}, {"contoso", incidentMark, 0}, {"contoso-", incidentMark, 0}, {"contoso-x", incidentMark, 0},
	} {
		if got := numberOf(tt.name, tt.mark); got != tt.want {
			t.Errorf("%q after %q: %d, want %d", tt.name, tt.mark, got, tt.want)
		}
	}
}
