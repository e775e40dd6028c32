package slack

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgewatch/watchdog"
	"edgewatch/watchdog/slack/slacktest"
)

// diary is a rig whose outbox works when it is told to.
type diary struct {
	*rig
	box *outbox
}

func newDiary(t *testing.T) *diary {
	t.Helper()
	d := &diary{rig: newRig(t)}
	d.restart(t)
	return d
}

// restart is another process with the same state.
func (d *diary) restart(t *testing.T) {
	t.Helper()
	o := d.options()
	noCommands(&o)
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	d.box = newOutbox(s)
}

func (d *diary) tell(t *testing.T, entries ...watchdog.Entry) {
	t.Helper()
	d.add(t, entries...)
	if _, err := d.box.round(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// later lets so much time pass for every burst.
func (d *diary) later(by time.Duration) {
	for _, q := range d.box.st.Bursts {
		q.began, q.newest = q.began.Add(-by), q.newest.Add(-by)
		q.First, q.Last.At = q.First.Add(-by), q.Last.At.Add(-by)
	}
}

// channel is what somebody reads who opens no thread.
func (d *diary) channel() (texts []string) {
	for _, m := range d.srv.Messages() {
		if m.ThreadTS == "" || m.Broadcast {
			texts = append(texts, m.Text)
		}
	}
	return texts
}

func leapt(by time.Duration) watchdog.Entry {
	return watchdog.Entry{Federation: "contoso", At: time.Now().Add(by), Kind: watchdog.KindNotice, Notice: &watchdog.Notice{Kind: watchdog.NoticeClock, By: by, Text: fmt.Sprintf("the clock was set by %s", by)}}
}

func drift(to string) watchdog.Entry {
	return watchdog.Entry{Federation: "contoso", At: time.Now(), Kind: watchdog.KindNotice, Notice: &watchdog.Notice{Kind: watchdog.NoticeDrift, Domain: "contoso.com", Pool: to, Text: fmt.Sprintf("DNS leads to %q", to)}}
}

// Two time services set the clock back and forth all day: the channel is shown
// that a few times, all of it stands in a thread, in order, and a day later it is
// shown again, with what was left out.
func TestAClockThatIsSetAllTheTimeDoesNotFillTheChannel(t *testing.T) {
	d := newDiary(t)
	for range 40 {
		d.tell(t, leapt(time.Hour), leapt(-time.Hour))
		d.later(10 * time.Minute)
	}
	msgs := d.srv.Messages()
	if shown := d.channel(); len(shown) != burstLoud {
		t.Errorf("the channel was shown %d of 80", len(shown))
	}
	if thread := d.srv.Thread(msgs[burstLoud-1].TS); len(msgs) != 80 || len(thread) != 80-burstLoud+1 {
		t.Errorf("%d messages, %d of them in the thread", len(msgs), len(thread))
	}
	if all := blocksOf(msgs[burstLoud-1]); !strings.Contains(all, "from now on in the thread") {
		t.Errorf("the last that is shown does not say where the others are:\n%s", all)
	}
	for i, m := range msgs {
		if id := fmt.Sprintf("contoso/%d", i+1); m.Metadata["id"] != id {
			t.Fatalf("message %d tells %v", i, m.Metadata["id"])
		}
	}
	d.later(burstLong)
	for _, q := range d.box.st.Bursts {
		q.newest = time.Now()
	}
	d.tell(t, leapt(time.Hour))
	if last := d.srv.Messages()[80]; last.ThreadTS != "" || !strings.Contains(blocksOf(last), "was not shown 77 more since") {
		t.Errorf("a day later:\n%s", blocksOf(last))
	}
}

// However often DNS flapped, the channel is shown what is so in the end, once,
// also by another process than the one that told the rest.
func TestHowDriftEndsIsShown(t *testing.T) {
	for name, c := range map[string]struct {
		then []watchdog.Entry
		want []string
	}{
		"as it was shown last": {[]watchdog.Entry{drift(""), drift("EdgePool2")}, nil},
		"otherwise":            {[]watchdog.Entry{drift(""), drift("EdgePool2"), drift("")}, []string{`DNS leads to ""`}},
		"to yet another pool":  {[]watchdog.Entry{drift("EdgePool3")}, []string{`DNS leads to "EdgePool3"`}},
	} {
		t.Run(name, func(t *testing.T) {
			d := newDiary(t)
			d.tell(t, drift("EdgePool2"), drift(""), drift("EdgePool2"))
			d.tell(t, c.then...)
			d.restart(t)
			d.tell(t)
			if shown := d.channel(); len(shown) != burstLoud {
				t.Fatalf("shown %q", shown)
			}
			for range 2 {
				d.later(burstCalm)
				d.tell(t)
			}
			shown := d.channel()[burstLoud:]
			for i := range shown {
				shown[i], _, _ = strings.Cut(shown[i], " – so since")
			}
			if diff := cmp.Diff(c.want, shown, cmp.Transformer("empty", func(s []string) string { return strings.Join(s, "\n") })); diff != "" {
				t.Errorf("in the end (-want +got):\n%s", diff)
			}
			d.tell(t, drift("EdgePool4"))
			if got := d.channel(); len(got) != burstLoud+len(c.want)+1 {
				t.Errorf("after the burst the channel is shown news again: %q", got)
			}
		})
	}
}

// In an incident each notice stays in its thread, and the rest of a burst is not
// shown in the channel too.
func TestABurstWithinAnIncidentStaysInItsThread(t *testing.T) {
	d := newDiary(t)
	of := func(e watchdog.Entry) watchdog.Entry { e.Incident = "contoso-7"; return e }
	d.tell(t, story("contoso-7")[0])
	for range 4 {
		d.tell(t, of(drift("EdgePool2")), of(drift("")))
	}
	if shown := d.channel(); len(shown) != 1+burstLoud {
		t.Errorf("shown %q", shown)
	}
	msgs := d.srv.Messages()
	if thread := d.srv.Thread(msgs[0].TS); len(thread) != len(msgs) || len(msgs) != 2+8 {
		t.Errorf("%d of %d messages are in the thread", len(thread), len(msgs))
	}
	d.tell(t, drift("EdgePool2")) // the incident is over
	d.tell(t, drift(""))
	msgs = d.srv.Messages()
	if root := msgs[10]; root.ThreadTS != "" || msgs[11].ThreadTS != root.TS {
		t.Errorf("after it:\n%s", show(msgs[10:]))
	}
	d.later(burstCalm)
	d.tell(t)
	if got := len(d.srv.Messages()); got != 13 {
		t.Errorf("%d messages in the end", got)
	}
}

// Whoever deletes the message in whose thread the rest is told loses nothing: a
// message in the channel takes its place.
func TestABurstWhoseThreadIsGoneGoesOn(t *testing.T) {
	d := newDiary(t)
	d.tell(t, leapt(time.Hour), leapt(-time.Hour), leapt(time.Hour))
	d.srv.Fail(slacktest.Fault{Method: "chat.postMessage", Error: "thread_not_found", Times: 1})
	d.add(t, leapt(-time.Hour), leapt(time.Hour))
	if _, err := d.box.round(t.Context()); err == nil {
		t.Fatal("it did not fail")
	}
	d.tell(t)
	if diff := cmp.Diff([]string{"event:contoso/1", "event:contoso/2", "event:contoso/3", "event:contoso/4", ">event:contoso/5"}, ids(d.srv.Messages())); diff != "" {
		t.Error(diff)
	}
}

// The end of a burst that Slack does not take at first is shown all the same.
func TestHowDriftEndsIsShownAlthoughSlackWasDown(t *testing.T) {
	d := newDiary(t)
	d.tell(t, drift("EdgePool2"), drift(""), drift("EdgePool2"), drift(""))
	d.later(burstCalm)
	d.srv.Fail(slacktest.Fault{Method: "chat.postMessage", Status: 500, Late: true, Times: 1})
	if _, err := d.box.round(t.Context()); err == nil {
		t.Fatal("it did not fail")
	}
	d.tell(t)
	if shown := d.channel(); len(shown) != burstLoud+1 {
		t.Errorf("shown %q", shown)
	}
}

// A process that is started more often than once an hour shows how drift ended all
// the same.
func TestHowDriftEndsIsShownAlthoughNoProcessLasts(t *testing.T) {
	d := newDiary(t)
	d.tell(t, drift("EdgePool2"), drift(""), drift("EdgePool2"), drift(""), drift("EdgePool3"))
	for range 3 {
		d.later(burstCalm / 2)
		if err := d.box.save(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.restart(t)
		d.tell(t)
	}
	if shown := d.channel(); len(shown) != burstLoud+1 || !strings.Contains(shown[burstLoud], "EdgePool3") {
		t.Errorf("shown %q", shown)
	}
}
