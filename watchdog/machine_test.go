package watchdog

import (
	"flag"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgewatch/actions"
	"edgewatch/probe"
)

var update = flag.Bool("update", false, "rewrite the golden transcripts")

// t0 is when every transcript begins.
var t0 = time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)

func testRules() Rules {
	return Rules{
		Federation: "contoso", Mode: ModeAuto, Pools: []string{"EdgePool1", "EdgePool2", "EdgePool3"}, Domains: []string{"contoso.com"}, Addresses: []string{"203.0.113.1:5269"},
		Cooldown: 30 * time.Minute, Budget: 2, BudgetWindow: 24 * time.Hour, MaxAttempts: 3,
		RetryEvery: time.Minute, MaxRetries: 3, RetryFailed: 10 * time.Minute,
		EvidenceAge: 30 * time.Second, ReadinessAge: 15 * time.Minute, ResumeWithin: 30 * time.Minute,
	}
}

// script drives a machine by the words of a transcript.
type script struct {
	t        *testing.T
	m        *Machine
	rules    Rules
	now      time.Time
	levels   Levels
	kept     []Entry
	modes    []Mode // in which each of them was decided
	out      strings.Builder
	chain    string
	last     Command
	rescuing bool                         // what is recorded is of a rescue
	met      map[State]map[eventName]bool // what was played
}

func newScript(t *testing.T) *script {
	t.Helper()
	s := &script{t: t, met: map[State]map[eventName]bool{}}
	s.anew()
	return s
}

// anew is a federation that nothing ever happened to.
func (s *script) anew() {
	s.rules, s.now, s.kept, s.modes, s.chain = testRules(), t0, nil, nil, ""
	s.levels = Levels{Readiness: map[string]Readiness{}}
	s.m = NewMachine(s.rules)
}

// do runs one line. The words are:
//
//	anew | wait 10s | leap 2h (of the wall clock alone) | mode observe | boot | restart | tick | lease lost|back
//	rules witnesses=2,1 (so many of them must see it down) | unproven=next | approval=10m,hold|failover | failback=1h,02:00,05:00 | partner=15m | domains=contoso.com,… | ownsrv
//	round EdgePool1=up|fresh|degraded|unclear|half|down|tripped|back … [canaries=bad] [frozen] [witness=host2:up|degraded|down|unsure|unclear|stale|silent|stranger …]
//	ready EdgePool2 | unready EdgePool2 why…
//	step NAME started|finished|failed [TARGET]; rescue step … (in a rescue)
//	end ok [skipped] | end STEP moved|unsure|interrupted|aborted|unrecorded|(nothing)
//	anything ParseRequest knows: a command of anna, by Slack
//	again: the last command once more, under the same id
func (s *script) do(line string) {
	words := strings.Fields(line)
	switch words[0] {
	case "anew":
		s.anew()
	case "again":
		s.event(Submitted{s.last})
	case "wait":
		d, err := time.ParseDuration(words[1])
		if err != nil {
			s.t.Fatal(err)
		}
		s.now = s.now.Add(d)
	case "leap":
		by := s.duration(words[1])
		s.now, s.levels.Leapt = s.now.Add(by), s.levels.Leapt+by
		s.levels.Since = earlier(s.levels.Since, s.now) // as the engine does
	case "mode":
		s.rules.Mode = Mode(words[1])
		s.m.rules.Mode = s.rules.Mode
	case "rules":
		s.change(words[1:])
	case "lease":
		s.levels.Lease = ""
		if words[1] == "lost" {
			s.levels.Lease = "the lock file was replaced"
		}
		s.event(Tick{})
	case "boot":
		s.event(Booted{})
	case "restart":
		s.restart()
	case "tick":
		s.event(Tick{})
	case "round":
		s.round(words[1:])
		s.event(Tick{})
	case "ready":
		s.levels.Readiness[words[1]] = Readiness{At: s.now, Ready: true}
		s.event(Tick{})
	case "unready":
		s.levels.Readiness[words[1]] = Readiness{At: s.now, Why: strings.Join(words[2:], " ")}
		s.event(Tick{})
	case "rescue":
		s.rescuing = true
		s.do(strings.Join(words[1:], " "))
		s.rescuing = false
	case "step":
		record := actions.Record{Chain: s.chain, Step: actions.StepName(words[1]), Phase: actions.RecordPhase(words[2]), Rescue: s.rescuing}
		if len(words) > 3 {
			record.Target = words[3]
		}
		s.event(Recorded{record})
	case "end":
		s.event(Ended{Chain: s.chain, Outcome: outcomeOf(words[1:])})
	default:
		req, err := ParseRequest(words)
		if err != nil {
			fmt.Fprintf(&s.out, "  not understood: %v\n", err)
			return
		}
		req.Command.ID = strconv.Itoa(s.out.Len())
		req.Command.Actor, req.Command.Via = "anna", "slack"
		s.last = req.Command
		s.event(Submitted{req.Command})
	}
}

