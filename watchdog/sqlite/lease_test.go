package sqlite

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
