package slack

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgewatch/actions"
	"edgewatch/watchdog"
	"edgewatch/watchdog/slack/slacktest"
)

func notice(text string, at time.Time) watchdog.Entry {
	return watchdog.Entry{Federation: "contoso", At: at, Kind: watchdog.KindNotice, Notice: &watchdog.Notice{Kind: watchdog.NoticeStarted, Text: text}}
}

// checkStory holds Slack to story's messages: each once, in order, the
// incident's message and every step's reply at their last word.
func (r *rig) checkStory(t *testing.T) {
	t.Helper()
	msgs := r.srv.Messages()
	if diff := cmp.Diff(toldStory, ids(msgs)); diff != "" {
		t.Fatalf("messages (-want +got):\n%s\n%s", diff, show(msgs))
	}
	for _, m := range msgs[1:] {
		if m.ThreadTS != msgs[0].TS {
			t.Errorf("%v is not in the thread", m.Metadata["id"])
		}
	}
	if want := "✓ EdgePool1 is down – failed over to EdgePool2"; msgs[0].Text != want {
		t.Errorf("incident says %q, want %q", msgs[0].Text, want)
	}
	if want := "✓ stop-services finished in 1.2 s\n✓ edge3: done in 1.2 s\n✓ edge4: done in 1.2 s"; msgs[5].Text != want {
		t.Errorf("step says %q, want %q", msgs[5].Text, want)
	}
}

func TestIncidentIsOneMessageWithAThreadInJournalOrder(t *testing.T) {
	r := newRig(t)
	r.start(t)
	for _, e := range story("contoso-7") {
		r.add(t, e)
		r.told(t)
	}
	r.checkStory(t)
	msgs := r.srv.Messages()
	if len(msgs[0].Edits) == 0 {
		t.Error("the incident's message was never edited")
	}
	if all := blocksOf(msgs[1]); !strings.Contains(all, "192.0.2.1:5269: refused at connect") || strings.Contains(all, "<!channel>") {
		t.Errorf("evidence is missing or not escaped:\n%s", all)
	}
	for _, m := range msgs {
		// Otherwise Slack makes links and mentions of what a reason or a
		// server's error text holds, e.g. "@channel" or an address.
		if all := blocksOf(m); strings.Count(all, `"mrkdwn"`) != strings.Count(all, `"verbatim": true`) {
			t.Errorf("text that Slack parses:\n%s", all)
		}
	}
	until(t, func() bool { return r.slack.Health() == nil })
	if st := r.slack.Stats(); st.Outbox != 0 || st.Sent < uint64(len(toldStory)) || st.Failed != 0 {
		t.Errorf("stats: %+v", st)
	}
}

// Every way in which Slack can fail, met once at each of the first posts:
// the outcome is always the same messages, once, in order.
func TestFailuresDelayAndNeverLoseDoubleOrReorder(t *testing.T) {
	faults := map[string]slacktest.Fault{
		"500, not done":           {Status: 500},
		"500, done":               {Status: 500, Late: true},
		"answer lost":             {Drop: true},
		"429":                     {Status: 429, RetryAfter: time.Second, Times: 1},
		"429 without retry-after": {Status: 429},
		"ratelimited":             {Error: "ratelimited"},
		"fatal_error, done":       {Error: "fatal_error", Late: true},
		"channel_not_found":       {Error: "channel_not_found"},
		"proxy says 403":          {Status: 403},
	}
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			f.Method = "chat.postMessage"
			for skip := range len(toldStory) {
				if f.RetryAfter > 0 && skip != 3 {
					continue // it takes a real second
				}
				f := f
				f.Skip, f.Times = skip, 1
				r.srv.Fail(f)
			}
			r.add(t, story("contoso-7")...)
			r.start(t)
			r.told(t)
			r.checkStory(t)
			until(t, func() bool { return r.slack.Health() == nil })
			if st := r.slack.Stats(); st.Failed == 0 {
				t.Errorf("stats: %+v", st)
			}
		})
	}
}

func TestEveryCallFailingForAWhile(t *testing.T) {
	for name, f := range map[string]slacktest.Fault{
		"500": {Status: 500, Times: 30}, "503 done": {Status: 503, Late: true, Times: 30}, "lost answers": {Drop: true, Times: 30},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.start(t, noCommands)
			r.add(t, story("contoso-7")[:3]...)
			r.told(t)
			f.If = func(map[string]string) bool { return true }
			r.srv.Fail(f)
			for _, e := range story("contoso-7")[3:] {
				r.add(t, e)
			}
			r.told(t)
			r.checkStory(t)
		})
	}
}

func noCommands(o *Options) { o.AppToken = actions.Secret{} }

func TestOutageRaisesHealthAndEndsIt(t *testing.T) {
	r := newRig(t)
	r.start(t)
	r.add(t, story("contoso-7")[:2]...)
	r.told(t)
	r.srv.Down()
	r.add(t, story("contoso-7")[2:]...)
	until(t, func() bool {
		err := r.slack.Health()
		return err != nil && strings.Contains(err.Error(), "check that edgewatch can reach") && r.slack.Stats().Outbox > 0 && r.slack.Stats().OldestAge > 0
	})
	if err := r.srv.Up(); err != nil {
		t.Fatal(err)
	}
	r.told(t)
	r.checkStory(t)
	until(t, func() bool { return r.slack.Health() == nil && r.slack.Stats().Outbox == 0 })
}

