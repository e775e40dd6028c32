package slacktest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Slack's limits, as documented on docs.slack.dev.
const (
	maxBlocks  = 50
	maxText    = 40000
	maxSection = 3000
	maxHeader  = 150
	maxFields  = 10
	maxField   = 2000
	maxButton  = 75
	maxValue   = 2000
	maxContext = 10
	pageSize   = 15 // what a small app is given per page of history
)

type reply map[string]any

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for name, h := range map[string]func(map[string]string) reply{
		"auth.test": s.authTest, "apps.connections.open": s.open,
		"chat.postMessage": s.post, "chat.update": s.update, "chat.postEphemeral": s.ephemeral,
		"conversations.history": s.history, "conversations.replies": s.replies,
	} {
		mux.HandleFunc("/api/"+name, func(w http.ResponseWriter, r *http.Request) { s.call(w, r, name, h) })
	}
	mux.HandleFunc("/api/", func(w http.ResponseWriter, _ *http.Request) { answer(w, fail("unknown_method")) })
	mux.HandleFunc("/socket", s.socket)
	mux.HandleFunc("/respond/", func(w http.ResponseWriter, r *http.Request) {
		s.call(w, r, "response_url", func(form map[string]string) reply { return s.respond(r.URL.Path, form) })
	})
	return mux
}

func fail(code string) reply { return reply{"ok": false, "error": code} }

func answer(w http.ResponseWriter, r reply) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(r)
}

// call answers one Web API call, in the way that the first fitting Fault
// says.
func (s *Server) call(w http.ResponseWriter, r *http.Request, name string, h func(map[string]string) reply) {
	form, err := read(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	form["token"] = cmp.Or(form["token"], strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	f := s.fault(name, form)
	switch {
	case f.Hang:
		select {
		case <-r.Context().Done():
		case <-s.closed:
		}
		panic(http.ErrAbortHandler)
	case f.Drop || f.Late:
		h(form)
	case f.Status == 0 && f.Error == "":
		answer(w, h(form))
		return
	}
	if f.Drop {
		panic(http.ErrAbortHandler)
	}
	if f.Error != "" {
		answer(w, fail(f.Error))
		return
	}
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((f.RetryAfter+time.Second-1)/time.Second)))
	}
	http.Error(w, "<html>something went wrong</html>", f.Status)
}

// fault counts the call and takes the Fault that it meets, else the zero one.
func (s *Server) fault(name string, form map[string]string) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.changedLocked()
	s.calls[name]++
	if name == "apps.connections.open" {
		s.opens = append(s.opens, time.Now())
	}
	for i, f := range s.faults {
		if f.Method != "" && f.Method != name || f.If != nil && !f.If(form) {
			continue
		}
		if f.Skip > 0 {
			f.Skip--
			continue
		}
		if f.Times == 1 {
			s.faults = append(s.faults[:i:i], s.faults[i+1:]...)
		}
		f.Times = max(f.Times-1, 0)
		return *f
	}
	return Fault{}
}

// read gives the arguments of a call, form or JSON, as strings.
func read(r *http.Request) (map[string]string, error) {
	out := map[string]string{}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil || len(bytes.TrimSpace(b)) == 0 || string(b) == "null" {
			return out, err
		}
		var raw map[string]json.RawMessage
		if err := json.Unmarshal(b, &raw); err != nil {
			return nil, err
		}
		for k, v := range raw {
			var text string
			if json.Unmarshal(v, &text) != nil {
				text = string(v)
			}
			out[k] = text
		}
		return out, nil
	}
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	for k := range r.Form {
		out[k] = r.Form.Get(k)
	}
	return out, nil
}

