package slack

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgewatch/watchdog"
	"edgewatch/watchdog/slack/slacktest"
)

func TestClosedWakeFallsBackToPolling(t *testing.T) {
	r := newRig(t)
	wake := make(chan struct{})
	close(wake)
	r.start(t, noCommands, func(o *Options) { o.Wake = wake })
	r.add(t, notice("one", time.Now()))
	r.told(t)
	r.add(t, notice("two", time.Now()))
	r.told(t)
}

func TestUnreadableCursorBeginsAnew(t *testing.T) {
	for name, cursor := range map[string]string{"broken": "{", "later version": `{"version": 9}`} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.store.cursor = []byte(cursor)
			r.add(t, notice("one", time.Now()))
			o := r.options()
			noCommands(&o)
			s, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			if err := newOutbox(s).load(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAnotherChannelKeepsThePlaceInTheJournal(t *testing.T) {
	r := newRig(t)
	r.start(t, noCommands)
	s := story("contoso-7")
	r.add(t, s[0])
	r.told(t)
	r.stop()
	r.add(t, s[1])
	r.start(t, noCommands, func(o *Options) { o.Channel = "C0OTHER" })
	if _, err := r.srv.Wait(deadline(t), func(m slacktest.Message) bool {
		return m.Channel == "C0OTHER" && m.ThreadTS != "" && m.Metadata["id"] == "contoso/2"
	}); err != nil {
		t.Error(err)
	}
}

func TestJournalTroubleIsRaised(t *testing.T) {
	r := newRig(t)
	r.store.failRead = true
	r.start(t, noCommands)
	until(t, func() bool {
		return r.slack.Health() != nil && strings.Contains(r.slack.Health().Error(), "state file")
	})
	r.store.set(func() { r.store.failRead = false })
	until(t, func() bool { return r.slack.Health() == nil })
}

// A state file restored from a backup numbers its new entries and incidents
// like those that were told and lost: they are told all the same, each in a
// message of its own.
func TestRestoredBackupTellsEverythingAnew(t *testing.T) {
	r := newRig(t)
	r.start(t, noCommands)
	r.add(t, notice("one", time.Now()))
	r.told(t)
	r.stop()
	saved := r.store.cursor
	for _, life := range []struct {
		entries  []watchdog.Entry
		messages int
	}{
		{[]watchdog.Entry{notice("two", time.Now())}, 1}, {[]watchdog.Entry{notice("EdgePool1 is down", time.Now())}, 1},
		{story("contoso-2"), len(toldStory)}, {story("contoso-2")[:2], 3},
	} {
		r.store.set(func() { r.store.entries, r.store.cursor = r.store.entries[:1], saved })
		before := len(r.srv.Messages())
		r.add(t, life.entries...)
		r.start(t, noCommands)
		r.told(t)
		r.stop()
		if msgs := r.srv.Messages(); len(msgs) != before+life.messages {
			t.Errorf("%d messages more, want %d:\n%s", len(msgs)-before, life.messages, show(msgs))
		}
	}
}

// What an earlier version posted, without the entry's time in its metadata, is
// recognized.
func TestMessagesOfEarlierVersionsAreRecognized(t *testing.T) {
	n := messageOf(7, time.Now())
	old := n
	old.at = time.Time{}
	other := n
	other.at = n.at.Add(time.Second)
	if !n.is(old.metadata()) || !old.is(n.metadata()) || !n.is(n.metadata()) || n.is(other.metadata()) {
		t.Errorf("%v, %v", n.metadata(), old.metadata())
	}
}

func TestManyIncidentsAreForgottenInOrder(t *testing.T) {
	r := newRig(t)
	for i := range maxThreads + 10 {
		e := story(fmt.Sprintf("contoso-%d", i))[0]
		r.add(t, e)
	}
	r.start(t, noCommands)
	r.told(t)
	st, err := readState(r.store.cursor, channel)
	if err != nil {
		t.Fatal(err)
	}
	if _, oldest := st.Threads["contoso-0"]; len(st.Threads) != maxThreads || oldest {
		t.Errorf("%d incidents remembered, the oldest %t", len(st.Threads), oldest)
	}
}

// A lost probe now and then is one message that is edited, not one more each
// time: nobody learns to look away.
func TestRoutineIsOneMessage(t *testing.T) {
	r := newRig(t)
	r.start(t, noCommands)
	because := func(state watchdog.State, why string) watchdog.Entry {
		return watchdog.Entry{Federation: "contoso", At: time.Now(), Kind: watchdog.KindDecision, Decision: &watchdog.Decision{Will: watchdog.WillWatch, State: state, Because: why}}
	}
	for range 20 {
		r.add(t, because(watchdog.Confirming, "EdgePool1 does not answer"))
		r.told(t)
		r.add(t, because(watchdog.Watching, "EdgePool1 answers"))
		r.told(t)
	}
	msgs := r.srv.Messages()
	if len(msgs) != 1 || !strings.Contains(msgs[0].Text, "28 earlier, see history") || !strings.Contains(msgs[0].Text, "Confirming: EdgePool1 does not answer") {
		t.Fatalf("messages:\n%s", show(msgs))
	}
	r.add(t, story("contoso-7")[0], because(watchdog.Watching, "later"))
	r.told(t)
	if diff := cmp.Diff([]string{"event:contoso/1", "incident:contoso/41", ">event:contoso/41", "event:contoso/42"}, ids(r.srv.Messages())); diff != "" {
		t.Error(diff)
	}
}

func TestFlushTellsEverything(t *testing.T) {
	r := newRig(t)
	r.start(t, noCommands, func(o *Options) {
		o.Wake, o.Timing.Poll, o.Timing.Coalesce = nil, time.Hour, time.Hour
	})
	until(t, func() bool { return r.slack.Flush(t.Context()) == nil })
	r.add(t, story("contoso-7")...)
	if err := r.slack.Flush(deadline(t)); err != nil {
		t.Fatal(err)
	}
	r.checkStory(t)
	r.srv.Down()
	r.add(t, notice("more", time.Now()))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := r.slack.Flush(ctx); err == nil {
		t.Error("flushed into nothing")
	}
}
