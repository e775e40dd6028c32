package sqlite

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// raw opens the file the way somebody with a sqlite3 shell would.
func raw(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", dsn(path, nil))
	if err != nil {
		t.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	closeLater(t, db)
	return db
}

func execRaw(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// filled makes a closed store with entries in it.
func filled(t *testing.T) string {
	t.Helper()
	path := statePath(t)
	s := open(t, path)
	for range 20 {
		if _, err := s.Append(t.Context(), watchdogtest.EveryKind()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// foreign makes a database that edgewatch did not write.
func foreign(statement string) func(*testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		path := statePath(t)
		db := raw(t, path)
		execRaw(t, db, statement)
		closeNow(t, db)
		return path
	}
}

// spoiled makes a journal and spoils it.
func spoiled(spoil func(*os.File) error) func(*testing.T) string {
	return func(t *testing.T) string {
		t.Helper()
		path := filled(t)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(spoil(f), f.Close()); err != nil {
			t.Fatal(err)
		}
		return path
	}
}

// TestUnusableFilesAreLeftAlone: never recreate somebody's state.
func TestUnusableFilesAreLeftAlone(t *testing.T) {
	tests := []struct {
		name string
		make func(t *testing.T) string
		want []string
	}{
		{"a text file", func(t *testing.T) string {
			t.Helper()
			path := statePath(t)
			if err := os.WriteFile(path, []byte(strings.Repeat("my notes\n", 100)), 0o600); err != nil {
				t.Fatal(err)
			}
			return path
		}, []string{"not a database", "nothing was changed", "move it away"}},
		{"another program's database", foreign("CREATE TABLE photos (id INTEGER)"), []string{"another program", "name another file"}},
		{"another program's empty database", foreign("PRAGMA application_id = 252006674"), []string{"another program"}},
		{"a newer schema", func(t *testing.T) string {
			t.Helper()
			path := filled(t)
			db := raw(t, path)
			execRaw(t, db, "PRAGMA user_version = 99")
			closeNow(t, db)
			return path
		}, []string{"schema 99", "newer edgewatch"}},
		{"a damaged header", spoiled(func(f *os.File) error {
			_, err := f.WriteAt([]byte("SQLite forgot it"), 0)
			return err
		}), []string{"not a database"}},
		{"damaged pages", spoiled(func(f *os.File) (err error) {
			for page := int64(1); page < 8 && err == nil; page++ {
				_, err = f.WriteAt([]byte(strings.Repeat("\xde\xad", 64)), page*4096)
			}
			return err
		}), []string{"nothing was changed", "restore it"}},
		{"a file cut short", spoiled(func(f *os.File) error { return f.Truncate(3*4096 + 100) }), []string{"nothing was changed", "restore it"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { wantRefused(t, tt.make(t), tt.want) })
	}
}

// wantRefused checks that the file cannot be opened, that the error says why,
// and that nothing was touched or is still held.
func wantRefused(t *testing.T, path string, words []string) {
	t.Helper()
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), path)
	if err == nil {
		t.Fatalf("Open succeeded: %v", s.Close())
	}
	for _, want := range append(words, path) {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error %q does not say %q", err, want)
		}
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("error of several lines: %q", err)
	}
	if _, err := OpenReadOnly(t.Context(), path); err == nil {
		t.Error("OpenReadOnly succeeded")
	}
	after, err := os.ReadFile(path)
	if err != nil || string(after) != string(before) {
		t.Errorf("the file was changed (%d to %d bytes), %v", len(before), len(after), err)
	}
	lock, err := acquire(path + ".lock")
	if err != nil {
		t.Fatalf("the lock is still held: %v", err)
	}
	if err := lock.release(); err != nil {
		t.Error(err)
	}
}

func TestPathsThatAreNoFiles(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]string{
		"":                                   "no path",
		dir:                                  "not a regular file",
		filepath.Join(dir, "none", "s.db"):   "create the folder",
		filepath.Join(dir, "a\x00b", "s.db"): "state file",
	} {
		if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Open(%q) = %v, want %q", path, err, want)
		}
	}
}

