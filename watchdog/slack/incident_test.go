package slack

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgewatch/actions"
	"edgewatch/watchdog"
)

func TestIncidentTitles(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 54, 2, 0, time.UTC)
	down := func(pool string, tripped bool) watchdog.Entry {
		return watchdog.Entry{Pool: &watchdog.PoolChange{Pool: pool, Tripped: tripped, Since: at}}
	}
	hold := watchdog.Entry{Decision: &watchdog.Decision{Will: watchdog.WillHold, BlockedBy: watchdog.GuardCooldown, Because: "a failover ended 4 min ago"}}
	begin := watchdog.Entry{Chain: &watchdog.ChainStart{ID: "c-1.1", From: "east", To: "west", Trigger: "auto"}}
	end := func(o actions.Outcome) watchdog.Entry {
		return watchdog.Entry{ChainEnd: &watchdog.ChainEnd{ID: "c-1.1", Outcome: o}}
	}
	failed := actions.Outcome{Step: actions.DNSRecords, Error: "ns1: UPDATE: refused – check the key", RouteMoved: true}
	for name, tc := range map[string]struct {
		entries []watchdog.Entry
		title   string
		next    string
		over    bool
	}{
		"down":                   {[]watchdog.Entry{down("east", true)}, "✕ east is down", "", false},
		"held":                   {[]watchdog.Entry{down("east", true), hold}, "✕ east is down – on hold (cooldown)", "a failover ended 4 min ago", false},
		"came back by itself":    {[]watchdog.Entry{down("east", true), hold, down("east", false)}, "✓ east answers again", "nothing", true},
		"failing over":           {[]watchdog.Entry{down("east", true), begin}, "✕ east is down – failing over to west", "the failover is carried through", false},
		"failed over":            {[]watchdog.Entry{down("east", true), begin, end(actions.Outcome{OK: true})}, "✓ east is down – failed over to west", "nothing", true},
		"then the old came back": {[]watchdog.Entry{down("east", true), begin, end(actions.Outcome{OK: true}), down("east", false)}, "✓ c – failed over to west", "nothing", true},
		"then the new went":      {[]watchdog.Entry{down("east", true), begin, end(actions.Outcome{OK: true}), down("west", true)}, "✕ west is down, and federation runs on it", "", false},
		"standby went too":       {[]watchdog.Entry{down("east", true), down("west", true)}, "✕ east is down", "", false},
		"failed":                 {[]watchdog.Entry{down("east", true), begin, end(failed)}, "✕ Failover of c to west failed – people are needed", failed.Error, false},
		"failed, old came back": {[]watchdog.Entry{down("east", true), begin, end(actions.Outcome{Error: "x"}), down("east", false)},
			"✓ east answers again – the failover to west had failed", "x", true},
		"taken up again": {[]watchdog.Entry{down("east", true), begin, end(failed), {Chain: &watchdog.ChainStart{ID: "c-1.1", From: "east", To: "west", Retry: 1}}},
			"✕ east is down – failing over to west", "the failover is carried through", false},
		"aborted": {[]watchdog.Entry{down("east", true), begin, end(actions.Outcome{Aborted: true, Error: "aborted by anna: wrong pool"})},
			"⏸ Failover of c to west was aborted", "aborted by anna: wrong pool", false},
		"interrupted": {[]watchdog.Entry{down("east", true), begin, end(actions.Outcome{Interrupted: true, Error: "edgewatch is stopping"})},
			"⏸ Failover of c to west was interrupted", "edgewatch is stopping", false},
		"by hand, nothing down": {[]watchdog.Entry{begin}, "▶ c – failing over to west", "the failover is carried through", false},
		"notice": {[]watchdog.Entry{{Notice: &watchdog.Notice{Kind: watchdog.NoticeDegraded, Text: "edge1: certificate expires in 5 days"}}},
			"⚠ edge1: certificate expires in 5 days", "nothing", true},
	} {
		t.Run(name, func(t *testing.T) {
			n := &incident{ID: "c-1", Federation: "c"}
			for i, e := range tc.entries {
				e.Seq, e.At = uint64(i+1), at.Add(time.Duration(i)*time.Second)
				n.fold(e)
				n.fold(e) // taking an entry in twice is taking it in once
			}
			if n.title() != tc.title || n.next() != tc.next || n.over() != tc.over {
				t.Errorf("title %q, next %q, over %t; want %q, %q, %t", n.title(), n.next(), n.over(), tc.title, tc.next, tc.over)
			}
		})
	}
}

func TestEntriesInWords(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 54, 2, 0, time.UTC)
	for want, e := range map[string]watchdog.Entry{
		"✓ *east answers again*, after 5 min": {At: at.Add(5 * time.Minute), Pool: &watchdog.PoolChange{Pool: "east", Since: at}},
		"→ *Holding:* paused by &lt;anna&gt; (held by: pause). Looked at again at 12:54:02 UTC": {
			Decision: &watchdog.Decision{Will: watchdog.WillHold, Because: "paused by <anna>", BlockedBy: watchdog.GuardPause, NextAt: at}},
		"⌨ *pause for 2 h 0 min* by U0ANNA (anna) over slack: patching": {
			Command: &watchdog.Command{Verb: watchdog.VerbPause, For: 2 * time.Hour, Actor: "U0ANNA (anna)", Via: "slack", Reason: "patching"}},
		"✕ *Failover c-1.1 failed at set-route* after 40 s\nad1: Set-CsSite: refused – check the rights\nThe route was not moved." +
			"\n*Services are stopped on edge3, edge4: start them with* `Start-CsWindowsService -ComputerName …`": {
			ChainEnd: &watchdog.ChainEnd{ID: "c-1.1", Outcome: actions.Outcome{Step: actions.SetRoute, Error: "ad1: Set-CsSite: refused – check the rights", Took: 40 * time.Second, Stopped: []string{"edge3", "edge4"}}}},
		"⚠ DNS leads to &lt;!channel&gt;": {Notice: &watchdog.Notice{Kind: watchdog.NoticeDrift, Pool: "east", Text: "DNS leads to <!channel>"}},
		"journal entry 7 of kind new":     {Seq: 7, Kind: "new"},
	} {
		if diff := cmp.Diff(want, detail(e)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}
