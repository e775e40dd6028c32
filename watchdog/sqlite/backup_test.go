package sqlite

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// TestBackupHoldsEverything: also what still stands in the write-ahead log of a
// store in use, and the file alone is it.
func TestBackupHoldsEverything(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a b?mode=memory&c%41#d;é'.db")
	s := open(t, path)
	if _, err := s.Append(t.Context(), watchdogtest.EveryKind()); err != nil {
		t.Fatal(err)
	}
	if err := s.SaveCursor(t.Context(), "slack", []byte("7")); err != nil {
		t.Fatal(err)
	}
	rounds := watchdog.Segment{Federation: "contoso", First: time.Unix(1e9, 0), Last: time.Unix(1e9, 0), Rounds: 1, Body: []byte{1, 2, 3}}
	if _, err := s.SaveRounds(t.Context(), 0, rounds); err != nil {
		t.Fatal(err)
	}
	live, err := s.Verify(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stopped := filepath.Join(t.TempDir(), "stopped.db")
	running := filepath.Join(t.TempDir(), "it's ?.db")
	if head, err := Backup(t.Context(), path, running); head != live || err != nil {
		t.Fatalf("Backup = %v, %v; want %v", head, err, live)
	}
	if _, err := s.Append(t.Context(), watchdogtest.EveryKind()); err != nil {
		t.Errorf("append after a backup: %v", err)
	}
	closeNow(t, s)
	if head, err := Backup(t.Context(), path, stopped); head.Seq != 2*live.Seq || err != nil {
		t.Fatalf("Backup = %v, %v; want %d entries", head, err, 2*live.Seq)
	}
	files, err := os.ReadDir(filepath.Dir(running))
	if err != nil || len(files) != 1 {
		t.Errorf("files made by a backup: %v, %v", files, err)
	}
	if info, err := os.Stat(running); err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Errorf("mode %v, %v; want 0600", info.Mode(), err)
	}
	restored := open(t, running)
	if segs, _, err := restored.LoadRounds(t.Context(), "contoso", time.Time{}, 0, 10); len(segs) != 1 || err != nil {
		t.Errorf("%d segments of rounds, %v", len(segs), err)
	}
	if c, err := restored.LoadCursor(t.Context(), "slack"); string(c) != "7" || err != nil {
		t.Errorf("cursor %q, %v", c, err)
	}
	if out, err := restored.Append(t.Context(), watchdogtest.Entries("contoso", 1)); err != nil || out[0].Seq != live.Seq+1 {
		t.Errorf("append to what was restored: %v, %v", out, err)
	}
	if _, err := raw(t, running).ExecContext(t.Context(), "DELETE FROM entry"); err == nil || !strings.Contains(err.Error(), "append-only") {
		t.Errorf("the backup is not append-only: %v", err)
	}
}

// TestBackupThatFailsLeavesNothing: neither a file that exists is lost, nor is
// there one that looks like a backup and is none.
func TestBackupThatFailsLeavesNothing(t *testing.T) {
	path := filled(t)
	dir := t.TempDir()
	to := filepath.Join(dir, "backup.db")
	if _, err := Backup(t.Context(), filepath.Join(dir, "none.db"), to); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no state file: %v", err)
	}
	if _, err := Backup(t.Context(), path, filepath.Join(dir, "none", "backup.db")); err == nil || !strings.Contains(err.Error(), "create the folder") {
		t.Errorf("no folder: %v", err)
	}
	db := raw(t, path)
	execRaw(t, db, "DROP TRIGGER entry_update", `UPDATE entry SET body = '{"seq":3}' WHERE seq = 3`)
	closeNow(t, db)
	if _, err := Backup(t.Context(), path, to); !errors.Is(err, ErrChainBroken) || !strings.Contains(err.Error(), "entry 3") {
		t.Errorf("a broken chain: %v", err)
	}
	if files, err := os.ReadDir(dir); len(files) != 0 || err != nil {
		t.Errorf("left behind: %v, %v", files, err)
	}
	for _, text := range []string{"", "my notes"} {
		if err := os.WriteFile(to, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Backup(t.Context(), path, to); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "name a new one") {
			t.Errorf("a file that exists: %v", err)
		}
		if got, err := os.ReadFile(to); string(got) != text || err != nil {
			t.Errorf("it holds %q, %v; want %q", got, err, text)
		}
	}
}
