package lab

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
)

// FreeLoopback picks n consecutive addresses of 127.0.0.0/8 and one TCP port
// that is free on all of them, which is the given one unless that is 0.
// Nothing is held: what is picked at random from so large a room stays free
// long enough, and several labs fit on a machine. A port that is picked lies
// below those the kernel gives out by itself.
func FreeLoopback(ctx context.Context, n int, port uint16) ([]netip.Addr, uint16, error) {
	if n < 1 || n > 250 {
		return nil, 0, fmt.Errorf("pick loopback addresses: %d are wanted, 1 to 250 are possible", n)
	}
	const attempts = 50
	var last error
	for range attempts {
		first := netip.AddrFrom4([4]byte{127, byte(16 + rand.IntN(200)), byte(rand.IntN(256)), 1})
		at := port
		if at == 0 {
			at = uint16(20000 + rand.IntN(12000))
		}
		addrs := make([]netip.Addr, 0, n)
		for a := first; len(addrs) < n; a = a.Next() {
			addrs = append(addrs, a)
		}
		if last = freeOnAll(ctx, addrs, at); last == nil {
			return addrs, at, nil
		}
	}
	return nil, 0, fmt.Errorf("pick loopback addresses: %w", last)
}

func freeOnAll(ctx context.Context, addrs []netip.Addr, port uint16) error {
	var lc net.ListenConfig
	var errs []error
	for _, a := range addrs {
		l, err := lc.Listen(ctx, "tcp", net.JoinHostPort(a.String(), strconv.Itoa(int(port))))
		if err != nil {
			return err
		}
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}
