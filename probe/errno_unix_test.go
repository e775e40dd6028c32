//go:build !windows

package probe_test

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"testing"

	"edgewatch/probe"
)

// TestDialErrors proves which errors of connecting are the server's and which
// are ours; what nobody has heard of is ours. Cases 1, 2, 4 and 69.
func TestDialErrors(t *testing.T) {
	t.Parallel()
	sys := func(e syscall.Errno) error {
		return &net.OpError{Op: "dial", Net: "tcp", Err: os.NewSyscallError("connect", e)}
	}
	for _, c := range []struct {
		number int
		err    error
		class  probe.Class
		blame  probe.Blame
		level  probe.Level
	}{
		{1, sys(syscall.ECONNREFUSED), probe.Refused, probe.Remote, probe.Down},
		{2, sys(syscall.ETIMEDOUT), probe.Timeout, probe.Remote, probe.Down},
		{3, sys(syscall.ECONNRESET), probe.Reset, probe.Remote, probe.Down},
		{4, sys(syscall.EHOSTUNREACH), probe.Unreachable, probe.Remote, probe.Down},
		{69, sys(syscall.EMFILE), probe.LocalError, probe.Local, probe.Inconclusive},
		{69, sys(syscall.EADDRNOTAVAIL), probe.LocalError, probe.Local, probe.Inconclusive},
		{69, sys(syscall.EPERM), probe.LocalError, probe.Local, probe.Inconclusive},
		{69, sys(syscall.EAGAIN), probe.LocalError, probe.Local, probe.Inconclusive},
		{69, sys(syscall.ENOTSOCK), probe.LocalError, probe.Local, probe.Inconclusive},
		{69, errors.New("something new"), probe.LocalError, probe.Local, probe.Inconclusive},
	} {
		p := probe.New(probe.Options{Dial: func(context.Context, string, string) (net.Conn, error) { return nil, c.err }})
		r := p.Probe(t.Context(), target("192.0.2.1:5269"))
		if r.Phase != probe.PhaseConnect || r.Class != c.class || r.Blame != c.blame || r.Level != c.level {
			t.Errorf("%v: got %s/%s %s %s", c.err, r.Phase, r.Class, r.Blame, r.Level)
		}
		seen.shows(t, c.number, r.Phase, r.Class, r.Condition, r.Remarks)
	}
}