// change sets rules that a story wants otherwise.
func (s *script) change(words []string) {
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		values := strings.Split(value, ",")
		switch name {
		case "unproven":
			s.rules.Unproven = Unproven(value)
		case "approval":
			s.rules.ApprovalTimeout, s.rules.ApprovalThen = s.duration(values[0]), LateApproval(values[1])
		case "failback":
			s.rules.Failback = FailbackRules{Auto: true, StableFor: s.duration(values[0]), From: s.timeOfDay(values[1]), To: s.timeOfDay(values[2])}
		case "stable":
			s.rules.Failback.StableFor = s.duration(value)
		case "witnesses":
			s.rules.Witnesses, s.rules.MinDown = nil, s.number(values[1])
			for i := range s.number(values[0]) {
				s.rules.Witnesses = append(s.rules.Witnesses, fmt.Sprintf("https://host%d.example:8081", i+2))
			}
		case "ownsrv":
			s.rules.OwnSRV = true
		case "domains":
			s.rules.Domains = values
		case "grace":
			s.rules.StartupGrace = s.duration(value)
		case "partner":
			s.rules.PartnerAge = s.duration(value)
		default:
			s.t.Fatalf("unknown rule %q", w)
		}
	}
	s.m.rules = s.rules
}

func (s *script) duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return d
}

func (s *script) number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return n
}

func (s *script) timeOfDay(text string) time.Duration {
	at, err := time.Parse("15:04", text)
	if err != nil {
		s.t.Fatal(err)
	}
	return time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute
}

func outcomeOf(words []string) actions.Outcome {
	if words[0] == "ok" {
		o := actions.Outcome{OK: true, RouteMoved: true, Took: 95 * time.Second}
		if slices.Contains(words, "skipped") {
			o.Skipped = []actions.StepName{actions.Verify}
		}
		return o
	}
	o := actions.Outcome{Step: actions.StepName(words[0]), Error: words[0] + " broke"}
	o.RouteMoved, o.Interrupted, o.Aborted = slices.Contains(words, "moved"), slices.Contains(words, "interrupted"), slices.Contains(words, "aborted")
	o.Unsure = slices.Contains(words, "unsure")
	o.Unrecorded = slices.Contains(words, "unrecorded")
	return o
}

func (s *script) restart() {
	s.m = NewMachine(s.rules)
	for _, e := range s.kept {
		s.m.Apply(e)
	}
	s.levels = Levels{Readiness: map[string]Readiness{}}
	if s.rules.StartupGrace > 0 {
		s.levels.Since = s.now
	}
	s.event(Booted{})
}

func (s *script) round(words []string) {
	r := &Round{At: s.now, Canaries: CanaryStatus{Good: 2, Total: 2, OK: true}}
	for _, w := range words {
		name, value, _ := strings.Cut(w, "=")
		switch {
		case name == "canaries":
			r.Canaries = CanaryStatus{Total: 2, Why: "0 of 2 canaries answer, 1 must"}
		case name == "witness":
			r.Testimonies = append(r.Testimonies, s.testimony(value))
		case name == "frozen":
			r.Frozen = "our own loop stood still for 1m0s"
		case name == "nowhere":
			r.Seen, r.Partner = s.now, []PartnerView{{Domain: "contoso.com", Text: "dns/servfail"}}
		case name == "lost":
			r.Seen, r.Partner = s.now, []PartnerView{{Domain: "contoso.com", Pool: value, Level: probe.Down, Text: "connect/refused", lost: lostSurveys}}
		case name == "drift":
			r.Seen, r.Partner = s.now, []PartnerView{{Domain: "contoso.com", Pool: value, Level: probe.Up, Text: "xmpp.contoso.com", found: backSurveys}}
		default:
			r.Pools = append(r.Pools, s.poolRound(name, value))
		}
	}
	s.levels.Round = r
}

