package slack

import (
	"fmt"
	"strings"
	"time"

	api "github.com/slack-go/slack"

	"edgewatch/actions"
	"edgewatch/watchdog"
)

// Slack's limits on what a block holds, with room to spare.
const (
	headerRunes  = 140
	sectionRunes = 2900
	fieldRunes   = 500
	textRunes    = 3000
	plainRunes   = 1000
)

// Parts of an incident that a message can be.
const (
	partIncident = "incident" // the incident's message
	partEvent    = "event"    // a reply in its thread, or an entry without incident
	partCalm     = "calm"     // what is so after a burst of notices
)

// eventType marks our messages in Slack's metadata.
const eventType = "edgewatch_event"

// name is what a message is recognized by when it must be looked up.
type name struct {
	federation string
	seq        uint64    // of the entry it was posted for
	at         time.Time // of that entry: a state file restored from a backup gives out the same numbers again
	part       string
	incident   string
}

// id is the entry's name: federation/seq.
func (n name) id() string { return fmt.Sprintf("%s/%d", n.federation, n.seq) }

func (n name) metadata() api.SlackMetadata {
	payload := map[string]any{"id": n.id(), "part": n.part, "incident": n.incident, "federation": n.federation}
	if !n.at.IsZero() {
		payload["at"] = n.stamp()
	}
	return api.SlackMetadata{EventType: eventType, EventPayload: payload}
}

// stamp is the entry's time as metadata holds it.
func (n name) stamp() string { return n.at.UTC().Format(time.RFC3339Nano) }

// is reports whether a message with that metadata is this one. An incident
// has one message, named for the entry that began it. Those of earlier versions
// hold no time.
func (n name) is(m api.SlackMetadata) bool {
	get := func(k string) string { s, _ := m.EventPayload[k].(string); return s }
	if m.EventType != eventType || get("part") != n.part || get("federation") != n.federation {
		return false
	}
	if at := get("at"); at != "" && !n.at.IsZero() && at != n.stamp() {
		return false
	}
	if n.part == partIncident {
		return get("incident") == n.incident
	}
	return get("id") == n.id()
}

// pointer stands for a message that Slack, or something on the way there, does
// not take in any other form. It is the same whenever it is sent, and tells
// the message from every other.
func (n name) pointer() string {
	what := fmt.Sprintf("tell entry %d of %s", n.seq, n.federation)
	if n.part == partIncident {
		what = "show incident " + n.incident
	}
	if !n.at.IsZero() {
		what += n.at.UTC().Format(" (2006-01-02 15:04:05 UTC)")
	}
	return fmt.Sprintf("edgewatch could not %s here: see `edgewatch history`", what)
}

// message is something to post or to edit in.
type message struct {
	name      name
	at        time.Time // of the entry
	thread    string    // the message it replies to
	broadcast bool      // shown in the channel too
	text      string    // for notifications, screen readers and when blocks are refused
	body      string    // mrkdwn; text when empty
	blocks    []api.Block
	found     bool // it was there already, and may say less than this
}

// is reports whether got, which stands in Slack, is m in one of its forms.
func (m *message) is(got api.Message) bool {
	return m.name.is(got.Metadata) || got.BotID != "" && got.Text == esc(m.name.pointer())
}

// plainest is the plainest form of a message.
const plainest = 3

