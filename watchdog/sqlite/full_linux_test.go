package sqlite

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// TestFullDisk fills a real file system.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		cannot(t, "cannot mount a small file system:", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	s := open(t, filepath.Join(dir, "state.db"))
	acked := 0
	var err error
	for err == nil && acked < 100_000 {
		if _, err = s.Append(t.Context(), watchdogtest.EveryKind()); err == nil {
			acked += 7
		}
	}
	if err == nil || errors.Is(err, watchdog.ErrJournalUnsure) || !strings.Contains(err.Error(), "free space") {
		t.Fatalf("Append on a full disk = %v", err)
	}
	t.Logf("full after %d entries: %v", acked, err)
	if err := s.Ready(t.Context()); err == nil {
		t.Error("Ready although the disk is full")
	}
	rounds := watchdogtest.Segment("contoso", time.Now(), 1)
	rounds.Body = make([]byte, enoughRoom)
	if _, err := s.SaveRounds(t.Context(), 0, rounds); err == nil || errors.Is(err, watchdog.ErrJournalUnsure) || !strings.Contains(err.Error(), "free space") {
		t.Errorf("SaveRounds on a full disk = %v", err)
	}
	if head, err := s.Verify(t.Context()); head.Seq != uint64(acked) || err != nil {
		t.Errorf("Verify = %v, %v; want %d entries", head, err, acked)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal("make room:", err)
	}
	if err := s.Ready(t.Context()); err != nil {
		t.Errorf("Ready with room again: %v", err)
	}
	got, err := s.Append(t.Context(), watchdogtest.EveryKind())
	if err != nil || got[0].Seq != uint64(acked+1) {
		t.Errorf("Append with room again: %v", err)
	}
	if _, err := s.SaveRounds(t.Context(), 0, rounds); err != nil {
		t.Errorf("SaveRounds with room again: %v", err)
	}
}
