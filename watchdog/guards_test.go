package watchdog

import (
	"strings"
	"testing"
	"time"

	"edgewatch/actions"
)

// guardStory is how one guard comes to block and how it lets go.
type guardStory struct {
	guard  Guard
	begin  []string // from a federation that would fail over at the next round
	shows  string   // what a person reads meanwhile
	letsGo []string // without anybody saying so, but for what only a person may end
}

// down is the round on which edgewatch fails over unless a guard blocks.
const down = "round EdgePool1=tripped EdgePool2=unclear"

var guardStories = []guardStory{
	{GuardLease, []string{"lease lost", down}, "the lock file was replaced", []string{"lease back"}},
	{GuardEvidence, []string{down + " frozen"}, "our own loop stood still", []string{down}},
	{GuardCanaries, []string{down + " canaries=bad"}, "0 of 2 canaries answer", []string{down}},
	{GuardUnclear, []string{"round EdgePool1=half EdgePool2=unclear"}, "nobody can tell since 2026-01-02 03:00:00 UTC whether EdgePool1 is up or down", []string{down}},
	{GuardWitness, []string{"rules witnesses=1,1", down + " witness=host2:up"}, "host2 sees it answering (2 of 2 answer): the way from here to it may be cut", []string{down + " witness=host2:down"}},
	{GuardHold, []string{"hold rebuilding", down}, "anna holds edgewatch back until release: rebuilding", []string{"release"}},
	{GuardPause, []string{"pause 2h patching", down}, "anna paused automatic failover until 2026-01-02 05:00:00 UTC: patching", []string{"wait 2h", "ready EdgePool2", down}},
	{GuardCooldown, []string{"failed over a while ago", down}, "cooling down until 2026-01-02 03:30:00 UTC", []string{"wait 30m", "ready EdgePool2", down}},
	{GuardBudget, []string{"failed over twice today", down}, "2 automatic failovers within 24h", []string{"wait 24h", "ready EdgePool2", down}},
	{GuardUnconfirmed, []string{down, "step set-route finished site1", "abort wrong pool", "end preflight aborted"}, "aborted by anna", []string{"ack"}},
	{GuardDrift, []string{"rules partner=15m", down}, "what partners find in DNS was not looked at yet", []string{down + " drift=EdgePool1"}},
	{GuardCandidate, []string{"unready EdgePool2 edge3: WinRM login refused", down}, "EdgePool2: edge3: WinRM login refused", []string{"ready EdgePool2"}},
	{GuardMode, []string{"mode observe", down}, "would fail over now, but mode is observe", []string{"mode auto", "tick"}},
	{GuardApproval, []string{"mode approve", "rules approval=15m,failover", down}, "approve EdgePool2 REASON", []string{"wait 14m", "ready EdgePool2", down, "wait 1m", down}},
}

// Each guard blocks, its name and its reason are shown by the one decision
// that every surface shows and by the journal, and once its cause is over the
// failover follows without another word.
func TestGuards(t *testing.T) {
	told := map[Guard]bool{}
	for _, tt := range guardStories {
		told[tt.guard] = true
		t.Run(string(tt.guard), func(t *testing.T) {
			s := newScript(t)
			s.do("boot")
			s.do("ready EdgePool2")
			s.do("round EdgePool1=up")
			for _, line := range tt.begin {
				s.tell(line)
			}
			if d := s.m.Decide(s.now, s.levels); d.BlockedBy != tt.guard || !strings.Contains(d.Because, tt.shows) || d.Will == WillFailover {
				t.Fatalf("decision %+v, want it blocked by %s and to say %q\n%s", d, tt.guard, tt.shows, s.out.String())
			}
			if kept := s.m.fold.decision; kept.BlockedBy != tt.guard {
				t.Errorf("the journal says %+v, want %s", kept, tt.guard)
			}
			if s.m.fold.running() {
				t.Fatalf("a failover runs all the same\n%s", s.out.String())
			}
			for range 3 { // told once
				s.do("tick")
			}
			n := map[string]int{} // once again in the incident that it keeps edgewatch from acting in
			for _, e := range s.kept {
				if e.Kind == KindDecision && e.Decision.BlockedBy == tt.guard {
					n[e.Incident]++
				}
			}
			if n[s.m.fold.incident] != 1 || n[""] > 1 {
				t.Errorf("the journal tells it %v times\n%s", n, s.out.String())
			}
			for _, line := range tt.letsGo {
				s.tell(line)
			}
			if !s.m.fold.running() {
				t.Errorf("it does not let go: %+v\n%s", s.m.Decide(s.now, s.levels), s.out.String())
			}
		})
	}
	for _, g := range Guards() {
		if !told[g] {
			t.Errorf("guard %s has no story", g)
		}
	}
}

// tell is do, with two histories that the stories of guards begin with. They
// are folded in as a journal has them.
func (s *script) tell(line string) {
	failedOver := func(ago time.Duration, id string) {
		for _, e := range []Entry{
			{Kind: KindChain, Incident: id, Chain: &ChainStart{ID: id + ".1", From: "EdgePool2", To: "EdgePool1", Trigger: TriggerAuto}},
			{Kind: KindChainEnd, ChainEnd: &ChainEnd{ID: id + ".1", Outcome: actions.Outcome{OK: true, RouteMoved: true}}},
		} {
			e.At, e.Seq = s.now.Add(-ago), uint64(len(s.kept)+1)
			s.kept, s.modes = append(s.kept, e), append(s.modes, s.rules.Mode)
			s.m.Apply(e)
		}
	}
	switch line {
	case "failed over a while ago":
		failedOver(0, "contoso-1")
	case "failed over twice today":
		failedOver(2*time.Hour, "contoso-1")
		failedOver(time.Hour, "contoso-2")
	default:
		s.do(line)
	}
}
