package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
)

// Pool is an Edge pool of the lab.
type Pool struct {
	Name    string // "EdgePool1"
	Site    string // "Site1"
	FQDN    string // internal: "edgepool1.contoso.local"
	Servers []Server
}

// Server is one Edge Server of the lab.
type Server struct {
	Name string         // "EdgeServer1a"
	Pool string         // the name of its pool
	FQDN string         // internal: "edgeserver1a.contoso.local"
	XMPP netip.AddrPort // where it answers partners
}

// XMPP is the XMPP proxy of one Edge Server. Its methods are called one at a
// time.
type XMPP interface {
	// Start returns when the proxy answers. Starting what runs is no error.
	Start(ctx context.Context) error
	// Stop ends it as the Windows service does, and returns when its port is
	// closed. Stopping what does not run is no error.
	Stop() error
	// Kill ends it at once.
	Kill() error
}

// estate is what would be machines: which servers have power, where services
// run, and which site routes to which pool. From these follows where XMPP
// answers.
type estate struct {
	pools         []Pool
	silentStandby bool

	mu      sync.Mutex // guards what follows, and the servers' power and services
	cutOff  bool
	routes  map[string]string // by site: the name of the pool it routes to
	servers []*server
}

type server struct {
	Server
	site string

	power    bool
	services bool

	turn sync.Mutex // one change of xmpp at a time
	xmpp XMPP
}

// unknown is the error of a name that nothing here has.
func (e *estate) unknown(name string) error {
	var names []string
	for _, p := range e.pools {
		names = append(names, p.Name)
		for _, s := range p.Servers {
			names = append(names, s.Name)
		}
	}
	return fmt.Errorf("there is no pool or server %q; there are %s", name, strings.Join(names, ", "))
}

// named returns the servers of a pool, or the one server of that name.
func (e *estate) named(name string) ([]*server, error) {
	var out []*server
	for _, s := range e.servers {
		if strings.EqualFold(s.Pool, name) || strings.EqualFold(s.Name, name) || strings.EqualFold(s.FQDN, name) {
			out = append(out, s)
		}
	}
	if len(out) == 0 {
		return nil, e.unknown(name)
	}
	return out, nil
}

// change applies f to what is named and lets XMPP follow.
func (e *estate) change(ctx context.Context, name string, abrupt bool, f func(*server)) error {
	servers, err := e.named(name)
	if err != nil {
		return err
	}
	e.mu.Lock()
	for _, s := range servers {
		f(s)
	}
	e.mu.Unlock()
	return e.settle(ctx, abrupt, servers...)
}

// setRoute moves a site's route to a pool.
func (e *estate) setRoute(ctx context.Context, site, pool string) error {
	e.mu.Lock()
	e.routes[site] = pool
	e.mu.Unlock()
	return e.settle(ctx, false, e.servers...)
}

// setCutOff makes every pool unreachable, or ends that.
func (e *estate) setCutOff(ctx context.Context, on bool) error {
	e.mu.Lock()
	e.cutOff = on
	e.mu.Unlock()
	return e.settle(ctx, true, e.servers...)
}

// settle starts and ends the servers' XMPP until it is as it must be. What
// must be is asked when it is a server's turn, so the last change wins.
func (e *estate) settle(ctx context.Context, abrupt bool, servers ...*server) error {
	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, s := range servers {
		wg.Go(func() {
			s.turn.Lock()
			defer s.turn.Unlock()
			switch {
			case e.answers(s):
				errs[i] = s.xmpp.Start(ctx)
			case abrupt:
				errs[i] = s.xmpp.Kill()
			default:
				errs[i] = s.xmpp.Stop()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (e *estate) answers(s *server) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return s.power && s.services && !e.cutOff && (!e.silentStandby || e.routes[s.site] == s.Pool)
}

// poolAt is the name of the pool that an address belongs to, "" for none.
func (e *estate) poolAt(a netip.Addr) string {
	i := slices.IndexFunc(e.servers, func(s *server) bool { return s.XMPP.Addr() == a.Unmap() })
	if i < 0 {
		return ""
	}
	return e.servers[i].Pool
}

// newEstate lays the pools out, all with power and services, the first pool
// holding the route.
func newEstate(o *Options, addrs []netip.Addr, port uint16) *estate {
	e := &estate{silentStandby: o.SilentStandby, routes: map[string]string{}}
	for i := range o.Pools {
		p := Pool{Name: fmt.Sprintf("EdgePool%d", i+1), Site: fmt.Sprintf("Site%d", i+1), FQDN: fmt.Sprintf("edgepool%d.contoso.local", i+1)}
		for j := range o.ServersPerPool {
			name := fmt.Sprintf("EdgeServer%d", i+1)
			if o.ServersPerPool > 1 {
				name += string(rune('a' + j))
			}
			s := Server{
				Name: name, Pool: p.Name, FQDN: strings.ToLower(name) + ".contoso.local",
				XMPP: netip.AddrPortFrom(addrs[i*o.ServersPerPool+j], port),
			}
			p.Servers = append(p.Servers, s)
			e.servers = append(e.servers, &server{Server: s, site: p.Site, power: true, services: true})
		}
		e.pools = append(e.pools, p)
	}
	e.routes[e.pools[0].Site] = e.pools[0].Name
	return e
}

// end ends the server's XMPP for good.
func (s *server) end() error {
	s.turn.Lock()
	defer s.turn.Unlock()
	return s.xmpp.Kill()
}