// TestEmptyFileIsFilled: a crash between creating the file and its schema
// leaves no bytes, and no bytes are nobody's state.
func TestEmptyFileIsFilled(t *testing.T) {
	path := statePath(t)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, path)
	if _, err := s.Append(t.Context(), watchdogtest.EveryKind()); err != nil {
		t.Error(err)
	}
}

func TestJournalIsAppendOnly(t *testing.T) {
	path := filled(t)
	db := raw(t, path)
	for _, statement := range []string{
		"UPDATE entry SET body = '{}' WHERE seq = 1",
		"UPDATE entry SET seq = 1000 WHERE seq = 1",
		"DELETE FROM entry",
		"DELETE FROM entry WHERE seq = 140",
		"INSERT OR REPLACE INTO entry SELECT * FROM entry WHERE seq = 1",
		"INSERT OR IGNORE INTO entry SELECT 142, federation, body, hash FROM entry WHERE seq = 1",
		"INSERT INTO entry SELECT NULL, federation, body, hash FROM entry WHERE seq = 1",
		"INSERT INTO entry SELECT 141, federation, body, x'00' FROM entry WHERE seq = 1",
	} {
		if _, err := db.ExecContext(t.Context(), statement); err == nil {
			t.Errorf("%s: allowed", statement)
		}
	}
	closeNow(t, db)
	if head, err := open(t, path).Verify(t.Context()); head.Seq != 140 || err != nil {
		t.Errorf("Verify = %v, %v", head, err)
	}
}

func TestVerifyFindsChanges(t *testing.T) {
	drop := []string{"DROP TRIGGER entry_insert", "DROP TRIGGER entry_update", "DROP TRIGGER entry_delete"}
	tests := []struct {
		name, change string
		good         uint64
		want         string
	}{
		{"content", `UPDATE entry SET body = replace(body, 'anna', 'otto') WHERE seq = 10`, 9, "at entry 10: its content or hash was changed"},
		{"hash", `UPDATE entry SET hash = zeroblob(32) WHERE seq = 1`, 0, "at entry 1: its content or hash was changed"},
		{"removed from the middle", `DELETE FROM entry WHERE seq = 70`, 69, "at entry 70: it is missing, entry 71 follows"},
		{"removed from the start", `DELETE FROM entry WHERE seq = 1`, 0, "at entry 1: it is missing, entry 2 follows"},
		{"put in", `INSERT INTO entry SELECT 141, federation, body, hash FROM entry WHERE seq = 140`, 140, "at entry 141: its content or hash was changed"},
		{"filed elsewhere", `UPDATE entry SET federation = 'fabrikam' WHERE seq = 140`, 139, `filed as entry 140 of "fabrikam" and says entry 140 of "contoso"`},
		{"put before the first", `INSERT INTO entry SELECT 0, federation, body, hash FROM entry WHERE seq = 1`, 0, "entry 0 follows"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filled(t)
			db := raw(t, path)
			execRaw(t, db, append(drop, tt.change)...)
			closeNow(t, db)
			r, err := OpenReadOnly(t.Context(), path)
			if err != nil {
				t.Fatal(err)
			}
			closeLater(t, r)
			head, err := r.Verify(t.Context())
			if !errors.Is(err, ErrChainBroken) || !strings.Contains(err.Error(), tt.want) || head.Seq != tt.good {
				t.Errorf("Verify = %v, %v; want %q after entry %d", head, err, tt.want, tt.good)
			}
		})
	}
}

// TestHeadShowsACutEnd: a chain that was cut is whole in itself, but its head
// is not the one that was written down.
func TestHeadShowsACutEnd(t *testing.T) {
	path := filled(t)
	before, err := open(t, path).Verify(t.Context())
	if err != nil || before.Seq != 140 || len(before.Hash) != 64 {
		t.Fatalf("Verify = %v, %v", before, err)
	}
	path = filled(t)
	db := raw(t, path)
	execRaw(t, db, "DROP TRIGGER entry_delete", "DELETE FROM entry WHERE seq = 140")
	closeNow(t, db)
	after, err := open(t, path).Verify(t.Context())
	if err != nil || after.Seq != 139 || after.Hash == before.Hash {
		t.Errorf("Verify = %v, %v", after, err)
	}
}

