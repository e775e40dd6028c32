// Package rfc2136 changes DNS records by dynamic update (RFC 2136) signed
// with TSIG (RFC 8945): steps 4 and 5 of the documented failover as one
// atomic UPDATE per zone. An update is a compare-and-swap: it carries the
// values that were read as prerequisites, so that an edit made meanwhile, by
// a person or by another watchdog, makes the server refuse it instead of
// being overwritten. What counts as done is what every authoritative server
// answers, never what an UPDATE was answered with.
package rfc2136

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/miekg/dns"

	"edgewatch/actions"
)

// Zone is one DNS zone and the servers that hold it.
type Zone struct {
	Name   string // e.g. "contoso.com"; a final dot may be left out
	Server string // host:port of the primary, which takes the updates; an address is safer than a name in the zone itself
	TSIG   Key

	// Authoritative lists, as host:port, every server the records are
	// verified on. The primary is asked too only if it is listed: a hidden
	// primary serves nobody.
	Authoritative []string

	// MaySilent is how many of Authoritative may give no answer at all
	// without holding a failover up: those that die with a site. A server
	// that does answer must always agree.
	MaySilent int

	Timeout time.Duration // for one conversation with one server; 0 means DefaultTimeout

	// Dial opens a TCP connection; nil means net.Dialer's DialContext.
	Dial Dial
}

// Dial opens a connection, as net.Dialer.DialContext does.
type Dial func(ctx context.Context, network, address string) (net.Conn, error)

// DefaultTimeout is the Zone.Timeout used when none is given.
const DefaultTimeout = 5 * time.Second

// Key is a TSIG key.
type Key struct {
	Name      string         // as the server's configuration spells it; case and final dot do not matter
	Algorithm string         // "hmac-sha256" (the default when empty), "hmac-sha1", "-sha224", "-sha384" or "-sha512"
	Secret    actions.Secret // base64
}

// Wanted is what the zone shall hold.
type Wanted struct {
	// Address is the record of step 4; nil when there is none, because every
	// pool has a name and an SRV record of its own.
	Address *AddressSet

	// Elsewhere is the record of step 4 where the update of another zone sets it.
	// Service records that lead to it are judged by what it will hold.
	Elsewhere *AddressSet

	// Services are the SRV records of step 5, one per domain.
	Services []Service

	// Fence may be nil: then two watchdogs that both believe to lead can
	// undo each other's work, one after the other.
	Fence *Fence
}

// AddressSet is the A and AAAA record of one name. Both types are set
// together: an AAAA left behind would send partners to the dead pool.
type AddressSet struct {
	Name  string
	Addrs []netip.Addr // of the target pool: all A and AAAA the name shall have
	TTL   uint32       // seconds

	// Known lists every address of every configured pool: what the name may
	// hold now. Anything else was put there by somebody, and only a person
	// may decide what becomes of it. Addrs need not be repeated.
	Known []netip.Addr

	// From lists the addresses federation moves away from. Only Preview
	// uses it; Apply compares with what it reads.
	From []netip.Addr
}

// Service is the SRV record _xmpp-server._tcp.<Domain> of one pool. It is
// added only if no SRV record with Port resolves to Addrs already; other
// records there stay untouched.
type Service struct {
	Domain           string
	Target           string // the host the record points to
	Port             uint16
	Priority, Weight uint16
	TTL              uint32       // seconds; a set that is there already keeps its TTL
	Addrs            []netip.Addr // of the pool the record stands for
}

// Updater makes tasks that read and change one zone. It holds no connection
// and may be used by many goroutines.
type Updater struct {
	zone      Zone // names canonical, Timeout set
	algorithm string
}

var algorithms = []string{dns.HmacSHA1, dns.HmacSHA224, dns.HmacSHA256, dns.HmacSHA384, dns.HmacSHA512}

