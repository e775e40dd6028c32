package watchdog

import (
	"strings"
	"testing"
	"time"
)

// A move stopped half-way, and the next one, away from its pool, failed before it
// moved anything: that the first is not through is not forgotten.
func TestAMoveThatIsNotThroughIsNotForgotten(t *testing.T) {
	stuck := []string{"boot", "ready EdgePool2", "ready EdgePool3", "round EdgePool1=tripped",
		"step stop-services started edge3", "step set-route started site", "end dns-records moved"}
	for _, tt := range []struct {
		name string
		then []string
	}{
		{"for the next candidate", []string{"wait 61s", "tick", "end dns-records moved",
			"round EdgePool1=down EdgePool2=tripped EdgePool3=up", "end preflight",
			"wait 10s", "unready EdgePool1 it is dead", "round EdgePool1=down EdgePool2=tripped"}},
		{"for an order", []string{"abort try the third", "failover EdgePool3 the third", "end preflight"}},
	} {
		for _, order := range []string{"retry", "failover EdgePool2 finish it"} {
			t.Run(tt.name+", "+order, func(t *testing.T) {
				s := newScript(t)
				s.lines("rules unproven=next")
				s.lines(stuck...)
				s.lines(tt.then...)
				s.lines("wait 1m", "round EdgePool1=down EdgePool2=up", "wait 2m", "round EdgePool1=down EdgePool2=up")
				if d := s.m.Decide(s.now, s.levels); d.BlockedBy != GuardUnconfirmed || !strings.Contains(d.Because, "the failover to EdgePool2 is not through") {
					t.Errorf("DNS was never moved to EdgePool2: %s", d.sentence())
				}
				if got := s.lines("switchover EdgePool3 away"); strings.Contains(got, runs) {
					t.Errorf("a planned move from where federation has not arrived: %s", got)
				}
				if got := s.lines(order); !strings.Contains(got, " to EdgePool2\n") || !strings.Contains(got, runs) {
					t.Errorf("it cannot be finished: %s", got)
				}
				s.lines("end ok", "round EdgePool2=up")
				if s.m.fold.halfway() || s.m.State() != Watching {
					t.Errorf("once it is through: %s", s.m.fold.decision.sentence())
				}
				if err := s.audit(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// A state file that comes and goes, or a service that is restarted again and
// again, ends every failover: so often is often enough.
func TestInterruptedFailoversCount(t *testing.T) {
	s := newScript(t)
	s.lines("boot", "ready EdgePool2", "round EdgePool1=tripped EdgePool2=up")
	n := 1
	for range 10 {
		s.lines("step preflight already", "step stop-services started edge3", "lease lost", "end stop-services interrupted", "wait 10s", "ready EdgePool2")
		s.levels.Lease = ""
		if strings.Contains(s.lines("round EdgePool1=tripped EdgePool2=up"), runs) {
			n++
		}
	}
	if n != s.rules.MaxAttempts || s.m.fold.decision.BlockedBy != GuardUnconfirmed {
		t.Errorf("%d failovers in one incident, services stopped each time: %s", n, s.m.fold.decision.sentence())
	}
}

// Who ordered a move that an orderly end of edgewatch interrupts is told that it
// is not carried on.
func TestAnOrderThatIsDroppedIsTold(t *testing.T) {
	s := newScript(t)
	s.lines("boot", "ready EdgePool2", "round EdgePool1=half EdgePool2=up", "failover EdgePool2 it is dead for partners", "step preflight started")
	s.levels.Ending = true
	if got := s.lines("end preflight interrupted"); !strings.Contains(got, "not carried on by itself: order it again") {
		t.Errorf("told: %s", got)
	}
}

// Federation was about to go home by itself, and edgewatch died once it had
// started a service there: that moved nothing, and whether it is still to go is
// decided anew.
func TestAFailbackByItselfIsDecidedAnew(t *testing.T) {
	s := newScript(t)
	s.lines("rules failback=1h,02:00,05:00", "boot", "ready EdgePool2", "round EdgePool1=tripped",
		"end ok", "wait 31m", "round EdgePool1=up EdgePool2=up", "wait 61m", "ready EdgePool1")
	if did := s.lines("round EdgePool1=up EdgePool2=up"); !strings.Contains(did, runs+" contoso-2.1 from EdgePool2 to EdgePool1") {
		t.Fatalf("no failback:\n%s", s.out.String())
	}
	s.lines("step preflight already", "step start-services started edge1", "wait 29m")
	if did := s.lines("restart"); !strings.Contains(did, "abandon: edgewatch ended before") {
		t.Errorf("route and DNS were not touched:\n%s", did)
	}
}

// A failback of hours ago whose route was found as it should be, as sites keep
// theirs, has moved nothing.
func TestARouteThatWasFoundRightIsNoMove(t *testing.T) {
	s := newScript(t)
	s.lines("boot", "adopt EdgePool2 it is there", "ready EdgePool1", "round EdgePool1=up EdgePool2=up", "failback EdgePool1 tonight, in the window",
		"step preflight already", "step start-services already edge1", "step start-services already",
		"step set-route already site1", "step set-route already", "wait 10h")
	if did := s.lines("restart"); !strings.Contains(did, "abandon") {
		t.Errorf("its route had not been moved by it, and it is ten hours old:\n%s", did)
	}
}

// A second run is told by where it is, not by what an earlier one came to.
func TestWhyNamesTheStepOfThisRun(t *testing.T) {
	s := newScript(t)
	s.lines("boot", "ready EdgePool2", "round EdgePool1=tripped",
		"step preflight already", "step stop-services started", "step stop-services finished", "step set-route started", "step set-route finished",
		"step dns-records started", "step dns-records failed", "step start-services started", "step start-services finished",
		"end dns-records moved", "wait 61s", "tick")
	for _, at := range []string{"set-route", "dns-records", "verify"} {
		s.lines("step " + at + " started")
		if d := s.m.Decide(s.now, s.levels); !strings.HasSuffix(d.Because, "at "+at) || (s.m.State() == Verifying) != (at == "verify") {
			t.Errorf("at %s: %s, %s", at, s.m.State(), d.Because)
		}
	}
	s.lines("step verify failed", "end verify moved", "wait 2m", "tick", "step set-route started")
	if s.m.State() != FailingOver {
		t.Errorf("at set-route again, and the state is %s", s.m.State())
	}
}

// The pool that federation has half arrived at answered for hours, and dies: the
// next candidate takes over. Once all have failed, an ack is what helps.
func TestAPoolHalfArrivedAtDies(t *testing.T) {
	half := []string{"rules unproven=next", "boot", "ready EdgePool2", "ready EdgePool3", "round EdgePool1=tripped",
		"step stop-services started edge3", "step set-route started site", "end dns-records moved",
		"wait 61s", "tick", "end dns-records moved", "round EdgePool1=down EdgePool2=tripped EdgePool3=up", "end preflight"}
	s := newScript(t)
	s.lines(half...)
	s.lines("wait 1m", "round EdgePool1=down EdgePool2=up EdgePool3=up")
	s.steady(3*time.Hour, "EdgePool1=down EdgePool2=up EdgePool3=up")
	if did := s.steady(time.Minute, "EdgePool1=down EdgePool2=tripped EdgePool3=up"); !strings.Contains(did, runs) {
		t.Errorf("EdgePool2 is down, EdgePool3 is ready: %s", did)
	}
	s = newScript(t)
	s.lines(half...)
	for range 2 {
		s.steady(11*time.Minute, "EdgePool1=down EdgePool2=tripped EdgePool3=up")
		s.lines("end preflight")
	}
	s.steady(time.Minute, "EdgePool1=down EdgePool2=tripped EdgePool3=up")
	if d := s.m.Decide(s.now, s.levels); !strings.Contains(d.Because, "a person's ack is needed") {
		t.Errorf("EdgePool2 is dead: %s", d.sentence())
	}
}
