package watchdog

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/actions"
)

// diary makes entries for an auditor.
type diary struct {
	at      time.Time
	entries []Entry
}

func (d *diary) add(after time.Duration, e Entry) {
	d.at = d.at.Add(after)
	e.At, e.Federation = d.at, "contoso"
	d.entries = append(d.entries, e)
}

func (d *diary) chain(after time.Duration, id, trigger string, retry int) {
	incident, _, _ := strings.Cut(id, ".")
	d.add(after, Entry{Kind: KindChain, Incident: incident, Chain: &ChainStart{ID: id, From: "EdgePool1", To: "EdgePool2", Trigger: trigger, Retry: retry}})
}

func (d *diary) step(id string, step actions.StepName, target string, phase actions.RecordPhase) {
	d.add(time.Second, Entry{Kind: KindStep, Step: &actions.Record{Chain: id, Step: step, Target: target, Phase: phase}})
}

func (d *diary) end(id string, o actions.Outcome) {
	d.add(time.Second, Entry{Kind: KindChainEnd, ChainEnd: &ChainEnd{ID: id, Outcome: o}})
}

func (d *diary) order(after time.Duration, c Command) {
	d.add(after, Entry{Kind: KindCommand, Command: &c})
}

func (d *diary) notice(after time.Duration, n Notice) {
	d.add(after, Entry{Kind: KindNotice, Notice: &n})
}

// asks is an outage, and the question what to do about it.
func (d *diary) asks(after time.Duration, incident string) {
	d.add(after, Entry{Kind: KindPool, Incident: incident, Pool: &PoolChange{Pool: "EdgePool1", Tripped: true}})
	d.add(0, Entry{Kind: KindDecision, Incident: incident, Decision: &Decision{Will: WillAsk, To: "EdgePool2"}})
}

// through is a whole failover, up to its end.
func (d *diary) through(after time.Duration, id, trigger string) {
	d.chain(after, id, trigger, 0)
	for _, s := range actions.Steps() {
		d.step(id, s, "", actions.Started)
		d.step(id, s, "e1", actions.Started)
		d.step(id, s, "e1", actions.Finished)
		d.step(id, s, "", actions.Finished)
	}
	d.end(id, actions.Outcome{OK: true, RouteMoved: true})
}

