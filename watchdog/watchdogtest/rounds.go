package watchdogtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"edgewatch/watchdog"
)

// MemRounds is a watchdog.RoundLog in memory. Its zero value is empty and
// ready. All methods are safe for concurrent use.
type MemRounds struct {
	mu       sync.Mutex
	last     int64
	ids      []int64
	segments map[int64]watchdog.Segment
	err      error
	saves    int
}

var _ watchdog.RoundLog = (*MemRounds)(nil)

// Fail lets every call fail with an error that wraps err until Fail(nil).
func (m *MemRounds) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// Saves is how often SaveRounds was called and did not fail.
func (m *MemRounds) Saves() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.saves
}

// Snapshot returns what the next process would find if this one died now.
func (m *MemRounds) Snapshot() *MemRounds {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := &MemRounds{last: m.last, ids: slices.Clone(m.ids), segments: map[int64]watchdog.Segment{}}
	for id, s := range m.segments {
		next.segments[id] = copied(s)
	}
	return next
}

func copied(s watchdog.Segment) watchdog.Segment {
	s.Body = slices.Clone(s.Body)
	return s
}

// SaveRounds implements watchdog.RoundLog.
func (m *MemRounds) SaveRounds(ctx context.Context, id int64, s watchdog.Segment) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := errors.Join(ctx.Err(), m.err); err != nil {
		return 0, fmt.Errorf("record rounds: %w", err)
	}
	if m.segments == nil {
		m.segments = map[int64]watchdog.Segment{}
	}
	if _, known := m.segments[id]; !known {
		m.last++
		id = m.last
		m.ids = append(m.ids, id)
	}
	m.segments[id] = copied(s)
	m.saves++
	return id, nil
}

// LoadRounds implements watchdog.RoundLog.
func (m *MemRounds) LoadRounds(ctx context.Context, federation string, since time.Time, after int64, limit int) ([]watchdog.Segment, int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := errors.Join(ctx.Err(), m.err); err != nil {
		return nil, after, fmt.Errorf("read recorded rounds: %w", err)
	}
	var out []watchdog.Segment
	for _, id := range m.ids {
		s := m.segments[id]
		if id > after && s.Federation == federation && !s.Last.Before(since) && len(out) < limit {
			out, after = append(out, copied(s)), id
		}
	}
	return out, after, nil
}

// PruneRounds implements watchdog.RoundLog.
func (m *MemRounds) PruneRounds(ctx context.Context, before time.Time, limit int) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := errors.Join(ctx.Err(), m.err); err != nil {
		return 0, fmt.Errorf("remove old rounds: %w", err)
	}
	n := 0
	m.ids = slices.DeleteFunc(m.ids, func(id int64) bool {
		if n >= limit || !m.segments[id].Last.Before(before) {
			return false
		}
		n++
		delete(m.segments, id)
		return true
	})
	return n, nil
}

// Segment returns a segment of n rounds that began at that time; its body
// means nothing.
func Segment(federation string, at time.Time, n int) watchdog.Segment {
	return watchdog.Segment{
		Federation: federation, First: at.UTC(), Last: at.Add(time.Duration(n) * 10 * time.Second).UTC(),
		Rounds: n, Body: fmt.Appendf([]byte{0, 255}, "%s %v %d", federation, at, n),
	}
}

// TestRoundLog holds an implementation of watchdog.RoundLog to its contract.
// open gives a new, empty log and cleans up after itself.
func TestRoundLog(t *testing.T, open func(t *testing.T) watchdog.RoundLog) {
	t.Run("new log is empty", func(t *testing.T) {
		l := open(t)
		wantRounds(t, l, "contoso", nil)
		if n, err := l.PruneRounds(t.Context(), time.Now(), 10); n != 0 || err != nil {
			t.Errorf("PruneRounds = %d, %v", n, err)
		}
	})
	t.Run("a segment grows in place", func(t *testing.T) { testGrow(t, open(t)) })
	t.Run("rounds by federation, time, position and limit", func(t *testing.T) { testLoadRounds(t, open(t)) })
	t.Run("old segments go in small steps", func(t *testing.T) { testPrune(t, open(t)) })
	t.Run("ended context keeps nothing", func(t *testing.T) {
		l := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := l.SaveRounds(ctx, 0, Segment("contoso", epoch, 1)); err == nil {
			t.Error("SaveRounds with an ended context gave no error")
		}
		wantRounds(t, l, "contoso", nil)
	})
	t.Run("concurrent federations do not mix", func(t *testing.T) { testConcurrentRounds(t, open(t)) })
}

// epoch is some moment in whole milliseconds.
var epoch = time.Date(2026, 3, 1, 12, 0, 0, int(123*time.Millisecond), time.UTC)

