package watchdog

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// refuser is an engine whose auditor has seen a failover that its machine knows
// nothing of, so that the next one is refused.
func refuser(t *testing.T) (*Engine, *script, *keeper) {
	t.Helper()
	s, j := newScript(t), &keeper{}
	e := NewEngine(Settings{Rules: s.rules}, Ports{Journal: j, Now: func() time.Time { return s.now }})
	e.auditor.chain.id = "contoso-1.1"
	if err := e.boot(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.levels.Readiness["EdgePool2"] = Readiness{At: t0, Ready: true}
	return e, s, j
}

// tell is what was told of the entries.
func tell(entries []Entry) string {
	var out []string
	for _, e := range entries {
		out = append(out, string(e.Kind)+" "+e.Incident+" "+e.Sentence())
	}
	return strings.Join(out, "\n")
}

// What was seen is written and told although what was decided on it is refused,
// and people are told once that it is.
func TestRefusalIsToldWithWhatWasSeen(t *testing.T) {
	e, s, j := refuser(t)
	before := len(j.entries)
	for range 5 {
		s.now = s.now.Add(10 * time.Second)
		s.round([]string{"EdgePool1=tripped"})
		e.levels = s.levels
		if ready, err := e.do(t.Context(), Tick{}); err != nil || len(ready.Effects) > 0 {
			t.Fatalf("%+v, %v", ready.Effects, err)
		}
	}
	got := j.entries[before:]
	if len(got) != 2 || got[0].Kind != KindPool || got[1].Kind != KindNotice || got[1].Incident != "contoso-1" ||
		!strings.Contains(got[1].Sentence(), "I2: contoso-1.1 begins a second time") {
		t.Errorf("want that EdgePool1 is down and that edgewatch refuses itself, once each:\n%s", tell(got))
	}
	if h := e.Snapshot().Headline(); !strings.Contains(h, "a defect in edgewatch") {
		t.Errorf("headline %q", h)
	}
}

// An order whose failover is refused is not taken, and whoever gave it is told.
func TestRefusalAnswersAnOrder(t *testing.T) {
	e, s, j := refuser(t)
	s.round([]string{"EdgePool1=down"})
	e.levels = s.levels
	before := len(j.entries)
	_, err := e.do(t.Context(), Submitted{Command{ID: "1", Verb: VerbFailover, Pool: "EdgePool2", Reason: "go", Actor: "anna", Via: "cli"}})
	if err == nil || !strings.Contains(err.Error(), "I2") {
		t.Errorf("answered with %v", err)
	}
	if got := j.entries[before:]; len(got) != 1 || got[0].Kind != KindNotice {
		t.Errorf("want the notice alone:\n%s", tell(got))
	}
}

// An order stands although what edgewatch then decides by itself is refused.
func TestRefusalLeavesAnOrder(t *testing.T) {
	e, s, j := refuser(t)
	if _, err := e.do(t.Context(), Submitted{Command{ID: "1", Verb: VerbHold, Reason: "wait", Actor: "anna", Via: "cli"}}); err != nil {
		t.Fatal(err)
	}
	s.round([]string{"EdgePool1=tripped"})
	e.levels = s.levels
	if _, err := e.do(t.Context(), Tick{}); err != nil {
		t.Fatal(err)
	}
	before := len(j.entries)
	ready, err := e.do(t.Context(), Submitted{Command{ID: "2", Verb: VerbRelease, Actor: "anna", Via: "cli"}})
	if err != nil || !ready.Answer.Accepted || len(ready.Effects) > 0 {
		t.Errorf("release: %+v, %v", ready, err)
	}
	if got := j.entries[before:]; len(got) != 2 || got[0].Kind != KindCommand || got[1].Kind != KindNotice {
		t.Errorf("want the order and the refusal:\n%s", tell(got))
	}
}

// A promise that would be broken again and again is told of once, although it is
// worded otherwise each time.
func TestRefusalIsToldOnceForEachPromise(t *testing.T) {
	e, s, j := refuser(t)
	before := len(j.entries)
	for i := range 5 {
		s.now = s.now.Add(10 * time.Second)
		e.auditor.chain.id, e.auditor.chain.open = fmt.Sprintf("contoso-9.%d", i), true // "… begins while contoso-9.… is running"
		s.round([]string{"EdgePool1=tripped"})
		e.levels = s.levels
		if ready, err := e.do(t.Context(), Tick{}); err != nil || len(ready.Effects) > 0 {
			t.Fatalf("%+v, %v", ready.Effects, err)
		}
	}
	told := 0
	for _, entry := range j.entries[before:] {
		if entry.Kind == KindNotice && entry.Notice.Kind == NoticeRefused {
			told++
		}
	}
	if told != 1 {
		t.Errorf("told %d times:\n%s", told, tell(j.entries[before:]))
	}
}
