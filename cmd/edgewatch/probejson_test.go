package main

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgewatch/probe"
	"edgewatch/probe/probetest"
)

// schema is what this test reads of a JSON Schema.
type schema struct {
	Properties map[string]schema `json:"properties"`
	Required   []string          `json:"required"`
	OneOf      []schema          `json:"oneOf"`
	Defs       map[string]schema `json:"$defs"`
	Enum       []string          `json:"enum"`
}

func readSchema(t *testing.T) schema {
	t.Helper()
	var s schema
	if err := json.Unmarshal(probeSchema, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// fits holds an object to the keys of its schema: all that are required are
// there, and none that is not known.
func (s schema) fits(t *testing.T, what string, object any) map[string]any {
	t.Helper()
	m, ok := object.(map[string]any)
	if !ok {
		t.Fatalf("%s is %T, no object", what, object)
	}
	for _, key := range s.Required {
		if _, ok := m[key]; !ok {
			t.Errorf("%s lacks %q", what, key)
		}
	}
	for key := range m {
		if _, ok := s.Properties[key]; !ok {
			t.Errorf("%s has the key %q, which is not in the schema", what, key)
		}
	}
	return m
}

func (s schema) fitsResult(t *testing.T, object any) map[string]any {
	t.Helper()
	r := s.Defs["result"].fits(t, "result", object)
	for _, list := range []string{"remarks", "features"} {
		if _, ok := r[list].([]any); !ok {
			t.Errorf("%s is %T, no list", list, r[list])
		}
	}
	if r["cert"] != nil {
		s.Defs["cert"].fits(t, "cert", r["cert"])
	}
	if r["tls"] != nil {
		s.Defs["result"].Properties["tls"].OneOf[1].fits(t, "tls", r["tls"])
	}
	return r
}

// server is an XMPP server with a file that holds its CA.
func server(t *testing.T, b probetest.Behaviour) (s *probetest.Server, ca string) {
	t.Helper()
	s = probetest.NewServer(t, probetest.Config{Domain: "contoso.com", Behaviour: b})
	ca = filepath.Join(t.TempDir(), "ca.pem")
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.CA().Root().Raw})
	if err := os.WriteFile(ca, root, 0o600); err != nil {
		t.Fatal(err)
	}
	return s, ca
}

// TestProbeSchema holds what "probe -o json" prints to its schema.
func TestProbeSchema(t *testing.T) {
	t.Parallel()
	doc := readSchema(t)
	want := []string{"target", "domain", "up", "level", "phase", "class", "remarks", "blame", "error", "took_seconds", "phases", "cert", "tls", "features"}
	if d := cmp.Diff(want, doc.Defs["result"].Required); d != "" {
		t.Errorf("keys that are always there (-want +schema):\n%s", d)
	}
	if d := cmp.Diff(slices.Sorted(slices.Values(append(want, "at", "condition"))), slices.Sorted(maps.Keys(doc.Defs["result"].Properties))); d != "" {
		t.Errorf("keys of a result (-want +schema):\n%s", d)
	}
	for name, want := range map[string][]string{"cert": {"not_after", "days", "names", "issuer", "problems"}} {
		if d := cmp.Diff(want, doc.Defs[name].Required); d != "" {
			t.Errorf("keys of %s (-want +schema):\n%s", name, d)
		}
	}
	for name, c := range map[string]struct {
		behaviour probetest.Behaviour
		stopped   bool
		code      int
		class     string
		up        bool
	}{
		"healthy":      {nil, false, exitDone, "ok", true},
		"stream error": {probetest.StreamError("host-unknown", ""), false, exitDone, "stream_error", true},
		"refused":      {nil, true, exitFailed, "refused", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, ca := server(t, c.behaviour)
			if c.stopped {
				s.Stop()
			}
			var out, errs strings.Builder
			code := (&tool{out: &out, err: &errs}).execute(t.Context(), []string{"probe", s.Addr().String(), "--domain", "contoso.com", "--ca", ca, "-o", "json"})
			if code != c.code {
				t.Errorf("exit code %d, want %d: %s", code, c.code, errs.String())
			}
			var answer any
			if err := json.Unmarshal([]byte(out.String()), &answer); err != nil || strings.Count(out.String(), "\n") != 1 {
				t.Fatalf("not one object on one line: %v\n%s", err, out.String())
			}
			r := doc.fitsResult(t, answer)
			if c.class == "ok" && len(r) != len(want) {
				t.Errorf("%d keys, want the %d of every result: %v", len(r), len(want), r)
			}
			if r["class"] != c.class || r["up"] != c.up || r["target"] != s.Addr().String() {
				t.Errorf("got %v", r)
			}
			if (r["condition"] != nil) != (c.class == "stream_error") || (r["cert"] != nil) != (c.class == "ok") {
				t.Errorf("got %v", r)
			}
		})
	}
}

