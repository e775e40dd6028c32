package watchdogtest

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"edgewatch/actions"
	"edgewatch/probe"
	"edgewatch/watchdog"
)

// comparable types whose insides go-cmp may not look at.
var equate = cmpopts.EquateComparable(netip.AddrPort{})

// TestJournal holds an implementation of watchdog.Journal to its contract.
// open gives a new, empty journal and cleans up after itself.
func TestJournal(t *testing.T, open func(t *testing.T) watchdog.Journal) {
	t.Run("new journal is empty", func(t *testing.T) {
		wantEntries(t, open(t), nil)
	})
	t.Run("seq counts from one over all federations", func(t *testing.T) { testSeq(t, open(t)) })
	t.Run("every kind comes back as it went in", func(t *testing.T) { testRoundTrip(t, open(t)) })
	t.Run("append of nothing does nothing", func(t *testing.T) {
		j := open(t)
		if got, err := j.Append(t.Context(), nil); len(got) != 0 || err != nil {
			t.Errorf("Append(nil) = %v, %v; want nothing", got, err)
		}
		wantEntries(t, j, nil)
	})
	t.Run("reads by federation, position and limit", func(t *testing.T) { testRead(t, open(t)) })
	t.Run("entries are copies", func(t *testing.T) { testCopies(t, open(t)) })
	t.Run("ended context keeps nothing", func(t *testing.T) {
		j := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := j.Append(ctx, Entries("contoso", 3)); err == nil {
			t.Error("Append with an ended context gave no error")
		}
		wantEntries(t, j, nil)
	})
	t.Run("concurrent appends stay whole", func(t *testing.T) { testConcurrent(t, open(t)) })
	t.Run("last gives the newest", func(t *testing.T) { testLast(t, open(t)) })
	t.Run("large entry", func(t *testing.T) {
		j := open(t)
		e := Entries("contoso", 1)
		e[0].Notice.Text = strings.Repeat("évidence\x00\"", 100_000)
		got := mustAppend(t, j, e)
		wantEntries(t, j, got)
	})
}

// TestCursors holds an implementation of watchdog.Cursors to its contract.
// open gives a new, empty store and cleans up after itself.
func TestCursors(t *testing.T, open func(t *testing.T) watchdog.Cursors) {
	c := open(t)
	want := func(name string, want []byte) {
		t.Helper()
		got, err := c.LoadCursor(t.Context(), name)
		if err != nil || string(got) != string(want) || (want == nil) != (got == nil) {
			t.Errorf("LoadCursor(%q) = %q, %v; want %q", name, got, err, want)
		}
	}
	save := func(name string, data []byte) {
		t.Helper()
		if err := c.SaveCursor(t.Context(), name, data); err != nil {
			t.Fatalf("SaveCursor(%q): %v", name, err)
		}
	}
	want("slack", nil)
	data := []byte("one\x00\xff")
	save("slack", data)
	data[0] = 'X'
	want("slack", []byte("one\x00\xff"))
	save("slack", []byte("two"))
	save("", []byte("unnamed"))
	save("empty", []byte{})
	want("slack", []byte("two"))
	want("", []byte("unnamed"))
	want("empty", []byte{})
	want("Slack", nil)

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.SaveCursor(ctx, "slack", []byte("three")); err == nil {
		t.Error("SaveCursor with an ended context gave no error")
	}
	want("slack", []byte("two"))
}

// Entries makes n simple entries of one federation, for tests in which only
// their number and order matter.
func Entries(federation string, n int) []watchdog.Entry {
	out := make([]watchdog.Entry, n)
	for i := range out {
		out[i] = watchdog.Entry{
			At:         time.Date(2026, 11, 22, 12, 0, i, 123456789, time.UTC),
			Federation: federation,
			Kind:       watchdog.KindNotice,
			Notice:     &watchdog.Notice{Kind: watchdog.NoticeDegraded, Text: fmt.Sprintf("%s notice %d", federation, i)},
		}
	}
	return out
}

