package slack

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"edgewatch/actions"
	"edgewatch/probe"
	"edgewatch/watchdog"
)

// esc makes s safe inside mrkdwn: no mention, link or channel call can be
// smuggled in by a reason or by a server's error text, nor a line that looks
// like one of ours.
func esc(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(oneLine(s))
}

// oneLine is s without its line breaks.
func oneLine(s string) string {
	return strings.NewReplacer("\r\n", " ", "\n", " ", "\r", " ", "\v", " ", "\f", " ", "\u0085", " ", "\u2028", " ", "\u2029", " ").Replace(s)
}

// unmark is mrkdwn as plain text.
func unmark(s string) string {
	return strings.NewReplacer("*", "", "`", "", "&lt;", "<", "&gt;", ">", "&amp;", "&").Replace(s)
}

// clip shortens s to n runes at most.
func clip(s string, n int) string {
	if utf8.RuneCountInString(s) <= n {
		return s
	}
	r := []rune(s)
	return strings.TrimSpace(string(r[:max(0, n-1)])) + "…"
}

// span is a duration as a person says it.
func span(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d days", int(d.Hours())/24)
}

// clock is a moment as every message shows it: UTC, as in the logs, and with its
// day, since messages are read and edited for days.
func clock(t time.Time) string {
	if t.IsZero() {
		return "unknown"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// evidence tells the last round of a pool, one line per address.
func evidence(results []probe.Result) []string {
	out := make([]string, 0, len(results))
	for _, r := range results {
		line := fmt.Sprintf("%s: %s at %s", r.Target.Addr, wordOf(r.Class), r.Phase)
		if r.Level == probe.Up {
			line = fmt.Sprintf("%s: answers", r.Target.Addr)
		}
		if r.Condition != "" {
			line += " (" + r.Condition + ")"
		}
		if r.Took > 0 {
			line += " after " + span(r.Took)
		}
		if r.Error != "" {
			line += " – " + r.Error
		}
		out = append(out, clip(line, 300))
		if len(out) == 16 && len(results) > 17 {
			return append(out, fmt.Sprintf("and %d more addresses", len(results)-16))
		}
	}
	return out
}

func wordOf(c probe.Class) string {
	if c == probe.ClassUnknown {
		return "nothing learned"
	}
	return string(c)
}

// detail tells an entry in mrkdwn, with everything a person asks first.
func detail(e watchdog.Entry) string {
	switch {
	case e.Pool != nil:
		return poolDetail(e)
	case e.Decision != nil:
		return decisionDetail(e.Decision)
	case e.Command != nil:
		return commandDetail(e.Command)
	case e.Chain != nil:
		return chainDetail(e.Chain)
	case e.Step != nil:
		return stepDetail(&stepPost{Step: e.Step.Step, Targets: []actions.Record{*e.Step}})
	case e.ChainEnd != nil:
		return endDetail(e.ChainEnd)
	case e.Notice != nil:
		return noticeDetail(e.Notice)
	}
	return fmt.Sprintf("journal entry %d of kind %s", e.Seq, esc(string(e.Kind)))
}

func poolDetail(e watchdog.Entry) string {
	p := e.Pool
	if !p.Tripped {
		s := fmt.Sprintf("✓ *%s answers again*", esc(p.Pool))
		if !p.Since.IsZero() {
			s += ", after " + span(e.At.Sub(p.Since))
		}
		return s
	}
	var b strings.Builder
	fmt.Fprintf(&b, "✕ *%s is down*", esc(p.Pool))
	if !p.Since.IsZero() {
		fmt.Fprintf(&b, " since %s", clock(p.Since))
	}
	if p.Bad > 0 {
		fmt.Fprintf(&b, ", %d bad rounds", p.Bad)
	}
	for _, l := range evidence(p.Results) {
		fmt.Fprintf(&b, "\n• %s", esc(l))
	}
	return b.String()
}

func decisionDetail(d *watchdog.Decision) string {
	head := ""
	switch d.Will {
	case watchdog.WillWatch:
		head = "Watching"
		if d.State != watchdog.Watching {
			head = capital(strings.ReplaceAll(d.State.String(), "_", " "))
		}
	case watchdog.WillFailover:
		head = "Failing over to " + d.To
	case watchdog.WillFailback:
		head = "Failing back to " + d.To
	case watchdog.WillAsk:
		// The reason tells how to answer, until when, and what follows.
		return fmt.Sprintf("→ *Asking a person about a failover to %s:* %s", esc(d.To), esc(d.Because))
	case watchdog.WillHold:
		head = "Holding"
	case watchdog.WillFinish:
		head = "Finishing the failover"
	default:
		head = string(d.Will)
	}
	s := fmt.Sprintf("→ *%s:* %s", esc(head), esc(d.Because))
	if d.BlockedBy != watchdog.GuardNone {
		s += fmt.Sprintf(" (held by: %s)", esc(string(d.BlockedBy)))
	}
	if !d.NextAt.IsZero() {
		s += ". Looked at again at " + clock(d.NextAt)
	}
	return s
}

func commandDetail(c *watchdog.Command) string {
	s := fmt.Sprintf("⌨ *%s* by %s over %s", esc(order(c)), esc(c.Actor), esc(c.Via))
	if c.Reason != "" {
		s += ": " + esc(c.Reason)
	}
	return s
}

// order is a command as it was typed, without its reason.
func order(c *watchdog.Command) string {
	words := []string{string(c.Verb)}
	switch {
	case c.Pool != "":
		words = append(words, c.Pool)
	case c.Step != "":
		words = append(words, string(c.Step))
	case c.For > 0:
		words = append(words, "for", span(c.For))
	}
	if c.Force {
		words = append(words, "--force")
	}
	return strings.Join(words, " ")
}

// move is how one kind of chain is told.
type move struct{ noun, doing, done, where string }

func moveOf(kind actions.PlanKind, repair bool) move {
	switch {
	case repair:
		return move{"repair", "bringing route and records back", "route and records brought back", "on"}
	case kind == actions.Failback:
		return move{"failback", "failing back", "failed back", "to"}
	case kind == actions.Switchover:
		return move{"switchover", "switching over", "switched over", "to"}
	}
	return move{"failover", "failing over", "failed over", "to"}
}

func (c *chain) move() move { return moveOf(c.Kind, c.Repair) }

// capital is a word of ours with a capital letter.
func capital(word string) string { return strings.ToUpper(word[:1]) + word[1:] }

func chainDetail(c *watchdog.ChainStart) string {
	noun := capital(moveOf(c.Kind, c.Repair).noun)
	var s string
	switch {
	case c.Dropped != "":
		s = fmt.Sprintf("■ *%s %s is not carried on: %s → %s*\n%s: what it stopped is started", noun, esc(c.ID), esc(c.From), esc(c.To), esc(capital(c.Dropped)))
	case c.Repair && c.Retry == 0:
		s = fmt.Sprintf("▶ *%s %s of federation on %s begins*", noun, esc(c.ID), esc(c.To))
	case c.Retry == 0:
		s = fmt.Sprintf("▶ *%s %s begins: %s → %s*", noun, esc(c.ID), esc(c.From), esc(c.To))
	default:
		s = fmt.Sprintf("▶ *%s %s is taken up again: %s → %s* (try %d)", noun, esc(c.ID), esc(c.From), esc(c.To), c.Retry+1)
	}
	s += "\nTrigger: " + esc(c.Trigger)
	if c.Actor != "" {
		s += ", by " + esc(c.Actor)
	}
	if c.Reason != "" {
		s += "\nReason: " + esc(c.Reason)
	}
	for _, step := range slices.Sorted(maps.Keys(c.Skip)) {
		s += fmt.Sprintf("\nWithout %s: %s", esc(string(step)), esc(c.Skip[step]))
	}
	return s
}

func endDetail(end *watchdog.ChainEnd) string {
	o, noun := end.Outcome, capital(end.Kind.String())
	if o.OK && len(o.Skipped) > 0 {
		names := make([]string, len(o.Skipped))
		for i, s := range o.Skipped {
			names[i] = string(s)
		}
		return fmt.Sprintf("⚠ *%s %s done* in %s, NOT PROVEN: %s skipped on a person's order", noun, esc(end.ID), span(o.Took), esc(strings.Join(names, ", ")))
	}
	if o.OK {
		return fmt.Sprintf("✓ *%s %s done* in %s: partners reach federation again", noun, esc(end.ID), span(o.Took))
	}
	var b strings.Builder
	switch {
	case o.Aborted:
		fmt.Fprintf(&b, "⏸ *%s %s was aborted", noun, esc(end.ID))
	case o.Interrupted:
		fmt.Fprintf(&b, "⏸ *%s %s was interrupted", noun, esc(end.ID))
	default:
		fmt.Fprintf(&b, "✕ *%s %s failed", noun, esc(end.ID))
	}
	if o.Step != "" {
		fmt.Fprintf(&b, " at %s", esc(string(o.Step)))
	}
	fmt.Fprintf(&b, "* after %s", span(o.Took))
	if o.Error != "" {
		fmt.Fprintf(&b, "\n%s", esc(clip(o.Error, 1500)))
	}
	if o.Unsure {
		b.WriteString("\nWhether federation has moved could not be seen.")
	} else if o.RouteMoved {
		b.WriteString("\nThe route was moved already; nothing is rolled back.")
	} else {
		b.WriteString("\nThe route was not moved.")
	}
	if len(o.Stopped) > 0 {
		fmt.Fprintf(&b, "\n*Services are stopped on %s: start them with* `Start-CsWindowsService -ComputerName …`", esc(strings.Join(o.Stopped, ", ")))
	}
	return b.String()
}

func noticeDetail(n *watchdog.Notice) string {
	mark := map[watchdog.NoticeKind]string{
		watchdog.NoticeStarted: "●", watchdog.NoticeActiveGone: "⚠", watchdog.NoticeOldPoolBack: "✓", watchdog.NoticeDrift: "⚠", watchdog.NoticePauseEnded: "▶", watchdog.NoticeDegraded: "⚠",
		watchdog.NoticeRecovered: "✓", watchdog.NoticeOldPoolGone: "✕", watchdog.NoticeHeld: "⏸", watchdog.NoticePartnerLost: "✕", watchdog.NoticePartnerBack: "✓",
		watchdog.NoticeServerDown: "⚠", watchdog.NoticeServerBack: "✓", watchdog.NoticeServerGone: "⚠", watchdog.NoticeFederationGone: "⚠", watchdog.NoticeWitnessSilent: "⚠", watchdog.NoticeWitnessBack: "✓",
		watchdog.NoticeDNSBlind: "⚠", watchdog.NoticeDNSBack: "✓", watchdog.NoticeRefused: "✕",
		watchdog.NoticeClock: "⏱", watchdog.NoticeProven: "✓",
	}[n.Kind]
	if n.Kind == watchdog.NoticeDrift && n.Pool == "" {
		mark = "✓"
	}
	return strings.TrimSpace(mark + " " + esc(n.Text))
}

var phaseMarks = map[actions.RecordPhase]string{actions.Started: "…", actions.Finished: "✓", actions.Already: "✓", actions.Failed: "✕", actions.Skipped: "–"}

// stepDetail tells one step with all its targets.
func stepDetail(p *stepPost) string {
	var b strings.Builder
	phase := standing(p.Targets)
	word := string(phase)
	if slices.ContainsFunc(p.Targets, func(r actions.Record) bool { return r.Target == "" && r.Unneeded() }) {
		word = actions.Needless
	}
	fmt.Fprintf(&b, "%s *%s* %s", phaseMarks[phase], esc(string(p.Step)), word)
	if p.Rescue {
		b.WriteString(", so that nothing stays stopped")
	}
	for _, r := range p.Targets {
		if r.Target == "" {
			b.WriteString(remarks(r))
		}
	}
	for _, r := range p.Targets {
		if r.Target == "" {
			continue
		}
		fmt.Fprintf(&b, "\n%s %s: %s", phaseMarks[r.Phase], esc(r.Target), r.Word())
		b.WriteString(remarks(r))
	}
	return b.String()
}

// remarks are how long a record's work took and what was seen.
func remarks(r actions.Record) string {
	s := ""
	switch {
	case r.Took > 0 && r.Phase == actions.Finished:
		s += " in " + span(r.Took)
	case r.Took > 0 && r.Phase == actions.Failed:
		s += " after " + span(r.Took)
	}
	if r.Tries > 1 {
		s += fmt.Sprintf(", %d tries", r.Tries)
	}
	if r.Detail != "" {
		s += ", " + esc(clip(r.Detail, 300))
	}
	if r.Error != "" {
		s += " – " + esc(clip(r.Error, 600))
	}
	return s
}

// standing is the phase that a step as a whole is in: as its own record says,
// else as its targets let one see.
func standing(targets []actions.Record) actions.RecordPhase {
	has := func(phase actions.RecordPhase) bool {
		return slices.ContainsFunc(targets, func(r actions.Record) bool { return r.Phase == phase })
	}
	for _, r := range targets {
		if r.Target != "" {
			continue
		}
		if r.Phase == actions.Already {
			return actions.Finished
		}
		return r.Phase
	}
	switch {
	case has(actions.Failed):
		return actions.Failed
	case has(actions.Started):
		return actions.Started
	}
	return actions.Finished
}

// late is what a message adds that is told much later than it happened.
func late(at, now time.Time) string {
	if at.IsZero() || now.Sub(at) <= time.Minute {
		return ""
	}
	return fmt.Sprintf("(sent %s late)", lateness(now.Sub(at)))
}

func lateness(d time.Duration) string {
	if d < 2*time.Hour {
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return span(d)
}
