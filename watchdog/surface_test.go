package watchdog_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// TestOrder: what a surface has in fields of its own is the same order as what
// is typed, and a reason is never read for options.
func TestOrder(t *testing.T) {
	for _, v := range watchdog.Verbs() {
		object := map[watchdog.Object]string{watchdog.ObjectPool: "EdgePool2", watchdog.ObjectDuration: "2h", watchdog.ObjectStep: "verify"}[v.Object]
		got, err := v.Order(object, "because -f of --force", false)
		if err != nil || got.Force || got.Reason != "because -f of --force" {
			t.Errorf("%s: %+v, %v", v.Verb, got, err)
		}
		typed := strings.Fields(string(v.Verb) + " " + object + " because")
		req, err := watchdog.ParseRequest(typed)
		if err != nil {
			t.Fatalf("%q: %v", typed, err)
		}
		if got, err := v.Order(object, "because", false); err != nil || got != req.Command {
			t.Errorf("%s: %+v, %v; typed it is %+v", v.Verb, got, err, req.Command)
		}
		if _, err := v.Order(object, " ", false); (err != nil) != v.Reason {
			t.Errorf("%s without a reason: %v", v.Verb, err)
		}
		if _, err := v.Order(object, "because", true); (err == nil) != v.Force {
			t.Errorf("%s with force: %v", v.Verb, err)
		}
		if _, err := v.Order("", "because", false); (err == nil) != (v.Object == watchdog.ObjectNone) {
			t.Errorf("%s without an object: %v", v.Verb, err)
		}
	}
}

// TestWills: what is not listed has no metric and no words.
func TestWills(t *testing.T) {
	if n := len(slices.Compact(slices.Sorted(slices.Values(watchdog.Wills())))); n != 6 {
		t.Errorf("%d different wills are listed: %v", n, watchdog.Wills())
	}
	for _, w := range watchdog.Wills() {
		d := watchdog.Decision{Will: w, To: "EdgePool2"}
		moves := w == watchdog.WillFailover || w == watchdog.WillFailback || w == watchdog.WillAsk
		if got := d.Intent(); !strings.HasPrefix(got, string(w)) || strings.Contains(got, "EdgePool2") != moves {
			t.Errorf("%s is announced as %q", w, got)
		}
	}
}

// TestSnapshotTellsTheQuestion: what a person is asked, since when, until when
// and what happens then stands in the snapshot, and goes with the answer.
func TestSnapshotTellsTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		p := startEngine(t, w, j, func(s *watchdog.Settings) {
			s.Rules.Mode, s.Rules.ApprovalTimeout = watchdog.ModeApprove, 10*time.Minute
		})
		time.Sleep(time.Minute)
		if a := p.Snapshot().Approval; a != nil {
			t.Errorf("nobody is asked anything yet: %+v", a)
		}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		asked := p.until(5*time.Minute, "asking", func(s *watchdog.Snapshot) bool { return s.Approval != nil })
		time.Sleep(time.Minute)
		a := p.Snapshot().Approval
		if a == nil || a.To != "EdgePool2" || a.Then != watchdog.ApprovalHolds || !a.Since.Equal(asked.Approval.Since) || a.Until.Sub(a.Since) != 10*time.Minute {
			t.Errorf("a minute later the question is %+v, it was %+v", a, asked.Approval)
		}
		answer, err := p.Submit(t.Context(), watchdog.Command{ID: "1", Verb: watchdog.VerbDeny, Actor: "anna", Reason: "no"})
		if err != nil || !answer.Accepted {
			t.Fatalf("deny: %+v, %v", answer, err)
		}
		if s := p.Snapshot(); s.Approval != nil || s.Decision.BlockedBy != watchdog.GuardApproval {
			t.Errorf("after the answer: %+v, %+v", s.Approval, s.Decision)
		}
		p.stop()
	})
}

// TestSnapshotNamesTheNewestIncident: also when it is over, so that a surface
// can tell whether what a person answers is still of now.
func TestSnapshotNamesTheNewestIncident(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		p := startEngine(t, w, j, func(s *watchdog.Settings) { s.Rules.Mode = watchdog.ModeObserve })
		time.Sleep(time.Minute)
		if s := p.Snapshot(); s.Newest != "" {
			t.Errorf("before the first: %q", s.Newest)
		}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		open := p.until(5*time.Minute, "an incident", func(s *watchdog.Snapshot) bool { return s.Incident != "" })
		w.with(func(w *estate) { w.dead["EdgePool1"] = false })
		over := p.until(30*time.Minute, "its end", func(s *watchdog.Snapshot) bool { return s.Incident == "" })
		if open.Newest != open.Incident || over.Newest != open.Incident {
			t.Errorf("incident %q: the newest is %q, and %q when it is over", open.Incident, open.Newest, over.Newest)
		}
		p.stop()
	})
}
