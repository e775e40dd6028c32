package watchdog

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Request is what an operator typed, parsed: either a Command that changes
// something or the name of something to read.
type Request struct {
	Read       string  // "status", "why", "history", "help"; empty for a command
	Federation string  // from -f; empty when not said
	Command    Command // without ID, Actor and Via
}

// reads are the words that change nothing.
var reads = []string{"status", "why", "history", "help"}

// Usage is what ParseRequest understands, for help texts.
const Usage = `status                    what is going on
why                       why edgewatch acts, or does not
history                   what happened lately
failover POOL REASON…     move federation to POOL now
pause DURATION REASON…    no automatic failover for so long (30m, 2h, 3d)
resume [REASON…]          end the pause
ack [REASON…]             seen: ends cool-down and what waits for a person
-f NAME                   names the federation, when there are several`

// ParseRequest parses the words that an operator typed after the program's
// or the slash command's name. Slack and CLI share it, so the words are the
// same on both; see Usage. Unknown words are answered with the nearest known
// one.
func ParseRequest(words []string) (Request, error) {
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
		req.Read = word
		return req, nil
	}
	cmd := Command{Federation: federation, Verb: Verb(word)}
	switch cmd.Verb {
	case VerbFailover:
		if len(rest) < 2 {
			return Request{}, errors.New("say where to and why: failover POOL REASON…")
		}
		cmd.Pool, rest = rest[0], rest[1:]
	case VerbPause:
		if len(rest) < 2 {
			return Request{}, errors.New("say for how long and why: pause 2h REASON…")
		}
		if cmd.For, err = ParseDuration(rest[0]); err != nil {
			return Request{}, err
		}
		rest = rest[1:]
	case VerbResume, VerbAck:
	default:
		known := slices.Concat(reads, []string{string(VerbFailover), string(VerbPause), string(VerbResume), string(VerbAck)})
		return Request{}, errors.New(unknownWord("command", word, known))
	}
	cmd.Reason = strings.Join(rest, " ")
	req.Command = cmd
	return req, nil
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
		d *= 24
	}
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is no duration: write 30m, 2h or 3d", s)
	}
	return d, nil
}

// unknownWord says that got is not among known, with the nearest of them.
func unknownWord(what, got string, known []string) string {
	best, least := "", 3
	for _, k := range known {
		if d := distance(strings.ToLower(got), strings.ToLower(k)); d < least || (d == least && best == "") {
			best, least = k, d
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
