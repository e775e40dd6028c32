package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"edgewatch/watchdog"
)

// serve runs API on a unix socket and returns its path.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := ListenUnix(t.Context(), path, 0o660)
	if err != nil {
		t.Fatal(err)
	}
	srv := NewServer(h, testLogger(t))
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the socket is still there: %v", err)
		}
	})
	return path
}

func me(t *testing.T) string {
	t.Helper()
	if runtime.GOOS != "linux" {
		return unknownPeer
	}
	u, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	return u.Username + "@" + host
}

func TestClientReads(t *testing.T) {
	w := &fake{snapshots: []*watchdog.Snapshot{healthy(), failed()}}
	c := NewClient(serve(t, API(w)))
	all, err := c.Status(t.Context(), "")
	equate := cmp.Options{cmpopts.EquateComparable(netip.AddrPort{}), cmpopts.IgnoreUnexported(watchdog.Hold{}, watchdog.PartnerView{})}
	if diff := cmp.Diff(w.snapshots, all, equate); diff != "" || err != nil {
		t.Errorf("Status: %v (-want +got):\n%s", err, diff)
	}
	one, err := c.Status(t.Context(), "fabrikam")
	if diff := cmp.Diff(w.snapshots[1:], one, equate); diff != "" || err != nil {
		t.Errorf("Status(fabrikam): %v (-want +got):\n%s", err, diff)
	}
	if _, err := c.Status(t.Context(), "no/body"); !errors.Is(err, watchdog.ErrNoFederation) || !strings.Contains(err.Error(), "no/body") {
		t.Errorf("Status of nobody: %v", err)
	}
	entries, err := c.History(t.Context(), "contoso", 3)
	if err != nil || len(entries) != 3 || entries[2].Seq != 3 || entries[0].Federation != "contoso" {
		t.Errorf("History = %v, %v", entries, err)
	}
	if _, err := c.History(t.Context(), "contoso", 0); err == nil || !strings.Contains(err.Error(), "1000") {
		t.Errorf("History of 0: %v", err)
	}
}

func TestClientSubmits(t *testing.T) {
	w := &fake{}
	c := NewClient(serve(t, API(w)))
	cmd := watchdog.Command{ID: "c-1", Federation: "contoso", Verb: watchdog.VerbPause, For: time.Hour, Reason: "patch day", Actor: "somebody else", Via: "slack"}
	answer, err := c.Submit(t.Context(), cmd)
	if want := (watchdog.Answer{Accepted: true, Text: "paused", Entry: 7}); answer != want || err != nil {
		t.Errorf("Submit = %+v, %v; want %+v", answer, err, want)
	}
	want := cmd
	want.Actor, want.Via = me(t), "cli"
	if diff := cmp.Diff([]watchdog.Command{want}, w.commands); diff != "" {
		t.Errorf("command (-want +got):\n%s", diff)
	}
	if answer, err := c.Submit(t.Context(), cmd); answer.Accepted || answer.Text == "" || err != nil {
		t.Errorf("the same id again = %+v, %v; want a refusal", answer, err)
	}
	for range 2 {
		if answer, err := c.Submit(t.Context(), watchdog.Command{Federation: "contoso", Verb: watchdog.VerbAck}); !answer.Accepted || err != nil {
			t.Errorf("without id = %+v, %v", answer, err)
		}
	}
	if _, err := c.Submit(t.Context(), watchdog.Command{Federation: "nobody", Verb: watchdog.VerbAck}); !errors.Is(err, watchdog.ErrNoFederation) {
		t.Errorf("unknown federation: %v", err)
	}
	w.err = watchdog.ErrStopping
	if _, err := c.Submit(t.Context(), cmd); !errors.Is(err, watchdog.ErrStopping) {
		t.Errorf("stopping: %v", err)
	}
	w.err = errors.New("disk full")
	if _, err := c.Submit(t.Context(), cmd); err == nil || err.Error() != "disk full" || errors.Is(err, ErrUnsure) {
		t.Errorf("error of the daemon: %v", err)
	}
}

