package sqlite

import (
	"os"
	"strings"
	"testing"
)

// TestAdviceCanBeFollowed: an error must not send people to a command that
// does not exist, nor to the wrong file.
func TestAdviceCanBeFollowed(t *testing.T) {
	t.Run("an entry that is none", func(t *testing.T) {
		path := filled(t)
		db := raw(t, path)
		execRaw(t, db, "DROP TRIGGER entry_update", `UPDATE entry SET body = '{"seq":"x"}' WHERE seq = 3`)
		closeNow(t, db)
		s := open(t, path)
		_, err := s.Read(t.Context(), "", 0, 100)
		if err == nil || !strings.Contains(err.Error(), "entry 3") || !strings.Contains(err.Error(), "restore it") || strings.Contains(err.Error(), "audit") {
			t.Errorf("Read: %v", err)
		}
	})
	t.Run("a lock file that cannot be opened", func(t *testing.T) {
		path := statePath(t)
		if err := os.Mkdir(path+".lock", 0o700); err != nil { // root may open every file
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), "of that file and its folder") {
			t.Errorf("Open: %v", err)
		}
	})
}