// Each row is a journal whose last entry breaks a promise, and that promise;
// or, with none, a journal that breaks none however near it comes.
func TestAuditor(t *testing.T) {
	const auto, day = TriggerAuto, 24 * time.Hour
	rescue := func(d *diary, step actions.StepName, phase actions.RecordPhase) {
		d.add(time.Second, Entry{Kind: KindStep, Step: &actions.Record{Chain: "c-1.1", Step: step, Target: "e1", Phase: phase, Rescue: true}})
	}
	preflight := func(d *diary) { d.step("c-1.1", actions.Preflight, "", actions.Already) }
	half := func(d *diary) { d.chain(0, "c-1.1", auto, 0); d.end("c-1.1", actions.Outcome{RouteMoved: true}) }
	drop := func(d *diary) {
		d.chain(0, "c-1.1", auto, 0)
		preflight(d)
		d.notice(day, Notice{Kind: NoticeStarted})
		d.add(0, Entry{Kind: KindChain, Incident: "c-1", Chain: &ChainStart{ID: "c-1.1", From: "EdgePool1", To: "EdgePool2", Trigger: auto, Retry: 1, Dropped: "too old"}})
	}
	for _, tt := range []struct {
		name   string
		breaks string
		write  func(d *diary)
	}{
		{"a failover", "", func(d *diary) { d.through(0, "c-1.1", auto) }},
		{"a failover that is carried on by the next life", "", func(d *diary) {
			d.chain(0, "c-1.1", auto, 0)
			d.order(time.Second, Command{Verb: VerbHold})
			d.notice(time.Second, Notice{Kind: NoticeStarted})
			d.chain(0, "c-1.1", auto, 1)
		}},
		{"a failover of its own that is carried on although nobody looked for long", "I4", func(d *diary) {
			d.chain(0, "c-1.1", auto, 0)
			preflight(d)
			d.step("c-1.1", actions.SetRoute, "fe1", actions.Started)
			d.notice(3*time.Minute, Notice{Kind: NoticeStarted})
			d.chain(0, "c-1.1", auto, 1)
		}},
		{"the same of which the route was seen moved", "", func(d *diary) {
			d.chain(0, "c-1.1", auto, 0)
			preflight(d)
			d.step("c-1.1", actions.SetRoute, "fe1", actions.Started)
			d.step("c-1.1", actions.SetRoute, "fe1", actions.Finished)
			d.notice(day, Notice{Kind: NoticeStarted})
			d.chain(0, "c-1.1", auto, 1)
		}},
		{"the same of which an earlier run could not see whether it had moved", "", func(d *diary) {
			half(d)
			d.chain(time.Minute, "c-1.1", auto, 1)
			d.notice(day, Notice{Kind: NoticeStarted})
			d.chain(0, "c-1.1", auto, 2)
		}},
		{"the same ordered by a person", "", func(d *diary) {
			d.chain(0, "c-1.1", "cli", 0)
			d.notice(3*time.Minute, Notice{Kind: NoticeStarted})
			d.chain(0, "c-1.1", "cli", 1)
		}},
		{"what is not carried on starts services again", "", func(d *diary) {
			drop(d)
			rescue(d, actions.StartServices, actions.Started)
			rescue(d, actions.StartServices, actions.Finished)
			d.end("c-1.1", actions.Outcome{Interrupted: true})
		}},
		{"what is not carried on goes on", "I6", func(d *diary) { drop(d); d.step("c-1.1", actions.SetRoute, "fe1", actions.Started) }},
		{"a second run of a failover that is running", "I2", func(d *diary) { d.chain(0, "c-1.1", auto, 0); d.chain(time.Second, "c-1.1", auto, 1) }},
		{"a second run of a failover that the last life carried on", "I2", func(d *diary) {
			d.chain(0, "c-1.1", auto, 0)
			d.notice(time.Second, Notice{Kind: NoticeStarted})
			d.chain(0, "c-1.1", auto, 1)
			d.chain(time.Second, "c-1.1", auto, 2)
		}},
		{"a second run of a failover that went well", "I2", func(d *diary) { d.through(0, "c-1.1", auto); d.chain(time.Second, "c-1.1", auto, 1) }},
		{"tried again", "", func(d *diary) { half(d); d.chain(time.Minute, "c-1.1", auto, 1) }},
		{"tried again by itself while held", "I6", func(d *diary) {
			half(d)
			d.order(time.Second, Command{Verb: VerbHold})
			d.chain(time.Minute, "c-1.1", auto, 1)
		}},
		{"tried again by a person's order while held", "", func(d *diary) {
			half(d)
			d.order(time.Second, Command{Verb: VerbHold})
			d.order(time.Second, Command{Verb: VerbRetry})
			d.chain(0, "c-1.1", auto, 1)
		}},
		{"tried again by itself after a person's try, while held", "I6", func(d *diary) {
			half(d)
			d.order(time.Second, Command{Verb: VerbHold})
			d.order(time.Second, Command{Verb: VerbRetry})
			d.chain(0, "c-1.1", auto, 1)
			d.end("c-1.1", actions.Outcome{RouteMoved: true})
			d.chain(time.Minute, "c-1.1", auto, 2)
		}},
		{"done without having begun", "I1", func(d *diary) {
			d.chain(0, "c-1.1", auto, 0)
			preflight(d)
			d.step("c-1.1", actions.StopServices, "e1", actions.Finished)
		}},
		{"found done without having begun", "", func(d *diary) {
			d.chain(0, "c-1.1", auto, 0)
			preflight(d)
			d.step("c-1.1", actions.StopServices, "e1", actions.Already)
		}},
		{"brought back without a record", "", func(d *diary) { d.chain(0, "c-1.1", auto, 0); rescue(d, actions.StartServices, actions.Finished) }},
		{"a pause that is said to have ended early", "I6", func(d *diary) {
			d.order(0, Command{Verb: VerbPause, For: time.Hour})
			d.add(59*time.Minute, Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticePauseEnded}})
		}},
		{"after a pause ended, and the clock was set back", "", func(d *diary) {
			d.order(0, Command{Verb: VerbPause, For: time.Hour})
			d.add(time.Hour, Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticePauseEnded}})
			d.chain(-30*time.Minute, "c-1.1", auto, 0)
		}},
		{"two at once", "I2", func(d *diary) { d.chain(0, "c-1.1", auto, 0); d.chain(time.Second, "c-1.2", "cli", 0) }},
		{"the same twice", "I2", func(d *diary) { d.through(0, "c-1.1", "cli"); d.chain(time.Second, "c-1.1", "cli", 0) }},
		{"carrying on one that is not the newest", "I2", func(d *diary) { d.through(0, "c-1.1", auto); d.chain(time.Second, "c-1.2", auto, 1) }},
		{"a record of another", "I2", func(d *diary) { d.chain(0, "c-1.1", auto, 0); d.step("c-1.2", actions.Preflight, "", actions.Started) }},
		{"a record after the end", "I2", func(d *diary) { d.through(0, "c-1.1", auto); d.step("c-1.1", actions.Verify, "", actions.Started) }},
		{"an end after the end", "I2", func(d *diary) { d.through(0, "c-1.1", auto); d.end("c-1.1", actions.Outcome{}) }},
		{"touched before the preflight", "I3", func(d *diary) {
			d.chain(0, "c-1.1", auto, 0)
			d.step("c-1.1", actions.StopServices, "", actions.Started)
		}},
		{"touched after a failed preflight", "I3", func(d *diary) {
			d.chain(0, "c-1.1", auto, 0)
			d.step("c-1.1", actions.Preflight, "", actions.Failed)
			d.step("c-1.1", actions.StopServices, "", actions.Started)
		}},
		{"DNS before the route", "I3", func(d *diary) {
			d.chain(0, "c-1.1", auto, 0)
			preflight(d)
			d.step("c-1.1", actions.SetRoute, "", actions.Started)
			d.step("c-1.1", actions.DNSRecords, "zone", actions.Started)
		}},
		{"stopped and not named", "I5", func(d *diary) {
			d.chain(0, "c-1.1", auto, 0)
			preflight(d)
			d.step("c-1.1", actions.StopServices, "e1", actions.Started)
			d.end("c-1.1", actions.Outcome{OK: true, RouteMoved: true})
		}},
		{"stopped and named", "", func(d *diary) {
			d.chain(0, "c-1.1", auto, 0)
			preflight(d)
			d.step("c-1.1", actions.StopServices, "e1", actions.Started)
			d.end("c-1.1", actions.Outcome{OK: true, RouteMoved: true, Stopped: []string{"e1"}})
		}},
		{"paused", "I6", func(d *diary) {
			d.order(0, Command{Verb: VerbPause, For: time.Hour})
			d.chain(time.Hour-time.Second, "c-1.1", auto, 0)
		}},
		{"paused long ago", "", func(d *diary) {
			d.order(0, Command{Verb: VerbPause, For: time.Hour})
			d.chain(time.Hour, "c-1.1", auto, 0)
		}},
		{"resumed", "", func(d *diary) {
			d.order(0, Command{Verb: VerbPause, For: time.Hour})
			d.order(time.Second, Command{Verb: VerbResume})
			d.chain(time.Second, "c-1.1", auto, 0)
		}},
		{"paused, but a person ordered it", "", func(d *diary) {
			d.order(0, Command{Verb: VerbPause, For: time.Hour})
			d.chain(time.Second, "c-1.1", "cli", 0)
		}},
		{"held", "I6", func(d *diary) { d.order(0, Command{Verb: VerbHold}); d.chain(day, "c-1.1", auto, 0) }},
		{"released", "", func(d *diary) {
			d.order(0, Command{Verb: VerbHold})
			d.order(day, Command{Verb: VerbRelease})
			d.chain(time.Second, "c-1.1", auto, 0)
		}},
		{"cool-down", "I7", func(d *diary) { d.through(0, "c-1.1", auto); d.chain(29*time.Minute, "c-2.1", auto, 0) }},
		{"after the cool-down", "", func(d *diary) { d.through(0, "c-1.1", auto); d.chain(30*time.Minute, "c-2.1", auto, 0) }},
		{"cool-down ended by an ack", "", func(d *diary) {
			d.through(0, "c-1.1", auto)
			d.order(time.Second, Command{Verb: VerbAck})
			d.chain(time.Second, "c-2.1", auto, 0)
		}},
		{"no cool-down after a person's", "", func(d *diary) { d.through(0, "c-1.1", "cli"); d.chain(time.Second, "c-2.1", auto, 0) }},
		{"budget", "I7", func(d *diary) {
			d.through(0, "c-1.1", auto)
			d.through(time.Hour, "c-2.1", auto)
			d.chain(time.Hour, "c-3.1", auto, 0)
		}},
		{"budget of yesterday", "", func(d *diary) {
			d.through(0, "c-1.1", auto)
			d.through(time.Hour, "c-2.1", auto)
			d.chain(day, "c-3.1", auto, 0)
		}},
		{"one attempt too many", "I7", func(d *diary) {
			for _, id := range []string{"c-1.1", "c-1.2", "c-1.3"} {
				d.chain(time.Second, id, auto, 0)
				d.end(id, actions.Outcome{})
			}
			d.chain(time.Second, "c-1.4", auto, 0)
		}},
		{"attempts that say nothing against the target", "", func(d *diary) {
			for _, id := range []string{"c-1.1", "c-1.2", "c-1.3"} {
				d.chain(time.Second, id, auto, 0)
				d.end(id, actions.Outcome{Interrupted: true})
			}
			d.chain(time.Second, "c-1.4", auto, 0)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := &diary{at: t0}
			tt.write(d)
			a := NewAuditor(testRules())
			last := len(d.entries) - 1
			for i, e := range d.entries {
				err := a.Check([]Entry{e})
				switch {
				case i < last && err != nil:
					t.Fatalf("entry %d of %d: %v", i+1, last+1, err)
				case i == last && tt.breaks == "" && err != nil:
					t.Errorf("unexpected: %v", err)
				case i == last && tt.breaks != "" && (err == nil || !strings.HasPrefix(err.Error(), tt.breaks)):
					t.Errorf("got %v, want %s", err, tt.breaks)
				}
				a.Apply(e)
			}
			// The same in one batch, and Check changes nothing.
			whole := NewAuditor(testRules())
			for range 2 {
				if err := whole.Check(d.entries); (err == nil) != (tt.breaks == "") {
					t.Errorf("as one batch: %v", err)
				}
			}
		})
	}
}

