package watchdog

import (
	"strings"
	"testing"
)

// A failover dies while the route is being set, and whoever sees what became of it
// dies too, again and again. What only looked is no try: once it is seen that
// the route has moved, it is carried through, and tried as often as any other.
func TestWhatIsDroppedIsNoTry(t *testing.T) {
	s := newScript(t)
	s.lines("boot", "ready EdgePool2", "round EdgePool1=tripped",
		"step preflight already", "step stop-services started edge3", "step set-route started site2")
	for range 2 * s.rules.MaxRetries {
		if did := s.lines("wait 10m", "restart"); !strings.Contains(did, "abandon") {
			t.Fatalf("minutes later, and it is not known to have moved its route:\n%s", did)
		}
	}
	did := s.lines("end set-route moved")
	tries := 0
	for range 2 * s.rules.MaxRetries {
		tries += strings.Count(did, runs)
		if !s.m.fold.running() {
			did = s.lines("wait 20m", "tick")
			continue
		}
		did = s.lines("end dns-records moved")
	}
	if tries != s.rules.MaxRetries || !strings.Contains(s.m.fold.confirm, "was tried 4 times") {
		t.Errorf("tried %d times after the first, and it says: %s\n%s", tries, s.m.fold.confirm, s.out.String())
	}
	if err := s.audit(); err != nil {
		t.Error(err)
	}
}

// A failover that died before anything was touched is no attempt of its incident,
// however often that happens.
func TestWhatTouchedNothingIsNoAttempt(t *testing.T) {
	s := newScript(t)
	s.lines("boot", "ready EdgePool2", "round EdgePool1=tripped")
	for range 2 * s.rules.MaxAttempts {
		s.lines("step preflight started", "restart", "end preflight interrupted", "ready EdgePool2")
		if did := s.lines("round EdgePool1=tripped"); !strings.Contains(did, runs) {
			t.Fatalf("nothing was touched, and it is not begun anew:\n%s", did)
		}
	}
	if s.m.fold.attempts != 1 || s.m.fold.chain.Retry != 0 {
		t.Errorf("%d attempts, the newest was tried again %d times", s.m.fold.attempts, s.m.fold.chain.Retry)
	}
}
