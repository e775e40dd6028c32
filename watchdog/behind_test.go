package watchdog

import (
	"strings"
	"testing"
	"time"
)

// The host boots with a clock that is years behind, until it is set, and edgewatch
// is started once more, before that or after. Nothing that people wait for is over
// sooner for it, and nothing lasts for ever.
func TestABootWithAClockThatIsFarBehind(t *testing.T) {
	const years = "87600h"
	boot := []string{"wait -" + years, "restart", "tick", "wait 2m"}
	again := []string{"restart", "tick", "wait 2m"}
	tests := []struct {
		name string
		then [][]string
	}{
		{"set while it runs", [][]string{{"leap " + years, "tick", "wait 2m"}}},
		{"set while it runs, then a restart", [][]string{{"leap " + years, "tick"}, again}},
		{"set, and a restart before anybody looked", [][]string{{"leap " + years}, again}},
		{"set while it is stopped", [][]string{{"wait " + years}, again}},
		{"a restart, then set while it runs", [][]string{again, {"leap " + years, "tick", "wait 2m"}}},
		{"a restart, then set while it is stopped", [][]string{again, {"wait " + years}, again}},
		{"back a second time, then set while it is stopped", [][]string{{"wait -1h"}, again, {"wait 87601h"}, again}},
		{"set while it is stopped, a little short", [][]string{{"wait 87599h"}, again}},
	}
	for _, tt := range tests {
		for _, story := range behindStories() {
			t.Run(tt.name+"/"+story.name, func(t *testing.T) {
				s := newScript(t)
				s.lines("rules grace=1m", "boot", "round EdgePool1=up", "wait 2m")
				s.lines(story.before...)
				s.lines(boot...)
				for _, lines := range tt.then {
					s.lines(lines...)
				}
				if did := s.die(0); strings.Contains(did, "nobody approved") || strings.Contains(did, runs) || s.m.fold.decision.BlockedBy != story.guard {
					t.Fatalf("lost:\n%s", s.out.String())
				}
				if did := s.die(story.most); strings.Contains(did, runs) == story.stays {
					t.Errorf("%s later:\n%s", story.most, s.out.String())
				}
				if err := s.audit(); err != nil {
					t.Errorf("the auditor refuses it: %v", err)
				}
			})
		}
	}
}

// A pause that was given days after such a boot is kept too, and people are told
// until when.
func TestAPauseOfAClockThatIsFarBehind(t *testing.T) {
	s := newScript(t)
	s.lines("rules grace=1m", "boot", "round EdgePool1=up", "wait -87600h", "restart", "tick", "wait 72h", "pause 2h patching", "wait 10m")
	did := s.lines("wait 87600h", "restart", "tick")
	want := "the clock seems to have been behind when edgewatch last ran, or ahead before that: nobody knows whether 87600h10m of what it shows now have passed, so that they do not count; the pause of anna lasts until 2026-01-05 05:10:00 UTC"
	if !strings.Contains(did, want) {
		t.Errorf("told:\n%s\nwant %q", did, want)
	}
	if did := s.lines("wait 5m", "restart", "tick"); strings.Contains(did, "the clock") {
		t.Errorf("told again:\n%s", did)
	}
}

// However far the clock is behind, and for however long edgewatch runs with it: what
// is ordered meanwhile is not over sooner once the clock is right.
func TestAClockThatIsBehindForLong(t *testing.T) {
	for name, wrong := range map[string]struct{ back, runs, right string }{
		"years":                       {"87600h", "72h", "87600h"},
		"a day":                       {"30h", "26h", "30h"},
		"a time zone":                 {"5h", "4h", "5h"},
		"saved before the power went": {"40m", "5m", "10h40m"},
	} {
		for _, story := range behindStories() {
			t.Run(name+"/"+story.name, func(t *testing.T) {
				s := newScript(t)
				s.lines("rules grace=1m", "boot", "round EdgePool1=up", "wait 2m", "wait -"+wrong.back, "restart", "tick", "wait "+wrong.runs)
				s.lines(story.before...)
				s.lines("wait "+wrong.right, "restart", "tick", "wait 2m")
				if did := s.die(0); strings.Contains(did, "nobody approved") || strings.Contains(did, runs) || s.m.fold.decision.BlockedBy != story.guard {
					t.Fatalf("lost:\n%s", s.out.String())
				}
			})
		}
	}
}

