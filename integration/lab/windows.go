package lab

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"edgewatch/actions/actionstest"
	"edgewatch/probe/probetest"
)

// windows is one Windows host of the lab.
type windows struct {
	fqdn    string
	options actionstest.WinRMOptions
	estate  *actionstest.Estate

	mu   sync.Mutex
	addr string
	host *actionstest.WinRM // nil without power
}

func (w *windows) on() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.host != nil {
		return nil
	}
	host, err := actionstest.ListenWinRM(w.addr, w.fqdn, w.estate, w.options)
	if err != nil {
		return err
	}
	w.host, w.addr = host, host.Addr()
	return nil
}

func (w *windows) off() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.host == nil {
		return nil
	}
	host := w.host
	w.host = nil
	return host.Close()
}

// startWindows starts the management host and one host per Edge Server,
// whose cmdlets really stop, start and re-route the pools.
func (l *Lab) startWindows(s *settings, ca *probetest.CA, management netip.Addr) error {
	var sites []actionstest.Site
	var pools []actionstest.Pool
	for i, p := range l.Pools {
		site := actionstest.Site{ID: strconv.Itoa(i + 1), Name: p.Site}
		if i == 0 {
			site.Route = "EdgeServer:" + p.FQDN
		}
		sites = append(sites, site)
		model := actionstest.Pool{FQDN: p.FQDN, ExternalFQDN: "access." + domain, Site: p.Site}
		for _, server := range p.Servers {
			model.Servers = append(model.Servers, server.FQDN)
		}
		pools = append(pools, model)
	}
	const frontEnd = "fe1.contoso.local"
	l.Windows = actionstest.NewEstate(sites, pools, []string{frontEnd}, actionstest.Hooks{
		OnStop:  func(fqdn string) { l.follow("Stop-CsWindowsService", fqdn, l.services(fqdn, false)) },
		OnStart: func(fqdn string) { l.follow("Start-CsWindowsService", fqdn, l.services(fqdn, true)) },
		OnRoute: func(site, value string) { l.follow("Set-CsSite", site, l.route(site, value)) },
	})
	fe, err := l.startHost(ca, frontEnd, management, internalUser, internalPassword)
	if err != nil {
		return err
	}
	s.Management = hostSettings{FQDN: fe.fqdn, Addr: fe.addr}
	for _, p := range l.Pools {
		ps := poolSettings{Pool: p}
		for _, server := range p.Servers {
			w, err := l.startHost(ca, server.FQDN, server.XMPP.Addr(), perimeterUser, perimeterPassword)
			if err != nil {
				return err
			}
			ps.Hosts = append(ps.Hosts, hostSettings{FQDN: w.fqdn, Addr: w.addr})
		}
		s.Pools = append(s.Pools, ps)
	}
	return nil
}

func (l *Lab) startHost(ca *probetest.CA, fqdn string, addr netip.Addr, user, password string) (*windows, error) {
	w := &windows{
		fqdn: fqdn, addr: netip.AddrPortFrom(addr, 0).String(), estate: l.Windows,
		options: actionstest.WinRMOptions{
			User: user, Password: password,
			TLS: &tls.Config{Certificates: []tls.Certificate{ca.Issue(fqdn)}, MinVersion: tls.VersionTLS12},
		},
	}
	if err := w.on(); err != nil {
		return nil, err
	}
	l.cleanup(w.off)
	l.hosts[fqdn] = w
	return w, nil
}

// Host is the WinRM service of a Windows host, to make it fail; nil while
// the host has no power.
func (l *Lab) Host(fqdn string) *actionstest.WinRM {
	w := l.hosts[fqdn]
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.host
}

// services lets XMPP follow the Windows services of a server.
func (l *Lab) services(fqdn string, on bool) error {
	return l.estate.change(l.ctx, fqdn, false, func(s *server) { s.services = on })
}

