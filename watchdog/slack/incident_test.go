package slack

import (
	"strings"
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
	beginKind := func(kind actions.PlanKind) watchdog.Entry {
		return watchdog.Entry{Chain: &watchdog.ChainStart{ID: "c-1.1", Kind: kind, From: "west", To: "east", Trigger: "cli"}}
	}
	dropped := watchdog.Entry{Chain: &watchdog.ChainStart{ID: "c-1.1", From: "east", To: "west", Trigger: "auto", Retry: 1, Dropped: "it had failed by then, or was to end"}}
	repair := watchdog.Entry{Chain: &watchdog.ChainStart{ID: "c-1.1", From: "west", To: "east", Repair: true, Trigger: "cli"}}
	ask := watchdog.Entry{Decision: &watchdog.Decision{
		State: watchdog.AwaitingApproval, Will: watchdog.WillAsk, To: "west", BlockedBy: watchdog.GuardApproval, NextAt: at.Add(15 * time.Minute),
		Because: "east is down: approve west REASON, or deny REASON; without an answer edgewatch holds",
	}}
	order := func(verb watchdog.Verb) watchdog.Entry {
		return watchdog.Entry{Command: &watchdog.Command{Verb: verb, Pool: "west", Actor: "anna"}}
	}
	denied := watchdog.Entry{Decision: &watchdog.Decision{Will: watchdog.WillHold, To: "west", BlockedBy: watchdog.GuardApproval, Because: "anna denied the failover"}}
	gone := watchdog.Entry{Notice: &watchdog.Notice{Kind: watchdog.NoticeFederationGone, Text: "c is no longer configured: put it right"}}
	failed := actions.Outcome{Step: actions.DNSRecords, Error: "ns1: UPDATE: refused – check the key", RouteMoved: true}
	for name, tc := range map[string]struct {
		entries []watchdog.Entry
		title   string
		next    string
		over    bool
	}{
		"down":                       {[]watchdog.Entry{down("east", true)}, "✕ east is down", "", false},
		"held":                       {[]watchdog.Entry{down("east", true), hold}, "✕ east is down – on hold (cooldown)", "a failover ended 4 min ago", false},
		"came back by itself":        {[]watchdog.Entry{down("east", true), hold, down("east", false)}, "✓ east answers again", "nothing", true},
		"failing over":               {[]watchdog.Entry{down("east", true), begin}, "✕ east is down – failing over to west", "the failover is carried through", false},
		"failed over":                {[]watchdog.Entry{down("east", true), begin, end(actions.Outcome{OK: true})}, "✓ east is down – failed over to west", "nothing", true},
		"then the old came back":     {[]watchdog.Entry{down("east", true), begin, end(actions.Outcome{OK: true}), down("east", false)}, "✓ c – failed over to west", "nothing", true},
		"then the new went":          {[]watchdog.Entry{down("east", true), begin, end(actions.Outcome{OK: true}), down("west", true)}, "✕ west is down, and federation runs on it", "", false},
		"standby went too":           {[]watchdog.Entry{down("east", true), down("west", true)}, "✕ east is down", "", false},
		"failed":                     {[]watchdog.Entry{down("east", true), begin, end(failed)}, "✕ Failover of c to west failed – people are needed", failed.Error, false},
		"aborted while all was well": {[]watchdog.Entry{begin, end(actions.Outcome{Error: "x", Aborted: true})}, "⏸ Failover of c to west was aborted", "x", true},
		"failed while all was well":  {[]watchdog.Entry{begin, end(actions.Outcome{Error: "x"})}, "✕ Failover of c to west failed – federation stays on east", "x", true},
		"failed, old came back": {[]watchdog.Entry{down("east", true), begin, end(actions.Outcome{Error: "x"}), down("east", false)},
			"✓ east answers again – the failover to west had failed", "x", true},
		"taken up again": {[]watchdog.Entry{down("east", true), begin, end(failed), {Chain: &watchdog.ChainStart{ID: "c-1.1", From: "east", To: "west", Retry: 1}}},
			"✕ east is down – failing over to west", "the failover is carried through", false},
		"not carried on": {[]watchdog.Entry{down("east", true), begin, dropped},
			"✕ east is down – the failover to west is not carried on", "what it stopped is started again, and it is seen whether its route has moved", false},
		"aborted": {[]watchdog.Entry{down("east", true), begin, end(actions.Outcome{Aborted: true, Error: "aborted by anna: wrong pool"})},
			"⏸ Failover of c to west was aborted", "aborted by anna: wrong pool", false},
		"interrupted": {[]watchdog.Entry{down("east", true), begin, end(actions.Outcome{Interrupted: true, Error: "edgewatch is stopping"})},
			"⏸ Failover of c to west was interrupted", "edgewatch is stopping", false},
		"by hand, nothing down": {[]watchdog.Entry{begin}, "▶ c – failing over to west", "the failover is carried through", false},
		"failing back":          {[]watchdog.Entry{beginKind(actions.Failback)}, "▶ c – failing back to east", "the failback is carried through", false},
		"failed back":           {[]watchdog.Entry{beginKind(actions.Failback), end(actions.Outcome{OK: true})}, "✓ c – failed back to east", "nothing", true},
		"failback failed":       {[]watchdog.Entry{beginKind(actions.Failback), end(failed)}, "✕ Failback of c to east failed – people are needed", failed.Error, false},
		"switching over":        {[]watchdog.Entry{beginKind(actions.Switchover)}, "▶ c – switching over to east", "the switchover is carried through", false},
		"switched over":         {[]watchdog.Entry{beginKind(actions.Switchover), end(actions.Outcome{OK: true})}, "✓ c – switched over to east", "nothing", true},
		"switchover aborted":    {[]watchdog.Entry{beginKind(actions.Switchover), end(actions.Outcome{Aborted: true, RouteMoved: true, Error: "x"})}, "⏸ Switchover of c to east was aborted", "x", false},
		"mending":               {[]watchdog.Entry{repair}, "▶ c – bringing route and records back to east", "the repair is carried through", false},
		"mended":                {[]watchdog.Entry{repair, end(actions.Outcome{OK: true})}, "✓ c – route and records brought back to east", "nothing", true},
		"not proven":            {[]watchdog.Entry{down("east", true), begin, end(actions.Outcome{OK: true, Skipped: []actions.StepName{actions.Verify}})}, "⚠ east is down – failed over to west, NOT PROVEN", "nothing", true},
		"asked":                 {[]watchdog.Entry{down("east", true), ask}, "✕ east is down – fail over to west? A person is asked", ask.Decision.Because, false},
		"approved":              {[]watchdog.Entry{down("east", true), ask, order(watchdog.VerbApprove)}, "✕ east is down – failover to west approved by anna", "the failover begins", false},
		"approved and running":  {[]watchdog.Entry{down("east", true), ask, order(watchdog.VerbApprove), begin}, "✕ east is down – failing over to west", "the failover is carried through", false},
		"denied":                {[]watchdog.Entry{down("east", true), ask, order(watchdog.VerbDeny), denied}, "✕ east is down – failover denied by anna", "anna denied the failover", false},
		"asked again":           {[]watchdog.Entry{down("east", true), ask, order(watchdog.VerbDeny), denied, order(watchdog.VerbAck), ask}, "✕ east is down – fail over to west? A person is asked", ask.Decision.Because, false},
		"asked after a failure": {[]watchdog.Entry{down("east", true), begin, end(actions.Outcome{Error: "x"}), ask},
			"✕ east is down – fail over to west? A person is asked", ask.Decision.Because, false},
		"being aborted":       {[]watchdog.Entry{down("east", true), begin, order(watchdog.VerbAbort)}, "✕ east is down – the failover to west is being aborted", "anna aborted it: what it stopped is started again", false},
		"adopted":             {[]watchdog.Entry{down("east", true), hold, order(watchdog.VerbAdopt)}, "✓ c – west carries federation, says anna", "nothing", true},
		"adopted half-way":    {[]watchdog.Entry{down("east", true), begin, end(failed), order(watchdog.VerbAdopt)}, "✓ c – west carries federation, says anna", "nothing", true},
		"retried after abort": {[]watchdog.Entry{down("east", true), begin, order(watchdog.VerbAbort), end(failed), order(watchdog.VerbRetry), {Chain: &watchdog.ChainStart{ID: "c-1.1", From: "east", To: "west", Retry: 1}}}, "✕ east is down – failing over to west", "the failover is carried through", false},
		"gone": {[]watchdog.Entry{down("east", true), ask, gone},
			"■ c is no longer configured – the incident is closed", "c is no longer configured: put it right", true},
		"gone in the middle": {[]watchdog.Entry{down("east", true), begin, gone},
			"⚠ c is no longer configured – the failover to west is not carried on", "c is no longer configured: put it right", true},
		"gone half-way": {[]watchdog.Entry{down("east", true), begin, end(failed), gone},
			"⚠ c is no longer configured – the failover to west is not through", "c is no longer configured: put it right", true},
		"gone, and put right": {[]watchdog.Entry{order(watchdog.VerbAck), begin, gone, order(watchdog.VerbAck)},
			"■ c is no longer configured – the incident was closed by anna", "nothing", true},
		"gone, and told again": {[]watchdog.Entry{begin, gone, order(watchdog.VerbAck), gone},
			"⚠ c is no longer configured – the failover to west is not carried on", "c is no longer configured: put it right", true},
		"gone, and back again": {[]watchdog.Entry{down("east", true), begin, gone, {Notice: &watchdog.Notice{Kind: watchdog.NoticeStarted, Text: "edgewatch started"}}},
			"✕ east is down – failing over to west", "the failover is carried through", false},
		"gone, put right, and back": {[]watchdog.Entry{down("east", true), begin, gone, order(watchdog.VerbAck), {Notice: &watchdog.Notice{Kind: watchdog.NoticeStarted}}},
			"✕ east is down", "", false},
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
		"→ *Holding:* paused by &lt;anna&gt; (held by: pause). Looked at again at 2026-11-22 12:54:02 UTC": {
			Decision: &watchdog.Decision{Will: watchdog.WillHold, Because: "paused by <anna>", BlockedBy: watchdog.GuardPause, NextAt: at}},
		"⌨ *pause for 2 h 0 min* by U0ANNA (anna) over slack: patching": {
			Command: &watchdog.Command{Verb: watchdog.VerbPause, For: 2 * time.Hour, Actor: "U0ANNA (anna)", Via: "slack", Reason: "patching"}},
		"✕ *Failover c-1.1 failed at set-route* after 40 s\nad1: Set-CsSite: refused – check the rights\nThe route was not moved." +
			"\n*Services are stopped on edge3, edge4: start them with* `Start-CsWindowsService -ComputerName …`": {
			ChainEnd: &watchdog.ChainEnd{ID: "c-1.1", Outcome: actions.Outcome{Step: actions.SetRoute, Error: "ad1: Set-CsSite: refused – check the rights", Took: 40 * time.Second, Stopped: []string{"edge3", "edge4"}}}},
		"→ *Asking a person about a failover to west:* east is down: approve west REASON, or deny REASON": {
			Decision: &watchdog.Decision{Will: watchdog.WillAsk, State: watchdog.AwaitingApproval, To: "west", BlockedBy: watchdog.GuardApproval, NextAt: at, Because: "east is down: approve west REASON, or deny REASON"}},
		"→ *Failing back to east:* it answers": {Decision: &watchdog.Decision{Will: watchdog.WillFailback, To: "east", Because: "it answers"}},
		"⌨ *approve west* by anna over slack: go": {
			Command: &watchdog.Command{Verb: watchdog.VerbApprove, Pool: "west", Actor: "anna", Via: "slack", Reason: "go"}},
		"⌨ *failback east --force* by anna over cli: now": {
			Command: &watchdog.Command{Verb: watchdog.VerbFailback, Pool: "east", Force: true, Actor: "anna", Via: "cli", Reason: "now"}},
		"⌨ *skip-step verify* by anna over cli: fine": {
			Command: &watchdog.Command{Verb: watchdog.VerbSkipStep, Step: "verify", Actor: "anna", Via: "cli", Reason: "fine"}},
		"▶ *Failback c-2.1 begins: west → east*\nTrigger: cli, by anna\nReason: home": {
			Chain: &watchdog.ChainStart{ID: "c-2.1", Kind: actions.Failback, From: "west", To: "east", Trigger: "cli", Actor: "anna", Reason: "home"}},
		"▶ *Repair c-2.1 of federation on east begins*\nTrigger: cli, by anna\nReason: DNS": {
			Chain: &watchdog.ChainStart{ID: "c-2.1", From: "west", To: "east", Repair: true, Trigger: "cli", Actor: "anna", Reason: "DNS"}},
		"▶ *Failover c-1.1 is taken up again: east → west* (try 2)\nTrigger: auto\nWithout verify: left out by anna: fine": {
			Chain: &watchdog.ChainStart{ID: "c-1.1", From: "east", To: "west", Trigger: "auto", Retry: 1, Skip: map[actions.StepName]string{actions.Verify: "left out by anna: fine"}}},
		"✓ *Switchover c-2.1 done* in 40 s: partners reach federation again": {
			ChainEnd: &watchdog.ChainEnd{ID: "c-2.1", Kind: actions.Switchover, Outcome: actions.Outcome{OK: true, Took: 40 * time.Second}}},
		"⏸ *Failback c-2.1 was aborted at check-port* after 40 s\naborted by anna\nThe route was moved already; nothing is rolled back.": {
			ChainEnd: &watchdog.ChainEnd{ID: "c-2.1", Kind: actions.Failback, Outcome: actions.Outcome{Aborted: true, RouteMoved: true, Step: actions.CheckPort, Error: "aborted by anna", Took: 40 * time.Second}}},
		"✕ east is down again":            {Notice: &watchdog.Notice{Kind: watchdog.NoticeOldPoolGone, Pool: "east", Text: "east is down again"}},
		"⏸ anna still holds":              {Notice: &watchdog.Notice{Kind: watchdog.NoticeHeld, Text: "anna still holds"}},
		"✕ partners do not find it":       {Notice: &watchdog.Notice{Kind: watchdog.NoticePartnerLost, Text: "partners do not find it"}},
		"⚠ the witness is silent":         {Notice: &watchdog.Notice{Kind: watchdog.NoticeWitnessSilent, Text: "the witness is silent"}},
		"⚠ DNS tells nothing":             {Notice: &watchdog.Notice{Kind: watchdog.NoticeDNSBlind, Text: "DNS tells nothing"}},
		"✓ DNS tells again":               {Notice: &watchdog.Notice{Kind: watchdog.NoticeDNSBack, Text: "DNS tells again"}},
		"✓ the witness answers":           {Notice: &watchdog.Notice{Kind: watchdog.NoticeWitnessBack, Text: "the witness answers"}},
		"✓ partners find it again":        {Notice: &watchdog.Notice{Kind: watchdog.NoticePartnerBack, Text: "partners find it again"}},
		"⚠ DNS leads to &lt;!channel&gt;": {Notice: &watchdog.Notice{Kind: watchdog.NoticeDrift, Pool: "east", Text: "DNS leads to <!channel>"}},
		"journal entry 7 of kind new":     {Seq: 7, Kind: "new"},
	} {
		if diff := cmp.Diff(want, detail(e)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
}

// The card of a federation that is no longer configured asks nobody for anything
// and offers nothing: edgewatch would refuse it.
func TestTheCardOfAGoneFederationAsksNothing(t *testing.T) {
	at := time.Date(2026, 11, 22, 12, 54, 2, 0, time.UTC)
	n := &incident{ID: "c-1", Federation: "c"}
	for i, e := range []watchdog.Entry{
		{Pool: &watchdog.PoolChange{Pool: "east", Tripped: true}},
		{Command: &watchdog.Command{Verb: watchdog.VerbPause, For: time.Hour, Actor: "anna"}},
		{Command: &watchdog.Command{Verb: watchdog.VerbHold, Actor: "anna"}},
		{Decision: &watchdog.Decision{Will: watchdog.WillAsk, To: "west", Because: "approve", NextAt: at.Add(time.Hour)}},
	} {
		e.Seq, e.At = uint64(i+1), at
		n.fold(e)
	}
	if len(n.buttons()) == 0 || !strings.Contains(n.text(), "approve") {
		t.Fatal("it asks nobody while the federation is configured")
	}
	n.fold(watchdog.Entry{Seq: 9, At: at, Notice: &watchdog.Notice{Kind: watchdog.NoticeFederationGone, Text: "c is no longer configured"}})
	if got := n.buttons(); len(got) > 0 {
		t.Errorf("%d buttons", len(got))
	}
	if got := n.text(); got != n.title() {
		t.Errorf("text %q", got)
	}
	for _, f := range n.fields() {
		if strings.Contains(f.Text, "until") || strings.Contains(f.Text, "Held") {
			t.Errorf("it counts no more: %q", f.Text)
		}
	}
}

// The card says until when a pause lasts by the clock as it is now, and says
// nothing of one that has ended.
func TestPauseOfTheCardFollowsTheClock(t *testing.T) {
	began := time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	n := &incident{ID: "c-1", Federation: "c"}
	seq := uint64(0)
	fold := func(at time.Time, e watchdog.Entry) {
		seq++
		e.Seq, e.At, e.Incident = seq, at, "c-1"
		n.fold(e)
	}
	leap := func(at time.Time, by time.Duration) {
		fold(at, watchdog.Entry{Kind: watchdog.KindNotice, Notice: &watchdog.Notice{Kind: watchdog.NoticeClock, By: by}})
	}
	until := func(want time.Time) {
		t.Helper()
		if n.Paused == nil || !n.Paused.Until.Equal(want) {
			t.Errorf("paused %+v, want until %s", n.Paused, want)
		}
	}
	fold(began, watchdog.Entry{Kind: watchdog.KindCommand, Command: &watchdog.Command{Verb: watchdog.VerbPause, For: time.Hour, Actor: "anna"}})
	until(began.Add(time.Hour))
	leap(began.Add(2*time.Hour), 2*time.Hour)
	until(began.Add(3 * time.Hour))
	leap(began.Add(30*time.Minute), -2*time.Hour)
	until(began.Add(90 * time.Minute))
	leap(began.Add(40*time.Minute), 87600*time.Hour) // it was years behind since edgewatch began
	until(began.Add(100 * time.Minute))
	fold(began.Add(90*time.Minute), watchdog.Entry{Kind: watchdog.KindNotice, Notice: &watchdog.Notice{Kind: watchdog.NoticePauseEnded}})
	if n.Paused != nil {
		t.Errorf("its end was told, and it is shown: %+v", n.Paused)
	}
}

// The card of a federation that is configured again says what it said before,
// whether the start belongs to its incident or not.
func TestTheCardOfAFederationThatIsBack(t *testing.T) {
	d := newDiary(t)
	d.tell(t, story("contoso-7")...)
	title := func() string { return d.box.st.Threads["contoso-7"].Incident.title() }
	notice := func(federation, incident string, kind watchdog.NoticeKind) watchdog.Entry {
		return watchdog.Entry{Federation: federation, Incident: incident, At: time.Now(), Kind: watchdog.KindNotice, Notice: &watchdog.Notice{Kind: kind, Text: "it is so"}}
	}
	before := title()
	d.tell(t, notice("contoso", "contoso-7", watchdog.NoticeFederationGone), notice("fabrikam", "", watchdog.NoticeStarted))
	if got := title(); got == before {
		t.Errorf("contoso is gone, and its card says %q", got)
	}
	clear(d.box.edited) // the card was last edited long ago
	d.tell(t, notice("contoso", "", watchdog.NoticeStarted))
	if got := title(); got != before {
		t.Errorf("%q was %q, and contoso is configured again", got, before)
	}
	if last := d.srv.Thread(d.srv.Messages()[0].TS)[0]; !strings.Contains(blocksOf(last), before) {
		t.Errorf("the card in the channel:\n%s", blocksOf(last))
	}
}
