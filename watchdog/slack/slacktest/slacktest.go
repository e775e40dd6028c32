// Package slacktest is a Slack on loopback: the part of the Web API and of
// Socket Mode that edgewatch uses, with the ways in which the real one
// fails. It needs no testing.T, so tests, the lab and the documentation
// share it. It is as strict as Slack where edgewatch could go wrong: limits
// of blocks, metadata, tokens, time stamps.
package slacktest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// ErrClosed says that the Server was closed while somebody waited on it.
var ErrClosed = errors.New("the fake Slack is closed")

// Message is one message of a channel as it stands now.
type Message struct {
	Channel   string
	TS        string // Slack's id of a message in its channel, and its time
	ThreadTS  string // the message this one replies to; empty for a message of its own
	Text      string
	Blocks    json.RawMessage
	EventType string         // metadata.event_type
	Metadata  map[string]any // metadata.event_payload
	Broadcast bool           // a reply that is shown in the channel too
	Edits     []Edit         // what it said before, oldest first
}

// Edit is an earlier content of a Message.
type Edit struct {
	Text   string
	Blocks json.RawMessage
}

// Fault is a way of failing that stays until it is used up or cleared.
type Fault struct {
	Method     string        // the Web API method it applies to, "response_url", or "" for all
	Times      int           // how many calls fail; 0 means until cleared
	Skip       int           // how many calls are let through first
	Status     int           // answer with this HTTP status
	RetryAfter time.Duration // sent with Status 429, whole seconds
	Error      string        // answer 200 with {"ok":false,"error":…}
	Drop       bool          // do what was asked, then break the connection instead of answering
	Late       bool          // with Status or Error: do what was asked, then answer so
	Hang       bool          // do nothing, and never answer
	If         func(form map[string]string) bool
}

// Server is the fake. Its methods may be called from any goroutine.
type Server struct {
	addr   string
	base   string
	closed chan struct{}
	wg     sync.WaitGroup

	mu         sync.Mutex
	http       *http.Server // nil while down
	changed    chan struct{}
	messages   []*Message
	ephemerals []Ephemeral
	faults     []*Fault
	calls      map[string]int
	conns      []*socket
	lastTS     int64
	lastID     int
	opens      []time.Time
	ping       time.Duration
	names      map[string]string
	team       string
	flaky      bool
	waiting    map[string]*request // envelopes by id
	byURL      map[string]*request // response_url by path
}

// Ephemeral is a message that one user saw.
type Ephemeral struct {
	User string // empty when it came over a response_url
	Text string
}

// New is a Server that listens nowhere: what is sent to its Handler is all it
// gets.
func New() *Server {
	return &Server{
		closed: make(chan struct{}), changed: make(chan struct{}), calls: map[string]int{},
		ping: 5 * time.Second, names: map[string]string{}, team: "T0EDGE",
		waiting: map[string]*request{}, byURL: map[string]*request{},
	}
}

// Handler answers what the Server would on a socket, websockets excepted.
func (s *Server) Handler() http.Handler { return s.routes() }

// Listen starts a Server on addr, e.g. "127.0.0.1:0". Close ends it.
func Listen(addr string) (*Server, error) {
	s := New()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for the fake Slack: %w", err)
	}
	s.addr = l.Addr().String()
	s.base = "http://" + s.addr
	s.serve(l)
	return s, nil
}

func (s *Server) serve(l net.Listener) {
	srv := &http.Server{Handler: s.routes(), ReadHeaderTimeout: 10 * time.Second}
	s.mu.Lock()
	s.http = srv
	s.mu.Unlock()
	s.wg.Go(func() { _ = srv.Serve(l) })
}

// URL is the address of the Web API, for slack.OptionAPIURL.
func (s *Server) URL() string { return s.base + "/api/" }

// Close ends the server and every connection, and waits for its goroutines.
func (s *Server) Close() error {
	s.mu.Lock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
	}
	s.mu.Unlock()
	s.Down()
	s.wg.Wait()
	return nil
}

