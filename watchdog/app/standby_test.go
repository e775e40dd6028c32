package app

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"edgewatch/configs"
)

// listenOn opens a port of the kernel's choice and counts nothing: whoever
// connects is let in.
func listenOn(t *testing.T, addr string) (int, func()) {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().(*net.TCPAddr).Port, func() { l.Close() }
}

// standby is a builder whose EdgePool2 has one address and asks nobody but its
// ports.
func standby(t *testing.T, change func(*configs.Federation)) (*builder, *configs.Pool) {
	t.Helper()
	cfg, err := configs.Load(example)
	if err != nil {
		t.Fatal(err)
	}
	f := &cfg.Federations[0]
	f.DNS.Zones, f.Management.Host = nil, ""
	p := f.Pool("EdgePool2")
	p.Servers, p.Addresses = nil, []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	change(f)
	b, err := newBuilder(f, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b, p
}

// A standby may not listen on 5269 before it holds the route, so that by
// default its ports do not matter; those it shall have open are named when one
// is not, with its address and what to do.
func TestStandbyPorts(t *testing.T) {
	t.Parallel()
	open, _ := listenOn(t, "127.0.0.1")
	federated, shut := listenOn(t, "127.0.0.1")
	shut()
	closed, shut := listenOn(t, "127.0.0.1")
	shut()
	tests := []struct {
		name  string
		ready string
		ports []int
		want  []string // in the error; none: ready
	}{
		{"preflight asks for no port", "preflight", nil, nil},
		{"open", configs.StandbyPorts, []int{open}, nil},
		{"closed", configs.StandbyPorts, []int{open, closed}, []string{fmt.Sprintf("port %d of 127.0.0.1, an address of EdgePool2, is closed: start the service", closed)}},
		{"5269 closed", configs.StandbyPorts, []int{open, federated}, []string{fmt.Sprintf("port %d of 127.0.0.1", federated), "only while it holds the route"}},
		{"two closed, both are named", configs.StandbyPorts, []int{closed, federated}, []string{fmt.Sprintf("port %d of", closed), fmt.Sprintf("port %d of", federated)}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b, p := standby(t, func(f *configs.Federation) {
				f.Port, f.Guards.StandbyReady, f.Guards.StandbyPorts = federated, tt.ready, tt.ports
			})
			err := b.rehearse(t.Context(), p)
			if (err == nil) != (tt.want == nil) {
				t.Fatalf("ready: %v", err)
			}
			for _, w := range tt.want {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("%v does not say %q", err, w)
				}
			}
		})
	}
}

// Every address of the standby must have them open, and one that is silent is
// waited for no longer than the preflight may take.
func TestStandbyPortsOnEveryAddress(t *testing.T) {
	t.Parallel()
	port, _ := listenOn(t, "127.0.0.1")
	b, p := standby(t, func(f *configs.Federation) {
		f.Guards.StandbyReady, f.Guards.StandbyPorts = configs.StandbyPorts, []int{port}
		p := f.Pool("EdgePool2")
		p.Addresses = append(p.Addresses, netip.MustParseAddr("127.0.0.2"))
	})
	if err := b.rehearse(t.Context(), p); err == nil || strings.Contains(err.Error(), "127.0.0.1") || !strings.Contains(err.Error(), fmt.Sprintf("port %d of 127.0.0.2", port)) {
		t.Errorf("127.0.0.2 has the port closed: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), -time.Second)
	defer cancel()
	if err := b.rehearse(ctx, p); err == nil || !strings.Contains(err.Error(), "does not answer") {
		t.Errorf("no time is left: %v", err)
	}
}
