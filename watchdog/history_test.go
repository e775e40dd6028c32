package watchdog

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"edgewatch/actions"
)

// TestRandomHistories throws random events at a machine, restarts it at random
// moments, and holds it to what must always be true.
func TestRandomHistories(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		h := &history{r: r, s: newScript(t)}
		h.draw()
		h.s.event(Booted{})
		for range rapid.IntRange(10, 80).Draw(r, "events") {
			h.s.now = h.s.now.Add(time.Duration(rapid.IntRange(0, 1200).Draw(r, "seconds")) * time.Second)
			h.act()
			h.check()
		}
	})
}

// draw draws the rules that the machine goes by.
func (h *history) draw() {
	rules := &h.s.rules
	rules.Mode = rapid.SampledFrom([]Mode{ModeAuto, ModeAuto, ModeApprove, ModeObserve}).Draw(h.r, "mode")
	rules.Unproven = rapid.SampledFrom([]Unproven{UnprovenRetries, UnprovenNext}).Draw(h.r, "unproven")
	rules.ApprovalThen = rapid.SampledFrom([]LateApproval{ApprovalHolds, ApprovalActs}).Draw(h.r, "approval")
	rules.ApprovalTimeout = 10 * time.Minute
	if rapid.Bool().Draw(h.r, "failback") {
		rules.Failback = FailbackRules{Auto: true, StableFor: 10 * time.Minute, To: 24 * time.Hour}
	}
	h.s.m = NewMachine(*rules)
}

type history struct {
	r    *rapid.T
	s    *script
	seen int // entries checked so far
}

func (h *history) act() {
	pools := []string{"EdgePool1", "EdgePool2", "EdgePool3"}
	states := []string{"up", "degraded", "unclear", "down", "tripped", "tripped", "back"}
	pool := rapid.SampledFrom(pools).Draw(h.r, "pool")
	switch rapid.IntRange(0, 9).Draw(h.r, "act") {
	case 0, 1, 2:
		words := []string{"round"}
		for _, p := range pools {
			words = append(words, p+"="+rapid.SampledFrom(states).Draw(h.r, "state"))
		}
		words = append(words, rapid.SampledFrom([]string{"drift=EdgePool2", "drift=EdgePool1", "canaries=bad", "frozen", "drift=", "drift="}).Draw(h.r, "extra"))
		h.s.round(words[1:])
		h.s.event(Tick{})
	case 3:
		h.s.do("ready " + pool)
	case 4:
		h.s.do("unready " + pool + " broken")
	case 5:
		step := rapid.SampledFrom(actions.Steps()).Draw(h.r, "step")
		phase := rapid.SampledFrom([]actions.RecordPhase{actions.Started, actions.Finished, actions.Failed}).Draw(h.r, "phase")
		h.s.do(fmt.Sprintf("step %s %s", step, phase))
	case 6:
		h.s.do("end " + rapid.SampledFrom([]string{
			"ok", "preflight", "verify moved", "dns-records moved", "stop-services interrupted", "stop-services aborted", "verify moved aborted",
		}).Draw(h.r, "end"))
	case 7:
		h.s.do(h.order(pool))
	case 8:
		h.s.rules.Pools = rapid.SampledFrom([][]string{pools, pools, pools[:2], pools[1:], {"EdgePool3", "EdgePool1"}}).Draw(h.r, "configured")
		h.s.restart()
	case 9: // the clock is set, mostly back
		h.s.now = h.s.now.Add(time.Duration(rapid.IntRange(-7200, 3600).Draw(h.r, "set by")) * time.Second)
		h.s.event(Tick{})
	}
}

// order is what a person says.
func (h *history) order(pool string) string {
	info := rapid.SampledFrom(Verbs()).Draw(h.r, "verb")
	words := []string{string(info.Verb)}
	switch info.Object {
	case ObjectPool:
		words = append(words, pool)
	case ObjectDuration:
		words = append(words, "1h")
	case ObjectStep:
		words = append(words, "verify")
	case ObjectNone:
	}
	if info.Force && rapid.Bool().Draw(h.r, "force") {
		words = append(words, "--force")
	}
	return strings.Join(append(words, "why"), " ")
}

// check holds what was decided to the invariants: one chain at a time, no
// automatic failover while held or paused, without a candidate, on evidence that is
// not fresh and sure, or beyond the budget; and replay leads to the same state.
func (h *history) check() {
	m := NewMachine(h.s.rules)
	for i, e := range h.s.kept {
		running := m.fold.running()
		if i >= h.seen && e.Kind == KindChain {
			h.checkChain(e, running, m)
		}
		m.Apply(e)
	}
	h.seen = len(h.s.kept)
	if err := h.s.audit(); err != nil {
		h.r.Fatalf("the auditor refuses it: %v", err)
	}
	if !reflect.DeepEqual(m.fold, h.s.m.fold) {
		h.r.Fatalf("replay leads elsewhere:\nlive   %+v\nreplay %+v", h.s.m.fold, m.fold)
	}
	if !knows(h.s.rules.Pools, h.s.m.Active()) && !h.s.m.fold.running() {
		h.r.Fatalf("active pool %q", h.s.m.Active())
	}
}

func (h *history) checkChain(e Entry, running bool, before *Machine) {
	f := &before.fold
	resumed := f.chain != nil && f.chain.ID == e.Chain.ID
	if running && !resumed {
		h.r.Fatalf("%s begins while %s runs", e.Chain.ID, f.chain.ID)
	}
	if e.Chain.From == e.Chain.To {
		h.r.Fatalf("%s from %s to itself", e.Chain.ID, e.Chain.From)
	}
	if !resumed && slices.ContainsFunc(h.s.kept[:e.Seq-1], func(k Entry) bool { return k.Kind == KindChain && k.Chain.ID == e.Chain.ID }) {
		h.r.Fatalf("%s is the name of an earlier failover", e.Chain.ID)
	}
	if resumed || e.Chain.Trigger != TriggerAuto {
		return
	}
	round := h.s.levels.Round
	switch {
	case f.hold != nil:
		h.r.Fatalf("%s begins while held", e.Chain.ID)
	case f.pause != nil && e.At.Before(f.pause.Until):
		h.r.Fatalf("%s begins while paused", e.Chain.ID)
	case e.At.Before(f.cooldown):
		h.r.Fatalf("%s begins while cooling down", e.Chain.ID)
	case f.recent(e.At.Add(-h.s.rules.BudgetWindow)) >= h.s.rules.Budget && !f.charged:
		h.r.Fatalf("%s exceeds the budget", e.Chain.ID)
	case round == nil || e.At.Sub(round.At) > h.s.rules.EvidenceAge || !round.Canaries.OK || round.Frozen != "":
		h.r.Fatalf("%s begins on evidence that proves nothing: %+v", e.Chain.ID, round)
	case e.Chain.Kind == actions.Failback && round.Pool(e.Chain.To).Verdict != PoolUp:
		h.r.Fatalf("%s begins while %s is %s", e.Chain.ID, e.Chain.To, round.Pool(e.Chain.To).Verdict)
	case e.Chain.Kind != actions.Failback && round.Pool(e.Chain.From).Verdict != PoolDown:
		h.r.Fatalf("%s begins while %s is %s", e.Chain.ID, e.Chain.From, round.Pool(e.Chain.From).Verdict)
	case !h.s.levels.Readiness[e.Chain.To].Ready:
		h.r.Fatalf("%s to a pool that is not ready", e.Chain.ID)
	case f.confirm != "":
		h.r.Fatalf("%s begins although a person must ack first: %s", e.Chain.ID, f.confirm)
	}
}
