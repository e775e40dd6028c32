// Package lab is a whole Edge estate in one process: Edge pools that answer
// XMPP, name servers, Windows hosts that run Cs cmdlets over WinRM, a Slack,
// canaries, and the real product that watches over them. Everything listens
// on loopback addresses of its own, so many labs fit on a machine.
//
// Single parts can be replaced by real servers, and the product by a process
// of its own: the integration tests do both.
package lab

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/rs/zerolog"

	"edgewatch/actions/actionstest"
	"edgewatch/probe/probetest"
	"edgewatch/watchdog"
	"edgewatch/watchdog/slack/slacktest"
)

// Options describe a lab. The zero value is two pools of two servers that are
// watched in mode auto by the product.
type Options struct {
	Dir            string // where configuration, secrets and state are written; must exist
	Pools          int
	ServersPerPool int
	Port           uint16 // where partners connect; 0 picks a free one
	Mode           watchdog.Mode
	Timing         Timing
	SilentStandby  bool           // XMPP answers only in the pool that holds its site's route
	NoProduct      bool           // the caller runs edgewatch, and its witness
	Witness        bool           // edgewatch has a witness, another edgewatch that only watches
	Log            zerolog.Logger // of the product, when it runs in this process

	// Watchdog is the path and the first arguments of a program that calls
	// Watchdog with the configuration file, its last argument: edgewatch is a
	// process of its own then, which can be killed. Nil: it runs in this one.
	Watchdog []string
	Stderr   io.Writer // of that process; nil: nowhere

	// Edit changes the text of the configuration before it is loaded.
	Edit func(yaml string) string
	// XMPP makes the XMPP proxy of a server; nil: one in this process. It is
	// not to be started yet. Files hold its certificate.
	XMPP func(s Server, domain string, f Files) (XMPP, error)
	// Effect is told of each cmdlet that changes something, after its effect
	// and before it answers. It may block: the cmdlet then takes as long. May
	// be nil.
	Effect func(cmdlet, target string)
	// DNS starts the name servers and registers their end with the caller;
	// nil: two in this process.
	DNS func(ctx context.Context, z Zone) (NameServers, error)
}

// Lab is a running estate. Its methods may be called from any goroutine.
type Lab struct {
	Files      Files
	Federation string
	Domain     string
	Record     string
	Pools      []Pool
	HealthURL  string
	NS         NameServers

	Slack   *slacktest.Server
	Windows *actionstest.Estate
	DNS     *actionstest.DNSServer // the primary; nil when Options.DNS made it

	estate   *estate
	canaries []*canary
	roots    *x509.CertPool
	ctx      context.Context // of hooks and the product; ends with Close
	cancel   context.CancelFunc
	product  product // nil when the lab runs none
	hosts    map[string]*windows
	effect   func(cmdlet, target string)

	mu       sync.Mutex
	hookErrs []error  // guarded by mu
	breaks   []*Break // guarded by mu

	closeOnce sync.Once
	closeErr  error
	cleanups  []func() error // run from the last to the first
}

// federation is the name of a lab's federation, and the domain it serves.
const (
	federation = "contoso"
	domain     = "contoso.test"
)

// Start starts a lab. Whatever it started has ended when it fails. Otherwise
// the caller ends it with Close; the end of ctx alone ends the product only.
func Start(ctx context.Context, o Options) (_ *Lab, err error) {
	o.Pools, o.ServersPerPool = cmp.Or(o.Pools, 2), cmp.Or(o.ServersPerPool, 2)
	o.Mode = cmp.Or(o.Mode, watchdog.ModeAuto)
	o.Timing.setDefaults()
	l := &Lab{Files: filesIn(o.Dir), Federation: federation, Domain: domain, Record: "xmpp." + domain, hosts: map[string]*windows{}}
	l.effect = o.Effect
	l.ctx, l.cancel = context.WithCancel(ctx)
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
		}
	}()
	if err := l.build(ctx, &o); err != nil {
		return nil, fmt.Errorf("start the lab: %w", err)
	}
	if o.NoProduct {
		return l, nil
	}
	if o.Witness {
		if err := l.runWitness(&o); err != nil {
			return nil, fmt.Errorf("start the witness in the lab: %w", err)
		}
	}
	if err := l.run(&o); err != nil {
		return nil, fmt.Errorf("start edgewatch in the lab: %w", err)
	}
	return l, nil
}

// cleanup registers what Close must do. Only Start calls it.
func (l *Lab) cleanup(f func() error) { l.cleanups = append(l.cleanups, f) }

// infrastructure is how many addresses a lab needs beside its Edge Servers.
const infrastructure = 6

