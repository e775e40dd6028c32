package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"edgewatch/actions"
	"edgewatch/probe"
	"edgewatch/watchdog"
)

func (t *tool) printStatus(s *watchdog.Snapshot, now time.Time) {
	t.headline(s)
	if !s.LastRound.IsZero() && now.Sub(s.LastRound) > max(3*s.Interval, 15*time.Second) {
		fmt.Fprintln(t.out, t.style.paint(bad, "! the last round is "+span(now.Sub(s.LastRound))+" old: what follows may be out of date"))
	}
	fmt.Fprintln(t.out)
	t.printPools(s, now)
	t.printAddresses(s, now)
	t.printUptime(s)
	fmt.Fprintln(t.out)
	t.fact("will", intent(s.Decision, now))
	t.printSurroundings(s, now)
	t.fact("mode", string(s.Mode))
	if s.LastRound.IsZero() {
		t.fact("last round", "none yet")
	} else {
		t.fact("last round", span(now.Sub(s.LastRound))+" ago")
	}
	if s.Chain != nil {
		fmt.Fprintln(t.out)
		t.printChain(s.Chain, s.Unproven, now)
	}
	t.printPartner(s, now)
}

func (t *tool) printPools(s *watchdog.Snapshot, now time.Time) {
	tab := table{style: t.style, indent: "  "}
	tab.header("POOL", "ROLE", "VERDICT", "ANSWERING", "BREAKER", "READY TO TAKE OVER")
	for _, p := range s.Pools {
		role := cell{"standby", plain}
		if p.Active {
			role = cell{"active", strong}
		}
		answering := 0
		for _, r := range p.Servers {
			if r.Level.Answers() {
				answering++
			}
		}
		tab.row(cell{p.Name, plain}, role, verdictCell(p.Verdict), cell{fmt.Sprintf("%d of %d", answering, len(p.Servers)), plain},
			breakerCell(p.Breaker, now), readyCell(p, now))
	}
	tab.print(t.out)
}

func verdictCell(v watchdog.Verdict) cell {
	switch v {
	case watchdog.PoolUp:
		return cell{"✓ up", good}
	case watchdog.PoolDegraded:
		return cell{"! degraded", warning}
	case watchdog.PoolDown:
		return cell{"✕ down", bad}
	case watchdog.Inconclusive:
	}
	return cell{"? " + v.String(), warning}
}

func breakerCell(b watchdog.Breaker, now time.Time) cell {
	switch {
	case b.Tripped():
		return cell{string(b.State) + " since " + clock(b.Since, now), bad}
	case b.Bad > 0:
		return cell{fmt.Sprintf("%s, %s since %s", b.State, plural(b.Bad, "bad round"), clock(b.Since, now)), warning}
	}
	return cell{string(b.State), plain}
}

func readyCell(p watchdog.PoolStatus, now time.Time) cell {
	switch {
	case p.Active:
		return cell{"–", faint}
	case p.Readiness.At.IsZero() && p.Readiness.Why == "":
		return cell{"not checked yet", warning}
	case p.Readiness.Ready && p.Quarantined != "":
		return cell{"! checked " + span(now.Sub(p.Readiness.At)) + " ago, quarantined", warning}
	case p.Readiness.Ready:
		return cell{"✓ checked " + span(now.Sub(p.Readiness.At)) + " ago", good}
	}
	return cell{"✕ " + p.Readiness.Why, bad}
}

func (t *tool) printAddresses(s *watchdog.Snapshot, now time.Time) {
	tab := table{style: t.style, indent: "  "}
	tab.header("ADDRESS", "POOL", "LEVEL", "CLASS", "PHASE", "TOOK", "CERTIFICATE", "STATE", "")
	for _, p := range s.Pools {
		for i := range p.Servers {
			r := &p.Servers[i]
			tab.row(cell{r.Target.Addr.String(), plain}, cell{p.Name, plain}, levelCell(r.Level), cell{className(r), plain},
				cell{r.Phase.String(), plain}, cell{span(r.Took), plain}, certCell(r, now), stateCell(p.States, r, now), cell{r.Error, faint})
		}
	}
	if len(tab.rows) > 1 {
		fmt.Fprintln(t.out)
		tab.print(t.out)
	}
}

// stateCell is what several rounds say of the address, beside the level of the
// last one.
func stateCell(states []watchdog.ServerState, r *probe.Result, now time.Time) cell {
	i := slices.IndexFunc(states, func(s watchdog.ServerState) bool { return s.Addr == r.Target.Addr })
	switch {
	case i < 0:
		return cell{"–", faint}
	case states[i].Down:
		return cell{"down since " + clock(states[i].Since, now), bad}
	case states[i].Bad > 0:
		return cell{plural(states[i].Bad, "bad round") + " since " + clock(states[i].Since, now), warning}
	}
	return cell{"–", faint}
}