// until polls what no event tells of.
func until(t *testing.T, cond func() bool) {
	t.Helper()
	ctx, tick := deadline(t), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("it did not come true")
		}
	}
}

func TestPermanentErrorsAreRaisedWithTheNextThingToDo(t *testing.T) {
	for code, next := range map[string]string{
		"channel_not_found": "/invite @edgewatch",
		"not_in_channel":    "/invite @edgewatch",
		"invalid_auth":      "new tokens",
		"missing_scope":     "manifest",
		"is_archived":       "unarchive",
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			heal := r.srv.Fail(slacktest.Fault{Method: "chat.postMessage", Error: code})
			r.add(t, story("contoso-7")...)
			r.start(t, noCommands)
			until(t, func() bool {
				err := r.slack.Health()
				return err != nil && strings.Contains(err.Error(), code) && strings.Contains(err.Error(), next)
			})
			heal()
			r.told(t)
			r.checkStory(t)
			until(t, func() bool { return r.slack.Health() == nil })
		})
	}
}

// A crash between any post and the saving of the cursor: the next process
// begins with the cursor as it was before that post.
func TestCrashBetweenPostAndSave(t *testing.T) {
	r := newRig(t)
	r.add(t, story("contoso-7")...)
	for r.store.after(t) < 17 {
		saved := 0
		r.store.set(func() { saved = r.store.saves })
		// Everything after the first save of this life is lost, as if the
		// process had died after the post that follows it.
		r.store.set(func() { r.store.failSave = 0 })
		ctx, cancel := context.WithCancel(t.Context())
		crash := &crashing{store: r.store, left: 1, die: cancel}
		o := r.options()
		o.AppToken, o.Cursors = actions.Secret{}, crash
		s, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		_ = s.Run(ctx)
		cancel()
		now := 0
		r.store.set(func() { now = r.store.saves })
		if now == saved {
			t.Fatal("a life without progress")
		}
	}
	r.start(t)
	r.told(t)
	r.checkStory(t)
}

// crashing saves a few times, then loses a save and kills its process.
type crashing struct {
	*store
	left int
	die  func()
}

func (c *crashing) SaveCursor(ctx context.Context, name string, data []byte) error {
	if c.left == 0 {
		c.die()
		return context.Canceled
	}
	c.left--
	return c.store.SaveCursor(ctx, name, data)
}

func TestUnsavedCursorHoldsTheNextPost(t *testing.T) {
	r := newRig(t)
	r.start(t, noCommands)
	r.add(t, notice("one", time.Now()))
	r.told(t)
	r.store.set(func() { r.store.failSave = 20 })
	r.add(t, notice("two", time.Now()), notice("three", time.Now()))
	until(t, func() bool {
		r.store.mu.Lock()
		defer r.store.mu.Unlock()
		return r.store.failSave <= 5
	})
	if got := len(r.srv.Messages()); got != 2 {
		t.Errorf("%d messages while nothing can be saved, want 2", got)
	}
	if !strings.Contains(r.slack.Health().Error(), "save the cursor") {
		t.Errorf("health: %v", r.slack.Health())
	}
	r.told(t)
	if diff := cmp.Diff([]string{"event:contoso/1", "event:contoso/2", "event:contoso/3"}, ids(r.srv.Messages())); diff != "" {
		t.Error(diff)
	}
}

func TestOneBadEntryDoesNotStopTheQueue(t *testing.T) {
	for code, fits := range map[string]func(map[string]string) bool{
		"invalid_blocks":       func(f map[string]string) bool { return f["blocks"] != "" },
		"msg_too_long":         func(f map[string]string) bool { return len(f["text"]) > 200 },
		"something_new":        func(f map[string]string) bool { return f["blocks"] != "" },
		"metadata_too_large":   func(f map[string]string) bool { return f["metadata"] != "" },
		"invalid_metadata_foo": func(f map[string]string) bool { return f["metadata"] != "" },
	} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.srv.Fail(slacktest.Fault{Error: code, If: fits})
			r.start(t, noCommands)
			r.add(t, story("contoso-7")[0], notice(strings.Repeat("x ", 3000), time.Now()), story("contoso-7")[1])
			r.told(t)
			if got := len(r.srv.Messages()); got != 4 {
				t.Errorf("%d messages, want 4:\n%s", got, show(r.srv.Messages()))
			}
		})
	}
}

func TestLateMessagesSaySo(t *testing.T) {
	r := newRig(t)
	r.start(t, noCommands)
	r.add(t, notice("started", time.Now().Add(-14*time.Minute-time.Second)), notice("started", time.Now()))
	r.told(t)
	msgs := r.srv.Messages()
	if want := "(sent 14 min late)"; !strings.Contains(msgs[0].Text, want) || !strings.Contains(blocksOf(msgs[0]), want) || strings.Contains(msgs[1].Text, "late") {
		t.Errorf("late marks:\n%s", show(msgs))
	}
}