// What edgewatch began by itself, or asked for, is not carried on once people put
// it into mode observe; what a person ordered is.
func TestAuditorObserves(t *testing.T) {
	rules := testRules()
	rules.Mode = ModeObserve
	for _, tt := range []struct {
		name         string
		by           string
		asked, drops bool
		ok           bool
	}{
		{"its own", TriggerAuto, false, false, false},
		{"its own, dropped", TriggerAuto, false, true, true},
		{"approved", "slack", true, false, false},
		{"ordered", "slack", false, false, true},
	} {
		d := &diary{at: t0}
		start := ChainStart{ID: "c-1.1", From: "EdgePool1", To: "EdgePool2", Trigger: tt.by, Asked: tt.asked}
		d.add(0, Entry{Kind: KindChain, Incident: "c-1", Chain: &start})
		d.notice(time.Second, Notice{Kind: NoticeStarted})
		a := NewAuditor(rules)
		for _, e := range d.entries {
			a.Apply(e)
		}
		again := start
		if again.Retry = 1; tt.drops {
			again.Dropped = "mode is observe by now"
		}
		if err := a.Check([]Entry{{At: d.at, Kind: KindChain, Incident: "c-1", Chain: &again}}); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}

// Only people may begin a failover in a mode that leaves it to them.
func TestAuditorMode(t *testing.T) {
	for _, tt := range []struct {
		mode Mode
		then LateApproval
		ok   bool
	}{{ModeAuto, "", true}, {ModeObserve, "", false}, {ModeApprove, ApprovalHolds, false}, {ModeApprove, ApprovalActs, true}} {
		rules := testRules()
		rules.Mode, rules.ApprovalThen, rules.ApprovalTimeout = tt.mode, tt.then, time.Minute
		d := &diary{at: t0}
		d.asks(0, "c-1")
		d.chain(time.Minute, "c-1.1", TriggerAuto, 0)
		if err := NewAuditor(rules).Check(d.entries); (err == nil) != tt.ok {
			t.Errorf("%s, then %q: %v", tt.mode, tt.then, err)
		}
	}
}

// In mode approve, what follows without an answer follows after the time that
// people were given, and not after their no.
func TestAuditorApproval(t *testing.T) {
	const limit = 10 * time.Minute
	for _, tt := range []struct {
		name  string
		ok    bool
		write func(d *diary)
	}{
		{"in time", true, func(d *diary) { d.asks(0, "c-1"); d.chain(limit, "c-1.1", TriggerAuto, 0) }},
		{"too early", false, func(d *diary) { d.asks(0, "c-1"); d.chain(limit-time.Second, "c-1.1", TriggerAuto, 0) }},
		{"not asked", false, func(d *diary) { d.chain(time.Hour, "c-1.1", TriggerAuto, 0) }},
		{"a person's", true, func(d *diary) { d.asks(0, "c-1"); d.chain(0, "c-1.1", "slack", 0) }},
		{"asked in an earlier outage", false, func(d *diary) { d.asks(0, "c-1"); d.asks(limit, "c-2"); d.chain(0, "c-2.1", TriggerAuto, 0) }},
		{"asked for an earlier failover", false, func(d *diary) {
			d.asks(0, "c-1")
			d.chain(limit, "c-1.1", TriggerAuto, 0)
			d.end("c-1.1", actions.Outcome{})
			d.chain(time.Second, "c-1.2", TriggerAuto, 0)
		}},
		{"denied", false, func(d *diary) {
			d.asks(0, "c-1")
			d.order(time.Second, Command{Verb: VerbDeny})
			d.chain(time.Hour, "c-1.1", TriggerAuto, 0)
		}},
		{"denied, and asked again after an ack", true, func(d *diary) {
			d.asks(0, "c-1")
			d.order(time.Second, Command{Verb: VerbDeny})
			d.order(time.Second, Command{Verb: VerbAck})
			d.asks(0, "c-1")
			d.chain(limit, "c-1.1", TriggerAuto, 0)
		}},
		{"too early after an ack", false, func(d *diary) {
			d.asks(0, "c-1")
			d.order(limit, Command{Verb: VerbAck})
			d.asks(0, "c-1")
			d.chain(time.Second, "c-1.1", TriggerAuto, 0)
		}},
		{"asked again because evidence came and went", true, func(d *diary) {
			d.asks(0, "c-1")
			d.asks(limit-time.Second, "c-1")
			d.chain(time.Second, "c-1.1", TriggerAuto, 0)
		}},
		{"the clock was set forward", false, func(d *diary) {
			d.asks(0, "c-1")
			d.notice(2*time.Hour, Notice{Kind: NoticeClock, By: 2 * time.Hour})
			d.chain(limit-time.Second, "c-1.1", TriggerAuto, 0)
		}},
		{"the clock was set back", true, func(d *diary) {
			d.asks(0, "c-1")
			d.notice(-2*time.Hour, Notice{Kind: NoticeClock, By: -2 * time.Hour})
			d.chain(limit, "c-1.1", TriggerAuto, 0)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			rules := testRules()
			rules.Mode, rules.ApprovalTimeout, rules.ApprovalThen = ModeApprove, limit, ApprovalActs
			d := &diary{at: t0}
			tt.write(d)
			a, last := NewAuditor(rules), len(d.entries)-1
			for _, e := range d.entries[:last] {
				a.Apply(e)
			}
			if err := a.Check(d.entries[last:]); (err == nil) != tt.ok || err != nil && !strings.HasPrefix(err.Error(), "I6") {
				t.Errorf("got %v, want that it passes: %v", err, tt.ok)
			}
		})
	}
}

// What would break a promise is neither written nor done, is shown, and an
// old journal that did break one is no reason not to start.
func TestEngineRefusesWhatBreaksAPromise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &diary{at: time.Now()}
		d.chain(0, "c-1.1", TriggerAuto, 0)
		d.chain(0, "c-1.2", TriggerAuto, 0)
		j := &keeper{entries: d.entries}
		rules := testRules()
		e := NewEngine(Settings{Rules: rules}, Ports{Journal: j})
		if err := e.Replay(t.Context()); err != nil {
			t.Fatalf("an old journal: %v", err)
		}
		ready := Ready{own: 1, Entries: []Entry{{Kind: KindChain, At: time.Now(), Incident: "c-1", Chain: &ChainStart{ID: "c-1.3", Trigger: "cli"}}}}
		if err := e.save(t.Context(), &ready); err == nil || !strings.Contains(err.Error(), "a defect in edgewatch") {
			t.Errorf("save = %v", err)
		}
		if len(j.entries) != 3 || j.entries[2].Kind != KindNotice {
			t.Errorf("more is kept than that it was refused: %+v", j.entries[2:])
		}
		if s := e.Snapshot(); !strings.Contains(s.JournalError, "I2") || !strings.Contains(s.Headline(), "a defect in edgewatch") {
			t.Errorf("headline %q", s.Headline())
		}
	})
}

