package probe_test

import (
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"edgewatch/probe"
)

// fullBacklog listens with a queue that is full already, so that the system
// drops every further connection request.
func fullBacklog(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	in4, ok := sa.(*syscall.SockaddrInet4)
	if !ok {
		t.Fatalf("not an IPv4 address: %v", sa)
	}
	addr := netip.AddrPortFrom(netip.AddrFrom4(in4.Addr), uint16(in4.Port))
	for {
		d := net.Dialer{Timeout: 100 * time.Millisecond}
		c, err := d.DialContext(t.Context(), "tcp", addr.String())
		if err != nil {
			return addr
		}
		t.Cleanup(func() { _ = c.Close() })
	}
}

// TestFullBacklog proves that a host that drops requests is a timeout,
// on real sockets without a firewall: case 2.
func TestFullBacklog(t *testing.T) {
	t.Parallel()
	addr := fullBacklog(t)
	r := probe.New(probe.Options{Timeout: hung}).Probe(t.Context(), probe.Target{Addr: addr, Domain: domain, From: from})
	want{number: 2, phase: probe.PhaseConnect, class: probe.Timeout, level: probe.Down}.check(t, r)
}
