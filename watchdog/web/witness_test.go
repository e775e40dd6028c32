package web

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgewatch/watchdog"
)

// What /witness says, word for word, and that it says no more.
func TestWitnessTestifies(t *testing.T) {
	deadFirst := func(s *watchdog.Snapshot) {
		s.Vantage, s.LastRound = "host2", at.Add(-3*time.Second)
		s.Pools[0].Verdict, s.Pools[0].Why = watchdog.PoolDown, "10.0.1.10:5269 connect/refused"
		s.Pools[1].Why = "1 of 1 answer"
	}
	const (
		head = `{"vantage":"host2","instance":"me","age_seconds":3,"pools":{"EdgePool1":{"verdict":"`
		tail = `","why":"10.0.1.10:5269 connect/refused"},"EdgePool2":{"verdict":"up","why":"1 of 1 answer"}}`
	)
	for _, tt := range []struct {
		name   string
		change func(*watchdog.Snapshot)
		want   string
	}{
		{"down", func(*watchdog.Snapshot) {}, head + "down" + tail + "}"},
		{"its own canaries are bad", func(s *watchdog.Snapshot) { s.Canaries.OK = false }, head + "inconclusive" + tail + `,"unsure":"canaries"}`},
		{"it was frozen", func(s *watchdog.Snapshot) { s.Frozen = "our own loop stood still for 1m0s" }, head + "inconclusive" + tail + `,"unsure":"frozen"}`},
		{"its round is stale", func(s *watchdog.Snapshot) { s.LastRound = at.Add(-time.Minute) },
			strings.Replace(head, ":3,", ":60,", 1) + "inconclusive" + tail + `,"unsure":"stale"}`},
		{"its clock was set back, which the monotonic one was not", func(s *watchdog.Snapshot) { s.LastRound, s.Began = at.Add(time.Hour), at.Add(-3*time.Second) },
			head + "down" + tail + "}"},
		{"its clock was set back", func(s *watchdog.Snapshot) { s.LastRound = at.Add(time.Second) }, strings.Replace(head, ":3,", ":-1,", 1) + "down" + tail + "}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := with(func(s *watchdog.Snapshot) { deadFirst(s); tt.change(s) })
			h := Health(HealthConfig{Watchdog: w, Now: clock, Instance: "me"})
			r := ask(h, http.MethodGet, "/witness/contoso")
			if r.Code != http.StatusOK || r.Header().Get("Content-Type") != "application/json" || r.Header().Get("Location") != "" {
				t.Errorf("%d, headers %v", r.Code, r.Header())
			}
			if d := cmp.Diff(tt.want, bodyOf(r)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if r := ask(h, http.MethodHead, "/witness/contoso"); r.Code != http.StatusOK {
				t.Errorf("HEAD: %d", r.Code)
			}
		})
	}
}

func TestWitnessRefuses(t *testing.T) {
	h := Health(HealthConfig{Watchdog: with(func(*watchdog.Snapshot) {}), Now: clock})
	for _, tt := range []struct {
		method, path string
		status       int
	}{
		{http.MethodGet, "/witness/nobody", 404}, {http.MethodGet, "/witness", 404}, {http.MethodGet, "/witness/contoso/EdgePool1", 404},
		{http.MethodPost, "/witness/contoso", 405}, {http.MethodOptions, "/witness/contoso", 405},
	} {
		if r := ask(h, tt.method, tt.path); r.Code != tt.status {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, r.Code, tt.status)
		}
	}
	if r := ask(Health(HealthConfig{Watchdog: &fake{}}), http.MethodGet, "/witness/contoso"); r.Code != http.StatusServiceUnavailable {
		t.Errorf("while the journal is read: %d", r.Code)
	}
}

