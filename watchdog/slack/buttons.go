package slack

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	api "github.com/slack-go/slack"

	"edgewatch/actions"
	"edgewatch/watchdog"
)

// The buttons. Their ids stand in messages that people click long after.
const (
	actionAck      = "edgewatch_ack"
	actionPause    = "edgewatch_pause"
	actionFailover = "edgewatch_failover"
	actionApprove  = "edgewatch_approve"
	actionDeny     = "edgewatch_deny"
	actionAbort    = "edgewatch_abort"
)

// click is what a button carries.
type click struct {
	Federation string `json:"f"`
	Incident   string `json:"i"`
	Pool       string `json:"p,omitempty"`
	Chain      string `json:"c,omitempty"`
}

// button is one button, with what its user must confirm.
type button struct {
	action, label string
	pool, chain   string
	title, effect string // of the confirmation
	yes           string
	danger        bool
}

// element is the button as Slack takes it.
func (n *incident) element(b button) api.BlockElement {
	value, _ := json.Marshal(click{n.Federation, n.ID, b.pool, b.chain}) // strings always marshal
	plain := func(s string, limit int) *api.TextBlockObject {
		return api.NewTextBlockObject(api.PlainTextType, clip(s, limit), false, false)
	}
	e := api.NewButtonBlockElement(b.action, string(value), plain(b.label, 70))
	if b.danger {
		e.Style = api.StyleDanger
	}
	e.Confirm = api.NewConfirmationBlockObject(plain(b.title, 90), plain(b.effect, 280), plain(b.yes, 28), plain("Cancel", 28))
	return e
}

// buttons are what a person can do about the incident now.
func (n *incident) buttons() []api.BlockElement {
	if n.Gone != "" {
		return nil // nothing is possible but to acknowledge it by name
	}
	var out []api.BlockElement
	add := func(b button) { out = append(out, n.element(b)) }
	failover := func(to string) string {
		return fmt.Sprintf("edgewatch stops the services of %s, moves the route and DNS of %s to it and starts them again.", to, n.Federation)
	}
	asked := n.asked()
	if asked != "" {
		add(button{action: actionApprove, label: "Approve: fail over to " + asked, pool: asked, title: "Fail over now?", effect: failover(asked), yes: "Fail over", danger: true})
		add(button{action: actionDeny, label: "Deny", pool: asked, title: "Deny the failover?", yes: "Deny",
			effect: "edgewatch does not fail over in this incident, until somebody acknowledges it and so lets it ask again."})
	}
	if to := n.proposal(); to != "" {
		add(button{action: actionFailover, label: "Fail over to " + to, pool: to, title: "Fail over now?", effect: failover(to), yes: "Fail over", danger: true})
	}
	if n.running() && n.Chain.Aborter == "" {
		noun := n.Chain.move().noun
		add(button{action: actionAbort, label: "Abort the " + noun, chain: n.Chain.ID, title: fmt.Sprintf("Abort the %s?", noun), yes: "Abort", danger: true,
			effect: "edgewatch ends it where it is and starts the services that it stopped. Nothing that it changed is rolled back."})
	}
	if n.AckedBy == "" && asked == "" && !n.running() && n.Adopted == nil && (!n.over() || n.Chain != nil) {
		add(button{action: actionAck, label: "Acknowledge", title: "Acknowledge?", yes: "Acknowledge",
			effect: "You have seen it. This ends the cool-down, and a hold after a failed failover: edgewatch may act again."})
	}
	if !n.over() && n.Paused == nil {
		add(button{action: actionPause, label: "Pause 1 h", title: "Pause automatic failover?", yes: "Pause",
			effect: fmt.Sprintf("For one hour edgewatch starts no failover of %s by itself. A running one is carried through.", n.Federation)})
	}
	return out
}

