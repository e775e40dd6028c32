// Package web answers over HTTP. Health is for load balancers, monitors and
// Prometheus: it reads snapshots, needs no login and changes nothing. API is
// for the CLI on a local socket: status, history and commands. Client is the
// other end of API.
//
// A load balancer must never lose all pools because edgewatch is in doubt:
// the active pool stays up until edgewatch itself has moved federation.
package web

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	stdlog "log"

	"github.com/rs/zerolog"

	"edgewatch/watchdog"
)

// Snapshots is where the newest snapshot of every federation comes from.
// The call must neither block nor lock; *watchdog.Supervisor's does not.
type Snapshots interface {
	Snapshots() []*watchdog.Snapshot
}

// Watchdog is what API shows and drives; *watchdog.Supervisor is one.
type Watchdog interface {
	Snapshots
	// Submit returns when cmd is durable or refused. Errors:
	// watchdog.NoFederationError, watchdog.ErrStopping, watchdog.ErrUnsure.
	Submit(ctx context.Context, cmd watchdog.Command) (watchdog.Answer, error)
	// History returns the newest n entries, oldest first.
	History(ctx context.Context, federation string, n int) ([]watchdog.Entry, error)
}

// Limits of every request and connection.
const (
	maxHeader      = 16 << 10
	maxBody        = 64 << 10
	commandTimeout = 20 * time.Second // for a command to become durable
	readTimeout    = 10 * time.Second
	writeTimeout   = 30 * time.Second
	idleTimeout    = time.Minute
)

// NewServer wraps a handler of this package in a server with limits on
// everything. The caller serves and shuts it down. Over a unix socket it
// also learns who is at the other end, which API puts into commands.
func NewServer(h http.Handler, log zerolog.Logger) *http.Server {
	log = log.With().Str("component", "web").Logger()
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: readTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       withPeer,
		ErrorLog:          stdlog.New(log, "", 0),
	}
}

// staleAfter is how old the last round may be before s is no evidence.
func staleAfter(s *watchdog.Snapshot) time.Duration {
	if s.Interval <= 0 {
		return minFresh
	}
	return 3 * s.Interval
}

// minFresh is the shortest silence of a loop that counts as standing still.
const minFresh = 15 * time.Second

// unsure says why s is no current evidence, "" when it is.
func unsure(s *watchdog.Snapshot, now time.Time) string {
	switch {
	case s.LastRound.IsZero():
		return "starting"
	case now.Sub(s.LastRound) > staleAfter(s):
		return "stale"
	case s.Canaries.Total > 0 && !s.Canaries.OK:
		return "canaries"
	}
	return ""
}

// activePool is the pool that carries federation. Before anything was
// decided it is the preferred one, so that there always is one.
func activePool(s *watchdog.Snapshot) string {
	for _, p := range s.Pools {
		if p.Name == s.Active {
			return p.Name
		}
	}
	if len(s.Pools) > 0 {
		return s.Pools[0].Name
	}
	return ""
}

func find(w Snapshots, federation string) *watchdog.Snapshot {
	for _, s := range w.Snapshots() {
		if s != nil && s.Federation == federation {
			return s
		}
	}
	return nil
}

// reply sends a body whole, the same for HEAD, which net/http strips.
func reply(w http.ResponseWriter, status int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	// An error means that the client is gone; nobody is left to be told.
	_, _ = w.Write(body)
}

func replyText(w http.ResponseWriter, status int, line string) {
	reply(w, status, "text/plain; charset=utf-8", []byte(strings.TrimSuffix(line, "\n")+"\n"))
}

// allow admits only the methods listed and answers others itself.
func allow(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	if slices.Contains(methods, r.Method) {
		return true
	}
	w.Header().Set("Allow", strings.Join(methods, ", "))
	replyText(w, http.StatusMethodNotAllowed, "method not allowed")
	return false
}
