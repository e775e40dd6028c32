package actions

import (
	"testing"
	"testing/synctest"
)

// crashTest is a chain that dies after every one of its records.
type crashTest struct {
	name    string
	world   func() *world
	plan    func(*world) *Plan
	applied []string // each exactly once, and nothing else
}

// A crash after every record: the run that takes over ends like one that was
// never interrupted, and repeats nothing whose effect could be seen.
func TestCrashAnywhere(t *testing.T) {
	documented := []string{"stop e1", "stop e2", "route", "dns", "start e1", "start e2"}
	down := func() *world {
		w := newWorld()
		w.running["e1"], w.running["e2"] = false, false
		return w
	}
	skipping := func(w *world) *Plan {
		p := w.plan()
		p.Skip = map[StepName]string{CheckPort: "anna: a firewall of ours", Verify: "anna: seen by hand"}
		return p
	}
	of := func(kind PlanKind) func(*world) *Plan {
		return func(w *world) *Plan { return w.planOf(kind) }
	}
	for _, tt := range []crashTest{
		{"failover", newWorld, of(Failover), documented},
		{"switchover", newWorld, of(Switchover), documented},
		{"failback to a pool whose services are down", down, of(Failback), []string{"start e1", "start e2", "route", "dns"}},
		{"failback to a pool whose services run", newWorld, of(Failback), []string{"route", "dns"}},
		{"failover with steps skipped", newWorld, skipping, documented},
	} {
		t.Run(tt.name, tt.everywhere)
	}
}

func (tt *crashTest) everywhere(t *testing.T) {
	const far = 1000
	crash := 0
	for crash < far && tt.at(t, crash) {
		crash++
	}
	if crash == far || crash < 2*len(tt.applied) {
		t.Fatalf("%d crash points were tried", crash)
	}
}

// at lets the chain die after the record of that number and another run take
// over. It reports false when the chain ended before.
func (tt *crashTest) at(t *testing.T, crash int) (died bool) {
	synctest.Test(t, func(t *testing.T) {
		w := tt.world()
		crashed, buried := make(chan struct{}), make(chan struct{})
		first := &notebook{}
		first.after = func(i int, _ Record) {
			switch {
			case i == crash:
				w.mu.Lock()
				w.life++
				w.mu.Unlock()
				close(crashed)
				<-buried
			case i > crash:
				<-buried
			}
		}
		finished := make(chan Outcome, 1)
		go func() {
			r := &Runner{Record: first.record}
			finished <- r.Run(t.Context(), tt.plan(w), "c", Progress{})
		}()
		select {
		case <-crashed:
			synctest.Wait()
		case out := <-finished: // it ended before this record: all were tried
			if !out.OK {
				t.Errorf("uninterrupted: %+v", out)
			}
			return
		}
		died = true
		kept := first.records[: crash+1 : crash+1]
		defer func() {
			first.after = nil
			close(buried)
			<-finished
		}()
		n := &notebook{records: kept}
		plan := tt.plan(w)
		r := &Runner{Record: n.record}
		out := r.Run(t.Context(), plan, "c", n.progress())
		if !out.OK || len(out.Skipped) != len(plan.Skip) {
			t.Errorf("crash after record %d: %+v", crash, out)
		}
		mustEnd(t, w, restored)
		for _, what := range tt.applied {
			if got := w.applied(what); got != 1 {
				t.Errorf("crash after record %d: %s was applied %d times", crash, what, got)
			}
		}
		if len(w.log) != len(tt.applied) {
			t.Errorf("crash after record %d: applied %v", crash, w.log)
		}
	})
	return died
}
