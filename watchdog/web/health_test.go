package web

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"edgewatch/watchdog"
)

func testLogger(t *testing.T) zerolog.Logger {
	t.Helper()
	return zerolog.New(zerolog.NewTestWriter(t))
}

func ask(h http.Handler, method, path string) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, httptest.NewRequest(method, path, http.NoBody))
	return rec
}

func bodyOf(r *httptest.ResponseRecorder) string {
	return strings.TrimSuffix(r.Body.String(), "\n")
}

func TestLoadBalancerAnswers(t *testing.T) {
	allDown := func(s *watchdog.Snapshot) {
		for i := range s.Pools {
			s.Pools[i].Verdict = watchdog.PoolDown
			s.Pools[i].Breaker = watchdog.Breaker{State: watchdog.BreakerOpen, Since: at.Add(-time.Minute)}
		}
	}
	none := func(*watchdog.Snapshot) {}
	tests := []struct {
		name   string
		change func(*watchdog.Snapshot)
		path   string
		status int
		body   string
		unsure bool
	}{
		{"active pool", none, "/lb/contoso/EdgePool1", 200, "UP EdgePool1 active breaker=closed", false},
		{"standby pool", none, "/lb/contoso/EdgePool2", 503, "DOWN EdgePool2 standby breaker=closed", false},
		{"federation", none, "/lb/contoso", 200, "UP 1/2 active=EdgePool1", false},
		{"slashes too many", none, "//lb//contoso/EdgePool1/", 200, "UP EdgePool1 active breaker=closed", false},
		{"query", none, "/lb/contoso/EdgePool1?x=1", 200, "UP EdgePool1 active breaker=closed", false},
		{"no such pool", none, "/lb/contoso/edgepool1", 404, "not found: no such pool", false},
		{"no such federation", none, "/lb/nobody", 404, "not found: no such federation", false},
		{"no such federation, pool", none, "/lb/nobody/EdgePool1", 404, "not found: no such federation", false},
		{"no such path", none, "/", 404, "not found", false},
		{"too long", none, "/lb/contoso/EdgePool1/x", 404, "not found", false},
		{"active pool is down", allDown, "/lb/contoso/EdgePool1", 200, "UP EdgePool1 active breaker=open since=2026-11-22T12:53:02Z", false},
		{"standby is down too", allDown, "/lb/contoso/EdgePool2", 503, "DOWN EdgePool2 standby breaker=open since=2026-11-22T12:53:02Z", false},
		{"all are down", allDown, "/lb/contoso", 200, "UP 1/2 active=EdgePool1", false},
		{"after a failover", func(s *watchdog.Snapshot) { s.Active = "EdgePool2" }, "/lb/contoso/EdgePool2", 200, "UP EdgePool2 active breaker=closed", false},
		{"failing over", func(s *watchdog.Snapshot) { s.State = watchdog.FailingOver }, "/lb/contoso/EdgePool1", 200, "UP EdgePool1 active breaker=closed", false},
		{"starting", func(s *watchdog.Snapshot) { s.LastRound = time.Time{} }, "/lb/contoso/EdgePool1", 200, "UP EdgePool1 active breaker=closed unsure=starting", true},
		{"nothing decided yet", func(s *watchdog.Snapshot) { s.Active, s.LastRound = "", time.Time{} }, "/lb/contoso/EdgePool1", 200, "UP EdgePool1 active breaker=closed unsure=starting", true},
		{"round is three intervals old", func(s *watchdog.Snapshot) { s.LastRound = at.Add(-30 * time.Second) }, "/lb/contoso/EdgePool1", 200, "UP EdgePool1 active breaker=closed", false},
		{"round is older", func(s *watchdog.Snapshot) { s.LastRound = at.Add(-31 * time.Second) }, "/lb/contoso/EdgePool2", 503, "DOWN EdgePool2 standby breaker=closed unsure=stale", true},
		{"canaries bad", func(s *watchdog.Snapshot) { s.Canaries.OK = false }, "/lb/contoso", 200, "UP 1/2 active=EdgePool1 unsure=canaries", true},
		{"no canaries", func(s *watchdog.Snapshot) { s.Canaries = watchdog.CanaryStatus{} }, "/lb/contoso", 200, "UP 1/2 active=EdgePool1", false},
		{"no pools", func(s *watchdog.Snapshot) { s.Pools = nil }, "/lb/contoso", 503, "DOWN 0/0", false},
		{"escaped name", func(s *watchdog.Snapshot) { s.Pools[0].Name, s.Active = "Pool 1/a", "Pool 1/a" }, "/lb/contoso/Pool%201%2Fa", 200, "UP Pool 1/a active breaker=closed", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := Health(HealthConfig{Watchdog: with(tt.change), Now: clock})
			for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions} {
				r := ask(h, method, tt.path)
				if r.Code != tt.status {
					t.Errorf("%s %s = %d, want %d", method, tt.path, r.Code, tt.status)
				}
				if r.Header().Get("Content-Length") != strconv.Itoa(len(tt.body)+1) || r.Header().Get("Cache-Control") != "no-store" || r.Header().Get("Location") != "" {
					t.Errorf("%s headers: %v", method, r.Header())
				}
				if got := r.Header().Get("X-Edgewatch-State") == "unsure"; got != tt.unsure {
					t.Errorf("unsure = %v, want %v", got, tt.unsure)
				}
				if body := bodyOf(r); body != tt.body {
					t.Errorf("%s body %q, want %q", method, body, tt.body)
				}
			}
			r := ask(h, http.MethodPost, tt.path)
			if r.Code != http.StatusMethodNotAllowed || r.Header().Get("Allow") != "GET, HEAD, OPTIONS" {
				t.Errorf("POST = %d, Allow %q", r.Code, r.Header().Get("Allow"))
			}
		})
	}
}

