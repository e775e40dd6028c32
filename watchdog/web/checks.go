package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"edgewatch/watchdog"
)

// result is what one check said; nil err is a pass.
type result struct {
	name string
	err  error
}

// live asks only whether the loops turn: no pool, store or Slack may get a
// healthy process killed.
func (h *health) live() []result {
	return h.perFederation(func(s *watchdog.Snapshot, now time.Time) error {
		turned, limit := s.At, max(minFresh, 3*s.Interval)
		if s.LastRound.After(turned) {
			turned = s.LastRound
		}
		if age := now.Sub(turned); age > limit {
			return fmt.Errorf("its loop last turned %s ago, limit %s", watchdog.Span(age), watchdog.Span(limit))
		}
		return nil
	})
}

func (h *health) readiness(ctx context.Context) []result {
	sure := h.perFederation(func(s *watchdog.Snapshot, now time.Time) error {
		if s.Lease != "" {
			return fmt.Errorf("this edgewatch may not act any more: %s", s.Lease)
		}
		switch why := unsure(s, now); why {
		case "":
			return nil
		case "starting":
			return errors.New("no round of probes is done yet")
		case "stale":
			return fmt.Errorf("the last round of probes is %s old, limit %s", watchdog.Span(now.Sub(s.LastRound)), watchdog.Span(staleAfter(s)))
		default:
			return fmt.Errorf("%d of %d canaries answer: the fault may be ours", s.Canaries.Good, s.Canaries.Total)
		}
	})
	if len(sure) == 0 {
		sure = []result{{"federations", errors.New("the journal is still being read")}}
	}
	return append(sure, h.ready.results(ctx)...)
}

func (h *health) perFederation(ask func(*watchdog.Snapshot, time.Time) error) []result {
	now := h.Now()
	var out []result
	for _, s := range h.Watchdog.Snapshots() {
		if s != nil {
			out = append(out, result{"federation/" + s.Federation, ask(s, now)})
		}
	}
	return out
}

func (h *health) serveOneCheck(w http.ResponseWriter, r *http.Request, name string) {
	for _, res := range h.readiness(r.Context()) {
		if res.name == name {
			replyChecks(w, name, []result{res}, false)
			return
		}
	}
	replyText(w, http.StatusNotFound, "not found: no such check")
}

// replyChecks answers the way Kubernetes' components do: "ok", or the list
// of checks with a mark each.
func replyChecks(w http.ResponseWriter, name string, results []result, verbose bool) {
	var b strings.Builder
	status := http.StatusOK
	for _, res := range results {
		if res.err != nil {
			status = http.StatusServiceUnavailable
			fmt.Fprintf(&b, "[-]%s failed: %s\n", res.name, oneLine(res.err.Error()))
			continue
		}
		fmt.Fprintf(&b, "[+]%s ok\n", res.name)
	}
	switch {
	case status != http.StatusOK:
		fmt.Fprintf(&b, "%s check failed", name)
	case verbose:
		fmt.Fprintf(&b, "%s check passed", name)
	default:
		b.Reset()
		b.WriteString("ok")
	}
	replyText(w, status, b.String())
}

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

// checker runs the checks that were handed in, at most once a second however
// many ask: the listener is public, and a check may write to the disk.
type checker struct {
	checks []Check
	turn   chan struct{} // holds one token: whoever has it owns the fields below
	last   []result
	at     time.Time
}

const (
	checkEvery   = time.Second
	checkTimeout = 3 * time.Second // for all checks together, waiting included
)

func newChecker(checks []Check) *checker {
	c := &checker{checks: checks, turn: make(chan struct{}, 1)}
	c.turn <- struct{}{}
	return c
}

func (c *checker) results(ctx context.Context) []result {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	select {
	case <-c.turn:
	case <-ctx.Done():
		return []result{{"checks", errors.New("still running since an earlier request")}}
	}
	defer func() { c.turn <- struct{}{} }()
	if !c.at.IsZero() && time.Since(c.at) < checkEvery {
		return c.last
	}
	// A client that hangs up must not leave a failed check for others.
	run, stop := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	defer stop()
	out := make([]result, 0, len(c.checks))
	for _, check := range c.checks {
		out = append(out, result{check.Name, check.Func(run)})
	}
	c.last, c.at = out, time.Now()
	return out
}