// Both ends together: what one edgewatch publishes, another hears.
func TestWitnessIsHeard(t *testing.T) {
	w := with(func(s *watchdog.Snapshot) {
		s.Vantage, s.LastRound = "host2", at.Add(-3*time.Second)
		s.Pools[0].Verdict, s.Pools[0].Why = watchdog.PoolDown, "10.0.1.10:5269 connect/refused"
	})
	srv := httptest.NewTLSServer(Health(HealthConfig{Watchdog: w, Now: clock, Instance: "host2's"}))
	defer srv.Close()
	roots := srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	for _, base := range []string{srv.URL, srv.URL + "/"} {
		got, err := NewWitnessClient(WitnessOptions{RootCAs: roots, Instance: "mine"}).Ask(t.Context(), base, "contoso")
		want := watchdog.Testimony{Vantage: "host2", Instance: "host2's", Age: 3 * time.Second, Pools: map[string]watchdog.PoolTestimony{
			"EdgePool1": {Verdict: watchdog.PoolDown, Why: "10.0.1.10:5269 connect/refused"}, "EdgePool2": {Verdict: watchdog.PoolUp},
		}}
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%v, (-want +got):\n%s", err, d)
		}
	}
	for name, tt := range map[string]struct {
		o          WitnessOptions
		federation string
		want       string
	}{
		"of an authority that is not known": {WitnessOptions{}, "contoso", "no answer: tls: failed to verify certificate"},
		"its own":                           {WitnessOptions{RootCAs: roots, Instance: "host2's"}, "contoso", "it is this edgewatch itself"},
		"of another federation":             {WitnessOptions{RootCAs: roots}, "fabrikam", "it knows no federation fabrikam"},
	} {
		if _, err := NewWitnessClient(tt.o).Ask(t.Context(), srv.URL, tt.federation); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// Whatever else answers in a witness's place is no testimony, is bounded in
// time and size, and is told in words without times and ports.
func TestWitnessIsNotBelieved(t *testing.T) {
	testimony := func(age, pools string) string {
		return fmt.Sprintf(`{"vantage":"host2","age_seconds":%s,"pools":{%s}}`, age, pools)
	}
	down := testimony("1", `"EdgePool1":{"verdict":"down","why":"x"}`)
	say := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }
	}
	for name, tt := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"hangs": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, "it does not answer in time"},
		"hangs in the middle": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = w.Write([]byte(down[:20]))
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, "it does not answer in time"},
		"is cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			_, _ = w.Write([]byte(down))
		}, "no answer: unexpected EOF"},
		"redirects": {func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/witness/") {
				http.Redirect(w, r, "/elsewhere", http.StatusFound)
				return
			}
			_, _ = w.Write([]byte(down))
		}, "it answers 302 Found"},
		"says no":           {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, "it answers 502 Bad Gateway"},
		"is something else": {say("<html>It works!</html>"), "its answer is no testimony: invalid character"},
		"says nothing":      {say(""), "its answer is no testimony"},
		"half a word":       {say(down[:len(down)-1]), "its answer is no testimony"},
		"two":               {say(down + down), "its answer is no testimony"},
		"unknown verdict":   {say(testimony("1", `"EdgePool1":{"verdict":"dead","why":"x"}`)), `unknown verdict "dead"`},
		"verdict as number": {say(testimony("1", `"EdgePool1":{"verdict":3,"why":"x"}`)), "its answer is no testimony"},
		"no age":            {say(`{"pools":{"EdgePool1":{"verdict":"down","why":"x"}}}`), "age_seconds or pools is missing"},
		"age in words":      {say(testimony(`"1"`, "")), "its answer is no testimony"},
		"no pools":          {say(`{"age_seconds":1}`), "age_seconds or pools is missing"},
		"ten megabytes":     {say(strings.Repeat(" ", 10<<20) + down), "its answer is longer than 64 kB"},
		"a header of a megabyte": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Much", strings.Repeat("x", 1<<20))
			_, _ = w.Write([]byte(down))
		}, "no answer: "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := httptest.NewServer(tt.handler)
			defer srv.Close()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if strings.HasPrefix(name, "hangs") {
				cancel()
				ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
			}
			defer cancel()
			got, err := NewWitnessClient(WitnessOptions{}).Ask(ctx, srv.URL, "contoso")
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "127.0.0.1") {
				t.Errorf("%v, want %q", err, tt.want)
			}
			if d := cmp.Diff(watchdog.Testimony{}, got); d != "" {
				t.Errorf("something of it was believed: %s", d)
			}
		})
	}
	srv := httptest.NewServer(say(down))
	srv.Close()
	if _, err := NewWitnessClient(WitnessOptions{}).Ask(t.Context(), srv.URL, "contoso"); err == nil || err.Error() != "no connection: connect: connection refused" {
		t.Errorf("nobody there: %v", err)
	}
}

// What a witness says reaches people short and printable, and an age out of
// this world makes nothing fresh.
func TestWitnessWords(t *testing.T) {
	long := strings.Repeat("é", 5000)
	body, err := json.Marshal(map[string]any{
		"vantage": "host2\x1b[2J\n", "age_seconds": -1e300, "unsure": long, "pools": map[string]any{"EdgePool1": map[string]any{"verdict": "down", "why": long}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c := NewWitnessClient(WitnessOptions{})
	got, err := c.hear(body)
	if err != nil || got.Vantage != "host2 [2J " || len([]rune(got.Unsure)) > maxWords+1 || len([]rune(got.Pools["EdgePool1"].Why)) > maxWords+1 {
		t.Errorf("%v %+v", err, got)
	}
	if says, _ := got.Of("EdgePool1", 0, time.Minute); says != watchdog.SaysStale {
		t.Errorf("a negative age counts as %s", says)
	}
	got, err = c.hear([]byte(`{"age_seconds":1e300,"pools":{"EdgePool1":{"verdict":"down"}}}`))
	if says, _ := got.Of("EdgePool1", 0, time.Minute); err != nil || says != watchdog.SaysStale {
		t.Errorf("an age of 1e300 s counts as %s, %v", says, err)
	}
}
