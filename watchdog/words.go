package watchdog

import (
	"fmt"
	"strings"
	"time"

	"edgewatch/actions"
	"edgewatch/probe"
)

// clock is a moment as people are told it.
func clock(t time.Time) string {
	if t.IsZero() {
		return "an unknown time"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// Count is n of something, by its word for one and its word for another number.
func Count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Span is a duration as people are told it: "1.2ms", "4.5s", "1h30m".
func Span(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Second:
		return d.Round(100 * time.Microsecond).String()
	case d < time.Minute:
		return d.Round(100 * time.Millisecond).String()
	}
	text := d.Round(time.Second).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// ago is how long something is past by the clock, which may have been set back.
func ago(d time.Duration) string {
	if d < 0 {
		return fmt.Sprintf("at a time that is still %s ahead by the clock", Span(-d))
	}
	return Span(d) + " ago"
}

// Sentence tells the entry to a person in one plain sentence, without its
// time. Slack, history, logs and the lab's narration all use it.
func (e Entry) Sentence() string {
	switch e.Kind {
	case KindPool:
		return e.Pool.sentence()
	case KindDecision:
		return e.Decision.sentence()
	case KindCommand:
		return e.Command.sentence()
	case KindChain:
		return e.Chain.sentence()
	case KindStep:
		return stepSentence(e.Step)
	case KindChainEnd:
		return e.ChainEnd.sentence()
	case KindNotice:
		return e.Notice.Text
	}
	return fmt.Sprintf("entry of unknown kind %q", e.Kind)
}

func (p *PoolChange) sentence() string {
	if !p.Tripped {
		return fmt.Sprintf("%s answers again and is trusted", p.Pool)
	}
	s := fmt.Sprintf("%s is down since %s", p.Pool, clock(p.Since))
	if p.Bad > 0 {
		s += fmt.Sprintf(", %s in a row", Count(p.Bad, "bad round", "bad rounds"))
	}
	if t := trouble(p.Results); t != "" {
		s += ": " + t
	}
	return s
}

func (d *Decision) sentence() string {
	switch d.Will {
	case WillFailover:
		return fmt.Sprintf("failing over to %s: %s", d.To, d.Because)
	case WillFailback:
		return fmt.Sprintf("failing back to %s: %s", d.To, d.Because)
	case WillAsk:
		return "waiting for approval: " + d.Because
	case WillHold:
		return fmt.Sprintf("not acting (%s): %s", d.BlockedBy, d.Because)
	case WillFinish:
		return d.Because
	case WillWatch:
		return d.State.String() + ": " + d.Because
	}
	return d.Because
}

// Intent is what the decision announces, in a few words.
func (d *Decision) Intent() string {
	switch d.Will {
	case WillFailover, WillFailback:
		return string(d.Will) + " to " + d.To
	case WillAsk:
		return "ask a person about a failover to " + d.To
	case WillWatch, WillHold, WillFinish:
	}
	return string(d.Will)
}

func (c *Command) sentence() string {
	by := fmt.Sprintf("by %s (%s)", c.Actor, c.Via)
	force := ""
	if c.Force {
		force = " with --force"
	}
	s := ""
	switch c.Verb {
	case VerbFailover, VerbSwitchover, VerbFailback:
		s = fmt.Sprintf("%s to %s ordered%s %s", c.Verb, c.Pool, force, by)
	case VerbHold:
		s = "everything automatic held " + by
	case VerbRelease:
		s = "hold released " + by
	case VerbPause:
		s = fmt.Sprintf("automatic failover paused for %s %s", Span(c.For), by)
	case VerbResume:
		s = "automatic failover resumed " + by
	case VerbApprove:
		s = fmt.Sprintf("failover to %s approved %s", c.Pool, by)
	case VerbDeny:
		s = "failover denied " + by
	case VerbAbort:
		s = "failover aborted " + by
	case VerbRetry:
		s = "another try of the failover ordered " + by
	case VerbSkipStep:
		s = fmt.Sprintf("failover ordered on without %s %s", c.Step, by)
	case VerbAdopt:
		s = fmt.Sprintf("%s adopted as the pool that carries federation %s", c.Pool, by)
	case VerbAck:
		s = "acknowledged " + by
	default:
		s = fmt.Sprintf("%s %s", c.Verb, by)
	}
	if c.Reason != "" {
		s += ": " + c.Reason
	}
	return s
}

func (c *ChainStart) sentence() string {
	if c.Dropped != "" {
		return fmt.Sprintf("%s %s from %s to %s is not carried on (%s): what it stopped is started", c.word(), c.ID, c.From, c.To, c.Dropped)
	}
	if c.Retry > 0 {
		var b strings.Builder
		fmt.Fprintf(&b, "%s %s from %s to %s is taken up again (%s)", c.word(), c.ID, c.From, c.To, times(c.Retry))
		for _, step := range actions.Steps() {
			if why, ok := c.Skip[step]; ok {
				fmt.Fprintf(&b, ", without %s, which was %s", step, why)
			}
		}
		return b.String()
	}
	by := c.Trigger
	if c.Actor != "" {
		by = c.Actor + " via " + c.Trigger
	}
	if c.Repair {
		return fmt.Sprintf("repair %s of federation on %s begins (%s): %s", c.ID, c.To, by, c.Reason)
	}
	return fmt.Sprintf("%s %s from %s to %s begins (%s): %s", c.Kind, c.ID, c.From, c.To, by, c.Reason)
}

func stepSentence(r *actions.Record) string {
	what := string(r.Step)
	if r.Rescue {
		what += " (so that nothing stays stopped)"
	}
	if r.Target != "" {
		what += " on " + r.Target
	}
	var s string
	switch r.Phase {
	case actions.Started:
		s = what + " begins"
	case actions.Finished, actions.Already:
		s = fmt.Sprintf("%s %s in %s", what, r.Word(), Span(r.Took))
	case actions.Failed:
		s = what + " failed"
	default:
		s = what + " " + string(r.Phase)
	}
	if r.Error != "" {
		return s + ": " + r.Error
	}
	if r.Detail != "" {
		s += ": " + r.Detail
	}
	return s
}

// word is what the chain is called.
func (c *ChainStart) word() string { return chainWord(c.Kind, c.Repair) }

// fate is how it came to nothing.
func (c *ChainStart) fate(aborted string) string {
	if aborted != "" {
		return fmt.Sprintf("%s %s was aborted by %s", c.word(), c.ID, aborted)
	}
	return fmt.Sprintf("%s %s failed", c.word(), c.ID)
}

func (c *ChainEnd) word() string { return chainWord(c.Kind, c.Repair) }

func chainWord(kind actions.PlanKind, repair bool) string {
	if repair {
		return "repair"
	}
	return kind.String()
}

func (c *ChainEnd) sentence() string {
	o, word := c.Outcome, c.word()
	var s string
	switch {
	case o.OK && len(o.Skipped) > 0:
		s = fmt.Sprintf("%s %s done in %s, NOT PROVEN: %s was left out", word, c.ID, Span(o.Took), stepList(o.Skipped))
	case o.OK:
		s = fmt.Sprintf("%s %s done in %s: federation is restored and proven from a partner's view", word, c.ID, Span(o.Took))
	case o.Unsure:
		s = fmt.Sprintf("%s %s is not carried on, and whether it had moved federation could not be seen: %s", word, c.ID, o.Error)
	case o.Aborted && o.RouteMoved:
		s = fmt.Sprintf("%s %s was aborted at %s, and nothing more is done by itself: %s", word, c.ID, o.Step, o.Error)
	case o.RouteMoved:
		s = fmt.Sprintf("%s %s stopped at %s after the route had moved; nothing is rolled back: %s", word, c.ID, o.Step, o.Error)
	case o.Aborted:
		s = fmt.Sprintf("%s %s was aborted before the route moved: %s", word, c.ID, o.Error)
	case o.Interrupted:
		s = fmt.Sprintf("%s %s was interrupted before the route moved: %s", word, c.ID, o.Error)
	default:
		s = fmt.Sprintf("%s %s failed at %s; the route has not moved: %s", word, c.ID, o.Step, o.Error)
	}
	if len(o.Stopped) > 0 {
		s += fmt.Sprintf(". Services are NOT running on %s: run Start-CsWindowsService there", strings.Join(o.Stopped, ", "))
	}
	return s
}

func stepList(names []actions.StepName) string {
	words := make([]string, len(names))
	for i, n := range names {
		words[i] = string(n)
	}
	return strings.Join(words, " and ")
}

// Headline tells the snapshot to a person in one plain sentence.
func (s *Snapshot) Headline() string {
	d := s.Decision
	var h string
	switch s.State {
	case FailingOver, Verifying, Faulted:
		h = d.Because
	case Held, AwaitingApproval:
		h = d.sentence()
	case Confirming, Watching:
		h = fmt.Sprintf("%s carries federation; %s", s.Active, d.Because)
	}
	if s.Hold != nil && d.BlockedBy != GuardHold {
		h += fmt.Sprintf("; %s holds edgewatch back since %s (%s): nothing is done by itself until release", s.Hold.Actor, clock(s.Hold.Since), s.Hold.Reason)
	}
	if s.Pause != nil && d.BlockedBy != GuardPause {
		h += fmt.Sprintf("; automatic failover is paused until %s by %s (%s)", clock(s.Pause.Until), s.Pause.Actor, s.Pause.Reason)
	}
	if s.Guessed != "" {
		h += "; BUT " + s.Guessed
	}
	for _, v := range s.Partner {
		switch {
		case v.Level == probe.Down && s.State == Watching:
			h += fmt.Sprintf("; BUT PARTNERS OF %s DO NOT FIND IT: %s", v.Domain, v.Text)
		case v.Pool != "" && v.Pool != s.Active:
			h += fmt.Sprintf("; DNS leads partners of %s to %s", v.Domain, v.Pool)
		}
	}
	if len(s.Partner) > 0 && !learned(s.Partner) && d.BlockedBy != GuardDrift {
		h += "; nothing can be learned from DNS about where partners are led: nothing would move by itself while that is so"
	}
	for _, left := range s.Gone {
		h += "; BUT " + left
	}
	if s.JournalError != "" {
		h += "; THE JOURNAL CANNOT BE WRITTEN, nothing is decided until it can: " + s.JournalError
	}
	return h
}