func TestFirstStartSkipsWhatIsOld(t *testing.T) {
	r := newRig(t)
	r.add(t, notice("long ago", time.Now().Add(-25*time.Hour)), notice("just now", time.Now()))
	r.start(t, noCommands)
	r.told(t)
	if diff := cmp.Diff([]string{"event:contoso/2"}, ids(r.srv.Messages())); diff != "" {
		t.Error(diff)
	}
}

func TestFederationsDoNotMix(t *testing.T) {
	r := newRig(t)
	a, b := story("contoso-7"), story("fabrikam-2")
	for i := range b {
		b[i].Federation = "fabrikam"
		r.add(t, a[i], b[i])
	}
	r.start(t, noCommands)
	r.told(t)
	for _, root := range r.srv.Messages() {
		if root.Metadata["part"] != partIncident {
			continue
		}
		thread := r.srv.Thread(root.TS)
		if len(thread) != len(toldStory) {
			t.Errorf("thread of %v has %d messages:\n%s", root.Metadata["id"], len(thread), show(thread))
		}
		for _, m := range thread {
			if m.Metadata["incident"] != root.Metadata["incident"] {
				t.Errorf("%v is in the thread of %v", m.Metadata["id"], root.Metadata["id"])
			}
		}
	}
}

func TestStepThatRunsAgainHasAReplyOfItsOwn(t *testing.T) {
	r := newRig(t)
	s := story("contoso-7")
	failed := s[13]
	rec := *failed.Step
	rec.Phase, rec.Error = actions.Failed, "site1: Set-CsSite: refused – check the rights"
	failed.Step = &rec
	r.start(t, noCommands)
	r.add(t, s[2], s[12], failed)
	r.told(t)
	r.add(t, s[12], s[13])
	r.told(t)
	msgs := r.srv.Messages()
	if diff := cmp.Diff([]string{"incident:contoso/1", ">event:contoso/1", ">event:contoso/2", ">event:contoso/4"}, ids(msgs)); diff != "" {
		t.Fatal(diff)
	}
	if !strings.Contains(msgs[2].Text, "check the rights") || !strings.Contains(msgs[3].Text, "finished") {
		t.Error(show(msgs))
	}
}

func TestDeletedIncidentMessageBeginsAnew(t *testing.T) {
	r := newRig(t)
	r.start(t, noCommands)
	s := story("contoso-7")
	r.add(t, s[0])
	r.told(t)
	r.srv.Delete(r.srv.Messages()[0].TS)
	r.add(t, s[1])
	r.told(t)
	r.add(t, s[2])
	r.told(t)
	msgs := r.srv.Messages()
	if last := msgs[len(msgs)-1]; last.Metadata["id"] != "contoso/3" || last.ThreadTS == "" {
		t.Errorf("the newest event is not in a thread:\n%s", show(msgs))
	}
}

func TestUneditableStepIsToldInANewReply(t *testing.T) {
	r := newRig(t)
	r.start(t, noCommands)
	s := story("contoso-7")
	r.add(t, s[2], s[12])
	r.told(t)
	r.srv.Fail(slacktest.Fault{Method: "chat.update", Error: "edit_window_closed"})
	r.add(t, s[13])
	r.told(t)
	if diff := cmp.Diff([]string{"incident:contoso/1", ">event:contoso/1", ">event:contoso/2", ">event:contoso/3"}, ids(r.srv.Messages())); diff != "" {
		t.Error(diff)
	}
}

func TestPaceSpacesMessages(t *testing.T) {
	r := newRig(t)
	began := time.Now()
	r.add(t, notice("1", began), notice("2", began), notice("3", began))
	r.start(t, noCommands, func(o *Options) { o.Pace = 50 * time.Millisecond })
	r.told(t)
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("three messages took %s, with 50 ms between them", took)
	}
}

func TestStopWhileSlackHangs(t *testing.T) {
	r := newRig(t)
	r.srv.Fail(slacktest.Fault{Method: "chat.postMessage", Hang: true})
	r.add(t, story("contoso-7")...)
	r.start(t, noCommands)
	if err := r.srv.Until(deadline(t), func() bool { return r.srv.Calls("chat.postMessage") > 0 }); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	r.stop()
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("Run took %s to end", took)
	}
	r.srv.Heal()
	r.start(t)
	r.told(t)
	r.checkStory(t)
}

func TestMissingHistoryScopeIsRaisedAndStopsNothing(t *testing.T) {
	r := newRig(t)
	for _, m := range []string{"conversations.history", "conversations.replies"} {
		r.srv.Fail(slacktest.Fault{Method: m, Error: "missing_scope"})
	}
	r.add(t, story("contoso-7")...)
	r.start(t, noCommands)
	r.told(t)
	r.checkStory(t)
	if err := r.slack.Health(); err == nil || !strings.Contains(err.Error(), "manifest") {
		t.Errorf("health: %v", err)
	}
}
