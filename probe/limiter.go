package probe

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// limiter keeps the number of probes in flight to one address small: a server
// with a short backlog answers the next one with a lost packet.
type limiter struct {
	max int // negative: no limit

	mu    sync.Mutex
	slots map[netip.AddrPort]*slots
}

type slots struct {
	users int // in flight or waiting
	free  chan struct{}
}

// enter waits for a slot until the deadline. The caller calls release once.
func (l *limiter) enter(ctx context.Context, a netip.AddrPort, deadline time.Time) (release func(), err error) {
	if l.max < 0 {
		return func() {}, nil
	}
	a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port()) // one server, however its address is written
	s := l.join(a)
	select {
	case s.free <- struct{}{}:
	default:
		timer := time.NewTimer(time.Until(deadline))
		defer timer.Stop()
		select {
		case s.free <- struct{}{}:
		case <-timer.C:
			l.leave(a, s)
			return nil, fmt.Errorf("no turn came to probe %[2]s, as %[1]d at a time may: probe it less often", l.max, a)
		case <-ctx.Done():
			l.leave(a, s)
			return nil, fmt.Errorf("the probe was cut short by its caller: %w", context.Cause(ctx))
		}
	}
	return func() { <-s.free; l.leave(a, s) }, nil
}

func (l *limiter) join(a netip.AddrPort) *slots {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.slots[a]
	if s == nil {
		if l.slots == nil {
			l.slots = map[netip.AddrPort]*slots{}
		}
		s = &slots{free: make(chan struct{}, l.max)}
		l.slots[a] = s
	}
	s.users++
	return s
}

func (l *limiter) leave(a netip.AddrPort, s *slots) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.users--; s.users == 0 {
		delete(l.slots, a)
	}
}
