package watchdog

import (
	"testing"
	"time"
)

// Numbers and durations read as a person writes them.
func TestNumbersInWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 1234567: "1.2ms", 1250 * time.Millisecond: "1.3s", 90 * time.Second: "1m30s",
		2 * time.Minute: "2m", 2 * time.Hour: "2h", 90 * time.Minute: "1h30m", 72 * time.Hour: "72h", time.Hour + time.Second: "1h0m1s",
	} {
		if got := Span(d); got != want {
			t.Errorf("Span(%d) = %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int]string{0: "0 crashes", 1: "1 crash", 2: "2 crashes"} {
		if got := Count(n, "crash", "crashes"); got != want {
			t.Errorf("Count(%d) = %q, want %q", n, got, want)
		}
	}
	cmd := Command{Verb: VerbPause, For: 2 * time.Hour, Actor: "anna", Via: "slack", Reason: "patching"}
	if got, want := cmd.sentence(), "automatic failover paused for 2h by anna (slack): patching"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	pool := PoolChange{Pool: "EdgePool1", Tripped: true, Bad: 1, Since: t0}
	if got, want := pool.sentence(), "EdgePool1 is down since 2026-01-02 03:00:00 UTC, 1 bad round in a row"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
