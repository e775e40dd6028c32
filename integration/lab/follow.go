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
		entries, err := l.product.History(ctx, n)
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
	if l.product == nil {
		return errNoProduct
	}
	tick := time.NewTicker(look)
	defer tick.Stop()
	var last *watchdog.Snapshot
	for {
		if s := l.product.Snapshot(ctx); s != nil {
			if ok(s) {
				return nil
			}
			last = s
		}
		select {
		case <-tick.C:
		case <-l.Ended():
			return fmt.Errorf("await %s: edgewatch has ended: %w", what, l.product.Err())
		case <-ctx.Done():
			return fmt.Errorf("await %s: %w; %s", what, context.Cause(ctx), standing(last))
		}
	}
}

// Snapshot is the product's newest snapshot; nil before there is one and
// while it does not run.
func (l *Lab) Snapshot(ctx context.Context) *watchdog.Snapshot {
	if l.product == nil {
		return nil
	}
	return l.product.Snapshot(ctx)
}

// History is the newest n entries of the product's journal, oldest first.
func (l *Lab) History(ctx context.Context, n int) ([]watchdog.Entry, error) {
	if l.product == nil {
		return nil, errNoProduct
	}
	return l.product.History(ctx, n)
}

// Journal is the whole journal.
func (l *Lab) Journal(ctx context.Context) ([]watchdog.Entry, error) {
	s := l.Snapshot(ctx)
	if s == nil {
		return nil, errors.New("read the journal of the lab: edgewatch does not answer")
	}
	return l.since(ctx, 0, s.LastSeq)
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

// Person is the operator of the lab, as the journal names them.
const Person = "operator@edgelab"

// Order gives the product a command as the operator of the lab.
func (l *Lab) Order(ctx context.Context, c watchdog.Command) (watchdog.Answer, error) {
	if l.product == nil {
		return watchdog.Answer{}, errNoProduct
	}
	c.ID, c.Federation, c.Actor, c.Via = "lab-"+rand.Text(), l.Federation, Person, "cli"
	return l.product.Submit(ctx, c)
}

// standing is how things stand, for errors.
func standing(s *watchdog.Snapshot) string {
	if s == nil {
		return "edgewatch has not replayed its journal yet, or does not run"
	}
	var text strings.Builder
	text.WriteString(s.Headline())
	for _, p := range s.Pools {
		fmt.Fprintf(&text, "; %s: %s (%s), breaker %s, ready %t %s", p.Name, p.Verdict, p.Why, p.Breaker.State, p.Readiness.Ready, p.Readiness.Why)
	}
	return text.String()
}
