package rfc2136_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"edgewatch/actions"
	"edgewatch/actions/rfc2136"
)

// fenced is moved() by a watchdog of that term.
func fenced(term uint64, to ...netip.Addr) rfc2136.Wanted {
	w := moved()
	w.Services = nil
	w.Fence = &rfc2136.Fence{Name: "_edgewatch.Contoso.com", Term: term}
	if len(to) > 0 {
		w.Address.Addrs = to
		w.Address.Known = []netip.Addr{old4, old6, new4, new6}
	}
	return w
}

// TestDeposedWatchdogIsRefused: the values alone do not tell a deposed
// watchdog, which reads what its successor wrote and finds it known.
func TestDeposedWatchdogIsRefused(t *testing.T) {
	s := serve(t)
	u := updater(t, s, nil)
	fence := func() string { return strings.Join(s.Records("_edgewatch.contoso.com", "TXT"), " ") }
	for _, c := range []struct {
		term uint64
		to   []netip.Addr
		kind actions.Kind
		want string // of the fence
		err  string
	}{
		{term: 7, to: []netip.Addr{new4, new6}, want: `"edgewatch-term=7"`},
		{term: 7, to: []netip.Addr{old4}, want: `"edgewatch-term=7"`},
		{term: 9, to: []netip.Addr{new4}, want: `"edgewatch-term=9"`},
		{term: 8, to: []netip.Addr{old4}, kind: actions.Rejected, want: `"edgewatch-term=9"`, err: "this one, of term 8, was deposed"},
		{term: 8, to: []netip.Addr{new4}, want: `"edgewatch-term=9"`}, // nothing to change: nothing to refuse
		{term: 10, to: []netip.Addr{old4}, want: `"edgewatch-term=10"`},
	} {
		before := s.Records("xmpp.contoso.com", "A")
		err := u.Records(fenced(c.term, c.to...)).Apply(t.Context())
		if (err == nil) != (c.err == "") || err != nil && (actions.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.err)) {
			t.Fatalf("term %d: %v, want %q", c.term, err, c.err)
		}
		if err != nil && !slices.Equal(before, s.Records("xmpp.contoso.com", "A")) {
			t.Errorf("term %d: the records were changed", c.term)
		}
		if got := fence(); got != c.want {
			t.Errorf("term %d: the fence is %s, want %s", c.term, got, c.want)
		}
	}
}

// TestFenceIsComparedByTheServer: the successor writes after the deposed
// watchdog has read, and to the very addresses it has read.
func TestFenceIsComparedByTheServer(t *testing.T) {
	s := serve(t, `_edgewatch TXT "edgewatch-term=3"`)
	s.BeforeUpdate(func() {
		if err := s.Edit(zoneName, "_edgewatch", "TXT", `_edgewatch TXT "edgewatch-term=4"`); err != nil {
			t.Error(err)
		}
	})
	err := updater(t, s, nil).Records(fenced(3)).Apply(t.Context())
	if actions.KindOf(err) != actions.Rejected || !strings.Contains(err.Error(), "was deposed") {
		t.Errorf("Apply = %v", err)
	}
	if got := s.Records("xmpp.contoso.com", "A"); len(got) != 1 || got[0] != "192.0.2.11" {
		t.Errorf("A = %v", got)
	}
}

func TestFenceHoldsSomethingElse(t *testing.T) {
	s := serve(t, `_edgewatch TXT "v=spf1 -all"`)
	if err := updater(t, s, nil).Records(fenced(3)).Apply(t.Context()); actions.KindOf(err) != actions.Rejected || !strings.Contains(err.Error(), "v=spf1") {
		t.Errorf("Apply = %v", err)
	}
}

func TestFenceInPreflightAndPreview(t *testing.T) {
	s := serve(t)
	u := updater(t, s, nil)
	check(t.Context(), t, u.Writable(fenced(3)), actions.Done)
	if got := s.Serial(zoneName); got != 100 {
		t.Errorf("the preflight moved the serial to %d", got)
	}
	got := u.Records(fenced(3)).Preview()
	want := []string{"; only if _edgewatch.contoso.com does not hold a higher term:", "update delete _edgewatch.contoso.com. IN TXT",
		`update add _edgewatch.contoso.com. 60 IN TXT "edgewatch-term=3"`, "send"}
	if diff := cmp.Diff(want, got[len(got)-4:]); diff != "" {
		t.Errorf("preview (-want +got):\n%s", diff)
	}
	outside := fenced(3)
	outside.Fence.Name = "_edgewatch.fabrikam.com"
	if err := u.Validate(outside); err == nil || !strings.Contains(err.Error(), "fence: _edgewatch.fabrikam.com is not in zone") {
		t.Errorf("Validate = %v", err)
	}
}
