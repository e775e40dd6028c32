package watchdogtest_test

import (
	"context"
	"errors"
	"testing"

	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

func TestMemJournal(t *testing.T) {
	watchdogtest.TestJournal(t, func(*testing.T) watchdog.Journal { return new(watchdogtest.MemJournal) })
	watchdogtest.TestCursors(t, func(*testing.T) watchdog.Cursors { return new(watchdogtest.MemJournal) })
	watchdogtest.TestRoundLog(t, func(*testing.T) watchdog.RoundLog { return new(watchdogtest.MemRounds) })
}

func TestMemJournalFailsOnRequest(t *testing.T) {
	var j watchdogtest.MemJournal
	boom := errors.New("boom")
	j.FailNext(boom)
	j.UnsureNext(true)
	j.UnsureNext(false)
	for i, want := range []error{boom, watchdog.ErrJournalUnsure, watchdog.ErrJournalUnsure, nil} {
		if _, err := j.Append(t.Context(), watchdogtest.Entries("contoso", 1)); !errors.Is(err, want) {
			t.Errorf("append %d: %v, want %v", i, err, want)
		}
	}
	got, err := j.Read(t.Context(), "", 0, 10)
	if err != nil || len(got) != 2 {
		t.Errorf("kept %d entries, %v; want the unsure one that was kept and the last", len(got), err)
	}
}

func TestMemJournalCrashes(t *testing.T) {
	for _, kept := range []bool{false, true} {
		var j watchdogtest.MemJournal
		died := j.CrashAt(2, kept)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		if _, err := j.Append(ctx, watchdogtest.Entries("contoso", 1)); err != nil {
			t.Fatal(err)
		}
		if err := j.SaveCursor(ctx, "slack", []byte("1")); err != nil {
			t.Fatal(err)
		}
		result := make(chan error)
		go func() {
			_, err := j.Append(ctx, watchdogtest.Entries("contoso", 3))
			result <- err
		}()
		<-died
		select {
		case err := <-result:
			t.Fatalf("the dead process went on: %v", err)
		default:
		}
		cancel()
		if err := <-result; !errors.Is(err, watchdogtest.ErrCrashed) {
			t.Errorf("err = %v, want ErrCrashed", err)
		}
		next := j.Reopen()
		if _, err := j.Read(t.Context(), "", 0, 1); !errors.Is(err, watchdogtest.ErrCrashed) {
			t.Errorf("reading the dead journal: %v, want ErrCrashed", err)
		}
		want := 1
		if kept {
			want = 4
		}
		got, err := next.Read(t.Context(), "", 0, 10)
		if err != nil || len(got) != want {
			t.Errorf("kept=%v: %d entries, %v; want %d", kept, len(got), err, want)
		}
		if c, err := next.LoadCursor(t.Context(), "slack"); string(c) != "1" || err != nil {
			t.Errorf("cursor = %q, %v", c, err)
		}
	}
}
