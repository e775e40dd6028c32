package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"edgewatch/integration/lab"
)

// TestHeadless plays the demonstration as CI does: one line of JSON, exit 0.
func TestHeadless(t *testing.T) {
	var out, errOut bytes.Buffer
	if code := run(t.Context(), []string{"--scenario", "primary-down", "--exit"}, nil, &out, &errOut); code != 0 {
		t.Fatalf("exit code %d\n%s%s", code, out.String(), errOut.String())
	}
	var r lab.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("the output is no JSON: %v\n%s", err, out.String())
	}
	if !r.OK || r.Active != "EdgePool2" || r.Detected <= 0 || r.Restored <= r.Detected || len(r.Steps) != 7 {
		t.Errorf("the report is %+v", r)
	}
}

// TestHeadlessTooSlow holds that a scenario which does not end in time is a
// failure with its reason, not a hang.
func TestHeadlessTooSlow(t *testing.T) {
	var out bytes.Buffer
	if code := run(t.Context(), []string{"--exit", "--timeout", "20ms"}, nil, &out, io.Discard); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	var r lab.Report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil || r.OK || r.Error == "" {
		t.Errorf("the report is %s (%v)", out.String(), err)
	}
}

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args []string
		code int
		want string
	}{
		{[]string{"--list"}, 0, "primary-down"},
		{[]string{"--help"}, 0, "-scenario"},
		{[]string{"--scenario", "nonsense"}, 2, "there are primary-down"},
		{[]string{"--nonsense"}, 2, "not defined"},
		{[]string{"extra"}, 2, "extra"},
	} {
		var out bytes.Buffer
		code := run(t.Context(), tt.args, strings.NewReader(""), &out, &out)
		if code != tt.code || !strings.Contains(out.String(), tt.want) {
			t.Errorf("%v: exit code %d, output %q; want %d and %q", tt.args, code, out.String(), tt.code, tt.want)
		}
	}
}

// TestConversation types what a person would and reads what comes of it.
func TestConversation(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	in, typed := io.Pipe()
	out := &screen{changed: make(chan struct{}, 1)}
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, []string{"--after", "-1s"}, in, out, out) }()
	if !out.await(ctx, 30*time.Second, "Type help") {
		t.Fatalf("no welcome in\n%s", out.text())
	}
	for _, step := range []struct{ typed, want string }{
		{"help", "failover POOL REASON"},
		{"nonsense", "there is no command"},
		{"kill EdgePool9", "there is no pool or server"},
		{"partner", "on EdgePool1"},
		{"pause 10m tea", "pause"},
		{"kill EdgePool1", "not acting (pause)"},
		{"resume", "federation is restored"},
		{"partner", "on EdgePool2"},
		{"slack", "failed over to EdgePool2"},
		{"status", "EdgePool2  active"},
		{"history", "verify"},
		{"restore EdgePool1", "answers again"},
		{"cutoff", "not acting (canaries)"},
		{"reconnect", "line is up"},
		{"why", "EdgePool2"},
		{"quit", ""},
	} {
		out.reset()
		for shown := false; !shown; {
			if _, err := io.WriteString(typed, step.typed+"\n"); err != nil {
				t.Fatal(err)
			}
			patience := 30 * time.Second
			if step.typed == "slack" {
				patience = 100 * time.Millisecond // it shows what is there, and does not wait
			}
			shown = out.await(ctx, patience, step.want)
			if !shown && (step.typed != "slack" || ctx.Err() != nil) {
				t.Fatalf("after %q: no %q in\n%s", step.typed, step.want, out.text())
			}
		}
	}
	if code := <-ended; code != 0 {
		t.Errorf("exit code %d\n%s", code, out.text())
	}
}

// screen is what a person sees.
type screen struct {
	mu      sync.Mutex
	buf     bytes.Buffer
	changed chan struct{}
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.changed <- struct{}{}:
	default:
	}
	return s.buf.Write(p)
}

func (s *screen) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

func (s *screen) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buf.Reset()
}

func (s *screen) await(ctx context.Context, patience time.Duration, want string) bool {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for !strings.Contains(s.text(), want) {
		select {
		case <-s.changed:
		case <-ctx.Done():
			return false
		}
	}
	return true
}
