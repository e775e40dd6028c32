package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"edgewatch/actions"
	"edgewatch/integration/lab"
	"edgewatch/watchdog"
)

// TestKills plays the one scenario whose edgewatch is this very program
// started anew, and keeps its directory, which no second lab may use.
func TestKills(t *testing.T) {
	dir := t.TempDir()
	args := []string{"--scenario", "crash-mid-chain", "--exit", "--dir", dir}
	var out bytes.Buffer
	if code := run(t.Context(), args, nil, &out, &out); code != 0 {
		t.Fatalf("exit code %d\n%s", code, out.String())
	}
	state := filepath.Join(dir, "edgewatch.db")
	before, err := os.ReadFile(filepath.Join(dir, "edgewatch.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	out.Reset()
	if code := run(t.Context(), args, nil, &out, &out); code != 1 || !strings.Contains(out.String(), state) {
		t.Errorf("a second lab in the same directory: exit code %d\n%s", code, out.String())
	}
	if after, err := os.ReadFile(filepath.Join(dir, "edgewatch.yaml")); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the refused lab changed the configuration of the first (%v)", err)
	}
}

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
		{[]string{"--version"}, 0, "edgelab "},
		{[]string{"--scenario", "all"}, exitUsage, "wants --exit"},
		{[]string{"--help"}, 0, "-scenario NAME"},
		{[]string{"--help"}, 0, "edgelab simulate …"},
		{[]string{"--help"}, 0, "edgelab replay …"},
		{[]string{"--help"}, 0, "64 wrong usage"},
		{[]string{"help"}, 0, "edgelab simulate …"},
		{[]string{"list"}, exitUsage, "did you mean --list?\n\"edgelab --help\" tells more"},
		{[]string{"zombie"}, exitUsage, "did you mean --scenario zombie?"},
		{[]string{"--scenario", "nonsense"}, exitUsage, "there are primary-down"},
		{[]string{"--nonsense"}, exitUsage, "edgelab: flag provided but not defined"},
		{[]string{"extra"}, exitUsage, "there is no command \"extra\": there are simulate and replay"},
	} {
		var out, errOut bytes.Buffer
		code := run(t.Context(), tt.args, strings.NewReader(""), &out, &errOut)
		said, silent := &out, &errOut
		if tt.code != 0 {
			said, silent = &errOut, &out
		}
		if code != tt.code || !strings.Contains(said.String(), tt.want) || silent.Len() > 0 {
			t.Errorf("%v: exit code %d, stdout %q, stderr %q; want %d and %q", tt.args, code, out.String(), errOut.String(), tt.code, tt.want)
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
		{"status", "last move  failover"},
		{"status", "mode       auto"},
		{"help", "history 10"},
		{"history", "verify"},
		{"history nonsense", "no number of entries"},
		{"history -f contoso", "verify"},
		{"hold -f nosuch tea", `no such federation: "nosuch": known are contoso`},
		{"zombie EdgePool9", "there is no pool or server"},
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

// TestTakenOver: whoever answers what a scenario would answer has not made it
// fail.
func TestTakenOver(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	in, typed := io.Pipe()
	out := &screen{changed: make(chan struct{}, 1)}
	ended := make(chan int, 1)
	go func() { ended <- run(ctx, []string{"--scenario", "approve", "--after", "0s"}, in, out, out) }()
	for _, step := range []struct{ want, typed string }{
		{"waiting for approval", "approve EdgePool2 it is mine"},
		{"you took over", "quit"},
	} {
		if !out.await(ctx, 60*time.Second, step.want) {
			t.Fatalf("no %q in\n%s", step.want, out.text())
		}
		if _, err := io.WriteString(typed, step.typed+"\n"); err != nil {
			t.Fatal(err)
		}
	}
	if code := <-ended; code != 0 || strings.Contains(out.text(), "did not end as it should") {
		t.Errorf("exit code %d\n%s", code, out.text())
	}
}

func TestHowMany(t *testing.T) {
	for _, tt := range []struct {
		words []string
		want  int
		bad   bool
	}{
		{nil, 30, false}, {[]string{"3"}, 3, false}, {[]string{"0"}, 0, true}, {[]string{"-1"}, 0, true}, {[]string{"1001"}, 0, true}, {[]string{"x"}, 0, true},
	} {
		if n, err := howMany(tt.words); n != tt.want || (err != nil) != tt.bad {
			t.Errorf("%v: %d, %v; want %d", tt.words, n, err, tt.want)
		}
	}
}

// TestTell holds that only what a step found is cut, never what went wrong.
func TestTell(t *testing.T) {
	long := strings.Repeat("word ", 100) + "END"
	for name, tt := range map[string]struct {
		entry watchdog.Entry
		whole bool
	}{
		"found":  {watchdog.Entry{Kind: watchdog.KindStep, Step: &actions.Record{Step: actions.Verify, Target: "x", Phase: actions.Finished, Detail: long}}, false},
		"failed": {watchdog.Entry{Kind: watchdog.KindStep, Step: &actions.Record{Step: actions.Verify, Target: "x", Phase: actions.Failed, Error: long}}, true},
		"notice": {watchdog.Entry{Kind: watchdog.KindNotice, Notice: &watchdog.Notice{Text: long}}, true},
	} {
		var out bytes.Buffer
		newConsole(&out).tell(tt.entry)
		if strings.Contains(out.String(), "END") != tt.whole || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("%s is told as %q", name, out.String())
		}
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

// A word that the prompt does not know is answered with those that it does,
// the lab's own too.
func TestPromptKnowsItsOwnWords(t *testing.T) {
	c := newConsole(io.Discard)
	for line, want := range map[string]string{
		"explode":   "history, help, failover,",
		"kil edge1": `did you mean "kill"?`,
		"partnr":    `did you mean "partner"?`,
	} {
		if err := command(t.Context(), c, nil, line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}
	err := command(t.Context(), c, nil, "explode")
	for _, word := range own {
		if !strings.Contains(err.Error(), word) || !strings.Contains(help, word) {
			t.Errorf("%q is not named: %v", word, err)
		}
	}
}

// A federation that the lab has not is refused as edgewatch refuses it, whatever
// was asked, and nobody has taken over.
func TestPromptKnowsItsFederation(t *testing.T) {
	c, l := newConsole(io.Discard), &lab.Lab{Federation: "contoso"}
	for _, line := range []string{"hold -f nosuch tea", "-f nosuch release", "status -f nosuch", "history -f nosuch 3"} {
		err := command(t.Context(), c, l, line)
		if !errors.Is(err, watchdog.ErrNoFederation) || err.Error() != `no such federation: "nosuch": known are contoso` || c.taken.Load() {
			t.Errorf("%s: %v; taken over: %v", line, err, c.taken.Load())
		}
	}
	for _, line := range []string{"hold -f contoso tea", "history 3 -f contoso", "-f contoso why"} {
		if err := command(t.Context(), c, l, line); errors.Is(err, watchdog.ErrNoFederation) {
			t.Errorf("%s: %v", line, err)
		}
	}
}
