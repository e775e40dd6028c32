package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"

	"edgewatch/actions"
	"edgewatch/configs"
)

// rehearsal is one check of whether a pool could take over.
type rehearsal struct {
	target string
	check  func(ctx context.Context) error
}

// rehearsals are the pool's preflight tasks and the ports that a standby must
// have open. A failover itself does not ask for the ports: by the time it could
// the services that listen are stopped.
func (b *builder) rehearsals(p *configs.Pool) []rehearsal {
	var all []rehearsal
	for _, t := range b.preflight(p, b.survey) {
		all = append(all, rehearsal{t.Target(), func(ctx context.Context) error {
			obs, err := t.Check(ctx)
			if err == nil && obs.Status != actions.Done {
				err = fmt.Errorf("%s: %s", t.Target(), obs.Detail)
			}
			return err
		}})
	}
	dialer := &net.Dialer{Timeout: dialTimeout}
	for _, a := range p.Addresses {
		for _, port := range b.f.StandbyPorts() {
			addr := netip.AddrPortFrom(a, uint16(port))
			all = append(all, rehearsal{addr.String(), func(ctx context.Context) error { return b.openPort(ctx, dialer, p.Name, addr) }})
		}
	}
	return all
}

// openPort wants a port of a standby open: unlike in step 6, a refusal is no
// good, because its services run. The error says what to do.
func (b *builder) openPort(ctx context.Context, d *net.Dialer, pool string, addr netip.AddrPort) error {
	conn, err := d.DialContext(ctx, "tcp", addr.String())
	if err == nil {
		return conn.Close()
	}
	next := "start the service that listens there"
	if int(addr.Port()) == b.f.Port {
		next = "if this pool listens there only while it holds the route, leave the port out of guards.standby_ports"
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("port %d of %s, an address of %s, is closed: %s", addr.Port(), addr.Addr(), pool, next)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("port %d of %s, an address of %s, does not answer: check the server and the firewalls on the way there", addr.Port(), addr.Addr(), pool)
	}
	return fmt.Errorf("connect to port %d of %s, an address of %s: %w: check the route and the firewall between edgewatch and it", addr.Port(), addr.Addr(), pool, err)
}
