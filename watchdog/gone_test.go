package watchdog

import (
	"slices"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"edgewatch/actions"
)

// The pool that carries federation is taken out of the configuration, and the
// one that is taken for active is dead: its outage is an incident of its own.
func TestOutageOfThePoolThatIsTakenForActive(t *testing.T) {
	s := newScript(t)
	s.plays("mode approve", "boot", "ready EdgePool2", "round EdgePool1=tripped", "approve EdgePool2 go", "end ok", "wait 40m")
	s.rules.Pools = []string{"EdgePool1", "EdgePool3"}
	s.plays("restart", "ready EdgePool3")
	n := len(s.kept)
	got := s.plays("round EdgePool1=tripped")
	for _, e := range s.kept[n:] {
		if e.Incident == "" {
			t.Errorf("%s without an incident: %s", e.Kind, e.Sentence())
		}
		if e.Kind == KindPool {
			return
		}
	}
	t.Errorf("no entry says that EdgePool1 is down, with its evidence:\n%s", got)
}

// A failover whose route moved is acknowledged, then its pool is renamed: the
// start says that the active pool is no longer configured.
func TestStartTellsThatTheActivePoolIsGone(t *testing.T) {
	s := newScript(t)
	s.plays("boot", "ready EdgePool2", "round EdgePool1=tripped", "step preflight already", "end dns-records moved", "ack seen")
	if s.m.Active() != "EdgePool2" {
		t.Fatal(s.m.Active())
	}
	s.rules.Pools = []string{"EdgePool1", "EdgeB"}
	got := s.plays("restart")
	if !strings.Contains(got, "EdgePool2, which carries federation by the journal, is no longer configured") || s.m.Active() != "EdgePool1" {
		t.Errorf("active was EdgePool2, is %s; told at the start:\n%s", s.m.Active(), got)
	}
	if got := s.plays("restart"); strings.Contains(got, "no longer configured") {
		t.Errorf("told again:\n%s", got)
	}
}

// A failover is half done, and its pool is taken out of the configuration: what
// cannot be carried on is not tried for ever, and people are told.
func TestHalfDoneFailoverToAPoolThatIsGone(t *testing.T) {
	s := newScript(t)
	s.plays("boot", "ready EdgePool2", "round EdgePool1=tripped", "step preflight already", "step set-route started site2", "end dns-records moved")
	s.rules.Pools = []string{"EdgePool1", "EdgePool3"}
	got := s.plays("restart", "ready EdgePool3", "round EdgePool1=tripped", "wait 10m", "tick")
	if s.m.fold.running() || s.m.fold.faulted() {
		t.Errorf("still at it:\n%s", s.out.String())
	}
	if d := s.m.Decide(s.now, s.levels); d.BlockedBy != GuardUnconfirmed {
		t.Errorf("%s %s\n%s", d.Will, d.Because, got)
	}
	s.plays("ready EdgePool3", "round EdgePool1=tripped")
	if got := s.plays("ack seen"); !strings.Contains(got, "EFFECT run contoso-2.1 from EdgePool1 to EdgePool3") {
		t.Errorf("after an ack:\n%s", got)
	}
}

// What the journal adds up to does not depend on which pools are configured
// when it is read.
func TestReplayUnderOtherPools(t *testing.T) {
	s := newScript(t)
	s.plays("boot", "ready EdgePool2", "round EdgePool1=tripped", "step preflight already", "step set-route started site2", "end dns-records moved",
		"round EdgePool2=tripped", "wait 2m", "round EdgePool2=up", "ack seen")
	other := s.rules
	other.Pools = []string{"EdgePool1", "EdgePool3"}
	m := NewMachine(other)
	for _, e := range s.kept {
		m.Apply(e)
	}
	if m.Active() != s.m.Active() || m.fold.incident != s.m.fold.incident || m.fold.incidents != s.m.fold.incidents || m.State() != s.m.State() {
		t.Errorf("active %s, incident %q of %d, %s; in life %s, %q of %d, %s", m.Active(), m.fold.incident, m.fold.incidents, m.State(),
			s.m.Active(), s.m.fold.incident, s.m.fold.incidents, s.m.State())
	}
}

// A server that was left stopped and then taken out of the configuration is
// not named for ever, and people are told so once; the others are still named.
func TestServerLeftStoppedThatIsGone(t *testing.T) {
	s := newScript(t)
	s.plays("boot", "ready EdgePool2", "round EdgePool1=tripped")
	s.event(Ended{Chain: s.chain, Outcome: actions.Outcome{OK: true, RouteMoved: true, Stopped: []string{"edge3", "edge4"}}})
	if got := s.plays("restart"); strings.Contains(got, "edge4") {
		t.Errorf("which servers there are is not known, and it is told:\n%s", got)
	}
	s.rules.Servers = map[string][]string{"EdgePool1": {"edge1", "edge4"}, "EdgePool2": {"edge3", "edge5"}}
	got := s.plays("restart")
	if !strings.Contains(got, "edge4 of EdgePool2, where a failover left services stopped, is no longer configured") || strings.Contains(got, "edge3") {
		t.Errorf("told at the start:\n%s", got)
	}
	if left := s.m.fold.owed["EdgePool2"]; !slices.Equal(left, []string{"edge3"}) {
		t.Errorf("still named as stopped: %v", left)
	}
	if got := s.plays("restart"); strings.Contains(got, "edge4") {
		t.Errorf("told again:\n%s", got)
	}
}

