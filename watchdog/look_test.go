package watchdog

import (
	"testing"
	"time"
)

// A clock that is set back by a day must not make us blind for a day.
func TestWaitIsBounded(t *testing.T) {
	w := WatchRules{Interval: 10 * time.Second, SuspectInterval: 2 * time.Second}
	for _, took := range []time.Duration{-24 * time.Hour, 0, 3 * time.Second, 24 * time.Hour} {
		if got := w.wait(PoolRound{Verdict: PoolUp}, took); got < time.Second || got > 11*time.Second {
			t.Errorf("a round took %v: the next one after %v", took, got)
		}
	}
}
