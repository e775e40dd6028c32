package winrm

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

// tlsConn is a TLS connection that tells why the host ended it. A host that
// refuses our certificate says so in an alert after the handshake, as far as
// we can see (TLS 1.3), and closes: our first write may then fail with "broken
// pipe" while the alert, which has the reason, waits to be read.
type tlsConn struct {
	*tls.Conn
	once  sync.Once
	ended chan struct{} // closed when a Read has failed
	why   error         // with what; set before ended is closed
}

// alertGrace is how long a failed Write waits for the host's own word.
const alertGrace = 200 * time.Millisecond

// handshake makes conn a TLS connection, within dialTimeout and ctx, or closes
// it.
func handshake(ctx context.Context, conn net.Conn, cfg *tls.Config) (net.Conn, error) {
	c := &tlsConn{Conn: tls.Client(conn, cfg), ended: make(chan struct{})}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := c.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

// Read implements net.Conn.
func (c *tlsConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil {
		c.once.Do(func() {
			c.why = err
			close(c.ended)
		})
	}
	return n, err
}

// Write implements net.Conn. Somebody must be reading meanwhile, as HTTP's
// transport is.
func (c *tlsConn) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err == nil {
		return n, nil
	}
	timer := time.NewTimer(alertGrace)
	defer timer.Stop()
	select {
	case <-c.ended:
		if op, ok := errors.AsType[*net.OpError](c.why); ok && op.Op == "remote error" {
			return n, c.why
		}
	case <-timer.C:
	}
	return n, err
}
