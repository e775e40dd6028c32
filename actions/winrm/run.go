package winrm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"edgewatch/actions"
)

// Answer is what every script prints: out of Run may embed it.
type Answer struct {
	Now    string   `json:"now"`    // the host's clock when the script began, RFC 3339
	Module []string `json:"module"` // the Cs module that was imported
	Error  *PSError `json:"error"`
}

// PSError is an error that PowerShell reported, by type and id: its message is
// in the host's language, shown to people and never matched.
type PSError struct {
	ID       string `json:"id"`    // FullyQualifiedErrorId
	Type     string `json:"type"`  // of the exception
	Inner    string `json:"inner"` // type of the innermost exception
	Category string `json:"category"`
	Cmdlet   string `json:"cmdlet"`
	Message  string `json:"message"`
}

// Error implements error.
func (e *PSError) Error() string {
	return fmt.Sprintf("%s [%s: %s, %s]", clip(e.Message, 300), clip(e.Cmdlet, 60), clip(e.ID, 120), clip(e.Type, 120))
}

// Run executes s and decodes its answer into out, which may be nil.
//
// Its error is an *actions.Error. Transient: nothing was changed; the host
// could not be reached, was busy or the script only reads. Indeterminate: the
// script writes, was sent, and its answer was lost or is no answer. Rejected:
// the host understood and refused. A script that writes runs as long as ctx
// allows, one that only reads two minutes at most. An error is returned at the
// latest a few seconds after that or after a request without answer, and the
// remote command is told to end.
func (c *Client) Run(ctx context.Context, s Script, out any) error {
	line, err := s.commandLine(c.o.Module)
	if err != nil {
		return c.failed(s, actions.Rejected, err, "shorten the names in the configuration")
	}
	ctx, end, err := c.begin(ctx)
	if err != nil {
		return c.failed(s, actions.Transient, err, "")
	}
	defer end()
	if !s.Writes {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, readLimit,
			fmt.Errorf("not done within %s: %w", readLimit, context.DeadlineExceeded))
		defer cancel()
	}
	if ctx.Err() != nil {
		return c.failed(s, actions.Transient, context.Cause(ctx), "")
	}

	x := &exchange{ctx: ctx, link: c.link}
	stdout, stderr, exit, err := x.run(&c.o, line)
	if err != nil {
		kind, next := c.class(s, x.stage, err)
		return c.failed(s, kind, err, next)
	}
	return c.read(s, stdout, stderr, exit, out)
}

func (c *Client) failed(s Script, kind actions.Kind, err error, next string) error {
	return &actions.Error{Kind: kind, Host: c.o.Host, Op: s.Op, Next: next, Err: err}
}

// lost is the kind of a command whose answer did not come or was no answer.
func (s Script) lost() actions.Kind {
	if s.Writes {
		return actions.Indeterminate
	}
	return actions.Transient
}

// read finds the answer in what the command printed.
func (c *Client) read(s Script, stdout, stderr string, exit int, out any) error {
	_, rest, opened := strings.Cut(stdout, sentinelOpen)
	text, _, complete := strings.Cut(rest, sentinelClose)
	if !opened || !complete {
		said := strings.TrimSpace(plainError(stderr))
		if said == "" {
			said = strings.TrimSpace(stdout)
		}
		return c.failed(s, s.lost(), fmt.Errorf("PowerShell ended without an answer, exit code %d: %q", exit, clip(said, 300)),
			fmt.Sprintf("run powershell.exe on %s as %s by hand and see what stops it", c.o.Host, c.account()))
	}
	var a Answer
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		return c.failed(s, s.lost(), fmt.Errorf("the answer is not what the script prints: %w", err), "")
	}
	if a.Error != nil {
		kind, next := c.classPS(s, a.Error)
		return c.failed(s, kind, a.Error, next)
	}
	if exit != 0 {
		return c.failed(s, s.lost(), fmt.Errorf("the script reported success and exit code %d", exit), "")
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal([]byte(text), out); err != nil {
		return c.failed(s, s.lost(), fmt.Errorf("the answer is not what was asked for: %w", err), "")
	}
	return nil
}

// errorID reports whether err is a PowerShell error of that id; ids carry the
// cmdlet's class after a comma.
func errorID(err error, id string) bool {
	e, ok := errors.AsType[*PSError](err)
	if !ok {
		return false
	}
	got, _, _ := strings.Cut(e.ID, ",")
	return got == id
}
