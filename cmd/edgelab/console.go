package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mattn/go-isatty"

	"edgewatch/actions"
	"edgewatch/integration/lab"
	"edgewatch/watchdog"
)

// console writes lines above a prompt. Its methods may be called from any
// goroutine.
type console struct {
	out   io.Writer
	fancy bool // a terminal: colours, and a prompt that stays last
	begun time.Time

	taken atomic.Bool // a person changed something: a scenario is theirs from then on

	mu       sync.Mutex
	prompted bool // guarded by mu: the prompt is the last thing written
}

// took notes that a person changes something.
func (c *console) took() { c.taken.Store(true) }

const prompt = "edgelab> "

func newConsole(out io.Writer) *console {
	f, ok := out.(*os.File)
	return &console{out: out, fancy: ok && isatty.IsTerminal(f.Fd()) && os.Getenv("NO_COLOR") == "", begun: time.Now()}
}

type colour string

const (
	plain  colour = ""
	red    colour = "\x1b[31m"
	green  colour = "\x1b[32m"
	yellow colour = "\x1b[33m"
	dim    colour = "\x1b[2m"
	reset  colour = "\x1b[0m"
)

// say writes text, a line or several.
func (c *console) say(col colour, format string, args ...any) {
	text := strings.TrimRight(fmt.Sprintf(format, args...), "\n")
	c.mu.Lock()
	defer c.mu.Unlock()
	again := c.prompted
	if c.prompted && c.fancy {
		fmt.Fprint(c.out, "\r\x1b[K")
	}
	c.prompted = false
	if c.fancy && col != plain {
		text = string(col) + text + string(reset)
	}
	fmt.Fprintln(c.out, text)
	if again && c.fancy {
		c.promptLocked()
	}
}

// ask writes the prompt; on anything but a terminal there is none.
func (c *console) ask() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fancy {
		c.promptLocked()
	}
}

func (c *console) promptLocked() {
	fmt.Fprint(c.out, prompt)
	c.prompted = true
}

// answered says that a line was typed: the cursor is on a fresh line.
func (c *console) answered() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.prompted = false
}

// tell narrates one journal entry with the seconds since the start. What a
// step of one host found is cut so that it can be followed; history has all of
// it. What edgewatch decides, tells and fails at is never cut.
func (c *console) tell(e watchdog.Entry) {
	if e.Kind == watchdog.KindCommand && e.Command.Via == "cli" && e.Command.Actor != lab.Person {
		c.took() // over the socket
	}
	text := strings.ReplaceAll(e.Sentence(), "\n", " ")
	if e.Kind == watchdog.KindStep && e.Step.Error == "" {
		text = clip(text, 160)
	}
	c.say(colourOf(e), "%s", c.stamp(e.At, text))
}

func clip(s string, limit int) string {
	if r := []rune(s); len(r) > limit {
		return string(r[:limit-1]) + "…"
	}
	return s
}

// note narrates what the lab itself does.
func (c *console) note(format string, args ...any) {
	c.say(dim, "%s", c.stamp(time.Now(), "lab: "+fmt.Sprintf(format, args...)))
}

func (c *console) stamp(at time.Time, text string) string {
	return fmt.Sprintf("%7.1fs  %s", max(at.Sub(c.begun).Seconds(), 0), text)
}

func colourOf(e watchdog.Entry) colour {
	switch e.Kind {
	case watchdog.KindPool:
		if e.Pool.Tripped {
			return red
		}
		return green
	case watchdog.KindDecision:
		if e.Decision.Will == watchdog.WillWatch {
			return plain
		}
		return yellow
	case watchdog.KindStep:
		if e.Step.Phase == actions.Failed {
			return red
		}
		if e.Step.Target != "" {
			return dim
		}
	case watchdog.KindChain:
		return yellow
	case watchdog.KindChainEnd:
		if e.ChainEnd.Outcome.OK {
			return green
		}
		return red
	case watchdog.KindCommand, watchdog.KindNotice:
	}
	return plain
}