// build starts everything but the product.
func (l *Lab) build(ctx context.Context, o *Options) error {
	if _, err := os.Lstat(l.Files.State); err == nil {
		return fmt.Errorf("%s is there already: the journal of another lab does not fit this one, whose pools are new. Take an empty directory", l.Files.State)
	}
	if _, err := os.Lstat(l.Files.Config); err == nil {
		return fmt.Errorf("%s is there already, and is not overwritten. Take an empty directory", l.Files.Config)
	}
	addrs, port, err := FreeLoopback(ctx, infrastructure+o.Pools*o.ServersPerPool, o.Port)
	if err != nil {
		return err
	}
	at := func(i int) netip.AddrPort { return netip.AddrPortFrom(addrs[i], port) }
	l.estate = newEstate(o, addrs[infrastructure:], port)
	l.Pools = l.estate.pools
	l.HealthURL = "http://" + at(0).String()
	ca := probetest.NewCA()
	l.roots = ca.Pool()
	if err := WriteRoot(l.Files.CA, ca.Root()); err != nil {
		return err
	}
	if err := WriteCertificate(l.Files.Cert, l.Files.Key, ca.Issue(l.Domain)); err != nil {
		return err
	}
	if err := l.startXMPP(o, ca); err != nil {
		return err
	}
	for _, i := range []int{1, 2} {
		c := &canary{addr: at(i)}
		if err := c.open(ctx); err != nil {
			return err
		}
		l.cleanup(c.close)
		l.canaries = append(l.canaries, c)
	}
	zone := l.estate.zone(l.Domain, l.Record, port, labKey())
	if o.DNS != nil {
		l.NS, err = o.DNS(ctx, zone)
	} else {
		l.NS, err = l.fakeDNS(at(3), at(4), zone)
	}
	if err != nil {
		return err
	}
	if l.Slack, err = slacktest.Listen(netip.AddrPortFrom(addrs[0], 0).String()); err != nil {
		return err
	}
	l.cleanup(l.Slack.Close)
	l.Slack.Name(Operator, "anna")
	return l.configure(o, ca, at)
}

// startXMPP makes every server's XMPP proxy and starts those that must run.
func (l *Lab) startXMPP(o *Options, ca *probetest.CA) error {
	for _, s := range l.estate.servers {
		var err error
		if o.XMPP != nil {
			s.xmpp, err = o.XMPP(s.Server, l.Domain, l.Files)
		} else {
			s.xmpp = &fakeXMPP{addr: s.XMPP, config: probetest.Config{Domain: l.Domain, CA: ca}}
		}
		if err != nil {
			return err
		}
		l.cleanup(s.end)
	}
	return l.estate.settle(l.ctx, false, l.estate.servers...)
}

// configure starts the Windows hosts and writes the configuration.
func (l *Lab) configure(o *Options, ca *probetest.CA, at func(int) netip.AddrPort) error {
	s := &settings{
		Files: l.Files, Timing: o.Timing, Mode: o.Mode, Federation: l.Federation, Domain: l.Domain, Record: l.Record,
		Port: at(0).Port(), Health: at(0).String(), SlackURL: l.Slack.URL(), DNS: l.NS, Perimeter: perimeterUser, Internal: internalUser,
	}
	if o.Witness {
		s.WitnessAt = at(5).String()
	}
	for _, c := range l.canaries {
		s.Canaries = append(s.Canaries, c.addr)
	}
	if err := l.startWindows(s, ca, at(0).Addr()); err != nil {
		return err
	}
	if err := s.write(o.Dir); err != nil {
		return err
	}
	if o.Edit == nil {
		return nil
	}
	text, err := os.ReadFile(s.Config)
	if err != nil {
		return fmt.Errorf("edit the configuration: %w", err)
	}
	if err := os.WriteFile(s.Config, []byte(o.Edit(string(text))), 0o600); err != nil {
		return fmt.Errorf("edit the configuration: %w", err)
	}
	return nil
}

// Ended is closed when the product has ended by itself; it is nil without
// one.
func (l *Lab) Ended() <-chan struct{} {
	if l.product == nil {
		return nil
	}
	return l.product.Ended()
}

// Close ends the product, then all parts, and returns when nothing of the
// lab runs any more. It may be called more than once.
func (l *Lab) Close() error {
	l.closeOnce.Do(func() {
		l.cancel()
		var errs []error
		for _, f := range slices.Backward(l.cleanups) {
			errs = append(errs, f())
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		errs = append(errs, l.hookErrs...)
		l.closeErr = errors.Join(errs...)
	})
	return l.closeErr
}

// Kill takes the power of a pool or of one server.
func (l *Lab) Kill(name string) error {
	return l.power(name, false)
}

// Restore gives the power back; services run then.
func (l *Lab) Restore(name string) error {
	return l.power(name, true)
}

// CutOff takes the outside world away: no canary and no pool can be reached,
// as if the watchdog's own line were down.
func (l *Lab) CutOff() error {
	var errs []error
	for _, c := range l.canaries {
		errs = append(errs, c.close())
	}
	return errors.Join(append(errs, l.estate.setCutOff(l.ctx, true))...)
}

// Reconnect ends CutOff.
func (l *Lab) Reconnect() error {
	var errs []error
	for _, c := range l.canaries {
		errs = append(errs, c.open(l.ctx))
	}
	return errors.Join(append(errs, l.estate.setCutOff(l.ctx, false))...)
}

// Partner looks at the federation from outside, as a federating server that
// asks the last of the authoritative servers.
func (l *Lab) Partner(ctx context.Context) (Found, error) {
	p := Partner{NameServer: l.NS.Authoritative[len(l.NS.Authoritative)-1], Roots: l.roots, From: "partner.test"}
	found, err := p.Find(ctx, l.Domain)
	found.Pool = l.estate.poolAt(found.Addr.Addr())
	return found, err
}

// Named returns the names of all pools and servers that begin with prefix,
// without case: for completion and for help.
func (l *Lab) Named(prefix string) []string {
	var out []string
	for _, p := range l.Pools {
		names := []string{p.Name}
		for _, s := range p.Servers {
			names = append(names, s.Name)
		}
		for _, n := range names {
			if strings.HasPrefix(strings.ToLower(n), strings.ToLower(prefix)) {
				out = append(out, n)
			}
		}
	}
	return out
}
