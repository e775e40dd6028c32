//go:build integration

package integration

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"edgewatch/watchdog"
	"edgewatch/watchdog/web"
)

// lbState publishes snapshots the way the engines do.
type lbState struct {
	now atomic.Pointer[watchdog.Snapshot]
}

func (s *lbState) Snapshots() []*watchdog.Snapshot { return []*watchdog.Snapshot{s.now.Load()} }

// set publishes a federation of three pools, all of which fail their probes:
// what a balancer must do then is the hardest case.
func (s *lbState) set(active string, lastRound time.Time) {
	snap := &watchdog.Snapshot{Federation: "contoso", At: lastRound, LastRound: lastRound, Interval: time.Second, Active: active}
	for _, name := range []string{"EdgePool1", "EdgePool2", "EdgePool3"} {
		snap.Pools = append(snap.Pools, watchdog.PoolStatus{
			Name: name, Active: name == active, Verdict: watchdog.PoolDown,
			Breaker: watchdog.Breaker{State: watchdog.BreakerOpen, Since: lastRound},
		})
	}
	s.now.Store(snap)
}

// TestHAProxyFollowsTheActivePool runs a real HAProxy against the health
// listener: exactly the active pool is up, whether HAProxy asks with OPTIONS
// (its default) or GET, before and after a failover, while every probe fails
// and while edgewatch is unsure.
func TestHAProxyFollowsTheActivePool(t *testing.T) {
	bin := findHAProxy(t)
	var state lbState
	state.set("EdgePool1", time.Now())
	health := serveHealth(t, &state)
	stats := startHAProxy(t, bin, health)

	for _, backend := range []string{"options_default", "get_expect_200"} {
		awaitServers(t, stats, backend, map[string]string{"EdgePool1": "UP", "EdgePool2": "DOWN", "EdgePool3": "DOWN"})
	}
	state.set("EdgePool2", time.Now())
	for _, backend := range []string{"options_default", "get_expect_200"} {
		awaitServers(t, stats, backend, map[string]string{"EdgePool1": "DOWN", "EdgePool2": "UP", "EdgePool3": "DOWN"})
	}
	state.set("EdgePool3", time.Now().Add(-time.Hour)) // nobody has looked for an hour
	for _, backend := range []string{"options_default", "get_expect_200"} {
		awaitServers(t, stats, backend, map[string]string{"EdgePool1": "DOWN", "EdgePool2": "DOWN", "EdgePool3": "UP"})
	}
}

// findHAProxy finds the real program. A missing one skips the test, and fails
// it in CI.
func findHAProxy(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"haproxy", "/usr/sbin/haproxy"} {
		if bin, err := exec.LookPath(name); err == nil {
			return bin
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("haproxy is not installed")
	}
	t.Skip("haproxy is not installed")
	return ""
}

func serveHealth(t *testing.T, s web.Snapshots) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := web.NewServer(web.Health(web.HealthConfig{Watchdog: s}), zerolog.New(zerolog.NewTestWriter(t)))
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() {
		_ = srv.Close()
		if err := <-done; !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("health server: %v", err)
		}
	})
	return l.Addr().(*net.TCPAddr)
}

// startHAProxy returns the path of HAProxy's stats socket.
func startHAProxy(t *testing.T, bin string, health *net.TCPAddr) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ha") //nolint:usetesting // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	servers := ""
	for _, name := range []string{"EdgePool1", "EdgePool2", "EdgePool3"} {
		servers += fmt.Sprintf("    server %s 127.0.0.1:5269 check addr %s port %d inter 100ms fall 2 rise 2\n", name, health.IP, health.Port)
	}
	stats, config := filepath.Join(dir, "stats"), filepath.Join(dir, "haproxy.cfg")
	text := `global
    stats socket ` + stats + ` mode 600 level user
defaults
    mode tcp
    timeout connect 1s
    timeout server 5s
    timeout client 5s
    timeout check 1s
backend options_default
    option httpchk
    http-check send uri-lf /lb/contoso/%[srv_name]
` + servers + `backend get_expect_200
    option httpchk
    http-check send meth GET uri-lf /lb/contoso/%[srv_name] ver HTTP/1.1 hdr Host edgewatch
    http-check expect status 200
` + servers
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), bin, "-db", "-f", config)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return stats
}

// awaitServers waits until HAProxy itself reports these states.
func awaitServers(t *testing.T, stats, backend string, want map[string]string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		got, err := serverStates(ctx, stats, backend)
		if err == nil && fmt.Sprint(got) == fmt.Sprint(want) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("backend %s: haproxy says %v, %v; want %v", backend, got, err, want)
		case <-tick.C:
		}
	}
}

func serverStates(ctx context.Context, stats, backend string) (map[string]string, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", stats)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	if _, err := io.WriteString(c, "show stat\n"); err != nil {
		return nil, err
	}
	r := csv.NewReader(bufio.NewReader(c))
	r.FieldsPerRecord = -1
	rows, err := r.ReadAll()
	if err != nil || len(rows) == 0 {
		return nil, errors.Join(err, fmt.Errorf("%d rows", len(rows)))
	}
	column := map[string]int{}
	for i, name := range rows[0] {
		column[strings.TrimPrefix(name, "# ")] = i
	}
	out := map[string]string{}
	for _, row := range rows[1:] {
		name := row[column["svname"]]
		// A server that has not been checked yet is "UP 1/2" or "no check".
		if row[column["pxname"]] == backend && name != "BACKEND" {
			out[name] = row[column["status"]]
		}
	}
	return out, nil
}