func TestMigration(t *testing.T) {
	path := filled(t)
	step := migrations()
	next := fmt.Sprintf("schema %d", len(step)+1)
	bad := append(slices.Clip(step), "CREATE TABLE more (x INTEGER); INSERT INTO nothing VALUES (1);")
	good := append(slices.Clip(step), "CREATE TABLE more (x INTEGER); INSERT INTO more VALUES (1);")

	db := raw(t, path)
	if err := prepare(t.Context(), db, path, bad); err == nil || !strings.Contains(err.Error(), "migrate to "+next) {
		t.Fatalf("bad step: %v", err)
	}
	if version, err := inspect(t.Context(), db, path, len(step)); version != len(step) || err != nil {
		t.Errorf("after a failed step: schema %d, %v", version, err)
	}
	for range 2 {
		if err := prepare(t.Context(), db, path, good); err != nil {
			t.Fatal(err)
		}
	}
	var n int
	if err := db.QueryRowContext(t.Context(), "SELECT count(*) + (SELECT count(*) FROM more) FROM entry").Scan(&n); n != 141 || err != nil {
		t.Errorf("rows after the step: %d, %v", n, err)
	}
	closeNow(t, db)
	if _, err := Open(t.Context(), path); err == nil || !strings.Contains(err.Error(), next) {
		t.Errorf("this edgewatch opens a newer schema: %v", err)
	}
}

// TestLimitReached uses SQLite's own limit on a file's size: it refuses like
// a full disk.
func TestLimitReached(t *testing.T) {
	s := open(t, statePath(t))
	want, err := s.Append(t.Context(), watchdogtest.Entries("contoso", 3))
	if err != nil {
		t.Fatal(err)
	}
	execRaw(t, s.db, "PRAGMA max_page_count = 30")
	big := watchdogtest.Entries("contoso", 3)
	big[2].Notice.Text = strings.Repeat("x", 200_000)
	_, err = s.Append(t.Context(), big)
	if err == nil || errors.Is(err, watchdog.ErrJournalUnsure) || !strings.Contains(err.Error(), "free space") {
		t.Errorf("Append = %v, want a full disk", err)
	}
	if got, err := s.Read(t.Context(), "", 0, 100); len(got) != len(want) || err != nil {
		t.Errorf("%d entries, %v; want %d", len(got), err, len(want))
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Errorf("Ready although small writes work: %v", err)
	}
	if err := s.SaveCursor(t.Context(), "slack", make([]byte, 200_000)); err == nil || !strings.Contains(err.Error(), "save cursor slack") {
		t.Errorf("SaveCursor = %v", err)
	}
	got, err := s.Append(t.Context(), watchdogtest.Entries("contoso", 1))
	if err != nil || got[0].Seq != 4 {
		t.Errorf("a small append afterwards: %v, %v", got, err)
	}
}

// An entry that is no entry, or lacks what its kind names, is an error that says
// which it is and what to do, for everybody who reads.
func TestReadNamesAnEntryThatCannotBeUnderstood(t *testing.T) {
	for _, change := range []string{"json_remove(body, '$.pool')", "'[]'"} {
		path := filled(t)
		execRaw(t, raw(t, path), "DROP TRIGGER entry_update", "UPDATE entry SET body = "+change+" WHERE seq = 8")
		r, err := OpenReadOnly(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		for after, want := range map[uint64]bool{0: true, 7: true, 8: false} {
			_, err := r.Read(t.Context(), "", after, 10)
			if (err != nil) != want || want && (!strings.Contains(err.Error(), "entry 8") || !strings.Contains(err.Error(), "restore it")) {
				t.Errorf("%s, after %d: %v", change, after, err)
			}
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}