// options are the message as slack-go takes it. How plain it is grows with
// what was not taken: blocks and metadata; short text; a pointer only; that
// without metadata.
func (m *message) options(plain int, now time.Time) []api.MsgOption {
	suffix := late(m.at, now)
	text := strings.TrimSpace(clip(m.text, textRunes) + " " + suffix)
	opts := []api.MsgOption{api.MsgOptionDisableLinkUnfurl(), api.MsgOptionDisableMediaUnfurl()}
	if m.thread != "" {
		opts = append(opts, api.MsgOptionTS(m.thread))
		if m.broadcast {
			opts = append(opts, api.MsgOptionBroadcast())
		}
	}
	switch plain {
	case 0:
		blocks := m.blocks
		if blocks == nil {
			body := clip(m.body, sectionRunes)
			if suffix != "" {
				body += "\n_" + suffix + "_"
			}
			blocks = []api.Block{section(body)}
		}
		return append(opts, api.MsgOptionText(text, true), api.MsgOptionBlocks(blocks...), api.MsgOptionMetadata(m.name.metadata()))
	case 1:
		opts = append(opts, api.MsgOptionText(strings.TrimSpace(clip(m.text, plainRunes)+" "+suffix), true))
	default:
		opts = append(opts, api.MsgOptionText(m.name.pointer(), true))
	}
	if plain == plainest {
		return opts
	}
	return append(opts, api.MsgOptionMetadata(m.name.metadata()))
}

func section(body string) api.Block { return api.NewSectionBlock(mrkdwn(body), nil, nil) }

// mrkdwn is text in which Slack takes nothing for a link or a mention that we
// did not write as one: reasons and servers' error texts stand in it.
func mrkdwn(text string) *api.TextBlockObject {
	return api.NewTextBlockObject(api.MarkdownType, text, false, true)
}

// title is the incident in one line of plain text.
func (n *incident) title() string {
	switch pool := n.main(); {
	case n.Gone != "":
		return n.goneTitle()
	case n.Adopted != nil:
		return fmt.Sprintf("✓ %s – %s carries federation, says %s", n.Federation, n.Adopted.Pool, n.Adopted.By)
	case n.asked() != "":
		return fmt.Sprintf("✕ %s is down – fail over to %s? A person is asked", pool.Name, n.asked())
	case n.Answer != nil && n.Answer.Approved && !n.Answer.Carried:
		return fmt.Sprintf("✕ %s is down – failover to %s approved by %s", pool.Name, n.Answer.To, n.Answer.By)
	case n.Chain != nil:
		return n.chainTitle(pool)
	case pool.Down && n.denied():
		return fmt.Sprintf("✕ %s is down – failover denied by %s", pool.Name, n.Answer.By)
	case pool.Down && n.Decision != nil && n.Decision.Will == watchdog.WillHold:
		return fmt.Sprintf("✕ %s is down – on hold (%s)", pool.Name, n.Decision.Guard)
	case pool.Down:
		return fmt.Sprintf("✕ %s is down", pool.Name)
	case !pool.UpAt.IsZero():
		return fmt.Sprintf("✓ %s answers again", pool.Name)
	case len(n.Notes) > 0:
		return "⚠ " + n.Notes[len(n.Notes)-1]
	}
	return fmt.Sprintf("● %s: incident %s", n.Federation, n.ID)
}

// goneTitle is the title once its federation is no longer configured.
func (n *incident) goneTitle() string {
	what, c := n.Federation+" is no longer configured", n.Chain
	switch {
	case n.AckedBy != "":
		return fmt.Sprintf("■ %s – the incident was closed by %s", what, n.AckedBy)
	case c != nil && c.Outcome == nil:
		return fmt.Sprintf("⚠ %s – the %s %s %s is not carried on", what, c.move().noun, c.move().where, c.To)
	case c != nil && !c.Outcome.OK && c.Outcome.RouteMoved:
		return fmt.Sprintf("⚠ %s – the %s %s %s is not through", what, c.move().noun, c.move().where, c.To)
	}
	return fmt.Sprintf("■ %s – the incident is closed", what)
}

