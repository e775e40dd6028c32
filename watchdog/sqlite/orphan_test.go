package sqlite

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgewatch/watchdog/watchdogtest"
)

// crashed makes a store as a crash leaves it: its newest entries stand in the
// write-ahead log alone.
func crashed(t *testing.T) string {
	t.Helper()
	path, dead := statePath(t), statePath(t)
	s := open(t, path)
	if _, err := s.Append(t.Context(), watchdogtest.EveryKind()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"", "-wal", "-shm"} {
		b, err := os.ReadFile(path + name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(dead+name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dead
}

// A write-ahead log whose state file was moved away, or is empty, is what is
// left of a journal. SQLite would delete it without a word.
func TestALogWithoutItsStateFileIsLeftAlone(t *testing.T) {
	for name, lose := range map[string]func(path string) error{
		"moved away": func(path string) error { return os.Rename(path, filepath.Join(filepath.Dir(path), "away.db")) },
		"emptied":    func(path string) error { return os.Truncate(path, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			path := crashed(t)
			state, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := lose(path); err != nil {
				t.Fatal(err)
			}
			_, errRead := OpenReadOnly(t.Context(), path)
			s, err := Open(t.Context(), path)
			if err == nil {
				t.Fatalf("a new journal was begun; closing it: %v", s.Close())
			}
			for _, err := range []error{err, errRead} {
				if err == nil || !strings.Contains(err.Error(), path+"-wal") || !strings.Contains(err.Error(), "nothing was changed") {
					t.Errorf("told: %v", err)
				}
			}
			if err := os.WriteFile(path, state, 0o600); err != nil {
				t.Fatal(err)
			}
			if head, err := open(t, path).Verify(t.Context()); err != nil || head.Seq != 7 {
				t.Errorf("once the file is back: %+v, %v", head, err)
			}
		})
	}
}

// A backup that is put beside the log of the file it replaces is not the journal
// that was restored: SQLite would lay the log over it, and the chain may be whole.
func TestABackupBesideAnothersLogIsNotOpened(t *testing.T) {
	path := crashed(t)
	source, backup := open(t, statePath(t)), statePath(t)
	for range 3 {
		if _, err := source.Append(t.Context(), watchdogtest.EveryKind()); err != nil {
			t.Fatal(err)
		}
	}
	want, err := Backup(t.Context(), source.path, backup)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(backup, path); err != nil {
		t.Fatal(err)
	}
	_, errVerify := VerifyFile(t.Context(), path)
	_, errBackup := Backup(t.Context(), path, statePath(t))
	for _, err := range []error{errVerify, errBackup} { // or a sound file is thrown away, or the wrong one vouched for
		if err == nil || !strings.Contains(err.Error(), path+"-wal is not its own") {
			t.Errorf("whoever only reads is told: %v", err)
		}
	}
	if s, err := Open(t.Context(), path); err == nil {
		got, err := s.Verify(t.Context())
		t.Fatalf("opened with %+v, %v; closing it: %v", got, err, s.Close())
	} else if !strings.Contains(err.Error(), path+"-wal is not its own") {
		t.Errorf("told: %v", err)
	}
	for _, name := range []string{"-wal", "-shm"} {
		if err := os.Rename(path+name, path+name+".away"); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // it is this file's own log once it was opened
		s := open(t, path)
		if got, err := s.Verify(t.Context()); err != nil || got != want {
			t.Errorf("restored: %+v, %v; want %+v", got, err, want)
		}
		closeNow(t, s)
	}
}

// A log that holds nothing, as one who only read leaves it after a clean stop, is
// nothing to lose.
func TestAnEmptyLogIsNoJournal(t *testing.T) {
	for _, lose := range []func(path string) error{os.Remove, func(path string) error {
		_, err := Backup(t.Context(), filled(t), path+".copy")
		return errors.Join(err, os.Rename(path+".copy", path))
	}} {
		path := filled(t)
		if _, err := VerifyFile(t.Context(), path); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Stat(path + "-wal"); err != nil || info.Size() > 0 {
			t.Fatalf("the log after a read: %+v, %v", info, err)
		}
		if err := lose(path); err != nil {
			t.Fatal(err)
		}
		open(t, path)
	}
}

// A file of which nothing is left is told as that to those who read it: it has no
// schema that is old, and to start edgewatch gives nothing back.
func TestAnEmptyFileIsToldAsThat(t *testing.T) {
	path := statePath(t)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := VerifyFile(t.Context(), path); err == nil || !strings.Contains(err.Error(), "empty: nothing was written to it yet, or all of it is lost – put a backup in its place") {
		t.Errorf("told: %v", err)
	}
}