// TestProbeSchemaWords holds the schema's words to those of the probe.
func TestProbeSchemaWords(t *testing.T) {
	t.Parallel()
	doc := readSchema(t)
	classes, levels, phases := []string{""}, []string{}, []string{}
	for _, c := range probe.Classes() {
		classes = append(classes, string(c.Class))
	}
	for l := probe.Inconclusive; l <= probe.Down; l++ {
		levels = append(levels, l.String())
	}
	for p := probe.PhaseNone; p <= probe.PhaseDone; p++ {
		phases = append(phases, p.String())
	}
	for name, want := range map[string][]string{"class": classes, "level": levels, "phase": phases} {
		if d := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(slices.Values(doc.Defs[name].Enum))); d != "" {
			t.Errorf("%s (-want +schema):\n%s", name, d)
		}
	}
}

// TestPartnerSchema holds what "probe --srv -o json" prints to its schema.
func TestPartnerSchema(t *testing.T) {
	t.Parallel()
	doc := readSchema(t)
	addr := netip.MustParseAddrPort("192.0.2.1:5269")
	lookup := probe.Lookup{Name: "x.", Server: "192.0.2.53:53", Took: time.Second / 4, Error: "x", Alias: "y.", TTL: 1, SRV: []probe.SRV{{}}, Addrs: []netip.Addr{addr.Addr()}}
	for name, r := range map[string]probe.PartnerResult{
		"empty": {},
		"full": {
			Domain: "contoso.com", Took: time.Second, Services: []probe.Lookup{lookup}, Fallback: true, Remarks: []probe.Class{probe.DNSNoSRV}, Error: "x",
			Targets: []probe.PartnerTarget{{DirectTLS: true, Error: "x", Remarks: []probe.Class{probe.SRVCNAME}, Lookups: []probe.Lookup{lookup, lookup}, Results: []probe.Result{{
				Target: probe.Target{Addr: addr}, Condition: "x", TLS: &probe.TLS{}, Cert: &probe.Certificate{},
				Phases: []probe.PhaseTime{{Phase: probe.PhaseConnect, Took: time.Second / 2}},
			}}}},
		},
	} {
		w := partnerProbe{res: r}
		if name == "full" {
			w.views = []probe.View{{Server: "192.0.2.53:53", Class: probe.OK, Targets: []probe.PartnerTarget{{Lookups: []probe.Lookup{{Addrs: []netip.Addr{addr.Addr()}}}}}}}
			w.drift = &driftJSON{}
		}
		raw, err := json.Marshal(w.forScripts(time.Now()))
		if err != nil {
			t.Fatal(err)
		}
		var answer any
		if err := json.Unmarshal(raw, &answer); err != nil {
			t.Fatal(err)
		}
		m := doc.Defs["partner"].fits(t, name, answer)
		lookups := m["services"].([]any)
		for _, answer := range m["answers"].([]any) {
			a := doc.Defs["answer"].fits(t, "answer", answer)
			doc.Defs["find"].fits(t, "find", a["finds"].([]any)[0])
		}
		if m["drift"] != nil {
			doc.Defs["drift"].fits(t, "drift", m["drift"])
		}
		for _, target := range m["targets"].([]any) {
			x := doc.Defs["target"].fits(t, "target", target)
			lookups = append(lookups, x["lookups"].([]any)...)
			got := doc.fitsResult(t, x["results"].([]any)[0])
			if d := cmp.Diff(map[string]any{"connect": 0.5}, got["phases"]); d != "" {
				t.Errorf("phases (-want +got):\n%s", d)
			}
		}
		if want := map[string]int{"full": 3}[name]; len(lookups) != want {
			t.Errorf("%s: %d lookups, want %d", name, len(lookups), want)
		}
		for _, l := range lookups {
			if x := doc.Defs["lookup"].fits(t, "lookup", l); x["took_seconds"] != 0.25 {
				t.Errorf("%s: a lookup took %v s", name, x["took_seconds"])
			}
		}
	}
}

