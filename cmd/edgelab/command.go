package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"edgewatch/integration/lab"
	"edgewatch/watchdog"
)

const help = `What happens to the estate:
  kill POOL|SERVER         take the power
  restore POOL|SERVER      give it back
  zombie POOL|SERVER       answers one time in three from now on; heal ends it
  cutoff, reconnect        take edgewatch's own line down, and up again
  partner                  what a federating partner finds now
  slack                    what stands in the Slack channel
What operators tell edgewatch:
%s
  history 10                only the newest ten entries
quit                       end`

// own are the words of the prompt that edgewatch does not know.
var own = []string{"kill", "restore", "zombie", "heal", "cutoff", "reconnect", "partner", "slack", "quit"}

// command does what was typed.
func command(ctx context.Context, c *console, l *lab.Lab, line string) error {
	words := strings.Fields(line)
	if len(words) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	switch word, rest := strings.ToLower(words[0]), words[1:]; word {
	case "quit", "exit":
		return errQuit
	case "help", "?":
		c.help()
		return nil
	case "kill", "restore":
		c.took()
		return power(c, l, word, rest)
	case "cutoff":
		c.took()
		c.note("edgewatch's own line is down")
		return l.CutOff()
	case "reconnect":
		c.took()
		c.note("edgewatch's own line is up")
		return l.Reconnect()
	case "zombie", "heal":
		c.took()
		return ill(c, l, word, rest)
	case "partner":
		return partner(ctx, c, l)
	case "slack":
		slack(c, l)
		return nil
	}
	return ask(ctx, c, l, words)
}

func (c *console) help() {
	c.say(plain, help, "  "+strings.ReplaceAll(watchdog.Usage(), "\n", "\n  "))
}

// which is the error of a word that names nothing.
func which(l *lab.Lab, word string) error {
	return fmt.Errorf("say which: %s POOL|SERVER; there are %s", word, strings.Join(l.Named(""), ", "))
}

func ill(c *console, l *lab.Lab, word string, names []string) error {
	if len(names) == 0 {
		return which(l, word)
	}
	for _, name := range names {
		f, what := l.Sicken, "answers one time in three from now on"
		if word == "heal" {
			f, what = l.Heal, "answers as it should"
		}
		if err := f(name); err != nil {
			return err
		}
		c.note("%s %s", name, what)
	}
	return nil
}

func power(c *console, l *lab.Lab, word string, names []string) error {
	if len(names) == 0 {
		return which(l, word)
	}
	for _, name := range names {
		f, what := l.Kill, "has no power any more"
		if word == "restore" {
			f, what = l.Restore, "has power again"
		}
		if err := f(name); err != nil {
			return err
		}
		c.note("%s %s", name, what)
	}
	return nil
}

func partner(ctx context.Context, c *console, l *lab.Lab) error {
	found, err := l.Partner(ctx)
	if err != nil {
		return fmt.Errorf("a partner does not reach %s: %w", l.Domain, err)
	}
	c.say(plain, "a partner of %s finds %s, %s, on %s", l.Domain, strings.TrimSuffix(found.Target, "."), found.Addr, found.Pool)
	return nil
}

// slack shows the channel as text, replies below what they answer.
func slack(c *console, l *lab.Lab) {
	messages := l.Slack.Messages()
	if len(messages) == 0 {
		c.say(plain, "the channel is empty")
	}
	for _, m := range messages {
		if m.ThreadTS != "" {
			continue
		}
		c.say(plain, "edgewatch: %s", m.Text)
		for _, r := range messages {
			if r.ThreadTS == m.TS {
				c.say(dim, "    ↳ %s", strings.ReplaceAll(r.Text, "\n", "\n      "))
			}
		}
	}
}

// ask tells edgewatch what an operator would, in the words of its CLI.
func ask(ctx context.Context, c *console, l *lab.Lab, words []string) error {
	req, err := watchdog.ParseRequest(words, own...)
	if err != nil {
		return err
	}
	if req.Federation != "" && req.Federation != l.Federation {
		return watchdog.NoFederationError{Name: req.Federation, Known: []string{l.Federation}}
	}
	if req.Read == "" {
		c.took()
		answer, err := l.Order(ctx, req.Command)
		if err != nil {
			return err
		}
		c.say(plain, "%s", answer.Text)
		return nil
	}
	if req.Read == "help" {
		c.help()
		return nil
	}
	s := l.Snapshot(ctx)
	if s == nil {
		return errors.New("edgewatch has not begun")
	}
	switch req.Read {
	case "why":
		c.say(plain, "%s", s.Decision.Because)
	case "history":
		n, err := howMany(strings.Fields(req.Rest))
		if err != nil {
			return err
		}
		entries, err := l.History(ctx, n)
		if err != nil {
			return err
		}
		for _, e := range entries {
			c.say(colourOf(e), "%s", c.stamp(e.At, e.Sentence()))
		}
	default:
		status(c, s)
	}
	return nil
}

// howMany is how many entries of the history are asked for.
func howMany(words []string) (int, error) {
	if len(words) == 0 {
		return 30, nil
	}
	n, err := strconv.Atoi(words[0])
	if err != nil || n < 1 || n > 1000 {
		return 0, fmt.Errorf("%q is no number of entries: history, or history 10", words[0])
	}
	return n, nil
}

func status(c *console, s *watchdog.Snapshot) {
	c.say(plain, "%s: %s", s.State, s.Headline())
	for _, p := range s.Pools {
		role := "standby"
		if p.Active {
			role = "active"
		}
		ready := ""
		switch {
		case p.Active || p.Readiness.At.IsZero():
		case p.Readiness.Ready:
			ready = ", ready to take over"
		default:
			ready = ", not ready: " + p.Readiness.Why
		}
		if p.Quarantined != "" {
			ready += ", quarantined"
		}
		c.say(plain, "  %-10s %-7s %s (%s), breaker %s%s", p.Name, role, p.Verdict, p.Why, p.Breaker.State, ready)
	}
	c.say(plain, "  canaries   %d of %d answer", s.Canaries.Good, s.Canaries.Total)
	for _, w := range s.Witnesses {
		c.say(plain, "  witness    %s: %s, %s", w.URL, w.Says, w.Why)
	}
	mode := string(s.Mode)
	if h := s.Hold; h != nil {
		mode += fmt.Sprintf(", held by %s: %s", h.Actor, h.Reason)
	}
	if p := s.Pause; p != nil {
		mode += fmt.Sprintf(", paused until %s by %s: %s", p.Until.Format(time.TimeOnly), p.Actor, p.Reason)
	}
	c.say(plain, "  mode       %s", mode)
	if !s.Cooldown.IsZero() {
		c.say(plain, "  cool-down  until %s", s.Cooldown.Format(time.TimeOnly))
	}
	if s.Chain != nil {
		c.say(plain, "  last move  %s", lastMove(s.Chain))
	}
}

func lastMove(c *watchdog.ChainStatus) string {
	text := fmt.Sprintf("%s %s from %s to %s, ", c.Kind, c.ID, c.From, c.To)
	switch o := c.Outcome; {
	case o == nil:
		return text + "running"
	case o.OK:
		return text + "done in " + watchdog.Span(o.Took)
	default:
		return text + "ended: " + o.Error
	}
}
