package watchdog

import (
	"strings"
	"testing"
	"time"
)

// returning is a federation that is on EdgePool2 after a failover by itself,
// with EdgePool1 back: at the next round it may go home by itself. The rules
// are added to those of automatic failback.
func returning(t *testing.T, rules string) *script {
	t.Helper()
	s := newScript(t)
	for _, line := range []string{
		"rules failback=1h,03:00,23:00 " + rules, "boot", "ready EdgePool2", "round EdgePool1=tripped drift=EdgePool1", "end ok",
		"wait 31m", "round EdgePool1=up EdgePool2=up EdgePool3=up drift=EdgePool2", "wait 70m", "ready EdgePool1",
	} {
		s.do(line)
	}
	s.out.Reset()
	return s
}

// home is the round at which federation goes home unless something stands
// against it.
const home = "round EdgePool1=up EdgePool2=up EdgePool3=up drift=EdgePool2"

// hours plays that round every ten minutes, and reports whether anything was
// begun.
func (s *script) hours(n int) bool {
	for range 6 * n {
		for _, line := range []string{"wait 10m", "ready EdgePool1", "ready EdgePool3", home} {
			s.do(line)
		}
	}
	return s.m.fold.running()
}

// An automatic failback that a person ended, or that failed, does not begin
// again by itself, however often its window opens, until a person has spoken.
// What is told meanwhile says so.
func TestFailbackThatEndedWaitsForAPerson(t *testing.T) {
	for _, ends := range [][]string{{"abort not now", "end preflight aborted"}, {"abort not now", "end preflight interrupted"}, {"end preflight"}, {"end start-services unrecorded"}} {
		for _, speaks := range []string{"ack go on", "failback EdgePool1 now"} {
			t.Run(strings.Join(append(ends, speaks), ", "), func(t *testing.T) {
				s := returning(t, "")
				s.do(home)
				if !s.m.fold.running() {
					t.Fatalf("no automatic failback:\n%s", s.out.String())
				}
				for _, line := range ends {
					s.do(line)
				}
				if s.hours(50) {
					t.Fatalf("begun again by itself:\n%s", s.out.String())
				}
				if d := s.m.Decide(s.now, s.levels); d.Will != WillWatch || !strings.Contains(d.Because, "does not return to EdgePool1 by itself") {
					t.Errorf("shown: %+v", d)
				}
				s.do(speaks)
				if !s.m.fold.running() {
					t.Errorf("a person spoke:\n%s", s.out.String())
				}
				if err := s.audit(); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// An interrupted failback says nothing against another.
func TestFailbackThatWasInterruptedBeginsAgain(t *testing.T) {
	s := returning(t, "")
	s.do(home)
	s.do("end preflight interrupted")
	if !s.hours(1) {
		t.Errorf("not begun again:\n%s", s.out.String())
	}
}

// The budget is for failovers from a dead pool: a failback that failed leaves
// all of it, and none begins that would leave no failover afterwards.
func TestFailbackSpendsNoBudget(t *testing.T) {
	s := returning(t, "")
	s.do(home)
	s.do("end preflight")
	s.do("ready EdgePool3")
	s.do("round EdgePool1=unclear EdgePool2=tripped EdgePool3=up drift=EdgePool2")
	if c := s.m.fold.chain; !s.m.fold.running() || c.From != "EdgePool2" {
		t.Errorf("EdgePool2 is dead, one failover was begun today and the budget is two:\n%s", s.out.String())
	}
	if err := s.audit(); err != nil {
		t.Error(err)
	}
	s = returning(t, "")
	s.m.rules.Budget = 1
	if s.do(home); s.m.fold.running() {
		t.Errorf("no failover is left for today:\n%s", s.out.String())
	}
}

// Automatic failback asks what a failover asks: it stays where there is doubt
// whether federation is where edgewatch takes it to be, whether our own loop
// can be trusted, and until this process has watched for long enough.
func TestFailbackAsksTheGuardsOfAFailover(t *testing.T) {
	for name, round := range map[string]string{
		"DNS leads to a third pool, which answers":      "round EdgePool1=up EdgePool2=up EdgePool3=up drift=EdgePool3",
		"nobody knows where DNS leads":                  "round EdgePool1=up EdgePool2=up EdgePool3=up nowhere",
		"what partners find was not looked at for long": "round EdgePool1=up EdgePool2=up EdgePool3=up",
		"our own loop stood still":                      home + " frozen",
		"the pool was down a moment ago":                "round EdgePool1=fresh EdgePool2=up EdgePool3=up drift=EdgePool2",
	} {
		t.Run(name, func(t *testing.T) {
			s := returning(t, "partner=15m")
			if s.do(round); s.m.fold.running() {
				t.Errorf("went home:\n%s", s.out.String())
			}
			if s.do(home); !s.m.fold.running() {
				t.Errorf("did not go home when all is well:\n%s", s.out.String())
			}
		})
	}
}

// A time in which edgewatch did not watch does not count as one in which the
// pool was well.
func TestFailbackCountsWhatWasWatched(t *testing.T) {
	s := returning(t, "")
	s.m.rules.StartupGrace = 2 * time.Hour
	s.levels.Since = s.now.Add(-time.Minute)
	if s.do(home); s.m.fold.running() {
		t.Fatalf("went home a minute after the start:\n%s", s.out.String())
	}
	s.now = s.now.Add(59*time.Minute + time.Second) // stable_for is over, the grace is not
	s.do("ready EdgePool1")
	if s.do(home); s.m.fold.running() {
		t.Fatalf("went home in the grace:\n%s", s.out.String())
	}
	s.m.rules.StartupGrace = time.Minute
	if s.do(home); !s.m.fold.running() {
		t.Errorf("watched for an hour, and did not go home:\n%s", s.out.String())
	}
}
