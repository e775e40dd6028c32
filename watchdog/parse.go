package watchdog

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"edgewatch/actions"
)

// Request is what an operator typed, parsed: either a Command that changes
// something or the name of something to read.
type Request struct {
	Read       string  // "status", "why", "history", "help"; empty for a command
	Rest       string  // what stands behind Read, for surfaces that make something of it
	Federation string  // from -f; empty when not said
	Command    Command // without ID, Actor and Via
}

// reads are the words that change nothing.
var reads = []string{"status", "why", "history", "help"}

// Usage is what ParseRequest understands, for help texts.
func Usage() string {
	var b strings.Builder
	line := func(form, means string) { fmt.Fprintf(&b, "%-26s%s\n", form, means) }
	line("status", "what is going on")
	line("why", "why edgewatch acts, or does not")
	line("history", "what happened lately")
	for _, v := range verbTable {
		line(v.Form(), v.Means)
	}
	line("--force", "although edgewatch advises against it; the preflight still has to pass")
	b.WriteString("-f NAME                   names the federation, when there are several")
	return b.String()
}

// ParseRequest parses the words that an operator typed after the program's
// or the slash command's name. Slack and CLI share it, so the words are the
// same on both; see Usage. Unknown words are answered with the nearest known
// one; own are the words that the surface itself knows beside them.
func ParseRequest(words []string, own ...string) (Request, error) {
	words, federation, err := cutFederation(words)
	if err != nil {
		return Request{}, err
	}
	req := Request{Federation: federation}
	if len(words) == 0 {
		req.Read = "help"
		return req, nil
	}
	word, rest := strings.ToLower(words[0]), words[1:]
	if slices.Contains(reads, word) {
		req.Read, req.Rest = word, strings.Join(rest, " ")
		return req, nil
	}
	info, ok := Verb(word).Info()
	if !ok {
		known := slices.Clone(reads)
		for _, v := range verbTable {
			known = append(known, string(v.Verb))
		}
		known = append(known, own...)
		return Request{}, errors.New(unknownWord("command", word, known))
	}
	req.Command, err = info.parse(rest)
	req.Command.Federation = federation
	return req, err
}

// parse reads what stands behind the verb.
func (i VerbInfo) parse(words []string) (Command, error) {
	words, flagged, err := i.cutFlag(words)
	if err != nil {
		return Command{Verb: i.Verb}, err
	}
	force, before := false, 0 // how many words may stand before --force
	if i.Object != ObjectNone {
		before = 1
	}
	switch at := slices.Index(words, "--force"); {
	case at < 0:
	case at <= before:
		force = true
		words = slices.Concat(words[:at], words[at+1:])
	case i.Force: // "it must not be done with --force" is no order to do it so
		return Command{Verb: i.Verb}, fmt.Errorf("--force stands in the reason: write it before the reason if you mean it, else in other words: %s --force REASON…", strings.Join(append([]string{string(i.Verb)}, words[:1]...), " "))
	}
	object := ""
	if i.Object != ObjectNone && len(words) > 0 {
		object, words = words[0], words[1:]
	}
	reason := strings.Join(words, " ")
	if given, ok := strings.CutPrefix(reason, "--reason"); ok && (given == "" || given[0] == ' ' || given[0] == '=') {
		return i.Order(object, strings.TrimLeft(given, "= "), force)
	}
	if err := i.Twice(object, flagged, reason, nil); err != nil {
		return Command{Verb: i.Verb}, err
	}
	return i.Order(object, reason, force)
}

// cutFlag takes the flag before the object away, if it is said with one, and
// tells whether it was.
func (i VerbInfo) cutFlag(words []string) (rest []string, flagged bool, err error) {
	flag := "--" + i.Object.Flag()
	at := slices.IndexFunc(words, func(w string) bool { return w == flag || strings.HasPrefix(w, flag+"=") })
	if i.Object == ObjectNone || at < 0 {
		return words, false, nil
	}
	if before := words[:at]; len(before) > 1 || len(before) == 1 && before[0] != "--force" {
		return nil, false, fmt.Errorf("%s stands behind other words: write it first: %s %s %s REASON…", flag, i.Verb, flag, i.Object)
	}
	value, inOne := strings.CutPrefix(words[at], flag+"=")
	if inOne {
		return slices.Concat(words[:at], []string{value}, words[at+1:]), true, nil
	}
	if at+1 == len(words) {
		return nil, false, fmt.Errorf("%s wants a %s", flag, i.Object)
	}
	return slices.Concat(words[:at], words[at+1:]), true, nil
}

