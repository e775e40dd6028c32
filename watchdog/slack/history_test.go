package slack

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgewatch/actions"
	"edgewatch/watchdog"
	"edgewatch/watchdog/slack/slacktest"
)

// randomEntry is an entry as the engine might write it, of one of three
// federations, in one of their incidents or in none.
func randomEntry(rnd *rand.Rand) watchdog.Entry {
	f := []string{"contoso", "fabrikam", "adatum"}[rnd.IntN(3)]
	e := watchdog.Entry{Federation: f, At: time.Now()}
	if rnd.IntN(6) > 0 {
		e.Incident = fmt.Sprintf("%s-%d", f, 1+rnd.IntN(2))
	}
	chain := fmt.Sprintf("%s-1.%d", f, 1+rnd.IntN(2))
	switch rnd.IntN(10) {
	case 0:
		e.Kind, e.Pool = watchdog.KindPool, &watchdog.PoolChange{Pool: fmt.Sprintf("EdgePool%d", 1+rnd.IntN(2)), Tripped: rnd.IntN(2) == 0}
	case 1:
		e.Kind, e.Decision = watchdog.KindDecision, &watchdog.Decision{Will: watchdog.WillHold, BlockedBy: watchdog.GuardPause, Because: "so"}
		if rnd.IntN(3) > 0 {
			e.Decision = &watchdog.Decision{Will: watchdog.WillWatch, Because: fmt.Sprintf("because %d", rnd.IntN(100))}
		} else if rnd.IntN(2) == 0 {
			e.Decision = &watchdog.Decision{Will: pick(rnd, watchdog.Wills()), To: "EdgePool2", Because: fmt.Sprintf("because %d", rnd.IntN(100))}
		}
	case 2:
		e.Kind, e.Command = watchdog.KindCommand, &watchdog.Command{Verb: pick(rnd, watchdog.Verbs()).Verb, Actor: "U0ANNA"}
	case 3:
		e.Kind, e.Chain = watchdog.KindChain, &watchdog.ChainStart{ID: chain, Kind: pick(rnd, actions.PlanKinds()), From: "EdgePool1", To: "EdgePool2", Trigger: "auto"}
	case 4:
		e.Kind, e.ChainEnd = watchdog.KindChainEnd, &watchdog.ChainEnd{ID: chain, Kind: pick(rnd, actions.PlanKinds()), Outcome: actions.Outcome{OK: rnd.IntN(2) == 0}}
	case 5:
		e.Kind, e.Notice = watchdog.KindNotice, &watchdog.Notice{Kind: watchdog.NoticeDrift, Text: "drift"}
	default:
		e.Kind, e.Step = watchdog.KindStep, &actions.Record{
			Chain: chain, Step: []actions.StepName{actions.StopServices, actions.SetRoute}[rnd.IntN(2)], Target: []string{"", "edge1", "edge2", "edge3"}[rnd.IntN(4)],
			Phase: []actions.RecordPhase{actions.Started, actions.Finished, actions.Failed}[rnd.IntN(3)], Took: time.Second, Rescue: rnd.IntN(5) == 0,
		}
	}
	return e
}

func pick[T any](rnd *rand.Rand, from []T) T { return from[rnd.IntN(len(from))] }

// expected is what Slack must show of entries in the end, by thread: one line
// per message. It says in its own way what the outbox does step by step.
func expected(entries []watchdog.Entry) map[string][]string {
	out := map[string][]string{}
	steps := map[string][]actions.Record{} // by incident: the reply that may still grow
	quiets := map[string]int{}             // by federation: 1 + the line of its quiet message, while it may still grow
	for _, e := range entries {
		id := fmt.Sprintf("%s/%d", e.Federation, e.Seq)
		if e.Incident == "" && e.Decision != nil && e.Decision.Will == watchdog.WillWatch {
			line := clock(e.At) + " " + unmark(detail(e))
			if at := quiets[e.Federation]; at > 0 {
				out[""][at-1] += "\n" + line
				continue
			}
			out[""] = append(out[""], id+" "+e.Federation+"\n"+line)
			quiets[e.Federation] = len(out[""])
			continue
		}
		delete(quiets, e.Federation)
		if e.Step == nil || e.Incident == "" {
			out[e.Incident] = append(out[e.Incident], id+" "+strings.TrimSpace(e.Sentence()))
			delete(steps, e.Incident)
			continue
		}
		group, lines := steps[e.Incident], out[e.Incident]
		same := len(group) > 0 && group[0].Chain == e.Step.Chain && group[0].Step == e.Step.Step && group[0].Rescue == e.Step.Rescue
		i := slices.IndexFunc(group, func(r actions.Record) bool { return r.Target == e.Step.Target })
		switch {
		case same && i < 0:
			group = append(group, *e.Step)
		case same && group[i].Phase == actions.Started && e.Step.Phase != actions.Started:
			group[i] = *e.Step
		default:
			group = []actions.Record{*e.Step}
			lines = append(lines, "")
		}
		first := id
		if len(lines[len(lines)-1]) > 0 {
			_, _ = fmt.Sscanf(lines[len(lines)-1], "%s", &first)
		}
		lines[len(lines)-1] = first + " " + unmark(stepDetail(&stepPost{Step: group[0].Step, Rescue: group[0].Rescue, Targets: group}))
		steps[e.Incident], out[e.Incident] = group, lines
	}
	return out
}

