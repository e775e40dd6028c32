// Package winrm makes the steps of a plan that are PowerShell cmdlets: it runs
// them over WinRM on the Edge Servers of a pool and on a management host, reads
// the state back and classes every failure by what may happen next.
//
// SOAP and the loop that reads a command's output are masterzen/winrm's. The
// transport under it is our own: what the network sends is parsed and checked
// here, and masterzen sees only documents that this package wrote, so a broken
// proxy or a dying host can neither crash the process nor make it spin.
//
// Nothing here was run against a real Lync or Skype for Business farm.
package winrm

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"edgewatch/actions"
)

// Auth says how a Client proves who it is.
type Auth uint8

// The zero is NTLM, which needs no TLS: over http every message is sealed, and
// nothing is ever sent in the clear.
const (
	NTLM        Auth = iota // user and password; sealed messages over http, channel-bound over https
	Basic                   // user and password; https only
	Certificate             // TLS client certificate mapped to an account; https only
)

var authWords = []string{"ntlm", "basic", "certificate"}

// String is the word used in configuration.
func (a Auth) String() string {
	if int(a) < len(authWords) {
		return authWords[a]
	}
	return fmt.Sprintf("invalid(%d)", uint8(a))
}

// MarshalText implements encoding.TextMarshaler.
func (a Auth) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (a *Auth) UnmarshalText(b []byte) error {
	for i, w := range authWords {
		if w == string(b) {
			*a = Auth(i)
			return nil
		}
	}
	return fmt.Errorf("unknown auth %q; known are %s", b, strings.Join(authWords, ", "))
}

// Options describe one WinRM host and the account to use there.
type Options struct {
	Host       string // FQDN, as shown in plans and errors
	Addr       string // host:port to dial; default Host:5986 with HTTPS, else Host:5985
	HTTPS      bool
	Auth       Auth
	User       string // "user", "DOMAIN\user" or "user@domain"
	Password   actions.Secret
	RootCAs    *x509.CertPool   // nil: the system's
	ServerName string           // name in the host's certificate; default Host
	ClientCert *tls.Certificate // for Certificate
	Timeout    time.Duration    // of one request, not of a command, which is many; default 30 seconds
	Module     string           // PowerShell module; "" or "auto": SkypeForBusiness, then Lync
}

// DefaultTimeout is how long one request may go without an answer unless
// Options say otherwise. A command is asked about again and again while it
// runs: stopping all services of an Edge Server takes minutes.
const DefaultTimeout = 30 * time.Second

// readLimit bounds a command that only reads, so that one which hangs on the
// host is given up while there is time to ask again. A command that writes is
// bounded by its caller alone: cut off, it would be half done.
const readLimit = 2 * time.Minute

// ModuleAuto looks for the SkypeForBusiness module, then for Lync.
const ModuleAuto = "auto"

func (o *Options) validate() error {
	var errs []error
	if o.Host == "" {
		errs = append(errs, errors.New("no host"))
	}
	if o.Addr != "" {
		if _, _, err := net.SplitHostPort(o.Addr); err != nil {
			errs = append(errs, fmt.Errorf("address %q is not host:port", o.Addr))
		}
	}
	switch o.Auth {
	case NTLM, Basic:
		if o.User == "" || o.Password.IsZero() {
			errs = append(errs, fmt.Errorf("auth %s needs user and password", o.Auth))
		}
		if o.Auth == Basic && !o.HTTPS {
			errs = append(errs, errors.New("auth basic sends the password itself: it needs https"))
		}
	case Certificate:
		if o.ClientCert == nil {
			errs = append(errs, errors.New("auth certificate needs a client certificate"))
		}
		if !o.HTTPS {
			errs = append(errs, errors.New("auth certificate needs https"))
		}
	default:
		errs = append(errs, fmt.Errorf("unknown auth %s", o.Auth))
	}
	if o.Timeout < 0 {
		errs = append(errs, fmt.Errorf("timeout %s is negative", o.Timeout))
	}
	return errors.Join(errs...)
}

// Client runs scripts on one host. It is safe for concurrent use; commands run
// one after the other. It keeps at most one connection, and none that was idle
// for long, so it may live as long as the process.
type Client struct {
	o    Options
	link *link
	turn chan struct{} // holds a token while no command runs

	closing chan struct{}
	running sync.WaitGroup

	mu     sync.Mutex
	closed bool
}

// New checks o and returns a client. It contacts nobody.
func New(o Options) (*Client, error) {
	if err := o.validate(); err != nil {
		return nil, fmt.Errorf("winrm host %s: %w", o.Host, err)
	}
	if o.Addr == "" {
		port := "5985"
		if o.HTTPS {
			port = "5986"
		}
		o.Addr = net.JoinHostPort(o.Host, port)
	}
	if o.ServerName == "" {
		o.ServerName = o.Host
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.Module == "" {
		o.Module = ModuleAuto
	}
	c := &Client{o: o, turn: make(chan struct{}, 1), closing: make(chan struct{})}
	c.link = newLink(&c.o)
	c.turn <- struct{}{}
	return c, nil
}

// Host is the FQDN that plans and errors name.
func (c *Client) Host() string { return c.o.Host }

// Close ends running commands as a cancelled context would, waits for them and
// closes the connection. It may be called twice. Run fails afterwards.
func (c *Client) Close() error {
	c.mu.Lock()
	if !c.closed {
		c.closed = true
		close(c.closing)
	}
	c.mu.Unlock()
	c.running.Wait()
	c.link.close()
	return nil
}

var errClosed = errors.New("client is closed")

// begin registers a command and derives its context. The returned func must be
// called when the command has ended.
func (c *Client) begin(parent context.Context) (context.Context, func(), error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, nil, errClosed
	}
	c.running.Add(1)
	c.mu.Unlock()

	ctx, cancel := context.WithCancelCause(parent)
	ended := make(chan struct{})
	c.running.Go(func() {
		select {
		case <-c.closing:
			cancel(errClosed)
		case <-ended:
		}
	})
	end := func() {
		close(ended)
		cancel(nil)
		c.running.Done()
	}
	select {
	case <-c.turn:
	case <-ctx.Done():
		end()
		return nil, nil, context.Cause(ctx)
	}
	return ctx, func() { c.turn <- struct{}{}; end() }, nil
}
