//go:build integration && linux

package integration

import (
	"syscall"
	"testing"
	"time"

	"edgewatch/watchdog"
)

// TestFrozenEdgewatch stops the process of edgewatch itself for some seconds.
// It notices, believes nothing of the round in which it wakes up, and goes on
// by itself. That the pool died meanwhile is found out as if it died now.
func TestFrozenEdgewatch(t *testing.T) {
	e := newEstate(t, ownXMPP)
	e.start()
	if err := e.watch.signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	e.mustKill("EdgePool1")
	thaw := time.NewTimer(7 * time.Second) // more than a round may be late
	defer thaw.Stop()
	select {
	case <-thaw.C:
	case <-e.ctx.Done():
		t.Fatal(e.ctx.Err())
	}
	woke := time.Now()
	if err := e.watch.signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	e.until("edgewatch distrusts itself", func(s *watchdog.Snapshot) bool {
		return mentions(s.Frozen, "our own loop stood still for") && s.Pools[0].Verdict == watchdog.Inconclusive && s.Pools[0].Breaker.Bad == 0
	})
	e.until("edgewatch believes itself again", func(s *watchdog.Snapshot) bool { return s.Frozen == "" && s.LastRound.After(woke) })
	e.awaitRestored("EdgePool2")
	trip := e.await("the trip", func(entry watchdog.Entry) bool { return entry.Kind == watchdog.KindPool && entry.Pool.Tripped })
	if trip.Pool.Since.Before(woke) {
		t.Errorf("tripped on what it saw since %s, before it woke up at %s", trip.Pool.Since, woke)
	}
}
