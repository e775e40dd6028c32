package watchdog_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// successor is a life of edgewatch whose configuration calls contoso otherwise.
type successor struct {
	*watchdog.Supervisor
	gone   *watchdog.GoneFederations
	cancel context.CancelFunc
	ended  chan error
}

// rename begins such a life, which tells what it has to.
func rename(t *testing.T, w *estate, j *watchdogtest.MemJournal) *successor {
	t.Helper()
	s := testSettings()
	s.Rules.Federation = "contoso-com"
	o := watchdog.GoneOptions{Names: []string{"contoso"}, Journal: j}
	if known, err := j.Read(t.Context(), "contoso-com", 0, 1); err != nil || len(known) == 0 {
		o.New = []watchdog.Rules{s.Rules}
	}
	gone, err := watchdog.ReadGone(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	n := &successor{
		Supervisor: watchdog.NewSupervisor(j, watchdog.NewEngine(s, watchdog.Ports{Senses: w.senses(), Plan: w.plan, Journal: j})),
		gone:       gone, ended: make(chan error, 1),
	}
	n.Mind(gone)
	ctx, cancel := context.WithCancel(t.Context())
	n.cancel = cancel
	go func() { n.ended <- n.Run(ctx) }()
	if err := gone.Tell(t.Context()); err != nil {
		t.Error(err)
	}
	time.Sleep(time.Minute)
	return n
}

func (n *successor) stop(t *testing.T) {
	t.Helper()
	n.cancel()
	if err := <-n.ended; err != nil {
		t.Error(err)
	}
}

// toldOf is what the journal tells of contoso since the entry.
func toldOf(t *testing.T, j *watchdogtest.MemJournal, since int) (all []string) {
	t.Helper()
	entries, err := j.Read(t.Context(), "contoso", uint64(since), 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Notice != nil && e.Notice.Kind == watchdog.NoticeFederationGone {
			all = append(all, e.Notice.Text)
		}
	}
	return all
}

// length is how many entries the journal holds.
func length(t *testing.T, j *watchdogtest.MemJournal) int {
	t.Helper()
	entries, err := j.Read(t.Context(), "", 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// stoppedByContoso is an estate whose edgewatch died when a failover of contoso
// had stopped services, and what its journal holds.
func stoppedByContoso(t *testing.T) (*estate, *watchdogtest.MemJournal) {
	t.Helper()
	w, j := newEstate(), &watchdogtest.MemJournal{}
	w.with(func(w *estate) { w.dead["EdgePool1"] = true })
	p := startEngine(t, w, j)
	p.until(5*time.Minute, "stopped", func(*watchdog.Snapshot) bool { return w.count("stop edge3") == 1 })
	dead := j.CrashAt(1, false)
	<-dead
	w.with(func(w *estate) { w.life++; w.dead["EdgePool1"] = false })
	p.cancel()
	j = j.Reopen()
	<-p.ended
	return w, j
}

// The federation is called otherwise in the configuration that the next life goes
// by: the services that its failover stopped stay stopped, and that is told, at
// every start and in every status, until somebody says that it was put right.
func TestWhatAGoneFederationLeftStoppedIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := stoppedByContoso(t)
		for range 2 {
			before := length(t, j)
			n := rename(t, w, j)
			told := toldOf(t, j, before)
			if len(told) != 1 {
				t.Fatalf("told at this start: %q", told)
			}
			for _, words := range []string{"contoso is no longer configured", "failover contoso-1.1 from EdgePool1 to EdgePool2 was under way", "STOPPED on edge3 of EdgePool2, edge4 of EdgePool2", "ack -f contoso"} {
				if !strings.Contains(told[0], words) {
					t.Errorf("%q does not say %q", told[0], words)
				}
			}
			if s := n.Snapshots()[0]; !strings.Contains(s.Headline(), told[0]) || len(s.Gone) != 1 {
				t.Errorf("status: %s", s.Headline())
			}
			n.stop(t)
		}
		n := rename(t, w, j)
		if a, err := n.Submit(t.Context(), watchdog.Command{ID: "1", Federation: "contoso", Verb: watchdog.VerbRetry}); err != nil || a.Accepted || !strings.Contains(a.Text, "nothing is possible but ack") {
			t.Errorf("retry: %+v, %v", a, err)
		}
		var first watchdog.Answer
		for i := range 2 { // the second time under the same id
			a, err := n.Submit(t.Context(), watchdog.Command{ID: "2", Federation: "contoso", Verb: watchdog.VerbAck, Actor: "anna", Via: "cli"})
			if err != nil || !a.Accepted || a.Entry == 0 || i > 0 && a != first {
				t.Errorf("ack: %+v, %v; at first %+v", a, err, first)
			}
			first = a
		}
		if a, err := n.Submit(t.Context(), watchdog.Command{ID: "3", Federation: "contoso", Verb: watchdog.VerbAck}); err != nil || a.Accepted {
			t.Errorf("another ack: %+v, %v", a, err)
		}
		if s := n.Snapshots()[0]; len(s.Gone) > 0 {
			t.Errorf("acknowledged: %q", s.Gone)
		}
		if entries, err := n.History(t.Context(), "contoso", 1); err != nil || entries[0].Command == nil {
			t.Errorf("history: %v, %v", entries, err)
		}
		n.stop(t)
		before := length(t, j)
		n = rename(t, w, j)
		if told := toldOf(t, j, before); len(told) > 0 || len(n.Snapshots()[0].Gone) > 0 {
			t.Errorf("acknowledged, and told again: %q", told)
		}
		n.stop(t)
	})
}