func levelCell(l probe.Level) cell {
	switch l {
	case probe.Up:
		return cell{"✓ up", good}
	case probe.Degraded:
		return cell{"! degraded", warning}
	case probe.Down:
		return cell{"✕ down", bad}
	case probe.Inconclusive:
	}
	return cell{"? " + l.String(), warning}
}

// className is the class with what it leaves open.
func className(r *probe.Result) string {
	name := string(r.Class)
	if name == "" {
		name = "unknown"
	}
	if r.Condition != "" {
		name += " (" + r.Condition + ")"
	}
	return name
}

func certCell(r *probe.Result, now time.Time) cell {
	if r.Cert == nil {
		return cell{"–", faint}
	}
	days := r.Cert.Days(now)
	switch {
	case now.After(r.Cert.NotAfter):
		return cell{"expired " + r.Cert.NotAfter.UTC().Format(time.DateOnly), bad}
	case len(r.Cert.Problems) > 0:
		return cell{string(r.Cert.Problems[0]) + ", " + plural(days, "day"), warning}
	case slices.Contains(r.Remarks, probe.CertExpiring):
		return cell{plural(days, "day") + " left", warning}
	}
	return cell{plural(days, "day"), plain}
}

// intent is what edgewatch will do, what blocks it, and when it looks again.
func intent(d watchdog.Decision, now time.Time) string {
	text := will(d)
	if d.BlockedBy != watchdog.GuardNone {
		text += ", blocked by " + string(d.BlockedBy)
	}
	if !d.NextAt.IsZero() {
		text += ", next at " + clock(d.NextAt, now)
	}
	return text
}

// will is what the decision announces. Nobody needs to know that holding is the
// machine's word for doing nothing: hold is an order too.
func will(d watchdog.Decision) string {
	if d.Will == watchdog.WillHold {
		return "nothing"
	}
	return d.Intent()
}

// printSurroundings prints what persons said or are asked, and what holds
// edgewatch off or makes it doubt.
func (t *tool) printSurroundings(s *watchdog.Snapshot, now time.Time) {
	if s.Lease != "" {
		t.fact("LEASE LOST", "this edgewatch does nothing any more: "+s.Lease)
	}
	if s.Guessed != "" {
		t.fact("GUESSED", s.Guessed)
	}
	t.printQuestion(s, now)
	if h := s.Hold; h != nil {
		t.fact("held", fmt.Sprintf("until release, since %s by %s: %s", clock(h.Since, now), h.Actor, h.Reason))
	}
	for _, p := range s.Pools {
		if len(p.Stopped) > 0 {
			t.fact("STOPPED", fmt.Sprintf("services of %s were stopped and not seen running since on %s: run Start-CsWindowsService there", p.Name, strings.Join(p.Stopped, ", ")))
		}
		if p.Quarantined != "" {
			t.fact("quarantine", p.Quarantined)
		}
	}
	if c := s.Canaries; c.Total > 0 {
		text := fmt.Sprintf("%d of %d answer", c.Good, c.Total)
		if !c.OK {
			text += ": too few, nothing is concluded from failed probes"
		}
		if c.Why != "" {
			text += "; " + c.Why
		}
		t.fact("canaries", text)
	}
	t.printWitnesses(s, now)
	if p := s.Pause; p != nil {
		t.fact("paused", fmt.Sprintf("until %s (%s left) by %s: %s", clock(p.Until, now), span(p.Until.Sub(now)), p.Actor, p.Reason))
	}
	if !s.Cooldown.IsZero() {
		t.fact("cool-down", fmt.Sprintf("until %s (%s left)", clock(s.Cooldown, now), span(s.Cooldown.Sub(now))))
	}
	if s.Frozen != "" {
		t.fact("frozen", s.Frozen)
	}
	if s.HistoryError != "" {
		t.fact("history", "rounds cannot be recorded, decisions are not concerned: "+s.HistoryError)
	}
	if s.Incident != "" {
		t.fact("incident", s.Incident)
	}
}

// printWitnesses prints what each witness said of the active pool when it was
// last asked.
func (t *tool) printWitnesses(s *watchdog.Snapshot, now time.Time) {
	for _, w := range s.Witnesses {
		text := w.URL
		if w.Vantage != "" {
			text += " (" + w.Vantage + ")"
		}
		text += ": " + string(w.Says)
		if w.Why != "" {
			text += ", " + w.Why
		}
		if !w.At.IsZero() {
			text += fmt.Sprintf("; asked about %s %s ago", s.Active, span(now.Sub(w.At)))
		}
		t.fact("witness", text)
	}
}