// TestUnknownFederationIsToldWithThoseThereAre: in a field, so that nobody has
// to read the sentence for them, and by an older daemon not at all.
func TestUnknownFederationIsToldWithThoseThereAre(t *testing.T) {
	w := &fake{snapshots: []*watchdog.Snapshot{healthy(), failed()}}
	rec := httptest.NewRecorder()
	API(w).ServeHTTP(rec, httptest.NewRequest("GET", "/api/v1/status/nobody", http.NoBody))
	want := `{"error":"no such federation: \"nobody\": known are contoso, fabrikam","federations":["contoso","fabrikam"]}` + "\n"
	if rec.Code != http.StatusNotFound || rec.Body.String() != want {
		t.Errorf("%d %s, want 404 %s", rec.Code, rec.Body, want)
	}
	unknown := watchdog.NoFederationError{Name: "nobody", Known: []string{"contoso", "fabrikam"}}
	c := NewClient(serve(t, API(&fake{err: unknown, snapshots: w.snapshots})))
	for what, ask := range map[string]func() error{
		"status":  func() error { _, err := c.Status(t.Context(), "nobody"); return err },
		"history": func() error { _, err := c.History(t.Context(), "nobody", 1); return err },
		"command": func() error {
			_, err := c.Submit(t.Context(), watchdog.Command{Federation: "nobody", Verb: watchdog.VerbAck})
			return err
		},
	} {
		err := ask()
		got, ok := errors.AsType[watchdog.NoFederationError](err)
		if diff := cmp.Diff(unknown.Known, got.Known); !ok || diff != "" || !errors.Is(err, watchdog.ErrNoFederation) || err.Error() != unknown.Error() {
			t.Errorf("%s: %v (-want +got):\n%s", what, err, diff)
		}
	}
	older := NewClient(serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"error":"no such federation: known are others"}`))
	})))
	_, err := older.Status(t.Context(), "nobody")
	if _, told := errors.AsType[watchdog.NoFederationError](err); told || !errors.Is(err, watchdog.ErrNoFederation) || err.Error() != "no such federation: known are others" {
		t.Errorf("an older daemon: %v", err)
	}
}

func TestClientWithoutDaemon(t *testing.T) {
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale.sock")
	abandon(t, stale)
	for _, path := range []string{filepath.Join(dir, "none.sock"), stale} {
		_, err := NewClient(path).Submit(t.Context(), watchdog.Command{})
		if !errors.Is(err, ErrNoDaemon) || errors.Is(err, ErrUnsure) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want ErrNoDaemon", path, err)
		}
	}
}

// TestStoppedDaemonIsThere: one that is reached and says nothing is not told as
// one that does not run.
func TestStoppedDaemonIsThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := ListenUnix(t.Context(), path, 0o660) // the kernel connects, nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := NewClient(path)
	for what, ask := range map[string]func(context.Context) error{
		"status":  func(ctx context.Context) error { _, err := c.Status(ctx, ""); return err },
		"history": func(ctx context.Context) error { _, err := c.History(ctx, "contoso", 1); return err },
		"command": func(ctx context.Context) error { _, err := c.Submit(ctx, watchdog.Command{}); return err },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := ask(ctx)
		cancel()
		if !errors.Is(err, ErrNoAnswer) || errors.Is(err, ErrNoDaemon) || !strings.Contains(err.Error(), path) || errors.Is(err, ErrUnsure) != (what == "command") {
			t.Errorf("%s: %v, want ErrNoAnswer", what, err)
		}
	}
}

// TestAnswerThatEdgewatchDoesNotKnow: what may be durable, as when the journal
// hangs, is not told as failed, but as what it is: not known.
func TestAnswerThatEdgewatchDoesNotKnow(t *testing.T) {
	w := &fake{err: fmt.Errorf("%w: wait for the answer of contoso: %w", watchdog.ErrUnsure, context.DeadlineExceeded)}
	c := NewClient(serve(t, API(w)))
	_, err := c.Submit(t.Context(), watchdog.Command{ID: "c-11", Federation: "contoso", Verb: watchdog.VerbAck})
	if !errors.Is(err, ErrUnsure) || !strings.Contains(err.Error(), "c-11") || strings.Count(err.Error(), ErrUnsure.Error()) != 1 {
		t.Errorf("Submit: %v, want ErrUnsure that names the id", err)
	}
	r := httptest.NewRequest("POST", "/api/v1/commands", strings.NewReader(`{"id":"1","federation":"contoso","verb":"ack"}`))
	r.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	if API(w).ServeHTTP(rec, r); rec.Code != http.StatusGatewayTimeout {
		t.Errorf("status %d, want 504: %s", rec.Code, rec.Body)
	}
}

// TestLostAnswer: whoever gave a command must learn that it may count.
func TestLostAnswer(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"dies":        func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"no JSON":     func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) },
		"half answer": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"accepted":tr`)) },
	} {
		c := NewClient(serve(t, h))
		_, err := c.Submit(t.Context(), watchdog.Command{ID: "c-9"})
		if !errors.Is(err, ErrUnsure) || !strings.Contains(err.Error(), "c-9") {
			t.Errorf("%s: %v, want ErrUnsure that names the id", name, err)
		}
	}
	hang := make(chan struct{})
	c := NewClient(serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(hang)
		<-r.Context().Done()
	})))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-hang
		cancel()
	}()
	if _, err := c.Submit(ctx, watchdog.Command{ID: "c-10"}); !errors.Is(err, ErrUnsure) || !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

