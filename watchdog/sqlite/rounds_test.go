package sqlite

import (
	"compress/gzip"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// oldState is a state file as edgewatch wrote it before it recorded rounds:
// one entry of each kind and a cursor.
func oldState(t *testing.T) string {
	t.Helper()
	f, err := os.Open("testdata/schema1.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, f)
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	path := statePath(t)
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestOldStateFile: a file of the first schema is refused for reading with
// the thing to do, keeps its journal when it is migrated, and takes rounds.
func TestOldStateFile(t *testing.T) {
	path := oldState(t)
	if _, err := OpenReadOnly(t.Context(), path); err == nil || !strings.Contains(err.Error(), "schema 1 is older than this edgewatch – start the service once") {
		t.Errorf("OpenReadOnly = %v", err)
	}
	s := open(t, path)
	head, err := s.Verify(t.Context())
	if head.Seq != 7 || err != nil {
		t.Errorf("Verify = %v, %v; want the 7 entries that were there", head, err)
	}
	if c, err := s.LoadCursor(t.Context(), "slack"); string(c) != "7" || err != nil {
		t.Errorf("cursor = %q, %v", c, err)
	}
	want := watchdogtest.Segment("contoso", time.Now().Truncate(time.Millisecond), 3)
	if _, err := s.SaveRounds(t.Context(), 0, want); err != nil {
		t.Fatal(err)
	}
	closeNow(t, s)
	r, err := OpenReadOnly(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, r)
	got, _, err := r.LoadRounds(t.Context(), "contoso", time.Time{}, 0, 10)
	if err != nil || len(got) != 1 || !slices.Equal(got[0].Body, want.Body) {
		t.Errorf("LoadRounds = %v, %v", got, err)
	}
}

// TestRoundsWhileTheServiceRuns: what was saved shows to another process at
// once, by the name of its federation.
func TestRoundsWhileTheServiceRuns(t *testing.T) {
	path := statePath(t)
	s := open(t, path)
	r, err := OpenReadOnly(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	closeLater(t, r)
	if names, err := r.Recorded(t.Context()); len(names) != 0 || err != nil {
		t.Errorf("Recorded = %v, %v", names, err)
	}
	for _, name := range []string{"fabrikam", "contoso", "contoso"} {
		if _, err := s.SaveRounds(t.Context(), 0, watchdogtest.Segment(name, time.Now(), 3)); err != nil {
			t.Fatal(err)
		}
	}
	if names, err := r.Recorded(t.Context()); !slices.Equal(names, []string{"contoso", "fabrikam"}) || err != nil {
		t.Errorf("Recorded = %v, %v", names, err)
	}
}

// TestRoundsThatCannotBeWritten: rounds that do not fit fail alone; the
// journal goes on and says that it does.
func TestRoundsThatCannotBeWritten(t *testing.T) {
	s := open(t, statePath(t))
	small := watchdogtest.Segment("contoso", time.Now(), 1)
	id, err := s.SaveRounds(t.Context(), 0, small)
	if err != nil {
		t.Fatal(err)
	}
	execRaw(t, s.rounds, "PRAGMA max_page_count = 30")
	big := small
	big.Body = make([]byte, 200_000)
	if _, err := s.SaveRounds(t.Context(), id, big); err == nil || errors.Is(err, watchdog.ErrJournalUnsure) || !strings.Contains(err.Error(), "free space") {
		t.Errorf("SaveRounds = %v, want a full disk", err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Errorf("Ready = %v, although the journal is well", err)
	}
	if _, err := s.Append(t.Context(), watchdogtest.Entries("contoso", 1)); err != nil {
		t.Errorf("Append = %v", err)
	}
	got, _, err := s.LoadRounds(t.Context(), "contoso", time.Time{}, 0, 10)
	if err != nil || len(got) != 1 || !slices.Equal(got[0].Body, small.Body) {
		t.Errorf("LoadRounds = %v, %v; want what was there before", got, err)
	}
}

// TestRoundsKeepTheLogSmall: the write-ahead log does not grow for ever while
// only rounds are written.
func TestRoundsKeepTheLogSmall(t *testing.T) {
	path := statePath(t)
	s := open(t, path)
	seg := watchdogtest.Segment("contoso", time.Now(), 1)
	seg.Body = make([]byte, 3000)
	var id int64
	var err error
	for range 1000 {
		if id, err = s.SaveRounds(t.Context(), id, seg); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > 2<<20 {
		t.Errorf("the log has %d bytes after 1,000 writes", info.Size())
	}
}

// TestRoundsWaitForNoDisk: what the promises of openRounds rest on, and that
// the journal's own promises are untouched by it.
func TestRoundsWaitForNoDisk(t *testing.T) {
	s := open(t, statePath(t))
	for pragma, want := range map[string]string{"synchronous": "1", "wal_autocheckpoint": "0", "busy_timeout": busyTimeout} {
		var got string
		if err := s.rounds.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&got); err != nil || got != want {
			t.Errorf("PRAGMA %s = %s, %v; want %s", pragma, got, err, want)
		}
	}
	if _, err := s.SaveRounds(t.Context(), 0, watchdogtest.Segment("contoso", time.Now(), 1)); err != nil {
		t.Fatal(err)
	}
	closeNow(t, s)
	if _, err := s.SaveRounds(t.Context(), 0, watchdogtest.Segment("contoso", time.Now(), 1)); !errors.Is(err, errClosed) {
		t.Errorf("SaveRounds after Close = %v", err)
	}
}
