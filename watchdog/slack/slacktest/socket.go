package slacktest

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// socket is one websocket of a Socket Mode client.
type socket struct {
	conn *websocket.Conn
	mu   sync.Mutex // one writer at a time
	gone chan struct{}
}

func (k *socket) send(v any) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	_ = k.conn.SetWriteDeadline(time.Now().Add(5 * time.Second))
	return k.conn.WriteJSON(v)
}

// request is something a user did, on its way to the client and back.
type request struct {
	user     string
	envelope reply
	mu       sync.Mutex
	isAcked  bool
	acked    chan struct{}
	answers  chan string
}

func (r *request) answer(text string) {
	select {
	case r.answers <- text:
	default:
	}
}

func (s *Server) open(form map[string]string) reply {
	if !strings.HasPrefix(form["token"], "xapp-") {
		return fail("not_allowed_token_type")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return reply{"ok": true, "url": fmt.Sprintf("ws://%s/socket?ticket=%d", s.addr, s.idLocked())}
}

// socket serves one websocket until it breaks. A hijacked connection is not
// the HTTP server's any more, so the server keeps and ends it itself.
func (s *Server) socket(w http.ResponseWriter, r *http.Request) {
	// slack-go sends Origin: https://api.slack.com, which gorilla's default
	// check refuses.
	up := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	conn, err := up.Upgrade(w, r, nil)
	if err != nil {
		return
	}
	k := &socket{conn: conn, gone: make(chan struct{})}
	s.mu.Lock()
	ping, flaky := s.ping, s.flaky
	s.mu.Unlock()
	hello := reply{"type": "hello", "num_connections": 1, "connection_info": reply{"app_id": "A0EDGE"}, "debug_info": reply{"host": "fake", "approximate_connection_time": 3600}}
	if k.send(hello) != nil || flaky {
		_ = conn.Close()
		return
	}
	s.mu.Lock()
	select {
	case <-s.closed:
		s.mu.Unlock()
		_ = conn.Close()
		return
	default:
	}
	s.conns = append(s.conns, k)
	s.wg.Add(1)
	s.changedLocked()
	s.mu.Unlock()
	defer s.wg.Done()
	if ping > 0 {
		s.wg.Go(func() { k.pings(ping) })
	}
	s.read(k)
}

func (k *socket) pings(every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		if k.conn.WriteControl(websocket.PingMessage, []byte("ping"), time.Now().Add(5*time.Second)) != nil {
			return
		}
		select {
		case <-t.C:
		case <-k.gone:
			return
		}
	}
}

// read takes the client's acks until the websocket breaks.
func (s *Server) read(k *socket) {
	defer func() {
		_ = k.conn.Close()
		defer close(k.gone)
		s.mu.Lock()
		defer s.mu.Unlock()
		for i, c := range s.conns {
			if c == k {
				s.conns = append(s.conns[:i:i], s.conns[i+1:]...)
				break
			}
		}
		s.changedLocked()
	}()
	for {
		var ack struct {
			EnvelopeID string `json:"envelope_id"`
			Payload    struct {
				Text string `json:"text"`
			} `json:"payload"`
		}
		_, b, err := k.conn.ReadMessage()
		if err != nil {
			return
		}
		if json.Unmarshal(b, &ack) != nil {
			continue
		}
		s.mu.Lock()
		req := s.waiting[ack.EnvelopeID]
		s.mu.Unlock()
		if req == nil {
			continue
		}
		if ack.Payload.Text != "" {
			req.answer(ack.Payload.Text)
		}
		req.mu.Lock()
		if !req.isAcked {
			req.isAcked = true
			close(req.acked)
		}
		req.mu.Unlock()
		s.mu.Lock()
		s.changedLocked()
		s.mu.Unlock()
	}
}

// respond takes what the client posts to a response_url.
func (s *Server) respond(path string, form map[string]string) reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	req := s.byURL[path]
	if req == nil {
		return fail("expired_url")
	}
	s.ephemerals = append(s.ephemerals, Ephemeral{User: req.user, Text: form["text"]})
	req.answer(form["text"])
	s.changedLocked()
	return reply{"ok": true}
}

// DropSockets breaks every websocket without a word.
func (s *Server) DropSockets() { s.drop(func(*socket) {}) }

// Refresh tells every client to reconnect, as Slack does every few hours,
// and closes its websocket.
func (s *Server) Refresh() {
	s.drop(func(k *socket) {
		_ = k.send(reply{"type": "disconnect", "reason": "refresh_requested", "debug_info": reply{"host": "fake"}})
	})
}

// drop ends every websocket and returns when it is gone.
func (s *Server) drop(goodbye func(*socket)) {
	s.mu.Lock()
	conns := slices.Clone(s.conns)
	s.mu.Unlock()
	for _, k := range conns {
		goodbye(k)
		_ = k.conn.Close()
		<-k.gone
	}
}

// Sent is a request that is on its way: a command typed or a button clicked.
type Sent struct {
	EnvelopeID string
	s          *Server
	req        *request

	mu sync.Mutex
	on *socket // what it was sent over last
}

// Command types "/edgewatch text" as that user, and returns the answer that
// only the user sees.
func (s *Server) Command(ctx context.Context, user, text string) (string, error) {
	sent, err := s.Type(ctx, user, text)
	if err != nil {
		return "", err
	}
	return sent.Reply(ctx)
}

// Type types "/edgewatch text" as that user and returns once it is handed to
// a client, without waiting for an answer.
func (s *Server) Type(ctx context.Context, user, text string) (*Sent, error) {
	return s.submit(ctx, user, "slash_commands", func(id int, name, url string) reply {
		return reply{
			"token": "t", "team_id": s.team, "team_domain": "edge", "channel_id": "C0EDGE", "channel_name": "edge",
			"user_id": user, "user_name": name, "command": "/edgewatch", "text": text,
			"trigger_id": fmt.Sprintf("13345.%d.abcdef", id), "response_url": url, "api_app_id": "A0EDGE",
		}
	})
}

