package probe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"
)

// Defaults of Options, and what cannot be changed.
const (
	DefaultTimeout       = 10 * time.Second
	DefaultExpiryWarning = 14 * 24 * time.Hour
	DefaultSlowConnect   = 900 * time.Millisecond // below the first SYN retransmit of every system
	DefaultPerAddress    = 4                      // ejabberd's listen backlog is 5

	closeBudget = time.Second            // for the polite end, beyond the timeout
	finBudget   = 250 * time.Millisecond // for the peer's FIN, once it said goodbye
	maxLate     = 500 * time.Millisecond // behind the deadline, before we distrust our own machine
	turnSlack   = closeBudget + maxLate  // beyond the timeout, for our turn: one that hangs does not cost the next one its turn
	errorGrace  = 300 * time.Millisecond // for a stream error behind a poor header
)

// Direction says who sent what a trace shows.
type Direction uint8

// The directions of a trace. Bytes sent and received are the plain text of the
// stream, inside TLS too.
const (
	Note     Direction = iota // the probe's own words, e.g. "connected"
	Sent                      // from us
	Received                  // from the server
)

// String is "*", ">" or "<".
func (d Direction) String() string { return word([]string{"*", ">", "<"}, int(d)) }

// Options configure a Prober. The zero value is ready for use.
type Options struct {
	Timeout       time.Duration    // for one probe from connect to features; 0 = DefaultTimeout
	RootCAs       *x509.CertPool   // nil = the system's. Not to be changed after New, which remembers what led to them
	ClientCert    *tls.Certificate // shown when asked for; must match Target.From. nil = none
	ExpiryWarning time.Duration    // certificates that end sooner get a remark; 0 = DefaultExpiryWarning, negative = never
	SlowConnect   time.Duration    // connects that take as long get a remark; 0 = DefaultSlowConnect, negative = never
	PerAddress    int              // probes in flight to one address; 0 = DefaultPerAddress, negative = no limit

	// Now is the time by which certificates are judged; nil = time.Now.
	Now func() time.Time
	// Dial opens the connection; nil = net.Dialer. It must honour its
	// context, which ends with the probe's deadline.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
	// Trace is shown the conversation. It is called by the goroutine that
	// probes and must not keep data.
	Trace func(dir Direction, data []byte)
}

// Prober asks XMPP servers the federation question. It is safe for concurrent
// use and holds nothing that must be closed.
type Prober struct {
	o      Options
	suites []uint16
	limit  limiter
	chain  chainCache
}

// New returns a Prober. Zero fields of o get their defaults.
func New(o Options) *Prober {
	if o.Timeout <= 0 {
		o.Timeout = DefaultTimeout
	}
	if o.ExpiryWarning == 0 {
		o.ExpiryWarning = DefaultExpiryWarning
	}
	if o.SlowConnect == 0 {
		o.SlowConnect = DefaultSlowConnect
	}
	if o.PerAddress == 0 {
		o.PerAddress = DefaultPerAddress
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Prober{o: o, suites: allSuites(), limit: limiter{max: o.PerAddress}}
}

// Probe asks t once and returns what it learned. It always returns a Result
// and never panics. It ends within Options.Timeout plus one second for a
// polite close; a ctx that ends earlier ends it at once, as LocalError. It
// opens one stream, never authenticates and always closes what it opened.
//
// While Options.PerAddress others ask the same address it waits for its turn,
// up to Options.Timeout and a little more for their polite close. That is our
// own doing: the time limit and Result.Took begin with the turn, and a turn
// that does not come is a LocalError.
func (p *Prober) Probe(ctx context.Context, t Target) Result { return p.ProbeCovering(ctx, t, nil) }

// ProbeCovering is Probe with a certificate that is to cover, beside t.Domain,
// each of the domains in also, which have no other part in the conversation.
func (p *Prober) ProbeCovering(ctx context.Context, t Target, also []string) (res Result) {
	t.Domain, t.From = plainDomain(t.Domain), plainDomain(t.From)
	r := &run{p: p, res: Result{Target: t}, also: also}
	r.begin()
	defer func() {
		if v := recover(); v != nil {
			r.fail(local("bug in the probe: %v", v))
		}
		res = r.result()
	}()
	if err := t.check(); err != nil {
		r.fail(local("%v", err))
		return res
	}
	release, err := p.limit.enter(ctx, t.Addr, r.end.Add(turnSlack))
	if err != nil {
		r.fail(local("%v", err))
		return res
	}
	defer release()
	r.begin()
	ctx, cancel := context.WithDeadlineCause(ctx, r.end.Add(closeBudget), errOverdue)
	defer cancel()
	r.fail(r.converse(ctx))
	return res
}

var errOverdue = fmt.Errorf("the probe outlived its own deadline")

// plainDomain is a domain as it stands in a stream header.
func plainDomain(s string) string { return strings.ToLower(strings.TrimSuffix(s, ".")) }

// check says what makes a target impossible to ask.
func (t Target) check() error {
	switch {
	case !t.Addr.IsValid() || t.Addr.Port() == 0:
		return fmt.Errorf("target %s has no address and port: name where to connect", t)
	case !IsDomain(t.Domain):
		return fmt.Errorf("target %s: %q is not a domain: name the XMPP domain in its ASCII form", t, t.Domain)
	case !IsDomain(t.From):
		return fmt.Errorf("target %s: %q is not a domain: name a domain of ours for the stream's from", t, t.From)
	case t.From == t.Domain:
		return fmt.Errorf("target %s: from equals the domain asked for, which servers refuse: name another domain of ours", t)
	}
	return nil
}

// IsDomain reports whether a server can be asked for s: a domain name in its
// ASCII form, no address (RFC 7622, section 3.2; the underscore is lenience).
func IsDomain(s string) bool {
	s = plainDomain(s)
	if s == "" || len(s) > 253 {
		return false
	}
	if _, err := netip.ParseAddr(s); err == nil {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}