func testGrow(t *testing.T, l watchdog.RoundLog) {
	t.Helper()
	first := mustSave(t, l, 0, Segment("contoso", epoch, 1))
	second := mustSave(t, l, 0, Segment("contoso", epoch, 2)) // the same moment: a clock that was set back
	if first == second || first <= 0 || second <= 0 {
		t.Errorf("ids %d and %d", first, second)
	}
	if id := mustSave(t, l, first, Segment("contoso", epoch, 7)); id != first {
		t.Errorf("segment %d became %d", first, id)
	}
	wantRounds(t, l, "contoso", []watchdog.Segment{Segment("contoso", epoch, 7), Segment("contoso", epoch, 2)})
	// One that was removed meanwhile comes back as a new one.
	if _, err := l.PruneRounds(t.Context(), epoch.Add(time.Hour), 10); err != nil {
		t.Fatal(err)
	}
	id := mustSave(t, l, first, Segment("contoso", epoch, 8))
	if again := mustSave(t, l, id, Segment("contoso", epoch, 9)); again != id {
		t.Errorf("segment %d became %d", id, again)
	}
	wantRounds(t, l, "contoso", []watchdog.Segment{Segment("contoso", epoch, 9)})
}

func testLoadRounds(t *testing.T, l watchdog.RoundLog) {
	t.Helper()
	var all []watchdog.Segment
	for i := range 5 {
		s := Segment("contoso", epoch.Add(time.Duration(i)*time.Hour), 360)
		all = append(all, s)
		mustSave(t, l, 0, s)
		mustSave(t, l, 0, Segment("fabrikam", s.First, 10))
	}
	got, last, err := l.LoadRounds(t.Context(), "contoso", time.Time{}, 0, 2)
	if diff := cmp.Diff(all[:2], got); diff != "" || err != nil {
		t.Errorf("first two: %v (-want +got):\n%s", err, diff)
	}
	got, last, err = l.LoadRounds(t.Context(), "contoso", time.Time{}, last, 100)
	if diff := cmp.Diff(all[2:], got); diff != "" || err != nil {
		t.Errorf("the rest: %v (-want +got):\n%s", err, diff)
	}
	got, again, err := l.LoadRounds(t.Context(), "contoso", time.Time{}, last, 100)
	if len(got) != 0 || again != last || err != nil {
		t.Errorf("after the last: %v, %d, %v", got, again, err)
	}
	got, _, err = l.LoadRounds(t.Context(), "contoso", all[3].Last, 0, 100)
	if diff := cmp.Diff(all[3:], got); diff != "" || err != nil {
		t.Errorf("since: %v (-want +got):\n%s", err, diff)
	}
	if got, _, err = l.LoadRounds(t.Context(), "contoso", time.Time{}, 0, 0); len(got) != 0 || err != nil {
		t.Errorf("limit 0: %v, %v", got, err)
	}
}

func testPrune(t *testing.T, l watchdog.RoundLog) {
	t.Helper()
	for i := range 5 {
		mustSave(t, l, 0, Segment([]string{"contoso", "fabrikam"}[i%2], epoch.Add(time.Duration(i)*time.Hour), 1))
	}
	before := epoch.Add(3*time.Hour + 10*time.Second) // exactly when the fourth ended
	for _, want := range []int{2, 1, 0} {
		if n, err := l.PruneRounds(t.Context(), before, 2); n != want || err != nil {
			t.Errorf("PruneRounds = %d, %v; want %d", n, err, want)
		}
	}
	wantRounds(t, l, "contoso", []watchdog.Segment{Segment("contoso", epoch.Add(4*time.Hour), 1)})
	wantRounds(t, l, "fabrikam", []watchdog.Segment{Segment("fabrikam", epoch.Add(3*time.Hour), 1)})
}

func testConcurrentRounds(t *testing.T, l watchdog.RoundLog) {
	t.Helper()
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			id := int64(0)
			for n := range 10 {
				var err error
				if id, err = l.SaveRounds(t.Context(), id, Segment(fmt.Sprint("federation", i), epoch, n+1)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i := range 4 {
		name := fmt.Sprint("federation", i)
		wantRounds(t, l, name, []watchdog.Segment{Segment(name, epoch, 10)})
	}
}

func mustSave(t *testing.T, l watchdog.RoundLog, id int64, s watchdog.Segment) int64 {
	t.Helper()
	id, err := l.SaveRounds(t.Context(), id, s)
	if err != nil {
		t.Fatalf("SaveRounds: %v", err)
	}
	return id
}

func wantRounds(t *testing.T, l watchdog.RoundLog, federation string, want []watchdog.Segment) {
	t.Helper()
	got, _, err := l.LoadRounds(t.Context(), federation, time.Time{}, 0, 1000)
	if err != nil {
		t.Fatalf("LoadRounds: %v", err)
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("rounds of %s (-want +got):\n%s", federation, diff)
	}
}
