package watchdog

// Request is what an operator typed, parsed: either a Command that changes
// something or the name of something to read.
type Request struct {
	Read    string  // "status", "why", "history", "help"; empty for a command
	Command Command // without ID, Actor and Via
}

// ParseRequest parses the words that an operator typed after the program's
// or the slash command's name. Slack and CLI share it, so the words are the
// same on both:
//
//	status | why | history | help
//	failover POOL REASON…
//	pause DURATION REASON…
//	resume [REASON…]
//	ack [REASON…]
//
// "-f NAME" anywhere names the federation. Unknown words are answered with
// the nearest known one.
func ParseRequest(words []string) (Request, error) { panic("todo") }