// testimony is what a witness says of EdgePool1.
func (s *script) testimony(words string) Testimony {
	host, says, _ := strings.Cut(words, ":")
	t := Testimony{Witness: "https://" + host + ".example:8081", Vantage: host, At: s.now, Age: 3 * time.Second}
	down := PoolTestimony{PoolDown, "203.0.113.1:5269 connect/refused"}
	of := func(p PoolTestimony) { t.Pools = map[string]PoolTestimony{"EdgePool1": p} }
	switch says {
	case "up":
		of(PoolTestimony{PoolUp, "2 of 2 answer"})
	case "degraded":
		of(PoolTestimony{PoolDegraded, "1 of 2 answer: 203.0.113.1:5269 connect/refused"})
	case "down":
		of(down)
	case "unclear":
		of(PoolTestimony{Inconclusive, "our own fault is possible: 0 of 2 canaries answer, 1 must"})
	case "unsure":
		of(down)
		t.Unsure = "canaries"
	case "stale":
		of(down)
		t.Age = time.Minute
	case "silent":
		t = Testimony{Witness: t.Witness, At: s.now, Error: "no connection: connection refused"}
	case "stranger":
		t.Pools = map[string]PoolTestimony{"EdgePool9": down}
	default:
		s.t.Fatalf("unknown testimony %q", says)
	}
	return t
}

func (s *script) poolRound(name, value string) PoolRound {
	result := probe.Result{Target: probe.Target{Addr: netip.MustParseAddrPort("203.0.113.1:5269"), Domain: "contoso.com"}}
	p := PoolRound{Pool: name, Breaker: Breaker{State: BreakerClosed}}
	open := Breaker{State: BreakerOpen, Bad: 5, Since: t0}
	switch value {
	case "up":
		p.Healthy = healthyRounds
		p.Verdict, result.Level, result.Class, result.Phase = PoolUp, probe.Up, probe.OK, probe.PhaseDone
	case "fresh": // well, but not for long yet
		p.Healthy = 1
		p.Verdict, result.Level, result.Class, result.Phase = PoolUp, probe.Up, probe.OK, probe.PhaseDone
	case "degraded":
		p.Verdict, result.Level, result.Class, result.Phase, p.Degraded = PoolDegraded, probe.Degraded, "cert_expired", probe.PhaseCert, degradedRounds
	case "unclear":
		p.Verdict, result.Class, result.Blame = Inconclusive, probe.LocalError, probe.Local
	case "half": // neither up nor down, for long
		p.Verdict, p.Unclear, result.Level, result.Class, result.Phase = Inconclusive, t0, probe.Down, probe.Refused, probe.PhaseConnect
	case "down", "tripped":
		p.Verdict, result.Level, result.Class, result.Phase, result.Blame = PoolDown, probe.Down, probe.Refused, probe.PhaseConnect, probe.Remote
		p.Breaker.Bad, p.Breaker.Since = 2, t0
		if value == "tripped" {
			p.Breaker = open
		}
	case "back": // answers, but its breaker does not trust it yet
		p.Verdict, result.Level, result.Class, result.Phase = PoolUp, probe.Up, probe.OK, probe.PhaseDone
		p.Breaker = open
	default:
		s.t.Fatalf("unknown pool state %q", value)
	}
	p.Results = []probe.Result{result}
	p.Why = describe(result)
	return p
}

