package winrm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	mz "github.com/masterzen/winrm"
	"github.com/masterzen/winrm/soap"
)

const (
	longestHold    = 20 * time.Second // how long the host holds a Receive that has nothing to say
	grace          = 2 * time.Second  // how long Create and Command outlive the caller, to learn an id that must be cleaned up
	cleanupTimeout = 3 * time.Second  // of Signal and Delete together
	quickAnswer    = 100 * time.Millisecond
	idlePause      = 250 * time.Millisecond // between empty answers that came at once
	maxOutput      = 1 << 20
	maxReceived    = 4 * maxOutput // of both streams, in base64
)

// stage says how far a command got.
type stage uint8

const (
	nothingSent stage = iota
	shellAsked        // Create was sent; the host changes nothing for it
	commandSent       // Command may have reached the host
	commandRuns       // the host named a command id
)

// exchange is the transport of one command: masterzen calls Post for every
// message. It carries the command's context because masterzen's interface has
// no place for it, and lives no longer than Client.Run.
type exchange struct {
	ctx   context.Context
	link  *link
	stage stage
	fail  error // the first failure; nothing but clean-up is sent after it
	got   int   // output received, as it was sent

	cleanup  context.Context // set by the first Signal or Delete
	release  context.CancelFunc
	signaled bool
	stuck    bool // a clean-up message had no answer, or the logon was refused: send no other
}

var _ mz.Transporter = (*exchange)(nil)

// errStop is all that masterzen is told of a failure. It must name no timeout
// and no EOF, nor unwrap to anything: masterzen would poll on.
var errStop = errors.New("stopped")

// errAgain makes masterzen ask for output again.
var errAgain = errors.New("OperationTimeout")

// Transport implements mz.Transporter. The link is set up already.
func (x *exchange) Transport(*mz.Endpoint) error { return nil }

// Post implements mz.Transporter.
func (x *exchange) Post(_ *mz.Client, m *soap.SoapMessage) (string, error) {
	text := m.String()
	action := actionOf(text)
	switch action {
	case actionSignal, actionDelete:
		x.clean(action, text)
		return "", nil
	case actionCreate, actionCommand, actionReceive:
	default:
		x.fail = fmt.Errorf("unknown message %q", action)
		return "", errStop
	}
	if x.fail != nil {
		return "", errStop
	}
	if x.ctx.Err() != nil {
		x.fail = context.Cause(x.ctx)
		return "", errStop
	}
	doc, err := x.ask(action, text)
	if errors.Is(err, errAgain) {
		return "", errAgain
	}
	if err != nil {
		x.fail = err
		return "", errStop
	}
	return doc, nil
}

// ask sends one message whose answer matters.
func (x *exchange) ask(action, text string) (string, error) {
	ctx, cancel := x.contextFor(action)
	defer cancel()
	began := time.Now()
	before := x.stage
	x.stage = max(x.stage, map[string]stage{actionCreate: shellAsked, actionCommand: commandSent}[action])
	r, err := x.link.post(ctx, []byte(text))
	if e, ok := errors.AsType[*sendError](err); ok && e.stale && action == actionCreate && ctx.Err() == nil {
		r, err = x.link.post(ctx, []byte(text)) // the host had closed a connection that was idle; Create changes nothing
	}
	if e, ok := errors.AsType[*sendError](err); ok && !e.sent {
		x.stage = before
	}
	if err != nil {
		return "", err
	}
	env, err := read(r)
	if f, ok := errors.AsType[*Fault](err); ok {
		if action == actionReceive && f.Code == codeTimedOut {
			return "", x.pause(began)
		}
		if action == actionCommand && (f.Code != 0 || r.status == http.StatusUnauthorized) {
			x.stage = before // refused by WinRM itself: it did not start
		}
	}
	if err != nil {
		return "", err
	}
	doc, err := env.answer(action)
	if err != nil {
		return "", err
	}
	if action == actionCommand {
		x.stage = commandRuns
	}
	if x.got += env.size(); x.got > maxReceived {
		return "", fmt.Errorf("%w: more than %d bytes of output", errMalformed, maxOutput)
	}
	if action == actionReceive && env.idle() {
		return "", x.pause(began)
	}
	return doc, nil
}

