package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"edgewatch/integration/lab"
	"edgewatch/watchdog"
)

// show runs a lab for people: it narrates, plays the scenario after a while
// and takes what they type until they quit. Without a person, once in has
// ended, it ends after the scenario.
func show(ctx context.Context, o options, s lab.Scenario, in io.Reader, out io.Writer) error {
	c := newConsole(out)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	l, end, err := start(ctx, o, s)
	if err != nil {
		return err
	}
	welcome(c, l, o)

	var wg sync.WaitGroup
	wg.Go(func() {
		// Its end is the end of ctx or of the product, which the loop below sees.
		_ = l.Follow(ctx, func(e watchdog.Entry) bool { c.tell(e); return true })
	})
	played := make(chan struct{})
	wg.Go(func() {
		defer close(played)
		play(ctx, c, l, o, s)
	})
	err = converse(ctx, c, l, in, played)
	cancel(errQuit)
	wg.Wait()
	return errors.Join(err, end())
}

var errQuit = errors.New("quit")

func welcome(c *console, l *lab.Lab, o options) {
	c.say(plain, "An Edge estate on loopback, and the real edgewatch watching over it:")
	for _, p := range l.Pools {
		for _, s := range p.Servers {
			c.say(plain, "  %-10s %-13s %s", p.Name, s.Name, s.XMPP)
		}
	}
	c.say(plain, "  health     %s/readyz and %[1]s/metrics", l.HealthURL)
	for _, p := range l.Pools {
		c.say(plain, "  lb         %s/lb/%s/%s", l.HealthURL, l.Federation, p.Name)
	}
	c.say(plain, "  cli        go run ./cmd/edgewatch status --socket %s", l.Files.Socket)
	if o.dir != "" {
		c.say(plain, "  log        %s", logName(o.dir))
	}
	c.say(plain, "Type help for what you can do, quit to end.\n")
}

// play waits while all is well, then lets the scenario happen.
func play(ctx context.Context, c *console, l *lab.Lab, o options, s lab.Scenario) {
	if o.after < 0 {
		return
	}
	timer := time.NewTimer(o.after)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return
	}
	c.note("scenario %s: %s", s.Name, s.About)
	limited, cancel := context.WithTimeout(ctx, o.limit)
	defer cancel()
	r := l.Play(limited, s)
	switch {
	case ctx.Err() != nil:
	case !r.OK && c.taken.Load():
		c.say(yellow, "%s", c.stamp(time.Now(), "lab: you took over, so the scenario is not judged; it would have gone on by itself"))
	case !r.OK:
		c.say(red, "%s", c.stamp(time.Now(), "lab: the scenario did not end as it should: "+r.Error))
	case r.Restored > 0:
		c.say(green, "%s", c.stamp(time.Now(), fmt.Sprintf("lab: seen from a partner, federation is on %s; noticed after %.1f s, restored after %.1f s", r.Active, r.Detected, r.Restored)))
	default:
		c.say(green, "%s", c.stamp(time.Now(), fmt.Sprintf("lab: as it should be; seen from a partner, federation is on %s", r.Active)))
	}
}

// converse takes what is typed until quit, the end of the product or of ctx.
func converse(ctx context.Context, c *console, l *lab.Lab, in io.Reader, played <-chan struct{}) error {
	lines := make(chan string)
	go func() { // reading cannot be interrupted: it ends with in, or with the program
		defer close(lines)
		for scanner := bufio.NewScanner(in); scanner.Scan(); {
			select {
			case lines <- scanner.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	var alone <-chan struct{} // closed when nobody is there and nothing happens any more
	for {
		c.ask()
		select {
		case line, ok := <-lines:
			if !ok {
				lines, alone = nil, played
				continue
			}
			c.answered()
			if err := command(ctx, c, l, line); errors.Is(err, errQuit) {
				return nil
			} else if err != nil {
				c.say(red, "%v", err)
			}
		case <-alone:
			return nil
		case <-l.Ended():
			return errors.New("edgewatch has ended")
		case <-ctx.Done():
			return nil
		}
	}
}
