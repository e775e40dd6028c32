package slack

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	api "github.com/slack-go/slack"
)

// failure says what may happen next after a call of Slack's API failed.
type failure uint8

const (
	ambiguous failure = iota // may have been done: look before doing it again
	notDone                  // was not done: try again
	refused                  // this content was refused, by Slack or something on the way: say it more simply
	gone                     // the message or thread it belongs to is not there any more
	blocked                  // only a person can mend it: try again slowly
)

// httpTimeout bounds every call of Slack's API.
const httpTimeout = 10 * time.Second

// httpClient gives c a timeout if it has none; slack-go's own has none.
func httpClient(c *http.Client) *http.Client {
	if c == nil {
		c = &http.Client{}
	}
	copied := *c
	if copied.Timeout <= 0 {
		copied.Timeout = httpTimeout
	}
	return &copied
}

// Codes of Slack, from the error lists of chat.postMessage, chat.update,
// conversations.history and conversations.replies on docs.slack.dev. One that
// is in no list is taken for a refusal of the content: a simpler message is
// tried before it holds up the queue.
var (
	codesBlocked = []string{
		"channel_not_found", "not_in_channel", "is_archived", "invalid_auth", "not_authed", "account_inactive", "token_revoked",
		"token_expired", "missing_scope", "not_allowed_token_type", "no_permission", "access_denied", "accesslimited",
		"ekm_access_denied", "org_login_required", "team_access_not_granted", "enterprise_is_restricted", "messages_tab_disabled",
		"method_deprecated", "deprecated_endpoint", "two_factor_setup_required", "two_factor_setup_is_required", "unknown_method",
		"restricted_action", "restricted_action_read_only_channel", "restricted_action_thread_only_channel",
		"restricted_action_non_threadable_channel", "restricted_action_thread_locked", "slack_connect_canvas_sharing_blocked",
	}
	codesGone = []string{
		"message_not_found", "thread_not_found", "cannot_reply_to_message", "cant_update_message", "edit_window_closed", "invalid_thread_ts",
	}
	codesUnsure  = []string{"fatal_error", "internal_error", "request_timeout", "service_unavailable", "team_added_to_org"}
	codesLimited = []string{"ratelimited", "rate_limited", "message_limit_exceeded"}
)

// classify says what may happen next after err.
func classify(err error) failure {
	if _, ok := errors.AsType[*api.RateLimitedError](err); ok {
		return notDone
	}
	if e, ok := errors.AsType[api.SlackErrorResponse](err); ok {
		switch {
		case slices.Contains(codesBlocked, e.Err):
			return blocked
		case slices.Contains(codesGone, e.Err):
			return gone
		case slices.Contains(codesUnsure, e.Err):
			return ambiguous
		case slices.Contains(codesLimited, e.Err):
			return notDone
		}
		return refused
	}
	if e, ok := errors.AsType[api.StatusCodeError](err); ok {
		switch {
		case e.Code == http.StatusTooManyRequests:
			return notDone
		case e.Code == http.StatusBadRequest, e.Code == http.StatusForbidden, e.Code == http.StatusRequestEntityTooLarge:
			// Slack says no with status 200 and a code; this is a filter before it.
			return refused
		case e.Code >= 400 && e.Code < 500 && e.Code != http.StatusRequestTimeout:
			return blocked
		}
		return ambiguous
	}
	// A connection that never came about carried nothing.
	if e, ok := errors.AsType[*net.OpError](err); ok && e.Op == "dial" {
		return notDone
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return notDone
	}
	return ambiguous
}

// code is Slack's own word for what was wrong, if err has one.
func code(err error) string {
	if e, ok := errors.AsType[api.SlackErrorResponse](err); ok {
		return e.Err
	}
	return ""
}

// explain says what was being done where, what went wrong and what a person
// should do next.
func (s *Slack) explain(doing string, err error) error {
	next := "it is tried again by itself; check that edgewatch can reach " + s.o.APIURL
	switch c := code(err); c {
	case "":
		if _, ok := errors.AsType[*api.RateLimitedError](err); ok {
			next = "it is tried again by itself as soon as Slack allows"
		}
	case "channel_not_found", "not_in_channel":
		next = "check slack.channel, and type /invite @edgewatch in that channel"
	case "is_archived":
		next = "unarchive the channel, or set slack.channel to another"
	case "invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired":
		next = "install the app in the workspace again and put its new tokens where the configuration reads them"
	case "not_allowed_token_type":
		next = "check that the app token (xapp-…) and the bot token (xoxb-…) are not swapped"
	case "missing_scope":
		next = "update the app from the manifest that ships with edgewatch and install it again"
		if e, ok := errors.AsType[api.SlackErrorResponse](err); ok && e.Needed != "" {
			next += " (scope " + e.Needed + ")"
		}
	default:
		switch {
		case slices.Contains(codesLimited, c):
			next = "it is tried again by itself as soon as Slack allows"
		case slices.Contains(codesUnsure, c):
			next = "Slack has trouble of its own, see slack-status.com; it is tried again by itself"
		default:
			next = "look up " + c + " on docs.slack.dev; it is tried again by itself"
		}
	}
	if errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "Client.Timeout") {
		err = fmt.Errorf("no answer in time: %w", err)
	}
	return fmt.Errorf("slack: %s: %w – %s", doing, err, next)
}

// retryAfter is how long Slack asked to wait, or 0.
func retryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*api.RateLimitedError](err); ok {
		return min(max(e.RetryAfter, 0), time.Hour)
	}
	return 0
}
