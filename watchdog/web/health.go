package web

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"edgewatch/watchdog"
)

// Check is one condition of readiness, e.g. that the store can be written.
type Check struct {
	Name string
	Func func(context.Context) error // nil error: ready; must return when its context ends
}

// HealthConfig is what Health needs.
type HealthConfig struct {
	Watchdog Snapshots
	Checks   []Check             // asked by /readyz, beside one per federation
	Metrics  prometheus.Gatherer // served at /metrics; nil: not served
	Now      func() time.Time    // nil: time.Now
	Instance string              // tells this process from others, in /witness
}

// Health answers load balancers and monitors:
//
//	/livez                     200 while every engine's loop turns
//	/readyz, /readyz/{check}   200 while all checks pass and this process may act on sure evidence for every federation
//	/lb/{federation}/{pool}    200 on the pool that carries federation, 503 on others
//	/lb/{federation}           200 while a pool carries federation
//	/witness/{federation}      what the last round saw, for other edgewatches: see witnessBody
//	/metrics                   Prometheus
//
// GET, HEAD and OPTIONS have the same status (HAProxy's httpchk asks with
// OPTIONS), there is never a redirect (balancers take one for healthy), and
// slashes too many do not matter. Bodies of /lb begin with UP or DOWN. When
// edgewatch is unsure (no round yet, rounds stale, canaries bad), /lb goes on
// answering what was decided last, with the header "X-Edgewatch-State: unsure";
// while the journal is being read, which says what that was, /lb waits for it.
func Health(c HealthConfig) http.Handler {
	if c.Now == nil {
		c.Now = time.Now
	}
	h := &health{HealthConfig: c, ready: newChecker(c.Checks)}
	if c.Metrics != nil {
		h.metrics = promhttp.HandlerFor(c.Metrics, promhttp.HandlerOpts{
			ErrorHandling:       promhttp.ContinueOnError,
			MaxRequestsInFlight: 4,
			Timeout:             readTimeout,
		})
	}
	return h
}

type health struct {
	HealthConfig
	ready   *checker
	metrics http.Handler
}

// ServeHTTP routes by itself: http.ServeMux redirects unclean paths.
func (h *health) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !allow(w, r, http.MethodGet, http.MethodHead, http.MethodOptions) {
		return
	}
	_, verbose := r.URL.Query()["verbose"]
	path := segments(r.URL)
	switch {
	case len(path) == 1 && path[0] == "livez":
		replyChecks(w, path[0], h.live(), verbose)
	case len(path) == 1 && path[0] == "readyz":
		replyChecks(w, path[0], h.readiness(r.Context()), verbose)
	case len(path) > 1 && path[0] == "readyz":
		h.serveOneCheck(w, r, strings.Join(path[1:], "/"))
	case len(path) == 2 && path[0] == "lb":
		h.serveFederation(w, r, path[1])
	case len(path) == 3 && path[0] == "lb":
		h.servePool(w, r, path[1], path[2])
	case len(path) == 2 && path[0] == "witness":
		h.serveWitness(w, r, path[1])
	case len(path) == 1 && path[0] == "metrics" && h.metrics != nil:
		get := r.Clone(r.Context())
		if r.Method == http.MethodOptions {
			get.Method = http.MethodGet
		}
		h.metrics.ServeHTTP(w, get)
	default:
		replyText(w, http.StatusNotFound, "not found")
	}
}

// segments splits a path, forgiving slashes too many. A segment may hold an
// escaped slash.
func segments(u *url.URL) []string {
	var out []string
	for s := range strings.SplitSeq(u.EscapedPath(), "/") {
		if plain, err := url.PathUnescape(s); err == nil && s != "" {
			out = append(out, plain)
		}
	}
	return out
}

// startWait is how long a load balancer waits for an answer while edgewatch
// reads its journal. A balancer that is told no for that long takes every pool
// away; one that waits mostly does not.
const (
	startWait = 5 * time.Second
	startPoll = 20 * time.Millisecond
)

// federation finds the federation's snapshot, or answers that there is none.
func (h *health) federation(w http.ResponseWriter, r *http.Request, name string) *watchdog.Snapshot {
	ctx, cancel := context.WithTimeout(r.Context(), startWait)
	defer cancel()
	for {
		s := find(h.Watchdog, name)
		if s != nil {
			return s
		}
		if !h.starting() {
			replyText(w, http.StatusNotFound, "not found: no such federation")
			return nil
		}
		select {
		case <-time.After(startPoll):
		case <-ctx.Done():
			w.Header().Set("X-Edgewatch-State", "unsure")
			replyText(w, http.StatusServiceUnavailable, "DOWN unsure=starting")
			return nil
		}
	}
}

// starting reports whether a federation may be missing because its journal is
// still being read: all are read before the first round.
func (h *health) starting() bool {
	for _, s := range h.Watchdog.Snapshots() {
		if s != nil && !s.LastRound.IsZero() {
			return false
		}
	}
	return true
}

func (h *health) servePool(w http.ResponseWriter, r *http.Request, federation, pool string) {
	s := h.federation(w, r, federation)
	if s == nil {
		return
	}
	for _, p := range s.Pools {
		if p.Name == pool {
			status, line := poolLine(s, p)
			h.replyLB(w, s, status, line)
			return
		}
	}
	replyText(w, http.StatusNotFound, "not found: no such pool")
}

// poolLine is the answer about one pool. Only the role decides: a breaker
// that tripped is a reason to move federation, and until it has moved the
// active pool is the best there is.
func poolLine(s *watchdog.Snapshot, p watchdog.PoolStatus) (int, string) {
	status, word, role := http.StatusServiceUnavailable, "DOWN", "standby"
	if p.Name == activePool(s) {
		status, word, role = http.StatusOK, "UP", "active"
	}
	breaker := p.Breaker.State
	if breaker == "" {
		breaker = watchdog.BreakerClosed
	}
	line := fmt.Sprintf("%s %s %s breaker=%s", word, p.Name, role, breaker)
	if p.Breaker.Tripped() && !p.Breaker.Since.IsZero() {
		line += " since=" + p.Breaker.Since.UTC().Format(time.RFC3339)
	}
	return status, line
}

func (h *health) serveFederation(w http.ResponseWriter, r *http.Request, federation string) {
	s := h.federation(w, r, federation)
	if s == nil {
		return
	}
	active := activePool(s)
	if active == "" {
		h.replyLB(w, s, http.StatusServiceUnavailable, "DOWN 0/0")
		return
	}
	h.replyLB(w, s, http.StatusOK, fmt.Sprintf("UP 1/%d active=%s", len(s.Pools), active))
}

func (h *health) replyLB(w http.ResponseWriter, s *watchdog.Snapshot, status int, line string) {
	if why := unsure(s, h.Now()); why != "" {
		w.Header().Set("X-Edgewatch-State", "unsure")
		line += " unsure=" + why
	}
	replyText(w, status, line)
}