// contextFor bounds one message. Create and Command outlive the caller a
// little: cut off, they would leave a shell behind that nobody knows.
func (x *exchange) contextFor(action string) (context.Context, context.CancelFunc) {
	limit := x.link.o.Timeout
	silent := fmt.Errorf("no answer within %s: %w", limit, context.DeadlineExceeded)
	if action == actionReceive {
		return context.WithTimeoutCause(x.ctx, limit, silent)
	}
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(x.ctx), limit, silent)
	ctx, cut := context.WithCancelCause(ctx)
	done := make(chan struct{})
	stop := context.AfterFunc(x.ctx, func() {
		defer close(done)
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-t.C:
			cut(context.Cause(x.ctx))
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cut(nil)
		cancel()
		if !stop() {
			<-done
		}
	}
}

// read turns an answer into a checked envelope or a Fault.
func read(r *reply) (*envelope, error) {
	if r.status == http.StatusUnauthorized {
		return nil, ErrLogon
	}
	env, err := parseEnvelope(r.body)
	if err != nil {
		if r.status != http.StatusOK {
			return nil, &Fault{HTTP: r.status, Reason: clip(string(r.body), 120)}
		}
		return nil, err
	}
	if f := env.fault(r.status); f != nil {
		return nil, f
	}
	if r.status != http.StatusOK {
		return nil, &Fault{HTTP: r.status, Reason: "no fault in the answer"}
	}
	return env, nil
}

// pause keeps a host that answers "nothing yet" at once from being asked
// without end.
func (x *exchange) pause(began time.Time) error {
	if time.Since(began) < quickAnswer {
		t := time.NewTimer(idlePause)
		defer t.Stop()
		select {
		case <-t.C:
		case <-x.ctx.Done():
		}
	}
	return errAgain
}

// clean sends Signal once and Delete, even when the caller is gone, within one
// short time for both. What becomes of them changes nothing for the caller.
func (x *exchange) clean(action, text string) {
	if x.cleanup == nil {
		x.cleanup, x.release = context.WithTimeout(context.WithoutCancel(x.ctx), cleanupTimeout)
	}
	if errors.Is(x.fail, ErrLogon) {
		x.stuck = true // another refusal might lock the account
	}
	if x.stuck || action == actionSignal && (x.signaled || x.stage < commandRuns) {
		return
	}
	x.signaled = x.signaled || action == actionSignal
	for range 2 { // a shell that stays counts against the account's quota for hours
		r, err := x.link.post(x.cleanup, []byte(text))
		if x.cleanup.Err() != nil || errors.Is(err, ErrLogon) || err == nil && r.status == http.StatusUnauthorized {
			x.stuck = true
			return
		}
		if err == nil && r.status != http.StatusServiceUnavailable {
			if _, err = parseEnvelope(r.body); err == nil {
				return
			}
		}
	}
}

// run executes one command line. Its error is the first failure, unclassed;
// exit means nothing then.
func (x *exchange) run(o *Options, line string) (stdout, stderr string, exit int, err error) {
	defer func() {
		if x.release != nil {
			x.release()
		}
	}()
	hold := min(longestHold, o.Timeout/2) // the answer needs time too
	params := mz.NewParameters(fmt.Sprintf("PT%.3fS", hold.Seconds()), "en-US", 153600)
	params.TransportDecorator = func() mz.Transporter { return x }
	client, err := mz.NewClientWithParameters(mz.NewEndpoint(o.Host, 5985, o.HTTPS, false, nil, nil, nil, o.Timeout), "", "", params)
	if err != nil {
		return "", "", 0, err
	}
	var out, errOut bounded
	exit, err = client.RunWithContextWithInput(x.ctx, line, &out, &errOut, nil)
	switch {
	case x.fail != nil:
		err = x.fail
	case err != nil && x.ctx.Err() != nil:
		err = context.Cause(x.ctx)
	case err == nil && out.over:
		err = fmt.Errorf("%w: more than %d bytes of output", errMalformed, maxOutput)
	}
	return out.String(), errOut.String(), exit, err
}

// bounded keeps the first maxOutput bytes and swallows the rest: a writer that
// failed would leave masterzen's copying goroutine behind. The buffer is no
// embedded one, whose ReadFrom io.Copy would prefer to Write.
type bounded struct {
	buf  bytes.Buffer
	over bool
}

var _ io.Writer = (*bounded)(nil)

// Write implements io.Writer and never fails.
func (b *bounded) Write(p []byte) (int, error) {
	if room := maxOutput - b.buf.Len(); len(p) > room {
		b.over = true
		b.buf.Write(p[:room])
		return len(p), nil
	}
	return b.buf.Write(p)
}

// String returns what was kept, as valid UTF-8.
func (b *bounded) String() string { return strings.ToValidUTF8(b.buf.String(), "\ufffd") }