// printQuestion prints what a person is asked, until when, and how to answer.
func (t *tool) printQuestion(s *watchdog.Snapshot, now time.Time) {
	a := s.Approval
	if a == nil {
		return
	}
	wait := "waits without end"
	if !a.Until.IsZero() {
		then := "does nothing"
		if a.Then == watchdog.ApprovalActs {
			then = "fails over"
		}
		wait = fmt.Sprintf("waits until %s (%s left) and then %s", clock(a.Until, now), span(a.Until.Sub(now)), then)
	}
	t.fact("asked", fmt.Sprintf("since %s, everybody who may command, here and in Slack: fail over to %s? edgewatch %s", clock(a.Since, now), a.To, wait))
	for _, order := range []string{fmt.Sprintf("%s %s", watchdog.VerbApprove, a.To), string(watchdog.VerbDeny)} {
		t.fact("answer", fmt.Sprintf("edgewatch %s REASON… -f %s%s", order, quoted(s.Federation), t.reach))
	}
}

// printChain prints the running or the last move. Unproven are the steps that
// it left out and that nothing made up for.
func (t *tool) printChain(c *watchdog.ChainStatus, unproven string, now time.Time) {
	head := fmt.Sprintf("%s %s from %s to %s, ", capital(c.Kind.String()), c.ID, c.From, c.To)
	if c.Repair {
		head = fmt.Sprintf("Repair %s of federation on %s, ", c.ID, c.To)
	}
	tone := warning
	switch {
	case c.Outcome == nil && c.Dropped != "":
		head += "not carried on: " + c.Dropped
	case c.Outcome == nil:
		head += "running since " + clock(c.StartedAt, now) + " (" + span(now.Sub(c.StartedAt)) + ")"
	case c.Outcome.OK && unproven != "":
		head += "done " + clock(c.EndedAt, now) + " in " + span(c.Outcome.Took) + ", NOT PROVEN: " + unproven + " was left out"
	case c.Outcome.OK:
		head, tone = head+"done "+clock(c.EndedAt, now)+" in "+span(c.Outcome.Took), good
	default:
		head, tone = head+"ended "+clock(c.EndedAt, now)+": "+c.Outcome.Error, bad
	}
	fmt.Fprintln(t.out, t.style.paint(tone, printable(head)))
	by := c.Trigger
	if c.Actor != "" {
		by = c.Actor + " via " + c.Trigger
	}
	t.fact("by", by+": "+c.Reason)
	if o := c.Outcome; o != nil && !o.OK {
		moved := "not moved"
		if o.RouteMoved {
			moved = "moved, or may have; nothing is rolled back"
		}
		t.fact("route", moved)
		if len(o.Stopped) > 0 {
			t.fact("STOPPED", "services are NOT running on "+strings.Join(o.Stopped, ", ")+": run Start-CsWindowsService there")
		}
	}
	tab := table{style: t.style, indent: "  "}
	for i, s := range c.Steps {
		mark, tone, took := stepMark(s, now)
		tab.row(cell{strconv.Itoa(i+1) + ".", faint}, cell{mark, tone}, cell{string(s.Step), plain}, cell{took, plain}, cell{s.Error, bad})
	}
	tab.print(t.out)
}

func stepMark(s watchdog.StepStatus, now time.Time) (string, tone, string) {
	switch s.State {
	case watchdog.StepDone:
		if s.Already {
			return "✓ " + actions.Needless, good, span(s.Took)
		}
		return "✓ done", good, span(s.Took)
	case watchdog.StepFailed:
		return "✕ failed", bad, span(s.Took)
	case watchdog.StepRunning:
		return "… running", warning, span(now.Sub(s.StartedAt))
	case watchdog.StepSkipped:
		return "– left out", warning, ""
	case watchdog.StepWaiting:
	}
	return "· " + string(watchdog.StepWaiting), faint, ""
}

// printPartner prints what partners find and how long ago that was looked at.
// What was found before federation last moved says nothing of where it is now.
func (t *tool) printPartner(s *watchdog.Snapshot, now time.Time) {
	if len(s.Partner) == 0 {
		return
	}
	checked := cell{"–", faint}
	if !s.PartnerAt.IsZero() {
		checked.text = span(now.Sub(s.PartnerAt)) + " ago"
	}
	stale := s.Chain != nil && !s.PartnerAt.IsZero() && s.PartnerAt.Before(moved(s.Chain))
	fmt.Fprintln(t.out)
	tab := table{style: t.style, indent: "  "}
	tab.header("PARTNERS OF", "FIND", "LEADS TO", "CHECKED", "")
	for _, p := range s.Partner {
		level, pool, text := levelCell(p.Level), p.Pool, p.Text
		if pool == "" {
			pool = "–"
		}
		if stale {
			level, pool, text = cell{"?", warning}, "?", "looked at before federation last moved"
		}
		tab.row(cell{p.Domain, plain}, level, cell{pool, plain}, checked, cell{text, faint})
	}
	tab.print(t.out)
}

// moved is when the chain ended that moved federation, or may have.
func moved(c *watchdog.ChainStatus) time.Time {
	if c.Outcome == nil || !c.Outcome.OK && !c.Outcome.RouteMoved {
		return time.Time{}
	}
	return c.EndedAt
}