// lineCounter ends a watch once so many lines were printed.
type lineCounter struct {
	strings.Builder
	left int
	end  func()
}

func (c *lineCounter) Write(p []byte) (int, error) {
	if c.left--; c.left == 0 {
		c.end()
	}
	return c.Builder.Write(p)
}

// TestProbeWatch proves that a watch goes on until it is interrupted, and
// ends with the code of its last round.
func TestProbeWatch(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		stopped bool
		form    string
		code    int
		line    string
		summary string
	}{
		"up":   {false, "text", exitDone, "✓ up", "rounds 3, probes 3: 3 up, 0 degraded, 0 down, 0 inconclusive; answers took "},
		"down": {true, "text", exitFailed, "refused", "rounds 3, probes 3: 0 up, 0 degraded, 3 down, 0 inconclusive"},
		"json": {false, "json", exitDone, `{"at":"20`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, ca := server(t, nil)
			if c.stopped {
				s.Stop()
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			out := lineCounter{left: 3, end: cancel}
			args := []string{"probe", s.Addr().String(), "--domain", "contoso.com", "--ca", ca, "--watch", "--interval", "1ms", "-o", c.form}
			if code := (&tool{out: &out, err: &out}).execute(ctx, args); code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			for i, line := range lines[:min(3, len(lines))] {
				if !strings.Contains(line, c.line) {
					t.Errorf("line %d is %q, without %q", i, line, c.line)
				}
			}
			if rest := strings.Join(lines[3:], "\n"); !strings.HasPrefix(rest, c.summary) || (c.summary == "") != (rest == "") {
				t.Errorf("the end is %q, not %q", rest, c.summary)
			}
		})
	}
}

// TestProbeWatchNothing: a watch that was interrupted before an answer knows
// nothing.
func TestProbeWatchNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out strings.Builder
	if code := (&tool{out: &out, err: &out}).execute(ctx, []string{"probe", "127.0.0.1:1", "--domain", "contoso.com", "--watch"}); code != exitUnsure {
		t.Errorf("exit code %d: %s", code, out.String())
	}
	if want := fmt.Sprintln("rounds 0, probes 0: 0 up, 0 degraded, 0 down, 0 inconclusive"); out.String() != want {
		t.Errorf("got %q", out.String())
	}
}

// TestProbeWatchSignal proves that Ctrl-C ends a watch with its summary. It
// does not run beside other tests, which would get the signal too.
func TestProbeWatchSignal(t *testing.T) {
	if runtime.GOOS == "windows" {
		return // there no process can send itself one
	}
	s, ca := server(t, nil)
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	out := lineCounter{left: 1, end: func() {
		if err := self.Signal(os.Interrupt); err != nil {
			t.Error(err)
		}
	}}
	code := (&tool{out: &out, err: &out}).execute(t.Context(), []string{"probe", s.Addr().String(), "--domain", "contoso.com", "--ca", ca, "--watch", "--interval", "1h"})
	if code != exitDone || !strings.Contains(out.String(), "\nrounds 1, probes 1: 1 up") {
		t.Errorf("exit code %d: %s", code, out.String())
	}
}
