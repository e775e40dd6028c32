//go:build unix

package sqlite

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// TestMain lets the test's program be the process that is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("EDGEWATCH_TEST_WRITER"); path != "" {
		fmt.Fprintln(os.Stderr, writeForEver(path))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeForEver appends three entries at a time, records as many rounds, and
// says so after each acknowledgement.
func writeForEver(path string) error {
	ctx := context.Background()
	s, err := Open(ctx, path)
	if err != nil {
		return err
	}
	var id int64
	for {
		got, err := s.Append(ctx, watchdogtest.Entries("contoso", 3))
		if err != nil {
			return err
		}
		if id, err = s.SaveRounds(ctx, id, watchdogtest.Segment("contoso", time.Now(), int(got[2].Seq))); err != nil {
			return err
		}
		if err := s.SaveCursor(ctx, "writer", strconv.AppendUint(nil, got[2].Seq, 10)); err != nil {
			return err
		}
		if _, err := fmt.Println(got[2].Seq); err != nil {
			return err
		}
	}
}

// TestKilledWriter: whatever was acknowledged is there after SIGKILL, whole
// groups only, and the chain holds.
func TestKilledWriter(t *testing.T) {
	path := statePath(t)
	for round := range 5 {
		acked := killWriter(t, path, 10+round*7)
		s := open(t, path)
		head, err := s.Verify(t.Context())
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if head.Seq < acked || head.Seq%3 != 0 {
			t.Errorf("round %d: %d entries kept, %d acknowledged: want all, in whole groups of 3", round, head.Seq, acked)
		}
		cursor, err := s.LoadCursor(t.Context(), "writer")
		if n, convErr := strconv.ParseUint(string(cursor), 10, 64); err != nil || convErr != nil || n < acked || n > head.Seq {
			t.Errorf("round %d: cursor %q, %v; acknowledged %d", round, cursor, err, acked)
		}
		segments, _, err := s.LoadRounds(t.Context(), "contoso", time.Time{}, 0, 100)
		if err != nil || len(segments) != round+1 || segments[round].Rounds < int(acked) {
			t.Errorf("round %d: segments %v, %v; acknowledged %d", round, segments, err, acked)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killWriter runs a writer, kills it after n acknowledgements and returns the
// last one.
func killWriter(t *testing.T, path string, n int) uint64 {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "EDGEWATCH_TEST_WRITER="+path)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var acked uint64
	next := func() bool {
		if !lines.Scan() {
			return false
		}
		acked, err = strconv.ParseUint(lines.Text(), 10, 64)
		if err != nil {
			t.Errorf("writer says %q", lines.Text())
		}
		return true
	}
	for range n {
		if !next() {
			t.Fatal("the writer ended by itself")
		}
	}
	wantHeldBy(t, path, cmd.Process.Pid)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	for next() { // what was said before the kill took effect counts too
	}
	_ = cmd.Wait() // "signal: killed"
	return acked
}

// wantHeldBy checks that a running writer keeps others out and readers in.
func wantHeldBy(t *testing.T, path string, pid int) {
	t.Helper()
	_, err := Open(t.Context(), path)
	if !errors.Is(err, watchdog.ErrLocked) || !strings.Contains(err.Error(), fmt.Sprintf("process %d", pid)) {
		t.Errorf("Open while process %d writes: %v", pid, err)
	}
	r, err := OpenReadOnly(t.Context(), path)
	if err != nil {
		t.Errorf("OpenReadOnly while process %d writes: %v", pid, err)
		return
	}
	closeLater(t, r)
	if last, err := r.Last(t.Context(), "contoso", 1); err != nil || len(last) != 1 {
		t.Errorf("Last while process %d writes: %v, %v", pid, last, err)
	}
}

// limitFiles makes every write behind size fail with EFBIG, which SQLite takes
// for a broken disk, and returns the function that ends it.
func limitFiles(t *testing.T, size int64) func() {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		cannot(t, "no file size limit here:", err)
	}
	signal.Ignore(syscall.SIGXFSZ)
	limited := old
	limited.Cur = uint64(size)
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limited); err != nil {
		cannot(t, "no file size limit here:", err)
	}
	lift := func() {
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
			t.Errorf("lift the limit: %v", err)
		}
	}
	t.Cleanup(func() {
		lift()
		signal.Reset(syscall.SIGXFSZ)
	})
	return lift
}

