package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgewatch/watchdog/watchdogtest"
)

// Whoever takes the state file away from under a running edgewatch makes room
// for a second one: the first must know.
func TestLease(t *testing.T) {
	for _, name := range []string{"state.db", "state.db.lock"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s, err := Open(t.Context(), filepath.Join(dir, "state.db"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.Close() })
			if err := s.Lease(); err != nil {
				t.Fatalf("nothing happened: %v", err)
			}
			path := filepath.Join(dir, name)
			if err := os.Rename(path, path+".aside"); err != nil {
				t.Fatal(err)
			}
			if err := s.Lease(); err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("taken away: %v", err)
			}
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := s.Lease(); err == nil || !strings.Contains(err.Error(), "replaced") {
				t.Errorf("replaced: %v", err)
			}
			if err := os.Rename(path+".aside", path); err != nil {
				t.Fatal(err)
			}
			if err := s.Lease(); err != nil {
				t.Errorf("put back: %v", err)
			}
		})
	}
}

// A journal that was changed behind edgewatch's back is read and gives no lease:
// edgewatch runs on, acts on nothing, and says why.
func TestNoLeaseOnABrokenChain(t *testing.T) {
	path := filled(t)
	if s := open(t, path); s.Lease() != nil {
		t.Errorf("of a whole journal: %v", s.Lease())
	} else if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db := raw(t, path)
	execRaw(t, db, "DROP TRIGGER entry_update", `UPDATE entry SET body = replace(body, 'anna', 'otto') WHERE seq = 10`)
	closeNow(t, db)
	s := open(t, path)
	if err := s.Lease(); !errors.Is(err, ErrChainBroken) || !strings.Contains(err.Error(), "at entry 10: its content or hash was changed – what the journal says may be wrong") {
		t.Errorf("Lease = %v", err)
	}
	if _, err := s.Append(t.Context(), watchdogtest.EveryKind()); err != nil {
		t.Errorf("that it does not act must be told, and cannot be: %v", err)
	}
}
