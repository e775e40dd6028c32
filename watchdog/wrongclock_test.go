package watchdog

import (
	"strings"
	"testing"
	"time"
	"unsafe"

	"edgewatch/probe"
)

// The host boots with a clock that is two hours ahead, as one that keeps local
// time, until it is set, seconds later. That ends no pause and takes nobody's time
// to answer.
func TestABootWithAClockThatIsAhead(t *testing.T) {
	watching := []string{"rules grace=1m", "boot", "ready EdgePool2", "round EdgePool1=up", "wait 2m"}
	boot := []string{"wait 2h", "restart", "tick", "wait 5s", "leap -2h", "tick", "wait 90s", "ready EdgePool2"}
	t.Run("pause", func(t *testing.T) {
		s := newScript(t)
		s.lines(watching...)
		s.lines("pause 2h patching EdgePool1", "wait 1m")
		s.lines(boot...)
		if did := s.lines("round EdgePool1=tripped EdgePool2=up"); !strings.Contains(did, "(pause)") {
			t.Errorf("three minutes after a pause of 2 h was ordered:\n%s", s.out.String())
		}
		s.lines("wait 118m", "ready EdgePool2")
		if did := s.lines("round EdgePool1=tripped EdgePool2=up"); !strings.Contains(did, runs) {
			t.Errorf("once it is over:\n%s", did)
		}
	})
	t.Run("approval", func(t *testing.T) {
		s := newScript(t)
		s.lines("rules approval=1h,failover", "mode approve")
		s.lines(watching...)
		s.lines("round EdgePool1=tripped EdgePool2=up", "wait 1m")
		s.lines(boot...)
		if did := s.lines("round EdgePool1=tripped EdgePool2=up"); strings.Contains(did, runs) {
			t.Errorf("asked three minutes ago, an answer was to be waited for for 1 h:\n%s", did)
		}
		if err := s.audit(); err != nil {
			t.Error(err)
		}
	})
}

// slept is what time.Now answers once the machine has slept that long since t:
// Linux's monotonic clock stood still meanwhile.
func slept(t time.Time, d time.Duration) time.Time {
	type clock struct {
		wall uint64
		ext  int64
		loc  *time.Location
	}
	(*clock)(unsafe.Pointer(&t)).wall += uint64(d/time.Second) << 30
	return t
}

// The machine slept for eight hours: what partners found and that the standby was
// ready is that old, although by the monotonic clock it is not.
func TestWhatWasSeenBeforeASleepIsOld(t *testing.T) {
	before := time.Now() // as the engine keeps it
	now := slept(before, 8*time.Hour)
	if now.Round(0).Sub(before.Round(0)) != 8*time.Hour || now.Sub(before) != 0 {
		t.Fatal("this Go keeps times otherwise")
	}
	rules := testRules()
	rules.PartnerAge = 15 * time.Minute
	m := NewMachine(rules)
	levels := Levels{
		Since:     before.Add(-time.Hour),
		Readiness: map[string]Readiness{"EdgePool2": {At: before, Ready: true}},
		Round: &Round{
			At: now.Round(0), Canaries: CanaryStatus{OK: true}, Seen: before,
			Partner: []PartnerView{{Domain: "contoso.com", Pool: "EdgePool1", Level: probe.Down}},
			Pools:   []PoolRound{{Pool: "EdgePool1", Verdict: PoolDown, Breaker: Breaker{State: BreakerOpen, Since: now}}},
		},
	}
	if d := m.Decide(now, levels); d.Will != WillHold || d.BlockedBy != GuardDrift {
		t.Errorf("DNS was looked at eight hours ago: %s", d.sentence())
	}
	levels.Round.Seen = now
	if d := m.Decide(now, levels); d.Will != WillHold || d.BlockedBy != GuardCandidate {
		t.Errorf("readiness was checked eight hours ago: %s", d.sentence())
	}
}
