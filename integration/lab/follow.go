package lab

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"edgewatch/watchdog"
)

// errNoProduct is the error of asking a lab about a product it does not run.
var errNoProduct = errors.New("this lab does not run edgewatch")

// look is how often a lab looks at the product's snapshot, which costs
// nothing: it is one pointer.
const look = 10 * time.Millisecond

// Follow tells every journal entry, from the first on and in order, until
// told returns false or ctx or the product ends. Each caller follows on its
// own.
func (l *Lab) Follow(ctx context.Context, told func(watchdog.Entry) bool) error {
	var seen uint64
	for {
		var newest uint64
		err := l.Until(ctx, "the next journal entry", func(s *watchdog.Snapshot) bool {
			newest = s.LastSeq
			return newest > seen
		})
		if err != nil {
			return err
		}
		entries, err := l.since(ctx, seen, newest)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if e.Seq <= seen {
				continue
			}
			seen = e.Seq
			if !told(e) {
				return nil
			}
		}
	}
}

// since returns the entries after seen, newest and maybe later ones included.
// A lab has one federation, so its entries are numbered without gaps.
func (l *Lab) since(ctx context.Context, seen, newest uint64) ([]watchdog.Entry, error) {
	for n := int(newest - seen); ; n *= 2 {
		entries, err := l.app.Supervisor().History(ctx, l.Federation, n)
		if err != nil {
			return nil, fmt.Errorf("read the journal of the lab: %w", err)
		}
		// More may have been written meanwhile, and then n was too few.
		if len(entries) < n || entries[0].Seq <= seen+1 {
			return entries, nil
		}
	}
}

// Await returns the first journal entry that ok accepts, however old. What
// names it in the error.
func (l *Lab) Await(ctx context.Context, what string, ok func(watchdog.Entry) bool) (watchdog.Entry, error) {
	var found watchdog.Entry
	err := l.Follow(ctx, func(e watchdog.Entry) bool {
		if ok(e) {
			found = e
			return false
		}
		return true
	})
	if err != nil {
		return found, fmt.Errorf("await %s: %w", what, err)
	}
	return found, nil
}

// Until returns when a snapshot is as ok wants it.
func (l *Lab) Until(ctx context.Context, what string, ok func(*watchdog.Snapshot) bool) error {
	if l.app == nil {
		return errNoProduct
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		for _, s := range l.app.Supervisor().Snapshots() {
			if s.Federation == l.Federation && ok(s) {
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-l.ended:
			return fmt.Errorf("await %s: edgewatch has ended: %w", what, l.runErr)
		case <-ctx.Done():
			return fmt.Errorf("await %s: %w; %s", what, context.Cause(ctx), l.standing())
		}
	}
}

// Snapshot is the product's newest snapshot; nil before there is one.
func (l *Lab) Snapshot() *watchdog.Snapshot {
	if l.app == nil {
		return nil
	}
	for _, s := range l.app.Supervisor().Snapshots() {
		if s.Federation == l.Federation {
			return s
		}
	}
	return nil
}

// Settled returns when the product has watched for a while: its first pool is
// up and every other pool was found ready to take over.
func (l *Lab) Settled(ctx context.Context) error {
	return l.Until(ctx, "quiet", Settled)
}

// Settled reports whether the active pool is up and every other pool is ready
// to take over.
func Settled(s *watchdog.Snapshot) bool {
	for _, p := range s.Pools {
		if p.Active && p.Verdict != watchdog.PoolUp || !p.Active && !p.Readiness.Ready {
			return false
		}
	}
	return len(s.Pools) > 0
}

// Order gives the product a command as the operator of the lab.
func (l *Lab) Order(ctx context.Context, c watchdog.Command) (watchdog.Answer, error) {
	if l.app == nil {
		return watchdog.Answer{}, errNoProduct
	}
	c.ID, c.Federation, c.Actor, c.Via = "lab-"+rand.Text(), l.Federation, "operator@edgelab", "cli"
	return l.app.Supervisor().Submit(ctx, c)
}

// standing is how things stand, for errors.
func (l *Lab) standing() string {
	s := l.Snapshot()
	if s == nil {
		return "edgewatch has not replayed its journal yet"
	}
	var text strings.Builder
	text.WriteString(s.Headline())
	for _, p := range s.Pools {
		fmt.Fprintf(&text, "; %s: %s (%s), breaker %s, ready %t %s", p.Name, p.Verdict, p.Why, p.Breaker.State, p.Readiness.Ready, p.Readiness.Why)
	}
	return text.String()
}
