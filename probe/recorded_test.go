package probe_test

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"edgewatch/probe"
	"edgewatch/probe/probetest"
)

// recorded are the answers of Prosody and ejabberd in testdata, by
// server-case. The integration tests recorded them and hold them true.
func recorded(tb testing.TB) map[string][]byte {
	tb.Helper()
	paths, err := filepath.Glob("testdata/recorded/*.xml")
	if err != nil || len(paths) == 0 {
		tb.Fatalf("no recorded answers: %v", err)
	}
	all := map[string][]byte{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			tb.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(path), ".xml")] = b
	}
	return all
}

// conversation is a recording split into what is said in the clear and what
// inside TLS. What is said inside follows the same server's way into TLS.
func conversation(all map[string][]byte, name string) (outer, inner []byte) {
	if server, rest, _ := strings.Cut(name, "-"); strings.HasPrefix(rest, "tls-") {
		return all[server+"-starttls"], all[name]
	}
	return all[name], nil
}

// says is a server that answers the header with outer, the client's STARTTLS
// with what of it begins at the go-ahead, and the header inside TLS with inner;
// all of that so many times. It ends then, or when the client has kept it
// waiting for too long.
func says(outer, inner []byte, times int, patience time.Duration) probetest.Behaviour {
	return func(c *probetest.Conn) error {
		if err := c.ReadHeader(); err != nil {
			return err
		}
		before, after := outer, []byte(nil)
		if i := bytes.Index(outer, []byte("<proceed")); i >= 0 {
			before, after = outer[:i], outer[i:]
		}
		if err := c.Write(strings.Repeat(string(before), times)); err != nil || after == nil {
			return err
		}
		// The client may wait for us just as well: then we go on, or end.
		wait := func() { _ = c.Raw().SetReadDeadline(time.Now().Add(patience)) }
		wait()
		_, _ = c.ReadElement()
		wait()
		if err := c.Write(string(after)); err != nil {
			return err
		}
		if err := c.TLS(); err != nil {
			return err
		}
		wait()
		if err := c.ReadHeader(); err != nil {
			return err
		}
		_ = c.Raw().SetReadDeadline(time.Now().Add(10 * time.Second))
		return c.Write(strings.Repeat(string(inner), times))
	}
}