// A clock that was ahead for minutes once, and was put right while edgewatch was
// stopped, looks the same: a pause may last for longer then, which is told, and not
// for longer than it was ordered for, from then on.
func TestAClockThatWasAheadForMinutes(t *testing.T) {
	s := newScript(t)
	s.lines("boot", "round EdgePool1=up", "wait 3m", "restart", "tick", "wait -3m", "restart", "tick", "wait 1m", "pause 72h a long migration", "wait 71h")
	if did := s.lines("restart", "tick"); !strings.Contains(did, "or ahead before that") || s.m.fold.pause.Until.Sub(s.now) > 72*time.Hour {
		t.Errorf("the pause lasts until %s:\n%s", s.m.fold.pause.Until, did)
	}
	if did := s.lines("wait 72h", "restart", "tick"); !strings.Contains(did, "has ended") {
		t.Errorf("it does not end:\n%s", did)
	}
}

// Where the journal does not show a clock that was behind, time that passed while
// edgewatch was stopped has passed.
func TestTimePassesWhileEdgewatchIsStopped(t *testing.T) {
	for name, lines := range map[string][]string{
		"a clock that is right":                  {"wait 3h"},
		"one that was ahead, and was seen set":   {"leap 90m", "restart", "tick", "wait 5m", "leap -90m", "tick", "wait 3h"},
		"one that was a year ahead while it ran": {"leap 8760h", "tick", "wait 5m", "wait -8760h", "restart", "tick", "wait 3h"},
		"one that is still behind":               {"wait -87600h", "restart", "tick", "wait 3h"},
	} {
		s := newScript(t)
		s.lines("boot", "round EdgePool1=up", "pause 2h patching", "wait 1m")
		s.lines(lines...)
		if did := s.lines("restart", "tick"); strings.Contains(did, "the clock") || !strings.Contains(did, "has ended") {
			t.Errorf("%s:\n%s", name, s.out.String())
		}
	}
}

// die has the active pool dead for so long, while the others are ready, or until
// federation is moved.
func (s *script) die(lasts time.Duration) string {
	from := s.out.Len()
	for end := s.now.Add(lasts); !s.m.fold.running(); s.lines("wait 5m") {
		round := "round " + s.m.Active() + "=tripped"
		for _, pool := range s.rules.Pools {
			s.levels.Readiness[pool] = Readiness{At: s.now, Ready: true}
			round += " " + pool + "=up" // a pool's first word counts
		}
		s.lines(round)
		if !s.now.Before(end) {
			break
		}
	}
	return s.out.String()[from:]
}

type behindStory struct {
	name   string
	before []string
	guard  Guard
	most   time.Duration // it lasts, once the clock is right
	stays  bool          // … or until a person speaks
}

func behindStories() []behindStory {
	failover := []string{"ready EdgePool2", "round EdgePool1=tripped EdgePool2=up", "end ok", "wait 5m"}
	andBack := []string{"wait 1h", "ready EdgePool1", "round EdgePool2=tripped EdgePool1=up", "end ok", "ack"}
	asked := []string{"mode approve", "ready EdgePool2", "round EdgePool1=tripped EdgePool2=up"}
	return []behindStory{
		{"pause", []string{"pause 2h patching", "wait 10m"}, GuardPause, 2 * time.Hour, false},
		{"hold", []string{"hold wait", "wait 10m"}, GuardHold, 6 * time.Hour, true},
		{"cool-down", failover, GuardCooldown, 30 * time.Minute, false},
		{"budget", append(failover, andBack...), GuardBudget, 24 * time.Hour, false},
		{"question", append([]string{"rules approval=1h,failover"}, asked...), GuardApproval, time.Hour, false},
		{"question that is held after", append([]string{"rules approval=1h,hold"}, asked...), GuardApproval, time.Hour, true},
		{"no", append(asked, "deny not now"), GuardApproval, 6 * time.Hour, true},
	}
}
