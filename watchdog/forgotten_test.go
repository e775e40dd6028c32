package watchdog

import (
	"testing"
	"time"

	"edgewatch/probe"
)

// told counts the notices of that kind.
func (s *script) told(kind NoticeKind) (n int) {
	for _, e := range s.kept {
		if e.Kind == KindNotice && e.Notice.Kind == kind {
			n++
		}
	}
	return n
}

// A witness that was told to be silent is taken out of the configuration: that
// ends, and when it is asked again later and is silent, people are told.
func TestSilenceEndsWithTheWitnessesConfiguration(t *testing.T) {
	s := newScript(t)
	s.plays("rules witnesses=1,1", "boot")
	silent := func() {
		s.now = s.now.Add(time.Minute)
		s.levels.Hearings = []Hearing{{Witness: s.rules.Witnesses[0], Name: "host2", Silent: true, Since: s.now, Settled: true, Why: "refused"}}
		s.do("round EdgePool1=up")
	}
	silent()
	s.do("restart")
	silent()
	if n, back := s.told(NoticeWitnessSilent), s.told(NoticeWitnessBack); n != 1 || back != 0 {
		t.Fatalf("told %d times, and %d times that it is over:\n%s", n, back, s.out.String())
	}
	s.plays("rules witnesses=0,0", "restart", "restart")
	if n := s.told(NoticeWitnessBack); n != 1 {
		t.Errorf("nobody asks it any more, and that was told %d times", n)
	}
	s.plays("wait 720h", "rules witnesses=1,1", "restart")
	silent()
	if n := s.told(NoticeWitnessSilent); n != 2 {
		t.Errorf("silent since it is asked again: told %d times", n)
	}
}

// A server that was told to be down is taken out of the configuration: that
// ends, and when its address is probed again later and is down, people are told.
func TestServerDownEndsWithItsConfiguration(t *testing.T) {
	s := newScript(t)
	s.do("boot")
	down := func() {
		s.now = s.now.Add(time.Minute)
		s.round([]string{"EdgePool1=degraded"})
		p := &s.levels.Round.Pools[0]
		p.Results[0].Level, p.Results[0].Class = probe.Down, probe.Refused
		p.States = []ServerState{{Addr: p.Results[0].Target.Addr, Down: true, Since: s.now}}
		s.event(Tick{})
	}
	down()
	s.do("restart")
	down()
	if n, back := s.told(NoticeServerDown), s.told(NoticeServerBack); n != 1 || back != 0 {
		t.Fatalf("told %d times, and %d times that it is over:\n%s", n, back, s.out.String())
	}
	known := s.rules.Addresses
	s.rules.Addresses = []string{"203.0.113.9:5269"}
	s.plays("restart", "restart")
	if n := s.told(NoticeServerBack); n != 1 {
		t.Errorf("nobody probes it any more, and that was told %d times", n)
	}
	s.rules.Addresses = known
	s.plays("wait 720h", "restart")
	down()
	if n := s.told(NoticeServerDown); n != 2 {
		t.Errorf("down since it is probed again: told %d times", n)
	}
}

// Surveys of before federation moved do not count among those that learned
// nothing from DNS since: people are not told of looks that were not taken.
func TestBlindnessCountsFromTheMove(t *testing.T) {
	s := newScript(t)
	s.plays("rules partner=15m", "boot")
	e := NewEngine(Settings{Rules: s.rules}, Ports{Journal: &keeper{}, Now: func() time.Time { return s.now }})
	e.last = &Round{Canaries: CanaryStatus{OK: true}}
	nothing := []PartnerView{{Domain: "contoso.com", Text: "dns/servfail"}}
	for range lostSurveys {
		e.learn(nothing)
	}
	e.moveTo("EdgePool2")
	e.learn(nothing)
	s.round([]string{"EdgePool1=up"})
	s.levels.Round.Unled = e.unled
	s.event(Tick{})
	if n := s.told(NoticeDNSBlind); n > 0 {
		t.Errorf("one look was taken since federation moved, and %d count:\n%s", e.unled, s.out.String())
	}
}
