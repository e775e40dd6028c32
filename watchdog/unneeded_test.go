package watchdog_test

import (
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/actions"
	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// What a repair found right already is told apart from what it did, live and
// after a restart.
func TestStepsThatNeededNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		p := startEngine(t, w, j)
		time.Sleep(time.Minute)
		p.order(watchdog.Command{Verb: watchdog.VerbFailover, Pool: "EdgePool2", Reason: "go", Force: true})
		p.until(5*time.Minute, "failed over", activeIs("EdgePool2"))
		check := func(when string, want map[actions.StepName]bool) {
			t.Helper()
			for _, s := range p.Snapshot().Chain.Steps {
				if s.State != watchdog.StepDone || s.Already != want[s.Step] {
					t.Errorf("%s: %s is %s, already %t; want %t", when, s.Step, s.State, s.Already, want[s.Step])
				}
			}
		}
		check("failover", nil)
		p.order(watchdog.Command{Verb: watchdog.VerbFailover, Pool: "EdgePool1", Reason: "go", Force: true})
		p.until(5*time.Minute, "failed over", activeIs("EdgePool1"))
		w.with(func(w *estate) { w.route, w.dns = "EdgePool2", "EdgePool1" })
		p.order(watchdog.Command{Verb: watchdog.VerbFailover, Pool: "EdgePool2", Reason: "go", Force: true})
		p.until(5*time.Minute, "failed over", activeIs("EdgePool2"))
		route := map[actions.StepName]bool{actions.SetRoute: true}
		check("the route was right", route)
		p.stop()
		p = startEngine(t, w, j)
		time.Sleep(time.Minute)
		check("after a restart", route)
		p.stop()
	})
}