// chainTitle is the title once federation is being moved, or was.
func (n *incident) chainTitle(pool poolFact) string {
	c := n.Chain
	m := c.move()
	subject := fmt.Sprintf("▶ %s", n.Federation)
	if pool.Down {
		subject = fmt.Sprintf("✕ %s is down", pool.Name)
	}
	whole := fmt.Sprintf("%s of %s %s %s", capital(m.noun), n.Federation, m.where, c.To)
	switch {
	case n.running() && c.Aborter != "":
		return fmt.Sprintf("%s – the %s %s %s is being aborted", subject, m.noun, m.where, c.To)
	case n.running() && c.Dropped != "":
		return fmt.Sprintf("%s – the %s %s %s is not carried on", subject, m.noun, m.where, c.To)
	case n.running():
		return fmt.Sprintf("%s – %s to %s", subject, m.doing, c.To)
	case c.Outcome.Aborted && (!n.over() || pool.UpAt.IsZero()):
		return fmt.Sprintf("⏸ %s was aborted", whole)
	case c.Outcome.Interrupted && !n.over():
		return fmt.Sprintf("⏸ %s was interrupted", whole)
	case !c.Outcome.OK && n.over() && pool.UpAt.IsZero(): // it was never down
		return fmt.Sprintf("✕ %s failed – federation stays on %s", whole, pool.Name)
	case !c.Outcome.OK && n.over():
		return fmt.Sprintf("✓ %s answers again – the %s %s %s had failed", pool.Name, m.noun, m.where, c.To)
	case !c.Outcome.OK:
		return fmt.Sprintf("✕ %s failed – people are needed", whole)
	case n.down(c.To):
		return fmt.Sprintf("✕ %s is down, and federation runs on it", c.To)
	}
	subject = n.Federation
	if pool.Down {
		subject = pool.Name + " is down"
	}
	if len(c.Outcome.Skipped) > 0 {
		return fmt.Sprintf("⚠ %s – %s to %s, NOT PROVEN", subject, m.done, c.To)
	}
	return fmt.Sprintf("✓ %s – %s to %s", subject, m.done, c.To)
}

// text is the incident for notifications and screen readers: its title, and
// what a person has to know who is asked.
func (n *incident) text() string {
	if n.asked() != "" {
		return oneLine(n.title() + ". " + n.Decision.Because)
	}
	return oneLine(n.title())
}

// message is the incident's message as it should stand now.
func (n *incident) message() *message {
	blocks := []api.Block{
		api.NewHeaderBlock(api.NewTextBlockObject(api.PlainTextType, clip(oneLine(n.title()), headerRunes), false, false)),
		api.NewSectionBlock(nil, n.fields(), nil),
	}
	if e := n.evidence(); e != "" {
		blocks = append(blocks, section(clip(e, sectionRunes)))
	}
	if ticks := n.ticks(); ticks != "" {
		blocks = append(blocks, section(clip(ticks, sectionRunes)))
	}
	if b := n.buttons(); len(b) > 0 {
		blocks = append(blocks, api.NewActionBlock("edgewatch", b...))
	}
	foot := fmt.Sprintf("%s · incident %s · event %d · as of %s", n.Federation, n.ID, n.Seen, clock(n.LastAt))
	blocks = append(blocks, api.NewContextBlock("", api.NewTextBlockObject(api.PlainTextType, clip(foot, fieldRunes), false, false)))
	return &message{
		name: name{federation: n.Federation, seq: n.First, at: n.Began, part: partIncident, incident: n.ID},
		at:   n.Began, text: n.text(), blocks: blocks,
	}
}

// evidence is why each pool counts as down, while it does.
func (n *incident) evidence() string {
	var lines []string
	for _, p := range n.Pools {
		if !p.Down || len(p.Cause) == 0 {
			continue
		}
		lines = append(lines, fmt.Sprintf("*%s, last round*", esc(p.Name)))
		for _, c := range p.Cause {
			lines = append(lines, "• "+esc(c))
		}
	}
	return strings.Join(lines, "\n")
}