// clicked is the command that a button stands for, or why it stands for none:
// it is checked against how things stand now and not when it was drawn.
func (s *Slack) clicked(action string, c *click) (cmd watchdog.Command, refusal string) {
	now := s.snapshot(c.Federation)
	if now == nil && len(s.o.Watchdog.Snapshots()) == 0 {
		return cmd, "Nothing was done: edgewatch has just started and still reads its journal. Click again."
	}
	if now == nil {
		return cmd, fmt.Sprintf("Nothing was done: edgewatch watches no federation %q any more.", esc(c.Federation))
	}
	if now.Incident != "" && now.Incident != c.Incident {
		return cmd, fmt.Sprintf("Nothing was done: this button belongs to incident %s; the one going on is %s.", esc(c.Incident), esc(now.Incident))
	}
	// The other buttons name what they are about.
	if (action == actionAck || action == actionPause) && now.Incident == "" && now.Newest != c.Incident {
		return cmd, fmt.Sprintf("Nothing was done: this button belongs to incident %s, which is over; the newest is %s.", esc(c.Incident), esc(cmp.Or(now.Newest, "unknown")))
	}
	d := now.Decision
	cmd.Federation = now.Federation
	on := " on the message of incident " + c.Incident
	switch action {
	case actionAck:
		cmd.Verb, cmd.Reason = watchdog.VerbAck, "acknowledged"+on
	case actionPause:
		cmd.Verb, cmd.For, cmd.Reason = watchdog.VerbPause, time.Hour, "paused"+on
	case actionFailover:
		if now.Incident == "" || d.BlockedBy != watchdog.GuardMode || d.To != c.Pool || d.To == "" {
			return cmd, "Nothing was done: edgewatch does not ask for this failover any more. " + esc(d.Because)
		}
		cmd.Verb, cmd.Pool, cmd.Reason = watchdog.VerbFailover, d.To, "ordered"+on
	case actionApprove, actionDeny:
		asked := d.Will == watchdog.WillAsk && d.To == c.Pool && d.To != ""
		// A no counts although something else holds just now, or nothing was seen yet
		// since a restart, or the question is about another pool: it is for the
		// incident, and the machine knows whether people were asked.
		waits := d.Will == watchdog.WillAsk || d.Will == watchdog.WillWatch || d.Will == watchdog.WillHold && d.BlockedBy != watchdog.GuardApproval
		held := action == actionDeny && waits
		if now.Incident == "" || !asked && !held {
			return cmd, "Nothing was done: " + already(now, c)
		}
		cmd.Verb, cmd.Reason = watchdog.VerbDeny, "denied"+on
		if action == actionApprove {
			cmd.Verb, cmd.Pool, cmd.Reason = watchdog.VerbApprove, d.To, "approved"+on
		}
	case actionAbort:
		if ch := now.Chain; ch == nil || ch.Outcome != nil || ch.ID != c.Chain {
			return cmd, fmt.Sprintf("Nothing was done: failover %s is already over. %s", esc(c.Chain), esc(d.Because))
		}
		cmd.Verb, cmd.Reason = watchdog.VerbAbort, "aborted"+on
	default:
		return cmd, "Nothing was done: edgewatch does not know this button."
	}
	return cmd, ""
}

// already says what became of a question that is asked no more.
func already(now *watchdog.Snapshot, c *click) string {
	ch := now.Chain
	if ch == nil {
		ch = &watchdog.ChainStatus{Outcome: &actions.Outcome{}}
	}
	by := "decided by edgewatch itself"
	if ch.Actor != "" {
		by = "ordered by " + ch.Actor
	}
	switch {
	case ch.Outcome == nil:
		return esc(fmt.Sprintf("already answered: the %s %s to %s is running, %s.", ch.Kind, ch.ID, ch.To, by))
	case ch.Outcome.OK && ch.To == c.Pool && now.Active == c.Pool:
		return esc(fmt.Sprintf("already done: %s carries federation since %s, %s.", c.Pool, clock(ch.EndedAt), by))
	}
	return "this is already answered, or is not asked any more. " + esc(now.Decision.Because)
}