// What is told of a gone federation belongs to the incident that was going on, and
// so does the word of the person who put it right: whoever follows that incident
// must not take it for one that goes on.
func TestWhatAGoneFederationLeftIsToldInItsIncident(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := stoppedByContoso(t)
		before := length(t, j)
		n := rename(t, w, j)
		if a, err := n.Submit(t.Context(), watchdog.Command{ID: "1", Federation: "contoso", Verb: watchdog.VerbAck, Actor: "anna", Via: "cli"}); err != nil || !a.Accepted {
			t.Errorf("ack: %+v, %v", a, err)
		}
		n.stop(t)
		entries, err := j.Read(t.Context(), "contoso", uint64(before), 10)
		if err != nil || len(entries) != 2 {
			t.Fatalf("%d entries, %v", len(entries), err)
		}
		for _, e := range entries {
			if e.Incident != "contoso-1" {
				t.Errorf("entry %d, a %s, is of incident %q", e.Seq, e.Kind, e.Incident)
			}
		}
	})
}

// An incident in which nothing was begun ends with its federation too: that is
// told once, although nothing was left undone.
func TestTheIncidentOfAGoneFederationEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		p := startEngine(t, w, j)
		p.order(watchdog.Command{ID: "1", Verb: watchdog.VerbPause, For: time.Minute * 6, Reason: "patching", Actor: "anna", Via: "cli"})
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		p.until(5*time.Minute, "in an incident", func(s *watchdog.Snapshot) bool { return s.Incident != "" })
		p.stop()
		time.Sleep(10 * time.Minute) // the pause is over
		before := length(t, j)
		rename(t, w, j).stop(t)
		if told := toldOf(t, j, before); len(told) != 1 || told[0] != "contoso is no longer configured: its incident contoso-1 is closed, though EdgePool1 was not seen answering since" {
			t.Errorf("told %q", told)
		}
		before = length(t, j)
		rename(t, w, j).stop(t)
		if told := toldOf(t, j, before); len(told) != 0 {
			t.Errorf("told again: %q", told)
		}
	})
}

// Called as before again, the federation is taken up where its journal ends, and
// gone a second time it is told of anew.
func TestAGoneFederationThatReturnsIsTakenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := stoppedByContoso(t)
		rename(t, w, j).stop(t)
		p := startEngine(t, w, j)
		p.until(10*time.Minute, "ended", func(s *watchdog.Snapshot) bool { return s.Chain.Outcome != nil })
		p.order(watchdog.Command{ID: "1", Verb: watchdog.VerbHold, Reason: "patching", Actor: "anna", Via: "cli"})
		p.stop()
		if got := w.String(); strings.Contains(got, "false") {
			t.Errorf("services are still stopped: %s", got)
		}
		before := length(t, j)
		rename(t, w, j).stop(t)
		if told := toldOf(t, j, before); len(told) != 1 || !strings.Contains(told[0], "that anna held it") || strings.Contains(told[0], "STOPPED") {
			t.Errorf("told: %q", told)
		}
	})
}