// TestRecorded proves what the probe says of every recorded answer.
func TestRecorded(t *testing.T) {
	t.Parallel()
	all := recorded(t)
	s := probetest.NewServer(t, probetest.Config{Domain: domain})
	p := probe.New(probe.Options{RootCAs: s.CA().Pool(), SlowConnect: -1})
	want := map[string]string{
		"prosody-starttls":           "tls_stream/closed",
		"prosody-goodbye":            "starttls/closed",
		"prosody-unknown-domain":     "features/stream_error:host-unknown",
		"prosody-no-to":              "features/stream_error:undefined-condition",
		"prosody-no-version":         "stream/bad_stream",
		"prosody-version-2":          "starttls/closed",
		"prosody-from-itself":        "features/stream_error:undefined-condition",
		"prosody-client-namespace":   "starttls/closed",
		"prosody-stream-namespace":   "features/stream_error:invalid-namespace",
		"prosody-doctype":            "features/stream_error:not-well-formed",
		"prosody-http":               "features/stream_error:not-well-formed",
		"prosody-tls-features":       "done/ok",
		"prosody-tls-goodbye":        "done/ok",
		"prosody-tls-starttls":       "done/ok",
		"prosody-tls-other-domain":   "tls_features/stream_error:improper-addressing",
		"prosody-tls-goodbye-first":  "tls_features/stream_error:not-well-formed",
		"prosody-tls-not-authorized": "tls_features/auth_required:not-authorized",

		"ejabberd-starttls":          "tls_stream/closed",
		"ejabberd-goodbye":           "starttls/closed",
		"ejabberd-unknown-domain":    "features/stream_error:host-unknown",
		"ejabberd-no-to":             "features/stream_error:improper-addressing",
		"ejabberd-no-version":        "stream/bad_stream",
		"ejabberd-version-2":         "features/stream_error:unsupported-version",
		"ejabberd-from-itself":       "starttls/closed",
		"ejabberd-client-namespace":  "features/stream_error:invalid-namespace",
		"ejabberd-stream-namespace":  "features/stream_error:invalid-namespace",
		"ejabberd-doctype":           "features/stream_error:not-well-formed",
		"ejabberd-http":              "features/stream_error:not-well-formed",
		"ejabberd-tls-features":      "done/ok",
		"ejabberd-tls-goodbye":       "done/ok",
		"ejabberd-tls-starttls":      "done/ok",
		"ejabberd-tls-other-domain":  "done/ok",
		"ejabberd-tls-goodbye-first": "tls_features/stream_error:not-well-formed",
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		outer, inner := conversation(all, name)
		s.Behave(says(outer, inner, 1, 10*time.Second))
		r := p.Probe(t.Context(), probe.Target{Addr: s.Addr(), Domain: domain, From: from})
		got := r.Phase.String() + "/" + string(r.Class)
		if r.Condition != "" {
			got += ":" + r.Condition
		}
		if got != want[name] {
			t.Errorf("%s is %s, want %s: %s", name, got, want[name], r.Error)
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("%s was not recorded", name)
	}
}

// FuzzProbe proves that whatever a server says, in the clear and inside TLS
// and however often, the probe ends in time with a result that keeps the
// promises of results, takes no more bytes than it may and leaves nothing
// running.
func FuzzProbe(f *testing.F) {
	all := recorded(f)
	for name := range all {
		outer, inner := conversation(all, name)
		f.Add(outer, inner, uint8(1))
	}
	way := all["prosody-starttls"]
	f.Add(all["prosody-goodbye"], []byte(nil), uint8(200))
	f.Add(way, []byte("<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'><stream:features>"), uint8(1))
	f.Add(way, bytes.Repeat([]byte("<a>"), 20), uint8(255))
	f.Add(slices.Concat(way, []byte("<smuggled/>")), []byte(nil), uint8(1))
	f.Add(slices.Concat(way, []byte("\x15\x03\x01\x00\x02\x02\x28")), []byte(nil), uint8(1))
	f.Add([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"), []byte(nil), uint8(1))
	s := probetest.NewServer(f, probetest.Config{Domain: domain})
	var got *counted
	p := probe.New(probe.Options{
		RootCAs: s.CA().Pool(), Timeout: 5 * time.Second,
		Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			var d net.Dialer
			c, err := d.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			got = &counted{Conn: c}
			return got, nil
		},
	})
	f.Fuzz(func(t *testing.T, outer, inner []byte, times uint8) {
		if (len(outer)+len(inner))*int(times) > 4<<20 {
			return
		}
		before, begin := runtime.NumGoroutine(), time.Now()
		s.Behave(says(outer, inner, int(times), 15*time.Millisecond))
		got = nil
		r := p.Probe(t.Context(), probe.Target{Addr: s.Addr(), Domain: domain, From: from})
		if got == nil {
			t.Skip("this machine has no port or file left: ", r.Error)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("took %s", took)
		}
		if limit := 8 * 64 << 10; got.n > limit {
			t.Errorf("%d bytes taken, limit %d", got.n, limit)
		}
		checkResult(t, r)
		quiet(t, before)
	})
}

// counted counts what is read from a connection.
type counted struct {
	net.Conn
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n += n
	return n, err
}

// checkResult holds what every result promises.
func checkResult(t *testing.T, r probe.Result) {
	t.Helper()
	known := func(c probe.Class) bool { return c.Meaning() != "" }
	if !known(r.Class) || r.Class == probe.LocalError {
		t.Errorf("class %q for what a server said: %s", r.Class, r.Error)
	}
	for _, c := range r.Remarks {
		if !known(c) || !c.Info().Remark {
			t.Errorf("remark %q", c)
		}
	}
	if r.Level == probe.Down && r.Blame != probe.Remote {
		t.Errorf("down with blame %s", r.Blame)
	}
	if r.Level == probe.Down && (r.TLS != nil || r.Phase > probe.PhaseStream) {
		t.Errorf("down in phase %s, when XMPP had answered", r.Phase)
	}
	if ok := r.Class == probe.OK; ok != (r.Error == "") || ok != (r.Phase == probe.PhaseDone) || ok && (r.Level != probe.Up || r.TLS == nil) {
		t.Errorf("%s in phase %s, level %s, error %q", r.Class, r.Phase, r.Level, r.Error)
	}
	for i := 1; i < len(r.Phases); i++ {
		if r.Phases[i].Phase <= r.Phases[i-1].Phase || r.Phases[i].Took < 0 {
			t.Errorf("phases %v", r.Phases)
		}
	}
	if len(r.Features) > 32 || len(r.Notes) > 8 {
		t.Errorf("%d features, %d notes", len(r.Features), len(r.Notes))
	}
	for _, text := range slices.Concat(r.Features, r.Notes, []string{r.Error, r.Condition}) {
		if len(text) > 8<<10 || !utf8.ValidString(text) || strings.IndexFunc(text, unicode.IsControl) >= 0 {
			t.Errorf("%d bytes of text: %q", len(text), text)
		}
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

// quiet waits until no more goroutines run than before.
func quiet(t *testing.T, before int) {
	t.Helper()
	if runtime.NumGoroutine() <= before {
		return
	}
	tick := time.NewTicker(100 * time.Microsecond)
	defer tick.Stop()
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}
