package web

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"edgewatch/watchdog"
)

// Errors of Client.
var (
	// ErrNoDaemon means that nobody answers on the socket.
	ErrNoDaemon = errors.New("is edgewatch running?")
	// ErrNoAnswer means that an edgewatch was reached and that no whole answer
	// of it came: it may have seen what it was asked.
	ErrNoAnswer = errors.New("edgewatch was reached and did not answer")
	// ErrUnsure means that a command was sent, and that its answer was lost or
	// says that edgewatch itself does not know: it may have been accepted.
	ErrUnsure = watchdog.ErrUnsure
)

// maxAnswer bounds what Client reads of one answer. statusTimeout is how long a
// status may take, which waits for nothing at the other end.
const (
	maxAnswer     = 64 << 20
	statusTimeout = 10 * time.Second
)

// Client asks a running edgewatch over its unix socket. Its methods are safe
// for concurrent use and end within writeTimeout, or earlier with their
// context.
type Client struct {
	socket string
	http   *http.Client
}

// NewClient makes a Client for the socket at that path. It connects only
// when asked something.
func NewClient(socket string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		d := net.Dialer{Timeout: 5 * time.Second}
		return d.DialContext(ctx, "unix", socket)
	}
	return &Client{socket: socket, http: &http.Client{
		Timeout:   writeTimeout,
		Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}}
}

// Status returns the newest snapshot of one federation, or of all when
// federation is "". An unknown one is watchdog.ErrNoFederation, here as
// everywhere, and a watchdog.NoFederationError where the daemon names them.
func (c *Client) Status(ctx context.Context, federation string) ([]*watchdog.Snapshot, error) {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	if federation == "" {
		var body statusBody
		err := c.get(ctx, "/api/v1/status", &body)
		return body.Federations, err
	}
	var s watchdog.Snapshot
	if err := c.get(ctx, "/api/v1/status/"+url.PathEscape(federation), &s); err != nil {
		return nil, err
	}
	return []*watchdog.Snapshot{&s}, nil
}

// History returns the newest n entries, oldest first, of one federation.
func (c *Client) History(ctx context.Context, federation string, n int) ([]watchdog.Entry, error) {
	var body historyBody
	query := url.Values{"federation": {federation}, "n": {strconv.Itoa(n)}}
	err := c.get(ctx, "/api/v1/history?"+query.Encode(), &body)
	return body.Entries, err
}

// Submit gives a command and returns when it is durable or refused; a
// refusal is an Answer. A command without ID gets one; the daemon sets the
// Actor. After ErrUnsure the same ID may be submitted again.
func (c *Client) Submit(ctx context.Context, cmd watchdog.Command) (watchdog.Answer, error) {
	if cmd.ID == "" {
		cmd.ID = viaCLI + "-" + rand.Text()
	}
	cmd.Via = viaCLI
	body, err := json.Marshal(cmd)
	if err != nil {
		return watchdog.Answer{}, fmt.Errorf("encode command: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://edgewatch/api/v1/commands", bytes.NewReader(body))
	if err != nil {
		return watchdog.Answer{}, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	var answer watchdog.Answer
	err = c.do(req, &answer, http.StatusOK, http.StatusConflict)
	if errors.Is(err, ErrNoAnswer) && !cmd.Dry {
		err = fmt.Errorf("%w: %w", ErrUnsure, err)
	}
	if errors.Is(err, ErrUnsure) {
		err = fmt.Errorf("%w – look for id %s in \"edgewatch history\" before giving it again", err, cmd.ID)
	}
	return answer, err
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://edgewatch"+path, http.NoBody)
	if err != nil {
		return fmt.Errorf("make request: %w", err)
	}
	return c.do(req, into, http.StatusOK)
}

// do sends req and decodes an answer of one of the good statuses.
func (c *Client) do(req *http.Request, into any, good ...int) error {
	resp, err := c.http.Do(req)
	if err != nil {
		return c.explain(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("%w: read from %s: %w", ErrNoAnswer, c.socket, err)
	}
	for _, status := range good {
		if resp.StatusCode == status {
			if err := json.Unmarshal(body, into); err != nil {
				return fmt.Errorf("%w: %s answers no JSON: %w", ErrNoAnswer, c.socket, err)
			}
			return nil
		}
	}
	var e errorBody
	if err := json.Unmarshal(body, &e); err != nil || e.Error == "" {
		return fmt.Errorf("%w: %s answers %s", ErrNoAnswer, c.socket, resp.Status)
	}
	switch resp.StatusCode {
	case http.StatusNotFound:
		if len(e.Federations) > 0 {
			return answered{watchdog.NoFederationError{Known: e.Federations}, e.Error}
		}
		return answered{watchdog.ErrNoFederation, e.Error} // of an edgewatch that starts, or is too old to name them
	case http.StatusServiceUnavailable:
		return answered{watchdog.ErrStopping, e.Error}
	case http.StatusGatewayTimeout:
		return answered{ErrUnsure, e.Error}
	}
	return errors.New(e.Error)
}

// answered is an error that the daemon answered: its words, and the error that
// its status stands for.
type answered struct {
	kind error
	text string
}

func (a answered) Error() string { return a.text }
func (a answered) Unwrap() error { return a.kind }

// explain tells what a failed exchange means for the person at the CLI.
func (c *Client) explain(err error) error {
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		if errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("connect to %s: %w – run this as root or as a member of the socket's group", c.socket, op.Err)
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, errRefused) {
			return fmt.Errorf("%w nobody answers on %s: %w – start the service, or name its socket", ErrNoDaemon, c.socket, op.Err)
		}
		return fmt.Errorf("connect to %s: %w", c.socket, op.Err)
	}
	if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() {
		return fmt.Errorf("%w: somebody listens on %s and says nothing, as when its process is stopped or hangs – look at that process and its log", ErrNoAnswer, c.socket)
	}
	return fmt.Errorf("%w: %s: %w", ErrNoAnswer, c.socket, err)
}