// route lets XMPP follow the route of a site.
func (l *Lab) route(site, value string) error {
	_, fqdn, _ := strings.Cut(value, ":")
	for _, p := range l.Pools {
		if strings.EqualFold(p.FQDN, fqdn) {
			return l.estate.setRoute(l.ctx, site, p.Name)
		}
	}
	return l.estate.setRoute(l.ctx, site, "")
}

// follow ends a hook: it keeps what went wrong, which a hook has nobody to
// tell, for Close.
func (l *Lab) follow(cmdlet, target string, err error) {
	if err != nil && l.ctx.Err() == nil {
		l.mu.Lock()
		l.hookErrs = append(l.hookErrs, fmt.Errorf("%s on %s: %w", cmdlet, target, err))
		l.mu.Unlock()
	}
	if l.effect != nil {
		l.effect(cmdlet, target)
	}
	l.halt(cmdlet)
}

// Break makes a cmdlet hang once it has had its effect: nobody hears of it.
type Break struct {
	Reached <-chan struct{} // closed when the cmdlet was run so many times

	cmdlet   string
	left     int // runs until it is reached; guarded by Lab.mu
	reached  chan struct{}
	released chan struct{}
	once     sync.Once
}

// Release lets the cmdlet answer, now and from now on.
func (b *Break) Release() { b.once.Do(func() { close(b.released) }) }

// Break makes every run of the cmdlet hang from now on until Release, or the
// end of the lab; times is how many runs it takes until it is Reached.
func (l *Lab) Break(cmdlet string, times int) *Break {
	reached := make(chan struct{})
	b := &Break{Reached: reached, cmdlet: cmdlet, left: times, reached: reached, released: make(chan struct{})}
	l.mu.Lock()
	l.breaks = append(l.breaks, b)
	l.mu.Unlock()
	return b
}

// halt lets a cmdlet that has had its effect wait where it is to hang.
func (l *Lab) halt(cmdlet string) {
	l.mu.Lock()
	var waits []*Break
	for _, b := range l.breaks {
		if b.cmdlet != cmdlet {
			continue
		}
		if b.left--; b.left == 0 {
			close(b.reached)
		}
		waits = append(waits, b)
	}
	l.mu.Unlock()
	for _, b := range waits {
		select {
		case <-b.released:
		case <-l.ctx.Done():
		}
	}
}

// StopServices stops the services of a pool or server as a person would who
// sits in front of it.
func (l *Lab) StopServices(name string) error {
	servers, err := l.estate.named(name)
	if err != nil {
		return err
	}
	errs := make([]error, 0, 2*len(servers))
	for _, s := range servers {
		errs = append(errs, l.Windows.SetServices(s.FQDN, "Stopped"), l.services(s.FQDN, false))
	}
	return errors.Join(errs...)
}

// Behave makes the XMPP of a pool or server behave so from now on, nil as it
// should. The parts must be the lab's own.
func (l *Lab) Behave(name string, b func() probetest.Behaviour) error {
	servers, err := l.estate.named(name)
	if err != nil {
		return err
	}
	for _, s := range servers {
		s.turn.Lock()
		f, ok := s.xmpp.(*fakeXMPP)
		if !ok || f.server == nil {
			s.turn.Unlock()
			return fmt.Errorf("%s has no XMPP of the lab's own that could be told how to behave", s.Name)
		}
		if b == nil {
			f.server.Behave(nil)
		} else {
			f.server.Behave(b())
		}
		s.turn.Unlock()
	}
	return nil
}

// power takes or gives the power of what is named: XMPP, Windows and all.
func (l *Lab) power(name string, on bool) error {
	servers, err := l.estate.named(name)
	if err != nil {
		return err
	}
	var errs []error
	for _, s := range servers {
		w := l.hosts[s.FQDN]
		if !on {
			errs = append(errs, w.off())
			continue
		}
		errs = append(errs, w.on(), l.Windows.SetServices(s.FQDN, "Running"))
	}
	err = l.estate.change(l.ctx, name, true, func(s *server) {
		s.power = on
		s.services = s.services || on
	})
	if err = errors.Join(append(errs, err)...); err != nil {
		return fmt.Errorf("power of %s: %w", name, err)
	}
	return nil
}
