package slack

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"edgewatch/watchdog"
)

// burst is a notice that comes again and again, as where DNS flaps, or two time
// services each set the clock. The first ones are shown in the channel, the
// others are told in a thread only, until there was none for long; if what is so
// then is not what the channel was shown last, it is shown.
type burst struct {
	Count int            `json:"count"`
	First time.Time      `json:"first"`        // when the first was noticed
	Last  watchdog.Entry `json:"last"`         // the newest
	Shown string         `json:"shown"`        // what the newest that the channel was shown says is so
	TS    string         `json:"ts,omitempty"` // the newest message outside any incident: the others go into its thread

	began, newest time.Time // of First and Last by the monotonic clock: the other one may be what is wrong
}

const (
	burstLoud = 3              // so many are shown in the channel, as the machine records a decision that comes and goes
	burstCalm = time.Hour      // without another for so long, a burst is over
	burstLong = 24 * time.Hour // one that lasts is shown again
)

// burstOf names the burst that e belongs to, "" when it may not come for ever.
func burstOf(e watchdog.Entry) string {
	if e.Notice == nil {
		return ""
	}
	switch n := e.Notice; n.Kind {
	case watchdog.NoticeClock, watchdog.NoticeDrift:
		return fmt.Sprintf("%s %s %s", e.Federation, n.Kind, n.Domain)
	default:
		return ""
	}
}

// so is what the notice says is so from then on; that the clock was set is over
// when it is told.
func so(e watchdog.Entry) string { return e.Notice.Pool }

func (q *burst) over(now time.Time) bool {
	return now.Sub(q.newest) >= burstCalm || now.Sub(q.began) >= burstLong
}

// often is the burst that e goes on with out of sight, nil when e is shown.
func (b *outbox) often(e watchdog.Entry) *burst {
	if q := b.st.Bursts[burstOf(e)]; q != nil && q.Count >= burstLoud && !q.over(time.Now()) {
		return q
	}
	return nil
}

// aside is what the message of e adds about those that are not shown.
func (b *outbox) aside(e watchdog.Entry) string {
	q := b.st.Bursts[burstOf(e)]
	switch {
	case q == nil || e.Incident != "":
	case !q.over(time.Now()) && q.Count == burstLoud-1:
		return "\n_It comes again and again: from now on in the thread of this message, until it was calm for an hour_"
	case q.over(time.Now()) && q.Count > burstLoud:
		return fmt.Sprintf("\n_The channel was not shown %d more since %s: they are in the thread of the message before_", q.Count-burstLoud, clock(q.First))
	}
	return ""
}

// takeAlone tells e, which belongs to no incident.
func (b *outbox) takeAlone(ctx context.Context, e watchdog.Entry) error {
	m, q := b.event(e, ""), b.often(e)
	if q != nil {
		m.thread = q.TS
	}
	ts, err := b.post(ctx, m)
	if err != nil {
		if q != nil && classify(err) == gone {
			q.TS = ""
		}
		return err
	}
	b.st.LastTS = max(b.st.LastTS, ts)
	b.count(e, q == nil)
	if q = b.st.Bursts[burstOf(e)]; q != nil && m.thread == "" {
		q.TS = ts
	}
	return b.told(ctx, e)
}

// count takes in that e was told, and whether the channel was shown it.
func (b *outbox) count(e watchdog.Entry, shown bool) {
	key, now := burstOf(e), time.Now()
	if key == "" {
		return
	}
	q := b.st.Bursts[key]
	if q == nil || q.over(now) {
		q = &burst{First: e.At, began: now}
		b.st.Bursts[key] = q
	}
	q.Count, q.Last, q.newest = q.Count+1, e, now
	if shown {
		q.Shown = so(e)
	}
}

// calm ends the bursts that are over.
func (b *outbox) calm(ctx context.Context) error {
	for _, key := range slices.Sorted(maps.Keys(b.st.Bursts)) {
		q := b.st.Bursts[key]
		if time.Since(q.newest) < burstCalm {
			continue
		}
		if so(q.Last) != q.Shown {
			ts, err := b.post(ctx, b.finally(q))
			if err != nil {
				return err
			}
			b.st.LastTS = max(b.st.LastTS, ts)
		}
		delete(b.st.Bursts, key)
		b.dirty = true
	}
	return nil
}

// finally is the message that shows how a burst ended.
func (b *outbox) finally(q *burst) *message {
	e := q.Last
	m := b.event(e, "")
	m.name.part, m.name.incident, m.broadcast = partCalm, "", false
	m.at = time.Time{} // it is not late
	m.text += fmt.Sprintf(" – so since %s, after %d notices", clock(e.At), q.Count)
	m.body = fmt.Sprintf("*%s* %s\n_So since %s, after %d notices since %s, of which the channel was shown %d_", esc(e.Federation), detail(e), clock(e.At), q.Count, clock(q.First), burstLoud)
	return m
}
