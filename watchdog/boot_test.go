package watchdog_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// cramped is a journal on a disk that is full for a while.
type cramped struct {
	watchdogtest.MemJournal
	full atomic.Bool
}

func (c *cramped) Append(ctx context.Context, entries []watchdog.Entry) ([]watchdog.Entry, error) {
	if c.full.Load() {
		return nil, errors.New("no space left on device")
	}
	return c.MemJournal.Append(ctx, entries)
}

// A life whose beginning could not be kept decides nothing before it can: a
// failover begun before that would be taken for one that the last life left
// undone, and be run a second time beside itself.
func TestEngineBeginsNothingBeforeItsStartIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &cramped{}
		j.full.Store(true)
		s := testSettings()
		s.Watch.Interval, s.Watch.SuspectInterval = time.Second, time.Second // many looks while the failover runs
		p := runEngine(t, s, watchdog.Ports{Senses: w.senses(), Plan: w.plan, Journal: j})
		p.until(time.Minute, "full", func(s *watchdog.Snapshot) bool { return s.JournalError != "" })
		if a, err := p.Submit(t.Context(), watchdog.Command{ID: "1", Verb: watchdog.VerbHold, Reason: "wait", Actor: "anna", Via: "cli"}); err == nil {
			t.Errorf("an order was taken while nothing can be kept: %+v", a)
		}
		j.full.Store(false)
		p.order(watchdog.Command{Verb: watchdog.VerbFailover, Pool: "EdgePool2", Reason: "go", Force: true})
		p.until(5*time.Minute, "failed over", activeIs("EdgePool2"))
		p.stop()
		if got := kinds(t, &j.MemJournal); got[0] != "notice" || len(slices.DeleteFunc(slices.Clone(got), func(k string) bool { return k != "chain" })) != 1 {
			t.Errorf("want the start first, and one failover: %v", got)
		}
		for _, what := range []string{"stop edge3", "stop edge4", "route", "dns", "start edge3", "start edge4"} {
			if n := w.count(what); n != 1 {
				t.Errorf("%s was done %d times", what, n)
			}
		}
	})
}
