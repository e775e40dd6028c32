package sim

import (
	"context"
	"net"
	"strings"
	"sync"
	"time"

	"edgewatch/actions/rfc2136"
)

// dialDNS is the way of a process to the name servers of a zone.
func (p *process) dialDNS(name string) rfc2136.Dial {
	return func(ctx context.Context, _, addr string) (net.Conn, error) {
		w := p.run.world
		what := "dns " + addr + " for " + purpose(ctx)
		if err := p.pass(what); err != nil {
			return nil, err
		}
		z := w.zones["zone "+strings.TrimSuffix(name, ".")]
		w.mu.Lock()
		cut := w.cut
		takes := w.between(what, 10*time.Millisecond, 100*time.Millisecond)
		w.mu.Unlock()
		if cut {
			takes = time.Minute // longer than anybody waits
		}
		if err := p.sleep(ctx, what, takes); err != nil {
			return nil, err
		}
		if err := p.pass(what); err != nil {
			return nil, err
		}
		conn, err := z.wires[addr].dial(ctx)
		if err != nil {
			return nil, err
		}
		return gated{conn, p, what}, nil
	}
}

// purposeKey marks a context with what a task is for.
type purposeKey struct{}

func purpose(ctx context.Context) string {
	what, _ := ctx.Value(purposeKey{}).(string)
	return what
}

// gated is a connection of a process that can freeze and die.
type gated struct {
	net.Conn
	p    *process
	what string
}

func (c gated) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if perr := c.p.pass(c.what); perr != nil {
		return 0, perr
	}
	return n, err
}

func (c gated) Write(b []byte) (int, error) {
	if err := c.p.pass(c.what); err != nil {
		return 0, err
	}
	return c.Conn.Write(b)
}

// wireTo is a net.Listener whose connections are made in memory.
type wireTo struct {
	addr   string
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newWireTo(addr string) *wireTo {
	return &wireTo{addr: addr, conns: make(chan net.Conn), closed: make(chan struct{})}
}

// dial connects to whoever accepts.
func (l *wireTo) dial(ctx context.Context) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case l.conns <- far:
		return near, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Accept implements net.Listener.
func (l *wireTo) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (l *wireTo) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

// Addr implements net.Listener.
func (l *wireTo) Addr() net.Addr { return named(l.addr) }

// named is an address in memory.
type named string

func (named) Network() string  { return "memory" }
func (n named) String() string { return string(n) }