// What people ordered of a federation that is gone, and where it was, counts no
// more under its new name: that is told once. Of one that was well and where its
// successor takes it to be, there is nothing to tell.
func TestWhatIsForgottenOfAGoneFederationIsToldOnce(t *testing.T) {
	pause := watchdog.Command{ID: "1", Verb: watchdog.VerbPause, For: 24 * time.Hour, Reason: "patching", Actor: "anna", Via: "cli"}
	move := watchdog.Command{ID: "1", Verb: watchdog.VerbFailover, Pool: "EdgePool2", Reason: "go", Force: true}
	for name, c := range map[string]struct {
		order *watchdog.Command
		say   string
	}{
		"well":         {nil, ""},
		"paused":       {&pause, "that anna paused it until"},
		"another pool": {&move, "EdgePool2 carried federation there, and contoso-com, which is new, takes EdgePool1 for the active pool"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, j := newEstate(), &watchdogtest.MemJournal{}
				p := startEngine(t, w, j)
				time.Sleep(time.Minute)
				if c.order != nil {
					p.order(*c.order)
					time.Sleep(5 * time.Minute)
				}
				p.stop()
				for life := range 2 {
					before := length(t, j)
					n := rename(t, w, j)
					told := strings.Join(toldOf(t, j, before), " ")
					if (told != "") != (c.say != "" && life == 0) || life == 0 && !strings.Contains(told, c.say) {
						t.Errorf("life %d: told %q", life, told)
					}
					if left := n.Snapshots()[0].Gone; len(left) > 0 {
						t.Errorf("nothing was left undone: %q", left)
					}
					n.stop(t)
				}
			})
		})
	}
}

// While the journal cannot be written, nothing is told, and then it is, once. The
// ack that comes before brings it along, so that the next life knows of both.
func TestAGoneFederationIsToldOnceTheJournalCanBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, j := stoppedByContoso(t)
		read := func() *watchdog.GoneFederations {
			gone, err := watchdog.ReadGone(t.Context(), watchdog.GoneOptions{Names: []string{"contoso"}, Journal: j})
			if err != nil {
				t.Fatal(err)
			}
			return gone
		}
		gone, before := read(), length(t, j)
		j.FailNext(errors.New("no space left on device"))
		if err := gone.Tell(t.Context()); err == nil {
			t.Error("told without being durable")
		}
		sup := watchdog.NewSupervisor(j)
		sup.Mind(gone)
		if a, err := sup.Submit(t.Context(), watchdog.Command{ID: "1", Federation: "contoso", Verb: watchdog.VerbAck}); err != nil || !a.Accepted {
			t.Errorf("ack: %+v, %v", a, err)
		}
		if err := gone.Tell(t.Context()); err != nil || len(toldOf(t, j, before)) != 1 {
			t.Errorf("told %q, %v", toldOf(t, j, before), err)
		}
		if left := read().Left(); len(left) > 0 {
			t.Errorf("acknowledged: %q", left)
		}
	})
}

// A failover that moved the route and is not through when the federation is
// called otherwise is told too, and so is a journal that cannot be read.
func TestWhatAGoneFederationLeftHalfDoneIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.with(func(w *estate) { w.dead["EdgePool1"], w.unproven = true, true })
		p := startEngine(t, w, j)
		p.until(10*time.Minute, "faulted", func(s *watchdog.Snapshot) bool { return s.State == watchdog.Faulted })
		p.stop()
		read := func(j watchdog.Journal) string {
			gone, err := watchdog.ReadGone(t.Context(), watchdog.GoneOptions{Names: []string{"contoso"}, Journal: j})
			if err != nil {
				t.Fatal(err)
			}
			return strings.Join(gone.Left(), " ")
		}
		if left := read(j); !strings.Contains(left, "the failover to EdgePool2 is not through") || strings.Contains(left, "STOPPED") {
			t.Errorf("half done: %q", left)
		}
		if left := read(unreadable{j}); !strings.Contains(left, "what it left cannot be read") || !strings.Contains(left, "entry 3 is no entry") {
			t.Errorf("unreadable: %q", left)
		}
	})
}

// unreadable is a journal that can be written, and cannot be read.
type unreadable struct{ watchdog.Journal }

func (unreadable) Read(context.Context, string, uint64, int) ([]watchdog.Entry, error) {
	return nil, errors.New("entry 3 is no entry")
}
