//go:build integration && linux

package integration

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"edgewatch/integration/lab"
	"edgewatch/watchdog"
)

// TestWitness holds two edgewatches, each a process of its own, against the
// fault that one alone cannot tell from a dead pool. While only the first
// one's way to the pool is cut, nothing moves; while the second is gone,
// nothing moves either; and when the pool dies, federation moves.
func TestWitness(t *testing.T) {
	e := newEstate(t, func(o *lab.Options) { ownXMPP(o); o.Witness = true })
	start := func() *process {
		t.Helper()
		p, err := startProcess("the witness", nil, edgewatchBinary(t), "run", "--config", e.Files.Witness)
		must(t, err)
		return p
	}
	witness := start()
	t.Cleanup(func() {
		if err := witness.end(syscall.SIGKILL, 10*time.Second); err != nil {
			t.Error(err)
		}
	})
	e.start()
	says := func(want watchdog.Says) func(*watchdog.Snapshot) bool {
		return func(s *watchdog.Snapshot) bool { return len(s.Witnesses) == 1 && s.Witnesses[0].Says == want }
	}
	e.until("the witness is heard", says(watchdog.SaysUp))

	must(t, e.CutWay("EdgePool1"))
	hold := e.awaitHold(watchdog.GuardWitness)
	host, err := os.Hostname()
	must(t, err)
	if !mentions(hold.Sentence(), host+" sees it answering", "the way from here to it may be cut") {
		t.Errorf("the hold does not name the witness: %s", hold.Sentence())
	}
	if out, code := e.cli("why"); code != 0 || !mentions(out, "blocked by", "witness", host+"): up") {
		t.Errorf("why (exit code %d) does not tell of the witness:\n%s", code, out)
	}
	if out := e.metrics(); !strings.Contains(out, `verdict="up",witness="http://`) || !strings.Contains(out, `edgewatch_failover_blocked{federation="contoso",reason="witness"} 1`) {
		t.Errorf("the metrics do not tell of the witness:\n%s", out)
	}
	e.nothingMoved(2)

	must(t, witness.end(syscall.SIGKILL, 10*time.Second))
	e.until("the witness is missed", func(s *watchdog.Snapshot) bool {
		return says(watchdog.SaysNothing)(s) && s.Decision.BlockedBy == watchdog.GuardWitness
	})
	e.nothingMoved(2)

	witness = start()
	e.until("the witness is back", says(watchdog.SaysUp))
	e.nothingMoved(1)
	e.mustKill("EdgePool1")
	e.awaitRestored("EdgePool2")
}