// TestUnsureCommit breaks the disk inside a COMMIT. Nothing is told before
// the doubt is gone, and what is told then is what a restart finds.
func TestUnsureCommit(t *testing.T) {
	path := statePath(t)
	s := open(t, path)
	if _, err := s.Append(t.Context(), watchdogtest.EveryKind()); err != nil {
		t.Fatal(err)
	}
	wal, err := os.Stat(path + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	lift := limitFiles(t, wal.Size()+100)
	_, err = s.Append(t.Context(), watchdogtest.Entries("contoso", 2))
	if !errors.Is(err, watchdog.ErrJournalUnsure) || !strings.Contains(err.Error(), path) {
		t.Fatalf("Append on a broken disk = %v, want ErrJournalUnsure", err)
	}
	for name, read := range map[string]func() error{
		"Read":       func() error { _, err := s.Read(t.Context(), "", 0, 100); return err },
		"Last":       func() error { _, err := s.Last(t.Context(), "", 100); return err },
		"Verify":     func() error { _, err := s.Verify(t.Context()); return err },
		"LoadCursor": func() error { _, err := s.LoadCursor(t.Context(), "slack"); return err },
		"SaveCursor": func() error { return s.SaveCursor(t.Context(), "slack", nil) },
		"Append":     func() error { _, err := s.Append(t.Context(), watchdogtest.Entries("contoso", 1)); return err },
		"Ready":      func() error { return s.Ready(t.Context()) },
		"SaveRounds": func() error {
			_, err := s.SaveRounds(t.Context(), 0, watchdogtest.Segment("contoso", time.Now(), 1))
			return err
		},
	} {
		if err := read(); err == nil {
			t.Errorf("%s goes on although the disk is broken and the journal in doubt", name)
		}
	}
	lift()
	got, err := s.Read(t.Context(), "", 0, 100)
	if err != nil || len(got) != 7 {
		t.Errorf("Read after the disk is back: %d entries, %v; want 7", len(got), err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	next, err := s.Append(t.Context(), watchdogtest.Entries("contoso", 1))
	if err != nil || next[0].Seq != 8 {
		t.Errorf("Append after the disk is back: %v, %v", next, err)
	}
	if head, err := s.Verify(t.Context()); head.Seq != 8 || err != nil {
		t.Errorf("Verify = %v, %v", head, err)
	}
}

// TestReaderOfAnotherUser reads a stopped service's file as a user who may
// create nothing beside it.
func TestReaderOfAnotherUser(t *testing.T) {
	if path := os.Getenv("EDGEWATCH_TEST_READER"); path != "" {
		r, err := OpenReadOnly(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		closeLater(t, r)
		if last, err := r.Last(t.Context(), "contoso", 1); err != nil || len(last) != 1 {
			t.Errorf("Last = %v, %v", last, err)
		}
		return
	}
	if os.Getuid() != 0 {
		cannot(t, "only root can become another user")
	}
	path := filled(t)
	dir, err := os.MkdirTemp("", "reader") //nolint:usetesting // the folder above t.TempDir's is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	exe := filepath.Join(dir, "reader.test")
	for from, to := range map[string]string{path: filepath.Join(dir, "state.db"), os.Args[0]: exe} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(to, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(to, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestReaderOfAnotherUser$")
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "EDGEWATCH_TEST_READER="+filepath.Join(dir, "state.db"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("reader: %v\n%s", err, out)
	}
}
