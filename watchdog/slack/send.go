package slack

import (
	"context"
	"errors"
	"fmt"
	"time"

	api "github.com/slack-go/slack"
)

// post makes sure that m is in the channel exactly once and returns its time
// stamp. m.found says that an earlier post of it was, which may have known less.
func (b *outbox) post(ctx context.Context, m *message) (string, error) {
	for plain := 0; ; plain++ {
		if b.unsure {
			ts, err := b.find(ctx, m)
			if err != nil {
				return "", err
			}
			if ts != "" {
				b.posted, m.found = true, true
				return ts, nil
			}
		}
		ts, err := b.send(ctx, m, plain)
		if err == nil {
			b.posted = true
			b.s.sent.Add(1)
			return ts, nil
		}
		if !b.plainer(ctx, m, plain, err) {
			return "", b.s.explain("post to "+b.s.o.Channel, err)
		}
	}
}

// send posts m once, without looking whether it is there.
func (b *outbox) send(ctx context.Context, m *message, plain int) (string, error) {
	if err := b.pace(ctx); err != nil {
		return "", err
	}
	_, ts, err := b.s.api.PostMessageContext(ctx, b.s.o.Channel, m.options(plain, time.Now())...)
	if err == nil && ts == "" {
		err = errNoTS
	}
	b.unsure = err != nil && classify(err) == ambiguous
	return ts, err
}

var errNoTS = errors.New("the answer names no message")

// edit replaces a message's content. Doing it twice does no harm.
func (b *outbox) edit(ctx context.Context, ts string, m *message) error {
	reply := *m
	reply.thread = ""
	for plain := 0; ; plain++ {
		if err := b.pace(ctx); err != nil {
			return err
		}
		_, _, _, err := b.s.api.UpdateMessageContext(ctx, b.s.o.Channel, ts, reply.options(plain, time.Now())...)
		if err == nil {
			b.s.sent.Add(1)
			return nil
		}
		if !b.plainer(ctx, m, plain, err) {
			return b.s.explain("edit a message in "+b.s.o.Channel, err)
		}
	}
}

// stuckAfter is how often a message that is not refused may fail before its
// content is taken for the cause and the next plainer form is tried too.
const stuckAfter = 5

// plainer reports whether m, which failed with err, is to be sent more plainly
// at once: no message may hold up those behind it for ever. It is when Slack
// refused its content, and when other calls work while something on the way
// refuses it, or while it fails again and again.
func (b *outbox) plainer(ctx context.Context, m *message, plain int, err error) bool {
	kind := classify(err)
	if plain == plainest || kind != refused && kind != ambiguous {
		return false
	}
	if code(err) == "" || kind == ambiguous {
		if plain == 0 {
			b.tries[m.name]++
		}
		if kind == ambiguous && b.tries[m.name]/stuckAfter <= plain {
			return false
		}
		if _, err := b.s.api.AuthTestContext(ctx); err != nil {
			return false
		}
	}
	b.s.failed.Add(1)
	b.s.o.Log.Warn().Err(err).Str("event", m.name.id()).Msg("slack does not take a message, sending it more plainly")
	return true
}

// find looks for m in Slack, for it may have been posted without our knowing.
func (b *outbox) find(ctx context.Context, m *message) (string, error) {
	ts, err := b.search(ctx, m)
	switch c := code(err); {
	case err == nil:
		b.s.raise("history", nil)
	case classify(err) == gone:
		return "", b.s.explain("look up a thread", err)
	case c == "missing_scope", c == "no_permission", c == "not_allowed_token_type":
		// Told twice is better than not told.
		b.s.raise("history", b.s.explain("look up whether a message arrived", err))
		err = nil
	}
	if err != nil {
		return "", b.s.explain("look up whether a message arrived in "+b.s.o.Channel, err)
	}
	b.unsure = false
	return ts, nil
}

const (
	pageLimit = 100
	maxPages  = 50
)

// search reads our channel or thread from the newest message that is known.
func (b *outbox) search(ctx context.Context, m *message) (string, error) {
	cursor := ""
	for range maxPages {
		var msgs []api.Message
		var err error
		if m.thread != "" {
			msgs, _, cursor, err = b.s.api.GetConversationRepliesContext(ctx, &api.GetConversationRepliesParameters{
				ChannelID: b.s.o.Channel, Timestamp: m.thread, Cursor: cursor, Limit: pageLimit, IncludeAllMetadata: true,
				Oldest: b.since(m),
			})
		} else {
			var r *api.GetConversationHistoryResponse
			r, err = b.s.api.GetConversationHistoryContext(ctx, &api.GetConversationHistoryParameters{
				ChannelID: b.s.o.Channel, Cursor: cursor, Limit: pageLimit, IncludeAllMetadata: true, Oldest: b.since(m),
			})
			if err == nil {
				msgs, cursor = r.Messages, r.ResponseMetaData.NextCursor
			}
		}
		if err != nil {
			return "", err
		}
		for _, got := range msgs {
			if m.is(got) {
				return got.Timestamp, nil
			}
		}
		if cursor == "" {
			return "", nil
		}
	}
	return "", nil
}

// since is the time stamp after which m must have been posted, if it was:
// Slack's own of the newest message we know, since our clock may differ.
func (b *outbox) since(m *message) string {
	if m.thread != "" {
		for _, t := range b.st.Threads {
			if t.TS == m.thread && t.LastTS != "" {
				return t.LastTS
			}
		}
		return m.thread
	}
	if b.st.LastTS != "" {
		return b.st.LastTS
	}
	if m.at.IsZero() {
		return ""
	}
	return fmt.Sprintf("%d.000000", m.at.Add(-time.Hour).Unix())
}
