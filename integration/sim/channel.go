package sim

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"edgewatch/watchdog"
	"edgewatch/watchdog/slack/slacktest"
)

// told is a message of ours in the channel.
type told struct {
	slacktest.Message
	seq      uint64
	part     string
	incident string
}

// channelTells is I9: every entry is told, in order, once, in the thread of
// its incident; whatever happened to Slack and to us meanwhile.
func (c *checks) channelTells() {
	roots := map[string]told{}
	var events []told
	for _, m := range c.r.channel.Messages() {
		t := told{Message: m}
		t.part, _ = m.Metadata["part"].(string)
		t.incident, _ = m.Metadata["incident"].(string)
		id, _ := m.Metadata["id"].(string)
		_, n, _ := strings.Cut(id, "/")
		t.seq, _ = strconv.ParseUint(n, 10, 64)
		if t.part == "calm" {
			continue // it says once more how a burst of notices ended, each of which was told
		}
		if t.part != "incident" {
			events = append(events, t)
			continue
		}
		if root, twice := roots[t.incident]; twice {
			c.r.violate("I9", fmt.Sprintf("incident %s has two messages, of entries %d and %d", t.incident, root.seq, t.seq))
		}
		roots[t.incident] = t
	}
	last := map[string]uint64{}
	for _, t := range events {
		if t.incident != "" && t.ThreadTS != roots[t.incident].TS {
			c.r.violate("I9", fmt.Sprintf("entry %d is told outside the thread of %s", t.seq, t.incident))
		}
		if t.seq <= last[t.incident] {
			c.r.violate("I9", fmt.Sprintf("entry %d is told after entry %d, or twice", t.seq, last[t.incident]))
		}
		last[t.incident] = t.seq
	}
	for _, e := range c.entries {
		c.isTold(e, events)
	}
}

// isTold looks for the message of an entry: its own, or the one that it was
// folded into.
func (c *checks) isTold(e watchdog.Entry, events []told) {
	i := slices.IndexFunc(events, func(t told) bool { return t.seq == e.Seq })
	if i >= 0 && events[i].incident == e.Incident {
		return
	}
	quiet := e.Incident == "" && e.Kind == watchdog.KindDecision && e.Decision.Will == watchdog.WillWatch
	if e.Kind != watchdog.KindStep && !quiet {
		c.r.violate("I9", fmt.Sprintf("entry %d was never told: %s", e.Seq, e.Sentence()))
		return
	}
	for _, t := range slices.Backward(events) {
		if t.seq > e.Seq || t.incident != e.Incident {
			continue
		}
		first := c.entries[t.seq-1]
		folded := first.Kind == e.Kind && (quiet || first.Step.Chain == e.Step.Chain && first.Step.Step == e.Step.Step && first.Step.Rescue == e.Step.Rescue)
		if !folded {
			c.r.violate("I9", fmt.Sprintf("entry %d was never told: %s", e.Seq, e.Sentence()))
		}
		return
	}
	c.r.violate("I9", fmt.Sprintf("entry %d was never told: %s", e.Seq, e.Sentence()))
}
