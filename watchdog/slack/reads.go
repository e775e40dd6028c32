package slack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"edgewatch/watchdog"
)

// read answers a request that changes nothing.
func (s *Slack) read(ctx context.Context, req watchdog.Request) string {
	if req.Read == "help" {
		return s.help()
	}
	snaps := s.o.Watchdog.Snapshots()
	if f := req.Federation; f != "" {
		snaps = slices.DeleteFunc(slices.Clone(snaps), func(snap *watchdog.Snapshot) bool { return snap.Federation != f })
		if len(snaps) == 0 {
			return fmt.Sprintf("edgewatch watches no federation %q.", esc(f))
		}
	}
	var parts []string
	for _, snap := range snaps {
		switch req.Read {
		case "status":
			parts = append(parts, s.status(snap))
		case "why":
			parts = append(parts, why(snap))
		case "history":
			parts = append(parts, s.history(ctx, snap.Federation, textRunes/len(snaps)-2))
		default:
			return fmt.Sprintf("edgewatch cannot show %q here. `%s help` lists what there is.", esc(req.Read), s.o.Command)
		}
	}
	if len(parts) == 0 {
		return "edgewatch watches nothing."
	}
	return strings.Join(parts, "\n\n")
}

func (s *Slack) help() string {
	return fmt.Sprintf("*edgewatch* keeps XMPP federation alive. Type `%s` and then\n```\n%s\n```", s.o.Command, watchdog.Usage())
}

func (s *Slack) status(snap *watchdog.Snapshot) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%s:* %s", esc(snap.Federation), esc(headline(snap)))
	for _, p := range snap.Pools {
		answering := 0
		for _, r := range p.Servers {
			if r.Level.Answers() {
				answering++
			}
		}
		mark := map[watchdog.Verdict]string{watchdog.PoolUp: "✓", watchdog.PoolDegraded: "⚠", watchdog.PoolDown: "✕"}[p.Verdict]
		if mark == "" {
			mark = "?"
		}
		role := "standby"
		if p.Active {
			role = "active"
		}
		fmt.Fprintf(&b, "\n%s %s: %s, %s, %d of %d answer", mark, esc(p.Name), role, p.Verdict, answering, len(p.Servers))
		if p.Breaker.Tripped() {
			fmt.Fprintf(&b, ", breaker %s since %s", p.Breaker.State, clock(p.Breaker.Since))
		}
		if !p.Active && !p.Readiness.At.IsZero() && !p.Readiness.Ready {
			fmt.Fprintf(&b, ", not ready: %s", esc(p.Readiness.Why))
		}
		if len(p.Stopped) > 0 {
			fmt.Fprintf(&b, ", *services stopped and not seen running since on %s*", esc(strings.Join(p.Stopped, ", ")))
		}
		if p.Quarantined != "" {
			fmt.Fprintf(&b, ", quarantined: %s", esc(p.Quarantined))
		}
	}
	if h := snap.Hold; h != nil {
		fmt.Fprintf(&b, "\n⏸ held by %s until release, since %s: %s", esc(h.Actor), clock(h.Since), esc(h.Reason))
	}
	if a := snap.Approval; a != nil {
		b.WriteString("\n" + s.question(snap.Federation, a))
	}
	if snap.Lease != "" {
		fmt.Fprintf(&b, "\n✕ this edgewatch MAY NOT ACT any more: %s", esc(snap.Lease))
	}
	if p := snap.Pause; p != nil {
		fmt.Fprintf(&b, "\n⏸ paused until %s by %s: %s", clock(p.Until), esc(p.Actor), esc(p.Reason))
	}
	if !snap.LastRound.IsZero() {
		fmt.Fprintf(&b, "\nmode %s, last round %s ago", esc(string(snap.Mode)), span(time.Since(snap.LastRound)))
	}
	return b.String()
}

// question is what a person is asked and how to answer.
func (s *Slack) question(federation string, a *watchdog.Approval) string {
	of := ""
	if len(s.o.Watchdog.Snapshots()) > 1 {
		of = " -f " + federation
	}
	text := fmt.Sprintf("? asked since %s: fail over to %s? `%s approve %s REASON…%s` or `%[3]s deny REASON…%[5]s`",
		clock(a.Since), esc(a.To), s.o.Command, esc(a.To), esc(of))
	if a.Until.IsZero() {
		return text
	}
	then := "then holds"
	if a.Then == watchdog.ApprovalActs {
		then = "then fails over"
	}
	return text + fmt.Sprintf("; edgewatch waits until %s, %s", clock(a.Until), then)
}

// headline is the snapshot in one sentence, or its state's word if that fails.
func headline(snap *watchdog.Snapshot) (text string) {
	defer func() {
		if recover() != nil || text == "" {
			text = fmt.Sprintf("%s, %s is active", snap.State, snap.Active)
		}
	}()
	return snap.Headline()
}

func why(snap *watchdog.Snapshot) string {
	d := snap.Decision
	s := fmt.Sprintf("*%s:* edgewatch will %s: %s", esc(snap.Federation), esc(d.Intent()), esc(d.Because))
	if d.BlockedBy != watchdog.GuardNone {
		s += fmt.Sprintf("\nHeld by: %s", esc(string(d.BlockedBy)))
	}
	if !d.NextAt.IsZero() {
		s += "\nLooked at again at " + clock(d.NextAt)
	}
	if c := snap.Canaries; c.Total > 0 {
		s += fmt.Sprintf("\nCanaries: %d of %d answer", c.Good, c.Total)
		if c.Why != "" {
			s += ", " + esc(c.Why)
		}
	}
	lines := []string{s}
	for _, w := range snap.Witnesses {
		line := fmt.Sprintf("Witness %s says of %s: %s", esc(cmp.Or(w.Vantage, w.URL)), esc(snap.Active), esc(string(w.Says)))
		if w.Why != "" {
			line += ", " + esc(w.Why)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// history tells the newest events of a federation, as many as room holds (in
// runes), and one at least.
func (s *Slack) history(ctx context.Context, federation string, room int) string {
	entries, err := s.o.Watchdog.History(ctx, federation, historyLen)
	if err != nil {
		return fmt.Sprintf("*%s:* the history cannot be read: %s", esc(federation), esc(err.Error()))
	}
	if len(entries) == 0 {
		return fmt.Sprintf("*%s:* nothing has happened yet.", esc(federation))
	}
	title := func(n int) string { return fmt.Sprintf("*%s:* the newest %d events", esc(federation), n) }
	room -= utf8.RuneCountInString(title(len(entries)))
	var lines []string
	for _, e := range slices.Backward(entries) {
		line := fmt.Sprintf("\n%s  %s", e.At.UTC().Format("2006-01-02 15:04:05"), esc(clip(s.say(e), 160)))
		if room -= utf8.RuneCountInString(line); room < 0 && len(lines) > 0 {
			break
		}
		lines = append(lines, line)
	}
	slices.Reverse(lines)
	return title(len(lines)) + strings.Join(lines, "")
}

// unwrapURL takes the address out of an error, since it is a credential.
func unwrapURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