// Click clicks a button of the message as that user, and returns the answer
// that only the user sees. The button must be there now; see ClickStale.
func (s *Server) Click(ctx context.Context, user, messageTS, actionID string) (string, error) {
	m, err := s.Wait(ctx, func(m Message) bool { return m.TS == messageTS })
	if err != nil {
		return "", err
	}
	value, ok := m.Button(actionID)
	if !ok {
		return "", fmt.Errorf("message %s has no button %q: %s", messageTS, actionID, m.Blocks)
	}
	return s.ClickStale(ctx, user, m, actionID, value, time.Now())
}

// ClickStale clicks a button with that value at that moment, whether the
// message still has it or not.
func (s *Server) ClickStale(ctx context.Context, user string, m Message, actionID, value string, at time.Time) (string, error) {
	sent, err := s.Press(ctx, user, m, actionID, value, at)
	if err != nil {
		return "", err
	}
	return sent.Reply(ctx)
}

// Press is ClickStale that does not wait for the answer.
func (s *Server) Press(ctx context.Context, user string, m Message, actionID, value string, at time.Time) (*Sent, error) {
	return s.submit(ctx, user, "interactive", func(id int, name, url string) reply {
		ts := fmt.Sprintf("%d.%06d", at.Unix(), id)
		return reply{
			"type": "block_actions", "team": reply{"id": s.team, "domain": "edge"}, "user": reply{"id": user, "name": name, "username": name, "team_id": s.team},
			"channel": reply{"id": m.Channel, "name": "edge"}, "message": m.wire(), "trigger_id": fmt.Sprintf("13345.%d.abcdef", id),
			"container":    reply{"type": "message", "message_ts": m.TS, "channel_id": m.Channel},
			"response_url": url, "api_app_id": "A0EDGE",
			"actions": []reply{{"type": "button", "action_id": actionID, "block_id": "edgewatch", "value": value, "action_ts": ts}},
		}
	})
}

// Button returns the value of the message's button, and whether it has it.
func (m Message) Button(actionID string) (string, bool) {
	var blocks []struct {
		Elements []struct {
			ActionID string `json:"action_id"`
			Value    string `json:"value"`
		} `json:"elements"`
	}
	if json.Unmarshal(m.Blocks, &blocks) != nil {
		// Context elements have other shapes, and none is a button.
		return "", false
	}
	for _, b := range blocks {
		for _, e := range b.Elements {
			if e.ActionID == actionID && actionID != "" {
				return e.Value, true
			}
		}
	}
	return "", false
}

func (s *Server) submit(ctx context.Context, user, kind string, payload func(id int, name, url string) reply) (*Sent, error) {
	req := &request{user: user, acked: make(chan struct{}), answers: make(chan string, 16)}
	s.mu.Lock()
	id := s.idLocked()
	path := fmt.Sprintf("/respond/%d", id)
	envelope := fmt.Sprintf("dbdd0ef3-0000-0000-0000-%012d", id)
	req.envelope = reply{"envelope_id": envelope, "type": kind, "accepts_response_payload": true,
		"payload": payload(id, cmp.Or(s.names[user], strings.ToLower(user)), s.base+path)}
	s.waiting[envelope] = req
	s.byURL[path] = req
	s.mu.Unlock()
	sent := &Sent{EnvelopeID: envelope, s: s, req: req}
	return sent, sent.Redeliver(ctx)
}

// Redeliver sends the same envelope again, as Slack does when an ack did not
// reach it, and waits for a client if none is connected.
func (t *Sent) Redeliver(ctx context.Context) error {
	for {
		var k *socket
		err := t.s.Until(ctx, func() bool {
			t.s.mu.Lock()
			defer t.s.mu.Unlock()
			if len(t.s.conns) == 0 {
				return false
			}
			k = t.s.conns[0]
			return true
		})
		if err != nil {
			return err
		}
		if k.send(t.req.envelope) == nil {
			t.mu.Lock()
			t.on = k
			t.mu.Unlock()
			return nil
		}
		_ = k.conn.Close()
		select {
		case <-k.gone:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Acked waits until the client acknowledged the envelope, and sends it again
// when the websocket broke first. Slack gives a client three seconds.
func (t *Sent) Acked(ctx context.Context) error {
	for {
		t.mu.Lock()
		on := t.on
		t.mu.Unlock()
		select {
		case <-t.req.acked:
			return nil
		case <-on.gone:
			select {
			case <-t.req.acked:
				return nil
			default:
			}
			if err := t.Redeliver(ctx); err != nil {
				return err
			}
		case <-ctx.Done():
			return fmt.Errorf("envelope %s was not acknowledged: %w", t.EnvelopeID, ctx.Err())
		case <-t.s.closed:
			return ErrClosed
		}
	}
}

// ErrSlow says that a client took longer than Slack gives it.
var ErrSlow = errors.New("operation_timeout: the app did not respond")

// Reply waits for the ack and then for the answer that only the user sees.
func (t *Sent) Reply(ctx context.Context) (string, error) {
	slow, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if err := t.Acked(slow); err != nil {
		if ctx.Err() == nil && slow.Err() != nil {
			return "", ErrSlow
		}
		return "", err
	}
	select {
	case text := <-t.req.answers:
		return text, nil
	case <-ctx.Done():
		return "", fmt.Errorf("no answer to %s: %w", t.EnvelopeID, ctx.Err())
	case <-t.s.closed:
		return "", ErrClosed
	}
}