// event takes one event through the machine as the engine does.
func (s *script) event(ev Event) {
	before := s.m.fold.clone()
	state := before.state()
	if s.met[state] == nil {
		s.met[state] = map[eventName]bool{}
	}
	s.met[state][ev.event()] = true
	ready := s.m.Step(Input{At: s.now, Levels: s.levels, Event: ev})
	if !reflect.DeepEqual(before, s.m.fold.clone()) {
		s.t.Errorf("Step changed the machine's state")
	}
	if ready.Refused != "" {
		fmt.Fprintf(&s.out, "  refused: %s\n", ready.Refused)
	}
	for _, e := range ready.Entries {
		e.Seq = uint64(len(s.kept) + 1)
		s.kept, s.modes = append(s.kept, e), append(s.modes, s.rules.Mode)
		s.m.Apply(e)
		incident := ""
		if e.Incident != "" {
			incident = " [" + e.Incident + "]"
		}
		fmt.Fprintf(&s.out, "  %s%s: %s\n", e.Kind, incident, e.Sentence())
	}
	for _, f := range ready.Effects {
		s.chain = f.Chain.ID
		if f.Abort != "" {
			fmt.Fprintf(&s.out, "  EFFECT end %s: %s\n", f.Chain.ID, f.Abort)
			continue
		}
		fmt.Fprintf(&s.out, "  EFFECT run %s from %s to %s", f.Chain.ID, f.Chain.From, f.Chain.To)
		for step, why := range f.Chain.Skip {
			fmt.Fprintf(&s.out, ", without %s (%s)", step, why)
		}
		if f.Chain.Dropped != "" {
			fmt.Fprintf(&s.out, ", abandon: %s", f.Chain.Dropped)
		}
		s.out.WriteString("\n")
	}
	if ready.Answer.Text != "" && ready.Refused == "" {
		fmt.Fprintf(&s.out, "  answer: %s\n", ready.Answer.Text)
	}
	fmt.Fprintf(&s.out, "  = %s, active %s\n", s.m.State(), s.m.Active())
}

// audit holds what was journaled to the promises: the auditor has nothing
// against what the machine decides. That records keep their order is the
// runner's matter, and transcripts cut it short.
func (s *script) audit() error {
	a := NewAuditor(s.rules)
	for i, e := range s.kept {
		a.rules.Mode = s.modes[i]
		if err := a.Check([]Entry{e}); err != nil && e.Kind != KindStep && e.Kind != KindChainEnd {
			return err
		}
		a.Apply(e)
	}
	return nil
}

// transcripts are the stories in testdata. Lines that begin with "#" are told,
// lines that begin with ">" are done, and the rest is what followed.
func transcripts(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	out := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		out[file] = string(text)
	}
	return out
}

// play does what the transcript says.
func (s *script) play(transcript string) {
	for line := range strings.Lines(transcript) {
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, ">") {
			s.out.WriteString(line)
		}
		if input, ok := strings.CutPrefix(line, ">"); ok {
			s.do(strings.TrimSpace(input))
		}
	}
}

func TestTranscripts(t *testing.T) {
	for file, want := range transcripts(t) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			s := newScript(t)
			s.play(want)
			replayed := NewMachine(s.rules)
			for _, e := range s.kept {
				replayed.Apply(e)
			}
			if !reflect.DeepEqual(replayed.fold, s.m.fold) {
				t.Errorf("replaying the journal leads elsewhere:\nlive   %+v\nreplay %+v", s.m.fold, replayed.fold)
			}
			if err := s.audit(); err != nil {
				t.Errorf("the auditor refuses it: %v", err)
			}
			if *update {
				if err := os.WriteFile(file, []byte(s.out.String()), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if d := cmp.Diff(strings.Split(want, "\n"), strings.Split(s.out.String(), "\n")); d != "" {
				t.Errorf("transcript differs (-want +got; -update rewrites):\n%s", d)
			}
		})
	}
}

// Every row of the transition table stands in a transcript.
func TestTranscriptsCoverTheTable(t *testing.T) {
	met := map[State]map[eventName]bool{}
	for _, text := range transcripts(t) {
		s := newScript(t)
		s.play(text)
		for state, events := range s.met {
			if met[state] == nil {
				met[state] = map[eventName]bool{}
			}
			maps.Copy(met[state], events)
		}
	}
	for state, rows := range transitions {
		for event := range rows {
			if !met[state][event] {
				t.Errorf("no transcript has %s while %s", event, state)
			}
		}
	}
}

// Every state × event pair has a row, or is refused by name.
func TestTransitionTableIsComplete(t *testing.T) {
	events := []Event{Booted{}, Tick{}, Recorded{}, Ended{}}
	for _, v := range Verbs() {
		events = append(events, Submitted{Command{Verb: v.Verb}})
	}
	for s := range State(len(stateWords)) {
		for _, ev := range events {
			row, ok := transitions[s][ev.event()]
			if !ok || (row.do == nil) == (row.refuse == "") {
				t.Errorf("%s × %s: want exactly one of an action and a refusal", s, ev.event())
			}
		}
		if len(transitions[s]) != len(events) {
			t.Errorf("%s has %d rows, the test knows %d events", s, len(transitions[s]), len(events))
		}
	}
}