// NewUpdater validates z and returns its Updater. It contacts nobody. The
// error joins every problem found.
func NewUpdater(z Zone) (*Updater, error) {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	u := &Updater{zone: z}
	u.zone.Authoritative = slices.Clone(z.Authoritative)
	if z.Dial == nil {
		u.zone.Dial = new(net.Dialer).DialContext
	}

	var err error
	if u.zone.Name, err = canonical(z.Name); err != nil {
		bad("zone name: %w", err)
	}
	if u.zone.TSIG.Name, err = canonical(z.TSIG.Name); err != nil {
		bad("name of the TSIG key: %w", err)
	}
	u.algorithm = dns.HmacSHA256
	if z.TSIG.Algorithm != "" {
		u.algorithm = dns.CanonicalName(z.TSIG.Algorithm)
	}
	if !slices.Contains(algorithms, u.algorithm) {
		bad("TSIG algorithm %q is not one of %s", z.TSIG.Algorithm, strings.Join(algorithms, " "))
	}
	if raw, err := base64.StdEncoding.DecodeString(z.TSIG.Secret.Reveal()); err != nil || len(raw) == 0 {
		// The decoder's error is left out: it quotes from the secret's position.
		bad("TSIG secret of key %s is not base64", u.zone.TSIG.Name)
	}
	if err := hostPort(z.Server); err != nil {
		bad("server: %w", err)
	}
	if len(z.Authoritative) == 0 {
		bad("authoritative: at least one server is needed to verify the records on")
	}
	for _, s := range z.Authoritative {
		if err := hostPort(s); err != nil {
			bad("authoritative: %w", err)
		}
	}
	slices.Sort(u.zone.Authoritative)
	u.zone.Authoritative = slices.Compact(u.zone.Authoritative)
	if z.MaySilent < 0 || z.MaySilent > 0 && z.MaySilent >= len(u.zone.Authoritative) {
		bad("of %d authoritative servers %d may not be silent", len(u.zone.Authoritative), z.MaySilent)
	}
	switch {
	case z.Timeout < 0:
		bad("timeout %s is negative", z.Timeout)
	case z.Timeout == 0:
		u.zone.Timeout = DefaultTimeout
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return u, nil
}

// Records returns the task that makes the zone hold w (documented steps 4
// and 5). Its Check asks every authoritative server directly; its Apply
// compares and swaps on the primary. Both answer Rejected where a person has
// to decide: a record that somebody edited, a CNAME in the way, an SRV record
// with another port. A w that Validate refuses makes both fail.
func (u *Updater) Records(w Wanted) actions.Task {
	return &recordsTask{updater: u, wanted: u.normalize(w), invalid: u.Validate(w)}
}

// Writable returns the preflight of Records(w): every authoritative server
// answers with authority and all agree, the records are free to be changed,
// and the key is allowed to change each of them. Nothing is changed.
func (u *Updater) Writable(w Wanted) actions.Task {
	return &writableTask{updater: u, wanted: u.normalize(w), invalid: u.Validate(w)}
}

// Validate checks w against the zone: names inside it, addresses valid,
// nothing empty. It contacts nobody. The error joins every problem found.
func (u *Updater) Validate(w Wanted) error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if w.Address == nil && len(w.Services) == 0 {
		bad("nothing is wanted of zone %s: neither an address record nor a service record", u.zone.Name)
	}
	if a := w.Address; a != nil {
		if err := u.ownName(a.Name); err != nil {
			bad("address record: %w", err)
		}
		if err := checkAddrs(a.Addrs); err != nil {
			bad("address record %s: %w", a.Name, err)
		}
	}
	if a := w.Elsewhere; a != nil {
		switch _, err := canonical(a.Name); {
		case w.Address != nil:
			bad("the address record is set in zone %s and, as %s, elsewhere too", u.zone.Name, a.Name)
		case err != nil:
			bad("address record elsewhere: %w", err)
		default:
			if err := checkAddrs(a.Addrs); err != nil {
				bad("address record %s: %w", a.Name, err)
			}
		}
	}
	if f := w.Fence; f != nil {
		if err := u.ownName(f.Name); err != nil {
			bad("fence: %w", err)
		}
	}
	seen := map[string]bool{}
	for _, s := range w.Services {
		if err := u.ownName(s.Domain); err != nil {
			bad("service record: %w", err)
		}
		if name := dns.CanonicalName(s.Domain); seen[name] {
			bad("service record of domain %s is wanted twice", s.Domain)
		} else {
			seen[name] = true
		}
		if _, err := canonical(s.Target); err != nil {
			bad("service record of domain %s: target: %w", s.Domain, err)
		}
		if s.Port == 0 {
			bad("service record of domain %s: port 0", s.Domain)
		}
		if err := checkAddrs(s.Addrs); err != nil {
			bad("service record of domain %s: %w", s.Domain, err)
		}
	}
	return errors.Join(errs...)
}

// normalize returns w with canonical names and plain addresses, sharing
// nothing with the caller.
func (u *Updater) normalize(w Wanted) Wanted {
	out := Wanted{Services: slices.Clone(w.Services), Address: w.Address.normalize(), Elsewhere: w.Elsewhere.normalize()}
	if w.Fence != nil {
		out.Fence = &Fence{Name: dns.CanonicalName(w.Fence.Name), Term: w.Fence.Term}
	}
	for i := range out.Services {
		s := &out.Services[i]
		s.Domain, s.Target, s.Addrs = dns.CanonicalName(s.Domain), dns.CanonicalName(s.Target), plain(s.Addrs)
	}
	return out
}

// normalize returns a copy, or nil of nil.
func (a *AddressSet) normalize() *AddressSet {
	if a == nil {
		return nil
	}
	return &AddressSet{Name: dns.CanonicalName(a.Name), Addrs: plain(a.Addrs), TTL: a.TTL, Known: plain(a.Known), From: plain(a.From)}
}

// record is the record of step 4, whichever update sets it; nil where every pool
// has a name of its own.
func (w Wanted) record() *AddressSet {
	if w.Address != nil {
		return w.Address
	}
	return w.Elsewhere
}

func (u *Updater) ownName(name string) error {
	c, err := canonical(name)
	if err != nil {
		return err
	}
	if !dns.IsSubDomain(u.zone.Name, c) {
		return fmt.Errorf("%s is not in zone %s", name, u.zone.Name)
	}
	return nil
}

// owner is the name the SRV record of s stands at (RFC 6120 section 3.2.1).
func (s Service) owner() string { return "_xmpp-server._tcp." + s.Domain }

func canonical(name string) (string, error) {
	if name == "" || name == "." {
		return "", errors.New("is missing")
	}
	if _, ok := dns.IsDomainName(name); !ok {
		return "", fmt.Errorf("%q is no domain name", name)
	}
	return dns.CanonicalName(name), nil
}

func hostPort(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err == nil && (host == "" || port == "") {
		err = errors.New("host or port is missing")
	}
	if err != nil {
		return fmt.Errorf("%q is not host:port: %w", s, err)
	}
	return nil
}

func checkAddrs(addrs []netip.Addr) error {
	if len(addrs) == 0 {
		return errors.New("no addresses")
	}
	for _, a := range addrs {
		if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" {
			return fmt.Errorf("address %s cannot stand in a record", a)
		}
	}
	return nil
}

// plain returns the addresses sorted, each once, IPv4 as IPv4.
func plain(addrs []netip.Addr) []netip.Addr {
	out := make([]netip.Addr, len(addrs))
	for i, a := range addrs {
		out[i] = a.Unmap()
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}