// shown is what the fake Slack shows, in the same form, and the number of
// messages of each incident.
func shown(msgs []slacktest.Message) (threads map[string][]string, roots map[string]int) {
	threads, roots = map[string][]string{}, map[string]int{}
	ts, alone := map[string]string{"": ""}, map[string]bool{}
	for _, m := range msgs {
		incident, _ := m.Metadata["incident"].(string)
		if m.Metadata["part"] == partIncident {
			roots[incident]++
			ts[incident] = m.TS
			continue
		}
		if incident == "" && m.ThreadTS == "" {
			alone[m.TS] = true // a burst of notices may go into its thread
		}
		if m.ThreadTS != ts[incident] && (incident != "" || !alone[m.ThreadTS]) {
			incident = "misplaced " + incident
		}
		threads[incident] = append(threads[incident], fmt.Sprintf("%v %s", m.Metadata["id"], m.Text))
	}
	return threads, roots
}

// Whatever Slack does and wherever edgewatch dies, every entry of the journal
// reaches Slack exactly once and in order, and what is edited ends up right.
func TestRandomHistories(t *testing.T) {
	for seed := range uint64(16) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			rnd := rand.New(rand.NewPCG(seed, 1))
			r := newRig(t)
			faults := []slacktest.Fault{
				{Status: 500}, {Status: 502, Late: true}, {Drop: true}, {Status: 429}, {Error: "fatal_error", Late: true},
				{Error: "internal_error"}, {Error: "ratelimited"}, {Error: "not_in_channel"},
			}
			for range 12 {
				for range rnd.IntN(4) {
					f := faults[rnd.IntN(len(faults))]
					f.Skip, f.Times = rnd.IntN(8), 1+rnd.IntN(3)
					r.srv.Fail(f)
				}
				for range 1 + rnd.IntN(8) {
					r.add(t, randomEntry(rnd))
				}
				r.live(t, rnd.IntN(8))
			}
			r.srv.Heal()
			r.start(t, noCommands)
			r.told(t)
			threads, roots := shown(r.srv.Messages())
			if diff := cmp.Diff(expected(r.store.entries), threads); diff != "" {
				t.Errorf("threads (-want +got):\n%s", diff)
			}
			for incident, n := range roots {
				if n != 1 {
					t.Errorf("incident %s has %d messages", incident, n)
				}
			}
		})
	}
}

// live runs an edgewatch that saves that many times, and dies before the save
// after that; or that has told everything.
func (r *rig) live(t *testing.T, saves int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := r.options()
	noCommands(&o)
	o.Cursors = &crashing{store: r.store, left: saves, die: cancel}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	until(t, func() bool { return ctx.Err() != nil || r.settled(t) })
	cancel()
	<-done
}

// An edgewatch posts that a step begins and dies before it saved that it did.
// The next one knows more of the step when it finds the reply.
func TestAReplyThatIsFoundIsBroughtUpToDate(t *testing.T) {
	r := newRig(t)
	s := story("contoso-7")
	s[8].Step.Target, s[8].Step.Phase = "", actions.Failed // of stop-services, which s[5] begins
	r.add(t, s[0], s[5])
	r.live(t, 2)
	if msgs := r.srv.Messages(); len(msgs) != 3 || r.store.after(t) != 1 {
		t.Fatalf("it did not die between post and save: cursor at %d\n%s", r.store.after(t), show(msgs))
	}
	r.add(t, s[8])
	r.start(t, noCommands)
	r.told(t)
	if msgs := r.srv.Messages(); len(msgs) != 3 || !strings.HasPrefix(msgs[2].Text, "✕ stop-services failed") {
		t.Errorf("the reply still says what was known then:\n%s", show(msgs))
	}
}