// keeper is a journal that only keeps.
type keeper struct{ entries []Entry }

func (k *keeper) Append(_ context.Context, entries []Entry) ([]Entry, error) {
	k.entries = append(k.entries, entries...)
	return entries, nil
}

func (k *keeper) Read(_ context.Context, _ string, after uint64, _ int) ([]Entry, error) {
	if after > 0 {
		return nil, nil
	}
	return k.entries, nil
}

// What the machine decides in an incident that is charged already the auditor
// has nothing against, although the clock was set back and older ones are
// within the budget's window again.
func TestAuditorChargesAnIncidentOnce(t *testing.T) {
	s := newScript(t)
	lines := []string{"boot"}
	for _, wait := range []string{"1h", "23h"} {
		lines = append(lines, "wait "+wait, "ready EdgePool1", "ready EdgePool2", "ready EdgePool3", "round ACTIVE=tripped", "end ok")
	}
	lines = append(lines, "wait 65m", "ready EdgePool1", "ready EdgePool2", "ready EdgePool3", "round ACTIVE=tripped",
		"wait -10m", "ready EdgePool1", "ready EdgePool2", "ready EdgePool3", "round ACTIVE=tripped", "end preflight")
	for _, line := range lines {
		s.do(strings.ReplaceAll(line, "ACTIVE", s.m.Active()))
	}
	if n := numberOf(s.chain, chainMark); n != 2 {
		t.Fatalf("%d failovers of the incident, want a second one:\n%s", n, s.out.String())
	}
	if err := s.audit(); err != nil {
		t.Errorf("refused as a defect: %v", err)
	}
}