// A whole pool with servers that were left stopped is taken out of the
// configuration: people are told once of each, as when a server alone is.
func TestServersLeftStoppedOfAPoolThatIsGone(t *testing.T) {
	s := newScript(t)
	s.rules.Servers = map[string][]string{"EdgePool1": {"edge1"}, "EdgePool2": {"edge3"}, "EdgePool3": {"edge5"}}
	s.m.rules = s.rules
	s.plays("boot", "ready EdgePool2", "round EdgePool1=tripped")
	s.event(Ended{Chain: s.chain, Outcome: actions.Outcome{Step: actions.StopServices, Error: "broke", Stopped: []string{"edge3"}}})
	s.rules.Pools, s.rules.Servers = []string{"EdgePool1", "EdgePool3"}, map[string][]string{"EdgePool1": {"edge1"}, "EdgePool3": {"edge5"}}
	if got := s.plays("restart"); !strings.Contains(got, "edge3 of EdgePool2, where a failover left services stopped, is no longer configured") {
		t.Errorf("told at the start:\n%s", got)
	}
	if len(s.m.fold.owed) > 0 {
		t.Errorf("still named as stopped: %v", s.m.fold.owed)
	}
	if got := s.plays("restart"); strings.Contains(got, "edge3") {
		t.Errorf("told again:\n%s", got)
	}
}

// That the active pool is a guess stands in status and why, and in the log as a
// warning, until a person says which one it is, be it the one that was taken, or
// a move made one of them so.
func TestAGuessIsToldUntilItIsOver(t *testing.T) {
	for _, tt := range []struct{ over, active string }{
		{"adopt EdgePool1 it is there", "EdgePool1"}, {"adopt EdgePool3 it is there", "EdgePool3"}, {"failover EdgePool3 --force we need it there", "EdgePool3"},
	} {
		s := newScript(t)
		s.plays("boot", "adopt EdgePool2 it is there")
		s.rules.Pools = []string{"EdgePool1", "EdgePool3"}
		s.plays("restart")
		i := slices.IndexFunc(s.kept, func(e Entry) bool { return e.Kind == KindNotice && e.Notice.Kind == NoticeActiveGone })
		if e := s.kept[i]; e.level() != zerolog.WarnLevel || !strings.Contains(e.Sentence(), "watched from now on") {
			t.Errorf("logged as %s: %s", e.level(), e.Sentence())
		}
		s.plays("round EdgePool1=up", "restart", "round EdgePool1=up", "ready EdgePool3")
		const guess = "EdgePool1 is only taken for the active pool, because EdgePool2, which carried federation by the journal, was no longer configured"
		told := func() string {
			return (&Snapshot{State: s.m.State(), Active: s.m.Active(), Guessed: s.m.fold.guessed()}).Headline()
		}
		if got := told(); !strings.Contains(got, guess) {
			t.Errorf("why: %s", got)
		}
		if got := s.plays(tt.over); strings.Contains(got, runs) {
			s.plays("end ok")
		}
		if got := told(); strings.Contains(got, "only taken for") || s.m.Active() != tt.active {
			t.Errorf("after %s, active %s: %s", tt.over, s.m.Active(), got)
		}
	}
}

// A pool that is put before the others in the file, and another order of them, is
// no pool that is gone: nothing is guessed.
func TestAnotherFirstPoolIsNoGuess(t *testing.T) {
	for name, pools := range map[string][]string{
		"a new one":     {"EdgePool9", "EdgePool1", "EdgePool2", "EdgePool3"},
		"another order": {"EdgePool2", "EdgePool1", "EdgePool3"},
	} {
		s := newScript(t)
		s.plays("boot", "round EdgePool1=up")
		s.rules.Pools = pools
		s.plays("restart", "round EdgePool1=up")
		if s.m.Active() != "EdgePool1" || s.m.fold.guessed() != "" {
			t.Errorf("%s: active %s; %s", name, s.m.Active(), s.m.fold.guessed())
		}
	}
}

// What is told of a federation that is gone belongs to no incident that was over
// long before, although a failover of that one had failed.
func TestWhatIsToldOfAGoneFederationBelongsToNoIncidentOfOld(t *testing.T) {
	s := newScript(t)
	s.plays("boot", "ready EdgePool2", "round EdgePool1=tripped", "end preflight", "round EdgePool1=up", "wait 720h", "hold renaming it")
	f := &goneFederation{name: "contoso", fold: s.m.fold}
	if f.incident() != "" || f.forgotten(s.now, nil) == "" {
		t.Errorf("told in %q: %s", f.incident(), f.forgotten(s.now, nil))
	}
}