// Twice refuses a reason that begins with a second object, which is hardly
// meant as a reason. A pool's name is: "failover EdgePool2 EdgePool1 is down";
// but not where the first was said with a flag.
func (i VerbInfo) Twice(object string, flagged bool, reason string, pools []string) error {
	first, _, _ := strings.Cut(strings.TrimSpace(reason), " ")
	again := false
	switch i.Object {
	case ObjectPool:
		again = flagged && slices.ContainsFunc(pools, func(p string) bool { return strings.EqualFold(p, first) })
	case ObjectDuration:
		_, err := ParseDuration(first)
		again = err == nil
	case ObjectStep:
		again = slices.Contains(actions.Steps(), actions.StepName(strings.ToLower(first))) && (flagged || first != object)
	case ObjectNone:
	}
	if !again {
		return nil
	}
	return fmt.Errorf("the %s is said twice, %q and %q: say one; a reason that begins so goes behind --reason", strings.ToLower(i.Object.String()), object, first)
}

// Order is the command of that verb, made of what was said for its object and
// its reason, "" where nothing was. The error says what is missing or wrong,
// as every surface tells it.
func (i VerbInfo) Order(object, reason string, force bool) (Command, error) {
	cmd := Command{Verb: i.Verb, Force: force, Reason: strings.TrimSpace(reason)}
	switch {
	case force && !i.Force:
		return cmd, fmt.Errorf("%s knows no --force: %s", i.Verb, i.Form())
	case object == "" && i.Object != ObjectNone:
		return cmd, fmt.Errorf("say %s: %s", i.lacking(), i.Form())
	}
	if err := i.object(&cmd, object); err != nil {
		return cmd, err
	}
	if i.Reason && cmd.Reason == "" {
		return cmd, fmt.Errorf("say %s: %s", i.lacking(), i.Form())
	}
	return cmd, nil
}

func (i VerbInfo) object(cmd *Command, word string) (err error) {
	switch i.Object {
	case ObjectPool:
		cmd.Pool = word
	case ObjectStep:
		cmd.Step = actions.StepName(strings.ToLower(word))
	case ObjectDuration:
		cmd.For, err = ParseDuration(word)
	case ObjectNone:
	}
	return err
}

// lacking says what an order must name.
func (i VerbInfo) lacking() string {
	switch i.Object {
	case ObjectPool:
		return "which pool and why"
	case ObjectDuration:
		return "for how long and why"
	case ObjectStep:
		return "which step and why"
	case ObjectNone:
	}
	return "why"
}

func cutFederation(words []string) (rest []string, federation string, err error) {
	i := slices.Index(words, "-f")
	if i < 0 {
		return words, "", nil
	}
	if i+1 >= len(words) {
		return nil, "", errors.New("-f wants the name of a federation")
	}
	return slices.Concat(words[:i], words[i+2:]), words[i+1], nil
}

// ParseDuration is time.ParseDuration that knows days ("3d") and takes
// positive durations only.
func ParseDuration(s string) (time.Duration, error) {
	days, isDays := strings.CutSuffix(s, "d")
	if isDays {
		s = days + "h"
	}
	d, err := time.ParseDuration(s)
	if isDays {
		if d < 0 || d > math.MaxInt64/24 {
			d = 0 // none, or longer than a Duration can be
		}
		d *= 24
	}
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is no duration: write 30m, 2h or 3d", s)
	}
	return d, nil
}

// unknownWord says that got is not among known, with the nearest of them, or
// with all where none is nearest.
func unknownWord(what, got string, known []string) string {
	best, least := "", 4
	for _, k := range known {
		switch d := distance(strings.ToLower(got), strings.ToLower(k)); {
		case d < least:
			best, least = k, d
		case d == least:
			best = ""
		}
	}
	s := fmt.Sprintf("there is no %s %q", what, got)
	if best != "" {
		return s + fmt.Sprintf(": did you mean %q?", best)
	}
	return s + ": known are " + strings.Join(known, ", ")
}

// distance is the Levenshtein distance.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
