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
	var ts string
	err := b.simpler(m, func(plain int) error {
		if err := b.pace(ctx); err != nil {
			return err
		}
		var err error
		_, ts, err = b.s.api.PostMessageContext(ctx, b.s.o.Channel, m.options(plain, time.Now())...)
		if err == nil && ts == "" {
			err = errNoTS
		}
		b.unsure = err != nil && classify(err) == ambiguous
		return err
	})
	if err != nil {
		return "", b.s.explain("post to "+b.s.o.Channel, err)
	}
	b.posted = true
	b.s.sent.Add(1)
	return ts, nil
}

var errNoTS = errors.New("the answer names no message")

// edit replaces a message's content. Doing it twice does no harm.
func (b *outbox) edit(ctx context.Context, ts string, m *message) error {
	err := b.simpler(m, func(plain int) error {
		if err := b.pace(ctx); err != nil {
			return err
		}
		m := *m
		m.thread = ""
		_, _, _, err := b.s.api.UpdateMessageContext(ctx, b.s.o.Channel, ts, m.options(plain, time.Now())...)
		return err
	})
	if err != nil {
		return b.s.explain("edit a message in "+b.s.o.Channel, err)
	}
	b.s.sent.Add(1)
	return nil
}

// simpler sends m, more plainly each time Slack refuses it as such.
func (b *outbox) simpler(m *message, send func(plain int) error) error {
	var err error
	for plain := range 3 {
		if err = send(plain); err == nil || classify(err) != refused {
			return err
		}
		b.s.failed.Add(1)
		b.s.o.Log.Warn().Err(err).Str("event", m.name.id()).Msg("slack refused a message, sending it more plainly")
	}
	return err
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
			if m.name.is(got.Metadata) {
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
