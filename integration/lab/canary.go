package lab

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
)

// canary is a TCP port that is open as long as the outside world is there.
type canary struct {
	addr netip.AddrPort
	wg   sync.WaitGroup

	mu sync.Mutex
	l  net.Listener // nil while the port is closed
}

func (c *canary) open(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.l != nil {
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", c.addr.String())
	if err != nil {
		return fmt.Errorf("open a canary: %w", err)
	}
	c.l = l
	c.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	})
	return nil
}

// close closes the port and returns when it is closed.
func (c *canary) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.l == nil {
		return nil
	}
	err := c.l.Close()
	c.l = nil
	c.wg.Wait()
	return err
}
