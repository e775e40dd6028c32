package probetest_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"edgewatch/probe"
	"edgewatch/probe/probetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func ask(t *testing.T, s *probetest.Server) probe.Result {
	t.Helper()
	p := probe.New(probe.Options{RootCAs: s.CA().Pool(), PerAddress: -1, Timeout: 10 * time.Second})
	return p.Probe(t.Context(), probe.Target{Addr: s.Addr(), Domain: "contoso.test", From: "probe.test"})
}

// TestStopStart proves that a server can go away and come back on its address
// as often as one likes, also while clients are talking to it.
func TestStopStart(t *testing.T) {
	t.Parallel()
	s := probetest.NewServer(t, probetest.Config{Domain: "contoso.test"})
	for range 3 {
		if r := ask(t, s); r.Class != probe.OK {
			t.Errorf("running: %+v", r)
		}
		s.Behave(probetest.Silent)
		var d net.Dialer
		c, err := d.DialContext(t.Context(), "tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		s.Stop()
		s.Stop()
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Stop left a connection: %v", err)
		}
		_ = c.Close()
		if c, err := d.DialContext(t.Context(), "tcp", s.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
			if err == nil {
				_ = c.Close()
			}
			t.Errorf("stopped: %v", err)
		}
		s.Behave(nil)
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		if err := s.Start(); err != nil {
			t.Errorf("second Start: %v", err)
		}
	}
}

// TestMany proves that clients do not wait for each other.
func TestMany(t *testing.T) {
	t.Parallel()
	s := probetest.NewServer(t, probetest.Config{Domain: "contoso.test"})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if r := ask(t, s); r.Class != probe.OK {
				t.Errorf("got %+v", r)
			}
		})
	}
	wg.Wait()
	if s.Accepted() != 20 || s.Polite() != 20 {
		t.Errorf("%d connections, %d polite", s.Accepted(), s.Polite())
	}
}

// TestListenTaken proves that a port in use is an error that says so.
func TestListenTaken(t *testing.T) {
	t.Parallel()
	s := probetest.NewServer(t, probetest.Config{})
	if other, err := probetest.Listen(s.Addr().String(), probetest.Config{}); err == nil {
		other.Close()
		t.Error("two servers on one port")
	} else if !strings.Contains(err.Error(), s.Addr().String()) {
		t.Errorf("the error does not name the address: %v", err)
	}
}

// TestNamed proves that every word leads to a behaviour and no other does.
func TestNamed(t *testing.T) {
	t.Parallel()
	for _, word := range append(probetest.Names(), "stream_error:system-shutdown") {
		if b, err := probetest.Named(word); err != nil || b == nil {
			t.Errorf("%s: %v", word, err)
		}
	}
	for _, word := range []string{"", "nonsense", "stream_error:", "stream_error:<x>"} {
		if _, err := probetest.Named(word); err == nil || !strings.Contains(err.Error(), "healthy") {
			t.Errorf("%q: %v", word, err)
		}
	}
}

// TestPresent proves that a running server can be given another certificate.
func TestPresent(t *testing.T) {
	t.Parallel()
	s := probetest.NewServer(t, probetest.Config{Domain: "contoso.test"})
	if r := ask(t, s); r.Class != probe.OK {
		t.Errorf("before: %+v", r)
	}
	s.Present(s.CA().IssueLeaf(probetest.Leaf{Names: []string{"contoso.test"}, NotBefore: time.Now().AddDate(0, 0, -9), NotAfter: time.Now().AddDate(0, 0, -1)}))
	if r := ask(t, s); r.Class != probe.CertExpired {
		t.Errorf("after: %+v", r)
	}
}
