package slacktest

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	api "github.com/slack-go/slack"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func listen(t *testing.T) (*Server, *api.Client) {
	t.Helper()
	s, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s, api.New("xoxb-1", api.OptionAPIURL(s.URL()), api.OptionAppLevelToken("xapp-1"))
}

// The fake refuses what Slack refuses, so that a test against it means
// something.
func TestRefusesWhatSlackRefuses(t *testing.T) {
	s, c := listen(t)
	sec := func(n int) api.MsgOption {
		return api.MsgOptionBlocks(api.NewSectionBlock(api.NewTextBlockObject(api.MarkdownType, strings.Repeat("x", n), false, false), nil, nil))
	}
	many := make([]api.Block, 51)
	for i := range many {
		many[i] = api.NewDividerBlock()
	}
	for want, call := range map[string]func() error{
		"no_text":             func() error { return post(t, c, "C1", api.MsgOptionText("", false)) },
		"msg_too_long":        func() error { return post(t, c, "C1", api.MsgOptionText(strings.Repeat("x", 40001), false)) },
		"channel_not_found":   func() error { return post(t, c, "general", api.MsgOptionText("x", false)) },
		"invalid_blocks":      func() error { return post(t, c, "C1", sec(3001)) },
		"invalid_blocks (50)": func() error { return post(t, c, "C1", api.MsgOptionBlocks(many...)) },
		"metadata_must_be_sent_as_json": func() error {
			return post(t, c, "C1", api.MsgOptionText("x", false), api.MsgOptionMetadata(api.SlackMetadata{EventType: "not allowed", EventPayload: map[string]any{}}))
		},
		"message_not_found": func() error {
			_, _, _, err := c.UpdateMessageContext(t.Context(), "C1", "1.000001", api.MsgOptionText("x", false))
			return err
		},
		"thread_not_found": func() error {
			_, _, _, err := c.GetConversationRepliesContext(t.Context(), &api.GetConversationRepliesParameters{ChannelID: "C1", Timestamp: "1.000001"})
			return err
		},
		"invalid_auth": func() error {
			_, err := api.New("xapp-1", api.OptionAPIURL(s.URL())).AuthTestContext(t.Context())
			return err
		},
	} {
		if err := call(); err == nil || !strings.HasPrefix(want, err.Error()) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if err := post(t, c, "C1", sec(3000)); err != nil {
		t.Errorf("what is within the limits: %v", err)
	}
}

func post(t *testing.T, c *api.Client, channel string, opts ...api.MsgOption) error {
	t.Helper()
	_, _, err := c.PostMessageContext(t.Context(), channel, opts...)
	return err
}

func TestHistoryHasPagesAndMetadata(t *testing.T) {
	_, c := listen(t)
	for range 40 {
		if err := post(t, c, "C1", api.MsgOptionText("x", false), api.MsgOptionMetadata(api.SlackMetadata{EventType: "e", EventPayload: map[string]any{"k": "v"}})); err != nil {
			t.Fatal(err)
		}
	}
	for _, metadata := range []bool{true, false} {
		seen, cursor, newest := 0, "", "9"
		for {
			r, err := c.GetConversationHistoryContext(t.Context(), &api.GetConversationHistoryParameters{ChannelID: "C1", Cursor: cursor, Limit: 100, IncludeAllMetadata: metadata})
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range r.Messages {
				if m.Timestamp >= newest || (m.Metadata.EventPayload["k"] == "v") != metadata {
					t.Errorf("message %s after %s, metadata %v", m.Timestamp, newest, m.Metadata)
				}
				newest = m.Timestamp
				seen++
			}
			if cursor = r.ResponseMetaData.NextCursor; cursor == "" {
				break
			}
		}
		if seen != 40 {
			t.Errorf("%d messages, want 40", seen)
		}
	}
}

func TestFaults(t *testing.T) {
	s, c := listen(t)
	say := func() error { return post(t, c, "C1", api.MsgOptionText("x", false)) }
	s.Fail(Fault{Method: "chat.postMessage", Status: 429, RetryAfter: 3 * time.Second, Skip: 1, Times: 1})
	if err := say(); err != nil {
		t.Errorf("skipped: %v", err)
	}
	var limited *api.RateLimitedError
	if err := say(); !errors.As(err, &limited) || limited.RetryAfter != 3*time.Second {
		t.Errorf("429: %v", err)
	}
	if err := say(); err != nil {
		t.Errorf("used up: %v", err)
	}
	heal := s.Fail(Fault{Drop: true})
	if err := say(); err == nil || len(s.Messages()) != 3 {
		t.Errorf("dropped: %v, %d messages", err, len(s.Messages()))
	}
	heal()
	s.Down()
	if err := say(); err == nil {
		t.Error("down, and it answered")
	}
	if err := s.Up(); err != nil {
		t.Fatal(err)
	}
	if err := say(); err != nil {
		t.Errorf("up again: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.Wait(ctx, func(m Message) bool { return m.Text == "y" }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("waiting in vain: %v", err)
	}
	if _, err := s.Command(ctx, "U1", "status"); err == nil {
		t.Error("a command was answered with nobody connected")
	}
}

func TestCloseTwice(t *testing.T) {
	s, _ := listen(t)
	for range 2 {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.Wait(t.Context(), func(Message) bool { return false }); !errors.Is(err, ErrClosed) {
		t.Errorf("wait after close: %v", err)
	}
}
