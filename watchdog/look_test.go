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

// A round's time is in whole milliseconds and still counts by the monotonic
// clock, which a set wall clock does not change.
func TestSharp(t *testing.T) {
	now := time.Now()
	at := sharp(now)
	if d := now.Sub(at); at.Nanosecond()%int(time.Millisecond) != 0 || d < 0 || d >= time.Millisecond {
		t.Errorf("sharp(%v) = %v", now, at)
	}
	if at.String() == at.Round(0).String() {
		t.Errorf("%v has no monotonic reading", at)
	}
}