func (n *incident) fields() []*api.TextBlockObject {
	var out []*api.TextBlockObject
	add := func(label, value string) {
		if value != "" {
			out = append(out, mrkdwn(fmt.Sprintf("*%s*\n%s", esc(label), clip(esc(value), fieldRunes))))
		}
	}
	add("Federation", n.Federation)
	if p := n.main(); !p.Since.IsZero() {
		add(p.Name+" down since", clock(p.Since))
		if !p.UpAt.IsZero() {
			add(p.Name+" answers since", clock(p.UpAt))
		}
	}
	if c := n.Chain; c != nil {
		add(capital(c.move().noun), fmt.Sprintf("%s → %s (%s)", c.From, c.To, strings.TrimSpace(c.Trigger+" "+c.Actor)))
		if c.Outcome != nil {
			add("Took", span(c.Outcome.Took))
			if c.Outcome.OK && c.Outage > 0 {
				add("Outage", span(c.Outage))
			}
			add("Services still stopped on", strings.Join(c.Outcome.Stopped, ", "))
		}
	}
	add("Next", n.next())
	if n.asked() != "" && !n.Decision.NextAt.IsZero() {
		add("Answer until", clock(n.Decision.NextAt))
	}
	if a := n.Answer; a != nil {
		add(map[bool]string{true: "Approved by", false: "Denied by"}[a.Approved], a.By)
	}
	if n.Chain != nil && n.Chain.Aborter != "" {
		add("Aborted by", n.Chain.Aborter)
	}
	if n.Held != nil && n.Gone == "" {
		add("Held since", clock(n.Held.Since)+" by "+n.Held.By)
	}
	if n.AckedBy != "" {
		add("Acknowledged by", n.AckedBy)
	}
	if n.Paused != nil && n.Gone == "" {
		add("Paused until", clock(n.Paused.Until)+" by "+n.Paused.By)
	}
	return out[:min(len(out), 10)]
}

// next is what happens next, or what a person should do.
func (n *incident) next() string {
	switch c := n.Chain; {
	case n.Adopted != nil, n.Gone != "" && n.AckedBy != "":
		return "nothing"
	case n.Gone != "":
		return n.Gone
	case n.running() && c.Aborter != "":
		return c.Aborter + " aborted it: what it stopped is started again"
	case n.running() && c.Dropped != "":
		return "what it stopped is started again, and it is seen whether its route has moved"
	case n.running():
		return fmt.Sprintf("the %s is carried through", c.move().noun)
	case n.Answer != nil && n.Answer.Approved && !n.Answer.Carried:
		return "the failover begins"
	case n.Decision != nil:
		return n.Decision.Because
	case c != nil && !c.Outcome.OK && c.Outcome.Error != "":
		return c.Outcome.Error
	case n.over():
		return "nothing"
	}
	return ""
}

// ticks is the progress of the failover, one line per step.
func (n *incident) ticks() string {
	if n.Chain == nil || len(n.Chain.Steps) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("*Steps*")
	for _, s := range n.Chain.Steps {
		done, failed, all := 0, 0, 0
		for target, p := range s.Targets {
			if target == "" {
				continue
			}
			all++
			switch p.Phase {
			case actions.Finished, actions.Already:
				done++
			case actions.Failed:
				failed++
			case actions.Started, actions.Skipped:
			}
		}
		mark := "…"
		switch {
		case failed > 0:
			mark = "✕"
		case done == all && all > 0:
			mark = "✓"
		}
		if whole, ok := s.Targets[""]; ok {
			mark = phaseMarks[whole.Phase]
		}
		fmt.Fprintf(&b, "\n%s %s", mark, esc(string(s.Name)))
		if all > 1 {
			fmt.Fprintf(&b, " (%d of %d)", done, all)
		}
		if (actions.Record{Step: s.Name, Phase: s.Targets[""].Phase}).Unneeded() {
			b.WriteString(", " + actions.Needless)
		}
		if s.Error != "" {
			fmt.Fprintf(&b, " – %s", esc(clip(s.Error, 300)))
		}
	}
	return b.String()
}

// loud reports whether an event is shown in the channel beside its thread: what
// a person has to act on, and how things ended.
func loud(e watchdog.Entry) bool {
	return e.Decision != nil && e.Decision.Will == watchdog.WillAsk ||
		e.ChainEnd != nil || e.Pool != nil && !e.Pool.Tripped || e.Notice != nil
}
