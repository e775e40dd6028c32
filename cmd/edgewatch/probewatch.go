package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"edgewatch/probe"
)

// watch asks in rounds until it is interrupted. A round that the interruption
// cut short says nothing and is left out. It fails as the last whole round
// did.
func (h *hostProbe) watch(ctx context.Context, asJSON bool) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	var sum watchSummary
	ticker := time.NewTicker(h.f.interval)
	defer ticker.Stop()
	for {
		at := time.Now()
		results, err := h.round(ctx)
		if ctx.Err() != nil {
			break
		}
		if f, ok := errors.AsType[*failure](err); ok && f.code == exitUsage {
			return err
		}
		if err := h.tell(at, results, err, asJSON); err != nil {
			return err
		}
		sum.add(results)
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
	}
	if !asJSON {
		fmt.Fprintln(h.t.out, sum.text())
	}
	return levelFailure(sum.last)
}

// tell prints one round; unfound is why there was nobody to ask.
func (h *hostProbe) tell(at time.Time, results []probe.Result, unfound error, asJSON bool) error {
	if asJSON {
		if unfound != nil {
			fmt.Fprintln(h.t.err, "edgewatch: "+printable(unfound.Error()))
		}
		lines := resultsForScripts(results, at)
		for i := range lines {
			lines[i].At = at
		}
		return h.t.printLines(lines)
	}
	began := clock(at, at)
	if unfound != nil {
		c := levelCell(probe.Inconclusive)
		_, err := fmt.Fprintf(h.t.out, "%s  %s  %s\n", began, h.t.style.paint(c.tone, c.text), printable(unfound.Error()))
		return err
	}
	for i := range results {
		r := &results[i]
		c := levelCell(r.Level)
		_, err := fmt.Fprintf(h.t.out, "%s  %-24s %s  %s  %s  %s\n", began, r.Target.Addr,
			h.t.style.paint(c.tone, fmt.Sprintf("%-14s", c.text)), printable(fmt.Sprintf("%-20s", className(r))), fmt.Sprintf("%-12s", r.Phase), span(r.Took))
		if err != nil {
			return err
		}
	}
	return nil
}

// watchSummary is what a watch saw.
type watchSummary struct {
	last                               probe.Level
	probes, up, degraded, down, unsure int
	rounds, unfound                    int
	fastest, slowest, total            time.Duration // of those that answered
}

func (s *watchSummary) add(results []probe.Result) {
	s.rounds++
	s.last = overall(results)
	if len(results) == 0 {
		s.unfound++
	}
	for _, r := range results {
		s.probes++
		switch r.Level {
		case probe.Up:
			s.up++
		case probe.Degraded:
			s.degraded++
		case probe.Down:
			s.down++
		case probe.Inconclusive:
			s.unsure++
		}
		if !r.Level.Answers() {
			continue
		}
		if s.total += r.Took; s.fastest == 0 || r.Took < s.fastest {
			s.fastest = r.Took
		}
		s.slowest = max(s.slowest, r.Took)
	}
}

func (s *watchSummary) text() string {
	text := fmt.Sprintf("rounds %d, probes %d: %d up, %d degraded, %d down, %d inconclusive", s.rounds, s.probes, s.up, s.degraded, s.down, s.unsure)
	if s.unfound > 0 {
		text += fmt.Sprintf("; rounds without an address to ask: %d", s.unfound)
	}
	if n := s.up + s.degraded; n > 0 {
		text += fmt.Sprintf("; answers took %s to %s, %s on average", span(s.fastest), span(s.slowest), span(s.total/time.Duration(n)))
	}
	return text
}