// EveryKind gives one well-filled entry of every kind.
func EveryKind() []watchdog.Entry {
	at := time.Date(2026, 11, 22, 13, 0, 0, 1, time.UTC)
	base := func(kind watchdog.EntryKind) watchdog.Entry {
		return watchdog.Entry{At: at, Federation: "contoso", Incident: "contoso-7", Kind: kind}
	}
	pool, decision, command := base(watchdog.KindPool), base(watchdog.KindDecision), base(watchdog.KindCommand)
	chain, step, end, notice := base(watchdog.KindChain), base(watchdog.KindStep), base(watchdog.KindChainEnd), base(watchdog.KindNotice)
	pool.Pool = &watchdog.PoolChange{Pool: "EdgePool1", Tripped: true, Bad: 4, Since: at.Add(-time.Minute), Results: []probe.Result{{
		Target: probe.Target{Addr: netip.MustParseAddrPort("[2001:db8::1]:5269"), Domain: "contoso.com", From: "probe.example"},
		Start:  at, Took: 3 * time.Millisecond, Phase: probe.PhaseConnect, Class: probe.Refused, Blame: probe.Remote, Level: probe.Down,
		Phases: []probe.PhaseTime{{Phase: probe.PhaseConnect, Took: time.Millisecond}}, Error: "connection refused",
	}}}
	decision.Decision = &watchdog.Decision{Will: watchdog.WillHold, Because: "paused by anna", BlockedBy: watchdog.GuardPause, NextAt: at.Add(time.Hour)}
	command.Command = &watchdog.Command{ID: "c-1", Federation: "contoso", Verb: watchdog.VerbPause, For: 2 * time.Hour, Reason: "patch <day> & more", Actor: "anna", Via: "slack"}
	chain.Chain = &watchdog.ChainStart{ID: "contoso-7.1", From: "EdgePool1", To: "EdgePool2", Trigger: "auto", Reason: "EdgePool1 is down", Detected: at}
	step.Step = &actions.Record{Chain: "contoso-7.1", Step: actions.StopServices, Target: "edge2", Phase: actions.Started, Detail: "0 of 7 stopped", Took: time.Second}
	end.ChainEnd = &watchdog.ChainEnd{ID: "contoso-7.1", Outcome: actions.Outcome{Step: actions.DNSRecords, Error: "ns1: refused", RouteMoved: true, Stopped: []string{"edge2"}, Took: time.Minute}}
	notice.Notice = &watchdog.Notice{Kind: watchdog.NoticeDrift, Pool: "EdgePool2", Text: "SRV leads elsewhere"}
	return []watchdog.Entry{pool, decision, command, chain, step, end, notice}
}

func testSeq(t *testing.T, j watchdog.Journal) {
	t.Helper()
	first := Entries("contoso", 2)
	first[0].Seq, first[1].Seq = 99, 7 // whatever the caller left there
	got := mustAppend(t, j, first)
	got = append(got, mustAppend(t, j, Entries("fabrikam", 1))...)
	got = append(got, mustAppend(t, j, Entries("contoso", 2))...)
	for i, e := range got {
		if e.Seq != uint64(i+1) {
			t.Errorf("entry %d has seq %d, want %d", i, e.Seq, i+1)
		}
	}
	wantEntries(t, j, got)
	if first[0].Seq != 99 {
		t.Error("Append changed its caller's entries")
	}
}

func testRoundTrip(t *testing.T, j watchdog.Journal) {
	t.Helper()
	in := EveryKind()
	got := mustAppend(t, j, in)
	for i := range in {
		in[i].Seq = uint64(i + 1)
	}
	if diff := cmp.Diff(in, got, equate); diff != "" {
		t.Errorf("Append gave back something else (-want +got):\n%s", diff)
	}
	wantEntries(t, j, in)

	local := Entries("contoso", 1)
	local[0].At = time.Now().In(time.FixedZone("east", 3600))
	back := mustAppend(t, j, local)[0].At
	if !back.Equal(local[0].At) || back.Location() != time.UTC {
		t.Errorf("At = %v, want %v in UTC", back, local[0].At)
	}
}

