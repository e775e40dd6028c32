package watchdog_test

import (
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/actions"
	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// As TestEngineLeavesAPoolThatIsWellAgainAfterACrash, but the failover was
// approved, or ordered because the pool was down: nothing was touched before
// the crash, twenty minutes passed, and the pool is well again.
func TestEngineLeavesAPoolAloneThatWasApprovedBeforeACrash(t *testing.T) {
	for _, order := range []watchdog.Command{
		{ID: "1", Verb: watchdog.VerbApprove, Pool: "EdgePool2", Reason: "yes", Actor: "anna", Via: "slack"},
		{ID: "1", Verb: watchdog.VerbFailover, Pool: "EdgePool2", Reason: "it is down", Actor: "anna", Via: "slack"},
	} {
		t.Run(string(order.Verb), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, j := newEstate(), &watchdogtest.MemJournal{}
				s := testSettings()
				s.Rules.Mode, s.Rules.ApprovalTimeout, s.Rules.ApprovalThen = watchdog.ModeApprove, time.Hour, watchdog.ApprovalHolds
				w.with(func(w *estate) { w.dead["EdgePool1"] = true })
				start := func(j *watchdogtest.MemJournal) *process {
					return runEngine(t, s, watchdog.Ports{Senses: w.senses(), Journal: j, Plan: func(kind actions.PlanKind, from, to string) (*actions.Plan, error) {
						made, err := w.plan(kind, from, to)
						made.Steps[0].Tasks[0] = slow{made.Steps[0].Tasks[0]}
						return made, err
					}})
				}
				p := start(j)
				p.until(2*time.Minute, "asking", func(s *watchdog.Snapshot) bool { return s.Approval != nil })
				p.order(order)
				p.until(time.Minute, "failing over", func(s *watchdog.Snapshot) bool { return s.State == watchdog.FailingOver })
				w.with(func(w *estate) { w.life++; w.dead["EdgePool1"] = false })
				dead := j.CrashAt(1, false)
				<-dead
				p.cancel()
				j = j.Reopen()
				<-p.ended
				time.Sleep(20 * time.Minute)
				p = start(j)
				time.Sleep(10 * time.Minute)
				if s := p.Snapshot(); s.Active != "EdgePool1" || len(w.log) != 0 {
					t.Errorf("EdgePool1 answers for 30 minutes: active %s, %s, %v", s.Active, s.State, w.log)
				}
				p.stop()
			})
		})
	}
}