func TestCommandsAreStrict(t *testing.T) {
	tests := []struct {
		name, method, path, contentType, body string
		status                                int
	}{
		{"no content type", "POST", "/api/v1/commands", "", `{"id":"1","federation":"contoso"}`, 415},
		{"form", "POST", "/api/v1/commands", "application/x-www-form-urlencoded", `id=1`, 415},
		{"not JSON", "POST", "/api/v1/commands", "application/json", `pause`, 400},
		{"unknown field", "POST", "/api/v1/commands", "application/json", `{"id":"1","federation":"contoso","really":true}`, 400},
		{"two commands", "POST", "/api/v1/commands", "application/json", `{"id":"1","federation":"contoso"}{"id":"2"}`, 400},
		{"no id", "POST", "/api/v1/commands", "application/json", `{"federation":"contoso","verb":"ack"}`, 400},
		{"no verb", "POST", "/api/v1/commands", "application/json", `{"id":"1","federation":"contoso"}`, 400},
		{"an event for a verb", "POST", "/api/v1/commands", "application/json", `{"id":"1","federation":"contoso","verb":"start","reason":"x"}`, 400},
		{"too large", "POST", "/api/v1/commands", "application/json", `{"id":"1","reason":"` + strings.Repeat("x", maxBody) + `"}`, 413},
		{"reading commands", "GET", "/api/v1/commands", "", "", 405},
		{"posting status", "POST", "/api/v1/status", "application/json", "{}", 405},
		{"no such path", "GET", "/api/v2/status", "", "", 404},
		{"bad n", "GET", "/api/v1/history?n=many", "", "", 400},
		{"too many", "GET", "/api/v1/history?n=1001", "", "", 400},
		{"accepted", "POST", "/api/v1/commands", "application/json; charset=utf-8", `{"id":"1","federation":"contoso","verb":"ack"}`, 200},
		{"with all it can have", "POST", "/api/v1/commands", "application/json", everyField, 200},
	}
	w := &fake{}
	h := API(w)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body))
			r.Header.Set("Content-Type", tt.contentType)
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			if rec.Code != tt.status {
				t.Errorf("status %d, want %d: %s", rec.Code, tt.status, rec.Body)
			}
			var e errorBody
			if err := json.Unmarshal(rec.Body.Bytes(), &e); err != nil || (tt.status != 200 && e.Error == "") {
				t.Errorf("body %q is no JSON error: %v", rec.Body, err)
			}
		})
	}
	if len(w.commands) != 2 || w.commands[0].Actor != unknownPeer || w.commands[0].Via != "api" {
		t.Fatalf("commands: %+v", w.commands)
	}
	want := watchdog.Command{
		ID: "2", Federation: "contoso", Verb: watchdog.VerbFailover, Pool: "EdgePool2", For: time.Second, Step: "verify", Force: true, Dry: true,
		Reason: "why", Actor: unknownPeer, Via: "api",
	}
	if diff := cmp.Diff(want, w.commands[1]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// everyField is a command with everything that a command can have.
const everyField = `{"id":"2","federation":"contoso","verb":"failover","pool":"EdgePool2","for":1000000000,"step":"verify","force":true,"dry":true,"reason":"why","actor":"x","via":"slack"}`

// abandon leaves a socket behind the way a killed process does.
func abandon(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestListenUnix(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "api.sock")
	abandon(t, path)
	l, err := ListenUnix(t.Context(), path, 0o660)
	if err != nil {
		t.Fatalf("a stale socket is in the way: %v", err)
	}
	if info, err := os.Lstat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v; want 0660", info.Mode(), err)
	}
	if _, err := ListenUnix(t.Context(), path, 0o660); err == nil || !strings.Contains(err.Error(), "another process answers") {
		t.Errorf("second listener: %v", err)
	}
	for range 2 {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}

	if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(t.Context(), path, 0o660); err == nil || !strings.Contains(err.Error(), "no socket") {
		t.Errorf("over a file: %v", err)
	}
	if b, err := os.ReadFile(path); string(b) != "precious" || err != nil {
		t.Errorf("the file was touched: %q, %v", b, err)
	}
	if _, err := ListenUnix(t.Context(), filepath.Join(dir, "none", "api.sock"), 0o660); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
}

// TestCloseLeavesASuccessorAlone: the socket of the process that took over
// must survive the end of this one.
func TestCloseLeavesASuccessorAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "api.sock")
	l, err := ListenUnix(t.Context(), path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	next, err := ListenUnix(t.Context(), path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := next.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the successor's socket is gone: %v", err)
	}
}