func testRead(t *testing.T, j watchdog.Journal) {
	t.Helper()
	for range 3 {
		mustAppend(t, j, Entries("contoso", 2))
		mustAppend(t, j, Entries("fabrikam", 1))
	}
	tests := []struct {
		federation string
		after      uint64
		limit      int
		want       []uint64
	}{
		{"", 0, 100, []uint64{1, 2, 3, 4, 5, 6, 7, 8, 9}},
		{"", 0, 2, []uint64{1, 2}},
		{"", 7, 100, []uint64{8, 9}},
		{"", 9, 100, nil},
		{"", 1 << 62, 100, nil},
		{"", 0, 0, nil},
		{"fabrikam", 0, 100, []uint64{3, 6, 9}},
		{"fabrikam", 3, 1, []uint64{6}},
		{"contoso", 2, 3, []uint64{4, 5, 7}},
		{"Contoso", 0, 100, nil},
	}
	for _, tt := range tests {
		got, err := j.Read(t.Context(), tt.federation, tt.after, tt.limit)
		if err != nil {
			t.Errorf("Read(%q, %d, %d): %v", tt.federation, tt.after, tt.limit, err)
		}
		if diff := cmp.Diff(tt.want, seqs(got)); diff != "" {
			t.Errorf("Read(%q, %d, %d) (-want +got):\n%s", tt.federation, tt.after, tt.limit, diff)
		}
	}
}

func testCopies(t *testing.T, j watchdog.Journal) {
	t.Helper()
	in := Entries("contoso", 1)
	got := mustAppend(t, j, in)
	in[0].Notice.Text, got[0].Notice.Text = "changed by the caller", "changed by the caller"
	want := Entries("contoso", 1)
	want[0].Seq = 1
	wantEntries(t, j, want)
}

func testConcurrent(t *testing.T, j watchdog.Journal) {
	t.Helper()
	const writers, rounds, size = 4, 5, 3
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range rounds {
				got, err := j.Append(t.Context(), Entries(fmt.Sprint("federation", w), size))
				if err != nil || len(got) != size || got[size-1].Seq != got[0].Seq+size-1 {
					t.Errorf("Append = seqs %v, %v; want %d in a row", seqs(got), err, size)
				}
			}
		})
	}
	wg.Wait()
	all, err := j.Read(t.Context(), "", 0, 1000)
	if err != nil || len(all) != writers*rounds*size {
		t.Fatalf("Read = %d entries, %v; want %d", len(all), err, writers*rounds*size)
	}
	for i, e := range all {
		if e.Seq != uint64(i+1) {
			t.Fatalf("entry %d has seq %d, want %d", i, e.Seq, i+1)
		}
	}
}

func testLast(t *testing.T, j watchdog.Journal) {
	t.Helper()
	l, ok := j.(interface {
		Last(ctx context.Context, federation string, n int) ([]watchdog.Entry, error)
	})
	if !ok {
		t.Skip("this journal has no Last")
	}
	mustAppend(t, j, Entries("contoso", 3))
	mustAppend(t, j, Entries("fabrikam", 2))
	for _, tt := range []struct {
		federation string
		n          int
		want       []uint64
	}{
		{"", 2, []uint64{4, 5}},
		{"", 100, []uint64{1, 2, 3, 4, 5}},
		{"contoso", 2, []uint64{2, 3}},
		{"nobody", 2, nil},
		{"", 0, nil},
		{"", -1, nil},
	} {
		got, err := l.Last(t.Context(), tt.federation, tt.n)
		if diff := cmp.Diff(tt.want, seqs(got)); diff != "" || err != nil {
			t.Errorf("Last(%q, %d): %v (-want +got):\n%s", tt.federation, tt.n, err, diff)
		}
	}
}

func mustAppend(t *testing.T, j watchdog.Journal, entries []watchdog.Entry) []watchdog.Entry {
	t.Helper()
	got, err := j.Append(t.Context(), entries)
	if err != nil {
		t.Fatalf("Append: %v", err)
	}
	if len(got) != len(entries) {
		t.Fatalf("Append gave back %d entries, want %d", len(got), len(entries))
	}
	return got
}

func wantEntries(t *testing.T, j watchdog.Journal, want []watchdog.Entry) {
	t.Helper()
	got, err := j.Read(t.Context(), "", 0, 1000)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	if diff := cmp.Diff(want, got, equate, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("journal (-want +got):\n%s", diff)
	}
}

func seqs(entries []watchdog.Entry) []uint64 {
	var out []uint64
	for _, e := range entries {
		out = append(out, e.Seq)
	}
	return out
}