func TestLivez(t *testing.T) {
	tests := []struct {
		name   string
		change func(*watchdog.Snapshot)
		status int
		body   string
	}{
		{"turning", func(*watchdog.Snapshot) {}, 200, "ok"},
		{"pools, canaries and breakers do not matter", func(s *watchdog.Snapshot) { s.Canaries.OK = false; s.Pools = nil }, 200, "ok"},
		{"starting", func(s *watchdog.Snapshot) { s.LastRound = time.Time{} }, 200, "ok"},
		{"a long round within three intervals", func(s *watchdog.Snapshot) { s.At, s.LastRound = at.Add(-30*time.Second), time.Time{} }, 200, "ok"},
		{"standing still", func(s *watchdog.Snapshot) { s.At, s.LastRound = at.Add(-time.Minute), at.Add(-48*time.Second) }, 503, "[-]federation/contoso failed: its loop last turned 48s ago, limit 30s\nlivez check failed"},
		{"short interval, short silence", func(s *watchdog.Snapshot) {
			s.Interval, s.At, s.LastRound = time.Second, at.Add(-15*time.Second), time.Time{}
		}, 200, "ok"},
		{"the clock was set back", func(s *watchdog.Snapshot) { s.At, s.LastRound = at.Add(time.Hour), at.Add(time.Hour) }, 200, "ok"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := Health(HealthConfig{Watchdog: with(tt.change), Now: clock})
			r := ask(h, http.MethodGet, "/livez")
			if body := bodyOf(r); r.Code != tt.status || body != tt.body {
				t.Errorf("/livez = %d %q, want %d %q", r.Code, body, tt.status, tt.body)
			}
		})
	}
	h := Health(HealthConfig{Watchdog: &fake{snapshots: []*watchdog.Snapshot{nil}}})
	if r := ask(h, http.MethodGet, "/livez/"); r.Code != http.StatusOK {
		t.Errorf("/livez without federations = %d", r.Code)
	}
}

func TestReadyz(t *testing.T) {
	var storeErr error
	check := Check{"store", func(context.Context) error { return storeErr }}
	tests := []struct {
		name, path string
		change     func(*watchdog.Snapshot)
		store      error
		status     int
		body       string
	}{
		{"ready", "/readyz", func(*watchdog.Snapshot) {}, nil, 200, "ok"},
		{"verbose", "/readyz?verbose", func(*watchdog.Snapshot) {}, nil, 200, "[+]federation/contoso ok\n[+]store ok\nreadyz check passed"},
		{"check fails", "/readyz", func(*watchdog.Snapshot) {}, errors.New("disk\nfull"), 503, "[+]federation/contoso ok\n[-]store failed: disk full\nreadyz check failed"},
		{"one check", "/readyz/store", func(*watchdog.Snapshot) {}, nil, 200, "ok"},
		{"one federation", "/readyz/federation/contoso", func(*watchdog.Snapshot) {}, errors.New("disk full"), 200, "ok"},
		{"no such check", "/readyz/nothing", func(*watchdog.Snapshot) {}, nil, 404, "not found: no such check"},
		{"starting", "/readyz/federation/contoso", func(s *watchdog.Snapshot) { s.LastRound = time.Time{} }, nil, 503, "[-]federation/contoso failed: no round of probes is done yet\nfederation/contoso check failed"},
		{"lease lost", "/readyz", func(s *watchdog.Snapshot) { s.Lease = "the lock file was replaced" }, nil, 503, "[-]federation/contoso failed: this edgewatch may not act any more: the lock file was replaced\n[+]store ok\nreadyz check failed"},
		{"stale", "/readyz", func(s *watchdog.Snapshot) { s.LastRound = at.Add(-time.Minute) }, nil, 503, "[-]federation/contoso failed: the last round of probes is 1m old, limit 30s\n[+]store ok\nreadyz check failed"},
		{"canaries", "/readyz", func(s *watchdog.Snapshot) { s.Canaries.Good, s.Canaries.OK = 0, false }, nil, 503, "[-]federation/contoso failed: 0 of 3 canaries answer: the fault may be ours\n[+]store ok\nreadyz check failed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			storeErr = tt.store
			h := Health(HealthConfig{Watchdog: with(tt.change), Now: clock, Checks: []Check{check}})
			r := ask(h, http.MethodGet, tt.path)
			if body := bodyOf(r); r.Code != tt.status || body != tt.body {
				t.Errorf("%s = %d %q, want %d %q", tt.path, r.Code, body, tt.status, tt.body)
			}
		})
	}
}

func TestChecksRunOncePerSecondAndNeverForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		hang := false
		c := newChecker([]Check{{"store", func(ctx context.Context) error {
			runs++
			if hang {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}}})
		for range 100 {
			c.results(t.Context())
		}
		if runs != 1 {
			t.Errorf("100 requests at once ran the check %d times", runs)
		}
		time.Sleep(checkEvery)
		hang = true
		start := time.Now()
		go c.results(t.Context())
		synctest.Wait()
		for _, res := range c.results(t.Context()) {
			if res.err == nil {
				t.Error("a hanging check passed")
			}
		}
		if took := time.Since(start); took > checkTimeout {
			t.Errorf("an answer took %v", took)
		}
		synctest.Wait()
	})
}

// TestOldAndOddClients speaks as load balancers do, byte by byte.
func TestOldAndOddClients(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := NewServer(Health(HealthConfig{Watchdog: with(func(*watchdog.Snapshot) {}), Now: clock}), testLogger(t))
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	for request, want := range map[string]string{
		"OPTIONS /lb/contoso/EdgePool1 HTTP/1.0\r\n\r\n":                                             "HTTP/1.0 200 OK",
		"GET /lb/contoso/EdgePool2 HTTP/1.0\r\n\r\n":                                                 "HTTP/1.0 503 Service Unavailable",
		"GET //lb/contoso/EdgePool1 HTTP/1.1\r\nHost: edgewatch\r\nConnection: close\r\n\r\n":        "HTTP/1.1 200 OK",
		"HEAD /lb/contoso/EdgePool1/ HTTP/1.1\r\nHost: edgewatch\r\nConnection: close\r\n\r\n":       "HTTP/1.1 200 OK",
		"GET http://edgewatch/livez HTTP/1.1\r\nHost: edgewatch\r\nConnection: close\r\n\r\n":        "HTTP/1.1 200 OK",
		"GET /lb/../lb/contoso/EdgePool1 HTTP/1.1\r\nHost: edgewatch\r\nConnection: close\r\n\r\n":   "HTTP/1.1 404 Not Found",
		"DELETE /lb/contoso/EdgePool1 HTTP/1.1\r\nHost: edgewatch\r\nConnection: close\r\n\r\n":      "HTTP/1.1 405 Method Not Allowed",
		"GET /lb/contoso/%zz HTTP/1.1\r\nHost: edgewatch\r\nConnection: close\r\n\r\n":               "HTTP/1.1 400 Bad Request",
		"GET /lb/contoso HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 2*maxHeader) + "\r\n\r\n": "HTTP/1.1 431 Request Header Fields Too Large",
	} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(c, request); err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(c)
		if got, _, _ := strings.Cut(string(answer), "\r\n"); got != want {
			t.Errorf("%.60q answered %q, %v; want %q", request, got, err, want)
		}
		c.Close()
	}
}

func TestMetricsAreServed(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	w := with(func(*watchdog.Snapshot) {})
	if err := RegisterMetrics(reg, w, Build{Version: "1.0.0"}, clock); err != nil {
		t.Fatal(err)
	}
	h := Health(HealthConfig{Watchdog: w, Metrics: reg})
	for _, method := range []string{http.MethodGet, http.MethodOptions} {
		r := ask(h, method, "/metrics")
		if body := bodyOf(r); r.Code != http.StatusOK || !strings.Contains(body, `edgewatch_pool_active{federation="contoso",pool="EdgePool1"} 1`) {
			t.Errorf("%s /metrics = %d %s", method, r.Code, body)
		}
	}
	if r := ask(Health(HealthConfig{Watchdog: w}), http.MethodGet, "/metrics"); r.Code != http.StatusNotFound {
		t.Errorf("/metrics without a registry = %d", r.Code)
	}
}

func BenchmarkLB(b *testing.B) {
	h := Health(HealthConfig{Watchdog: with(func(*watchdog.Snapshot) {}), Now: clock})
	r := httptest.NewRequest(http.MethodGet, "/lb/contoso/EdgePool1", http.NoBody)
	for b.Loop() {
		h.ServeHTTP(httptest.NewRecorder(), r)
	}
}