func (s *Server) authTest(form map[string]string) reply {
	if !strings.HasPrefix(form["token"], "xoxb-") {
		return fail("invalid_auth")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return reply{"ok": true, "url": s.base, "team": "edge", "team_id": s.team, "user": "edgewatch", "user_id": "U0BOT", "bot_id": "B0BOT"}
}

func (s *Server) post(form map[string]string) reply {
	m, bad := content(form)
	if bad != "" {
		return fail(bad)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m.ThreadTS = form["thread_ts"]
	m.Broadcast = form["reply_broadcast"] == "true"
	if m.ThreadTS != "" && s.findLocked(m.Channel, m.ThreadTS) == nil {
		m.ThreadTS = "" // Slack posts it into the channel
	}
	m.TS = s.tsLocked()
	s.messages = append(s.messages, m)
	s.changedLocked()
	return reply{"ok": true, "channel": m.Channel, "ts": m.TS, "message": m.wire()}
}

func (s *Server) update(form map[string]string) reply {
	n, bad := content(form)
	if bad != "" {
		return fail(bad)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m := s.findLocked(n.Channel, form["ts"])
	if m == nil {
		return fail("message_not_found")
	}
	m.Edits = append(m.Edits, Edit{m.Text, m.Blocks})
	m.Text, m.Blocks = n.Text, n.Blocks
	if n.EventType != "" {
		m.EventType, m.Metadata = n.EventType, n.Metadata
	}
	s.changedLocked()
	return reply{"ok": true, "channel": m.Channel, "ts": m.TS, "text": m.Text, "message": m.wire()}
}

func (s *Server) ephemeral(form map[string]string) reply {
	m, bad := content(form)
	if bad != "" {
		return fail(bad)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ephemerals = append(s.ephemerals, Ephemeral{User: form["user"], Text: m.Text})
	for _, r := range s.waiting {
		if r.user == form["user"] {
			r.answer(m.Text)
		}
	}
	s.changedLocked()
	return reply{"ok": true, "message_ts": s.tsLocked()}
}

func (s *Server) history(form map[string]string) reply {
	return s.page(form, true, func(m *Message) bool { return m.ThreadTS == "" || m.Broadcast })
}

func (s *Server) replies(form map[string]string) reply {
	s.mu.Lock()
	root := s.findLocked(form["channel"], form["ts"])
	s.mu.Unlock()
	if root == nil {
		return fail("thread_not_found")
	}
	return s.page(form, false, func(m *Message) bool { return m.TS == root.TS || m.ThreadTS == root.TS })
}

// page is one page of a conversation: newest first for the history, oldest
// first for replies, whose first page always begins with the parent.
func (s *Server) page(form map[string]string, newestFirst bool, in func(*Message) bool) reply {
	if !strings.HasPrefix(form["token"], "xoxb-") {
		return fail("invalid_auth")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []reply
	for _, m := range s.messages {
		if m.Channel != form["channel"] || !in(m) {
			continue
		}
		if m.TS != form["ts"] && (form["oldest"] != "" && m.TS <= form["oldest"] || form["latest"] != "" && m.TS >= form["latest"]) {
			continue
		}
		w := m.wire()
		if form["include_all_metadata"] != "1" && form["include_all_metadata"] != "true" {
			delete(w, "metadata")
		}
		if newestFirst {
			all = append([]reply{w}, all...)
		} else {
			all = append(all, w)
		}
	}
	start, _ := strconv.Atoi(form["cursor"])
	start = min(start, len(all))
	size := pageSize
	if n, err := strconv.Atoi(form["limit"]); err == nil && n > 0 {
		size = min(n, pageSize)
	}
	end := min(start+size, len(all))
	next := ""
	if end < len(all) {
		next = strconv.Itoa(end)
	}
	return reply{"ok": true, "messages": all[start:end], "has_more": next != "", "response_metadata": reply{"next_cursor": next}}
}

func (s *Server) findLocked(channel, ts string) *Message {
	for _, m := range s.messages {
		if m.Channel == channel && m.TS == ts {
			return m
		}
	}
	return nil
}

func (m *Message) wire() reply {
	w := reply{"type": "message", "channel": m.Channel, "ts": m.TS, "text": m.Text, "bot_id": "B0BOT"}
	if m.ThreadTS != "" {
		w["thread_ts"] = m.ThreadTS
	}
	if m.EventType != "" {
		w["metadata"] = reply{"event_type": m.EventType, "event_payload": m.Metadata}
	}
	return w
}

var eventType = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9_-]*$`)

// content reads what a message shows and answers Slack's error when Slack
// would refuse it.
func content(form map[string]string) (*Message, string) {
	if !strings.HasPrefix(form["token"], "xoxb-") {
		return nil, "invalid_auth"
	}
	if !strings.HasPrefix(form["channel"], "C") {
		return nil, "channel_not_found"
	}
	m := &Message{Channel: form["channel"], Text: form["text"]}
	if b := form["blocks"]; b != "" {
		m.Blocks = json.RawMessage(b)
		if err := checkBlocks(m.Blocks); err != nil {
			return nil, "invalid_blocks"
		}
	}
	switch n := utf8.RuneCountInString(m.Text); {
	case n == 0 && m.Blocks == nil:
		return nil, "no_text"
	case n > maxText:
		return nil, "msg_too_long"
	}
	if md := form["metadata"]; md != "" {
		var v struct {
			EventType    string         `json:"event_type"`
			EventPayload map[string]any `json:"event_payload"`
		}
		if json.Unmarshal([]byte(md), &v) != nil || !eventType.MatchString(v.EventType) || v.EventPayload == nil {
			return nil, "metadata_must_be_sent_as_json"
		}
		m.EventType, m.Metadata = v.EventType, v.EventPayload
	}
	return m, ""
}

type text struct {
	Type string `json:"type"`
	Text string `json:"text"`
}

// checkBlocks refuses what Slack refuses of the kinds of blocks that
// edgewatch uses.
func checkBlocks(raw json.RawMessage) error {
	var blocks []struct {
		Type     string            `json:"type"`
		Text     *text             `json:"text"`
		Fields   []text            `json:"fields"`
		Elements []json.RawMessage `json:"elements"`
	}
	if err := json.Unmarshal(raw, &blocks); err != nil {
		return err
	}
	if len(blocks) > maxBlocks {
		return fmt.Errorf("%d blocks", len(blocks))
	}
	for _, b := range blocks {
		limit := map[string]int{"section": maxSection, "header": maxHeader}[b.Type]
		if b.Text != nil && !within(b.Text.Text, limit) {
			return fmt.Errorf("%s: text of %d", b.Type, len(b.Text.Text))
		}
		switch b.Type {
		case "section":
			if b.Text == nil && len(b.Fields) == 0 || len(b.Fields) > maxFields {
				return fmt.Errorf("section without text or with %d fields", len(b.Fields))
			}
			for _, f := range b.Fields {
				if !within(f.Text, maxField) {
					return fmt.Errorf("field of %d", len(f.Text))
				}
			}
		case "header":
			if b.Text == nil || b.Text.Type != "plain_text" {
				return fmt.Errorf("header without plain text")
			}
		case "actions":
			if err := checkButtons(b.Elements); err != nil {
				return err
			}
		case "context":
			if len(b.Elements) == 0 || len(b.Elements) > maxContext {
				return fmt.Errorf("context of %d elements", len(b.Elements))
			}
		case "divider":
		default:
			return fmt.Errorf("unsupported block %q", b.Type)
		}
	}
	return nil
}

func checkButtons(elements []json.RawMessage) error {
	if len(elements) == 0 || len(elements) > 25 {
		return fmt.Errorf("%d actions", len(elements))
	}
	seen := map[string]bool{}
	for _, raw := range elements {
		var e struct {
			ActionID string `json:"action_id"`
			Text     text   `json:"text"`
			Value    string `json:"value"`
		}
		if err := json.Unmarshal(raw, &e); err != nil {
			return err
		}
		if e.ActionID == "" || seen[e.ActionID] || !within(e.Text.Text, maxButton) || utf8.RuneCountInString(e.Value) > maxValue {
			return fmt.Errorf("bad button %s", raw)
		}
		seen[e.ActionID] = true
	}
	return nil
}

func within(s string, limit int) bool {
	n := utf8.RuneCountInString(s)
	return n > 0 && n <= limit
}