// Down makes Slack refuse connections and breaks those that exist.
func (s *Server) Down() {
	s.mu.Lock()
	srv := s.http
	s.http = nil
	s.mu.Unlock()
	if srv != nil {
		_ = srv.Close()
	}
	s.DropSockets()
}

// Up ends Down: Slack answers again on the same address.
func (s *Server) Up() error {
	s.mu.Lock()
	up := s.http != nil
	s.mu.Unlock()
	if up {
		return nil
	}
	l, err := net.Listen("tcp", s.addr)
	if err != nil {
		return fmt.Errorf("bring the fake Slack up again: %w", err)
	}
	s.serve(l)
	return nil
}

// Fail adds f to the ways in which calls fail; the first that fits is taken.
// The answer clears it.
func (s *Server) Fail(f Fault) (clear func()) {
	p := &f
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, p)
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.faults = slices.DeleteFunc(s.faults, func(q *Fault) bool { return q == p })
	}
}

// Heal clears every Fault.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// SetPing sets how often PING is sent to websockets opened from now on;
// 0 means never, which a client takes for a dead connection.
func (s *Server) SetPing(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ping = d
}

// SetFlaky makes every websocket opened from now on break right after its
// hello.
func (s *Server) SetFlaky(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flaky = on
}

// Name gives a user id the name that is sent with what the user does.
func (s *Server) Name(user, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[user] = name
}

// SetTeam sets the team id that is sent with what users do.
func (s *Server) SetTeam(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.team = id
}

// Messages returns every message of every channel, replies too, in the order
// in which they were posted, as they stand now.
func (s *Server) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Message, 0, len(s.messages))
	for _, m := range s.messages {
		out = append(out, m.copy())
	}
	return out
}

// Thread returns the message with that time stamp and its replies.
func (s *Server) Thread(ts string) []Message {
	return slices.DeleteFunc(s.Messages(), func(m Message) bool { return m.TS != ts && m.ThreadTS != ts })
}

// Delete removes a message, as a person may.
func (s *Server) Delete(ts string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = slices.DeleteFunc(s.messages, func(m *Message) bool { return m.TS == ts })
}

// Ephemerals returns what single users saw, oldest first.
func (s *Server) Ephemerals() []Ephemeral {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ephemerals)
}

// Calls is how often a Web API method was called, failed calls included.
func (s *Server) Calls(method string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[method]
}

// Opens returns when apps.connections.open was called.
func (s *Server) Opens() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.opens)
}

// Wait returns the first message, in the order of posting, that ok accepts,
// as soon as there is one. Every post and every edit is looked at.
func (s *Server) Wait(ctx context.Context, ok func(Message) bool) (Message, error) {
	var found Message
	err := s.Until(ctx, func() bool {
		for _, m := range s.Messages() {
			if ok(m) {
				found = m
				return true
			}
		}
		return false
	})
	return found, err
}

// Until returns when cond is true. It is asked whenever anything happened at
// the server: a call, a post, an edit, a websocket opened or closed.
func (s *Server) Until(ctx context.Context, cond func() bool) error {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if cond() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait on the fake Slack: %w", ctx.Err())
		case <-s.closed:
			return ErrClosed
		}
	}
}

// Connected is how many websockets are open.
func (s *Server) Connected() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *Server) changedLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Server) idLocked() int {
	s.lastID++
	return s.lastID
}

// tsLocked is a new message's time stamp: now, and larger than every one before.
func (s *Server) tsLocked() string {
	s.lastTS = max(s.lastTS+1, time.Now().UnixMicro())
	return fmt.Sprintf("%d.%06d", s.lastTS/1e6, s.lastTS%1e6)
}

func (m *Message) copy() Message {
	c := *m
	c.Edits = slices.Clone(m.Edits)
	return c
}
