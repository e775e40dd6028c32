package slack

import (
	"context"
	"fmt"
	"strings"

	"edgewatch/watchdog"
)

// takeQuiet tells e in its federation's quiet message: a new one, or the one
// that is the federation's newest message.
func (b *outbox) takeQuiet(ctx context.Context, e watchdog.Entry) error {
	if q := b.st.Quiet[e.Federation]; q != nil {
		q.fold(e)
		b.st.After, b.dirty = e.Seq, true
		return nil
	}
	q := &quiet{Federation: e.Federation, First: e.Seq, FirstAt: e.At}
	q.fold(e)
	m := q.message()
	m.at = e.At
	ts, err := b.post(ctx, m)
	if err != nil {
		return err
	}
	q.TS, q.Shown = ts, q.Last
	b.st.Quiet[e.Federation] = q
	b.st.LastTS = max(b.st.LastTS, ts)
	return b.told(ctx, e)
}

// endQuiet brings a federation's quiet message to its last word, because
// another message is about to follow it.
func (b *outbox) endQuiet(ctx context.Context, federation string) error {
	q := b.st.Quiet[federation]
	if q == nil {
		return nil
	}
	if err := b.editQuiet(ctx, q); err != nil {
		return err
	}
	delete(b.st.Quiet, federation)
	b.dirty = true
	return nil
}

func (b *outbox) editQuiet(ctx context.Context, q *quiet) error {
	if !q.stale() {
		return nil
	}
	err := b.edit(ctx, q.TS, q.message())
	if err != nil && !giveUp(err) {
		return err
	}
	if err != nil {
		// It cannot be edited any more, so what is new is said in a new one.
		b.s.o.Log.Warn().Err(err).Str("federation", q.Federation).Msg("slack refused an edit, posting a new message")
		m := q.message()
		m.name.seq, m.name.at = q.Last, q.LastAt
		if q.TS, err = b.post(ctx, m); err != nil {
			return err
		}
		q.First, q.FirstAt, q.Shown = q.Last, q.LastAt, q.Last
		b.st.LastTS = max(b.st.LastTS, q.TS)
		return b.save(ctx)
	}
	q.Shown, b.dirty = q.Last, true
	return nil
}

func (q *quiet) message() *message {
	body := strings.Join(q.Lines, "\n")
	if q.Federation != "" {
		body = "*" + esc(q.Federation) + "*\n" + body
	}
	if more := q.Count - len(q.Lines); more > 0 {
		body += fmt.Sprintf("\n%d earlier, see history", more)
	}
	return &message{name: name{federation: q.Federation, seq: q.First, at: q.FirstAt, part: partEvent}, text: unmark(body), body: body}
}
