package probe_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/probe"
	"edgewatch/probe/probetest"
)

func target(addr string) probe.Target {
	return probe.Target{Addr: netip.MustParseAddrPort(addr), Domain: domain, From: from}
}

// TestBadTargets proves that a question that makes no sense is never asked and
// never counts against the server.
func TestBadTargets(t *testing.T) {
	t.Parallel()
	p := probe.New(probe.Options{Dial: func(context.Context, string, string) (net.Conn, error) {
		t.Error("dialled")
		return nil, errors.New("no")
	}})
	addr := netip.MustParseAddrPort("192.0.2.1:5269")
	for _, tg := range []probe.Target{
		{},
		{Addr: addr, Domain: "", From: from},
		{Addr: addr, Domain: "a'b", From: from},
		{Addr: addr, Domain: "a b.test", From: from},
		{Addr: addr, Domain: "192.0.2.1", From: from},
		{Addr: addr, Domain: strings.Repeat("a", 64) + ".test", From: from},
		{Addr: addr, Domain: domain, From: ""},
		{Addr: addr, Domain: domain, From: "Contoso.Test."},
	} {
		if r := p.Probe(t.Context(), tg); r.Class != probe.LocalError || r.Level != probe.Inconclusive || r.Error == "" {
			t.Errorf("%+v: got %+v", tg, r)
		}
	}
}

// TestPanic proves that a bug behind Dial ends as a result.
func TestPanic(t *testing.T) {
	t.Parallel()
	p := probe.New(probe.Options{Dial: func(context.Context, string, string) (net.Conn, error) { panic("oops") }})
	r := p.Probe(t.Context(), target("192.0.2.1:5269"))
	if r.Class != probe.LocalError || r.Level != probe.Inconclusive || !strings.Contains(r.Error, "oops") || len(r.Phases) != 1 {
		t.Errorf("got %+v", r)
	}
}

// pipe returns a Dial that hands the far end to serve.
func pipe(wg *sync.WaitGroup, serve func(net.Conn)) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		wg.Go(func() {
			defer func() { _ = far.Close() }()
			serve(far)
		})
		return near, nil
	}
}

func swallow(c net.Conn) {
	b := make([]byte, 512)
	for {
		if _, err := c.Read(b); err != nil {
			return
		}
	}
}

// TestDeadline proves that one absolute deadline ends a probe, whatever the
// server does: silent, dripping, or dripping through the close.
func TestDeadline(t *testing.T) {
	t.Parallel()
	drip := func(c net.Conn) {
		go swallow(c)
		_, _ = c.Write([]byte("<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' version='1.0' id='1'>"))
		for {
			if _, err := c.Write([]byte(" ")); err != nil {
				return
			}
			time.Sleep(time.Second / 4)
		}
	}
	for name, c := range map[string]struct {
		serve func(net.Conn)
		phase probe.Phase
		level probe.Level
	}{
		"silent": {swallow, probe.PhaseStream, probe.Down},
		"drip":   {drip, probe.PhaseFeatures, probe.Degraded},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var wg sync.WaitGroup
				p := probe.New(probe.Options{Timeout: 5 * time.Second, Dial: pipe(&wg, c.serve)})
				start := time.Now()
				r := p.Probe(t.Context(), target("192.0.2.1:5269"))
				if took := time.Since(start); took < 5*time.Second || took > 6*time.Second {
					t.Errorf("took %s", took)
				}
				if r.Phase != c.phase || r.Class != probe.Timeout || r.Level != c.level {
					t.Errorf("got %+v", r)
				}
				wg.Wait()
			})
		})
	}
}

// TestCaller proves that a caller who gives up, or gives too little time, is
// told apart from a server that does not answer.
func TestCaller(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(context.Context) (context.Context, func()){
		"cancelled": func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithCancel(ctx)
			timer := time.AfterFunc(2*time.Second, cancel)
			return ctx, func() { timer.Stop(); cancel() }
		},
		"deadline": func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
			return ctx, cancel
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var wg sync.WaitGroup
				p := probe.New(probe.Options{Timeout: 5 * time.Second, Dial: pipe(&wg, swallow)})
				ctx, cancel := end(t.Context())
				defer cancel()
				start := time.Now()
				r := p.Probe(ctx, target("192.0.2.1:5269"))
				if took := time.Since(start); took != 2*time.Second {
					t.Errorf("took %s", took)
				}
				if r.Class != probe.LocalError || r.Level != probe.Inconclusive || r.Blame != probe.Local || !strings.Contains(r.Error, "caller") {
					t.Errorf("got %+v", r)
				}
				seen.shows(t, 69, r.Phase, r.Class, r.Condition, r.Remarks)
				wg.Wait()
			})
		})
	}
}

// TestStall proves that a machine that was too busy to look in time does not
// blame the server for it.
func TestStall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := probe.New(probe.Options{Timeout: 5 * time.Second, Dial: func(context.Context, string, string) (net.Conn, error) {
			time.Sleep(5*time.Second + 600*time.Millisecond) // as if the system had given us no time
			return nil, os.ErrDeadlineExceeded
		}})
		r := p.Probe(t.Context(), target("192.0.2.1:5269"))
		want{phase: probe.PhaseConnect, class: probe.LocalError, level: probe.Inconclusive, evidence: "this machine"}.check(t, r)
	})
}

// stalled is a connection that the machine looks at late, when the server has
// lost its patience.
type stalled struct {
	net.Conn
	late time.Duration
	err  error
}

func (s *stalled) Read([]byte) (int, error) {
	time.Sleep(s.late)
	return 0, s.err
}

// TestStallInTalk proves the same of a connection that the server has ended by
// the time we look. One that ends in time is the server's doing.
func TestStallInTalk(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		late time.Duration
		want want
	}{
		"closed":         {io.EOF, 5600 * time.Millisecond, want{phase: probe.PhaseStream, class: probe.LocalError, level: probe.Inconclusive, evidence: "this machine"}},
		"reset":          {syscall.ECONNRESET, time.Hour, want{phase: probe.PhaseStream, class: probe.LocalError, level: probe.Inconclusive, evidence: "its own deadline"}},
		"closed in time": {io.EOF, 5 * time.Second, want{phase: probe.PhaseStream, class: probe.Closed, level: probe.Down}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var wg sync.WaitGroup
				dial := pipe(&wg, swallow)
				p := probe.New(probe.Options{Timeout: 5 * time.Second, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := dial(ctx, network, addr)
					return &stalled{conn, c.late, c.err}, err
				}})
				c.want.check(t, p.Probe(t.Context(), target("192.0.2.1:5269")))
				wg.Wait()
			})
		})
	}
}

// TestSlowConnect proves the remark on a lost first packet: case 70.
func TestSlowConnect(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var wg sync.WaitGroup
		dial := pipe(&wg, func(c net.Conn) {
			b := make([]byte, 512)
			_, _ = c.Read(b)
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			swallow(c)
		})
		p := probe.New(probe.Options{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			time.Sleep(1016 * time.Millisecond)
			return dial(ctx, network, addr)
		}})
		r := p.Probe(t.Context(), target("192.0.2.1:5269"))
		want{phase: probe.PhaseStream, class: probe.NotXMPP, level: probe.Down, remarks: []probe.Class{probe.SlowConnect}}.check(t, r)
		wg.Wait()
	})
}

// closeCounter tells when it is closed.
type closeCounter struct {
	net.Conn
	closed func()
}

func (c *closeCounter) Close() error {
	c.closed()
	return c.Conn.Close()
}

// TestPerAddress proves that a short backlog is spared: no more probes in
// flight to one address than allowed, and waiting in vain is our own fault.
func TestPerAddress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var wg, probes sync.WaitGroup
		var mu sync.Mutex
		now, most := 0, 0
		count := func(by int) {
			mu.Lock()
			defer mu.Unlock()
			now += by
			most = max(most, now)
		}
		dial := pipe(&wg, swallow)
		p := probe.New(probe.Options{Timeout: 5 * time.Second, PerAddress: 2, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
			count(1)
			c, err := dial(ctx, network, addr)
			return &closeCounter{c, func() { count(-1) }}, err
		}})
		classes := map[probe.Class]int{}
		for i := range 6 { // two at once, two after them, two too late
			addr := []string{"192.0.2.1:5269", "[::ffff:192.0.2.1]:5269"}[i%2]
			probes.Go(func() {
				r := p.Probe(t.Context(), target(addr))
				mu.Lock()
				defer mu.Unlock()
				classes[r.Class]++
			})
		}
		probes.Wait()
		wg.Wait()
		if most != 2 || classes[probe.Timeout] != 4 || classes[probe.LocalError] != 2 {
			t.Errorf("%d in flight, %v", most, classes)
		}
	})
}

// TestTurns proves that waiting for our own turn never counts against the
// server: the time limit begins with the turn, and no turn is our own fault.
func TestTurns(t *testing.T) {
	t.Parallel()
	slow := func(answer time.Duration) func(net.Conn) {
		return func(c net.Conn) {
			b := make([]byte, 512)
			_, _ = c.Read(b)
			time.Sleep(answer)
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			swallow(c)
		}
	}
	for name, c := range map[string]struct {
		serve   func(net.Conn)
		classes []probe.Class // in the order in which they end
		longest time.Duration
	}{
		// The second waits for 4 s and more of its 5 s.
		"slow answers": {slow(4 * time.Second), []probe.Class{probe.NotXMPP, probe.NotXMPP}, 10 * time.Second},
		// Two have their turn, and for the third it would come too late.
		"silence": {swallow, []probe.Class{probe.Timeout, probe.LocalError, probe.Timeout}, 12 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var wg sync.WaitGroup
				p := probe.New(probe.Options{Timeout: 5 * time.Second, PerAddress: 1, Dial: pipe(&wg, c.serve)})
				results := make(chan probe.Result, len(c.classes))
				begin := time.Now()
				for range c.classes {
					wg.Go(func() { results <- p.Probe(t.Context(), target("192.0.2.1:5269")) })
				}
				for i, class := range c.classes {
					r := <-results
					if r.Class != class || (r.Level == probe.Down) != (class != probe.LocalError) {
						t.Errorf("result %d: got %s %s: %s; want %s", i, r.Class, r.Level, r.Error, class)
					}
					if class != probe.LocalError && r.Took > 5*time.Second {
						t.Errorf("result %d: took %s, waiting included", i, r.Took)
					}
				}
				wg.Wait()
				if took := time.Since(begin); took > c.longest {
					t.Errorf("took %s, more than %s", took, c.longest)
				}
			})
		})
	}
}

// TestFreshConnections proves that nothing of a probe is used by the next one:
// after every kind of failure, and after a success, there is a new connection
// and a whole new handshake.
func TestFreshConnections(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s := probetest.NewServer(t, probetest.Config{Domain: domain, CA: f.ca, Cert: &f.cert})
	p := probe.New(probe.Options{RootCAs: f.ca.Pool(), SlowConnect: -1, PerAddress: 1})
	for i, c := range []struct {
		b     probetest.Behaviour
		class probe.Class
	}{
		{nil, probe.OK}, {nil, probe.OK}, {probetest.HTTP, probe.NotXMPP}, {nil, probe.OK}, {probetest.CloseAtOnce, probe.Closed}, {nil, probe.OK},
		{probetest.AfterProceed("", probetest.Finish), probe.Closed}, {nil, probe.OK}, {probetest.InTLS(probetest.Finish), probe.Closed}, {nil, probe.OK},
	} {
		s.Behave(c.b)
		r := p.Probe(t.Context(), probe.Target{Addr: s.Addr(), Domain: domain, From: from})
		if r.Class != c.class || s.Accepted() != i+1 {
			t.Errorf("probe %d: %s %s after %d connections, want %s: %s", i, r.Phase, r.Class, s.Accepted(), c.class, r.Error)
		}
		if c.class == probe.OK && (r.Cert == nil || len(r.Phases) != 8) {
			t.Errorf("probe %d: no whole conversation: %+v", i, r)
		}
	}
}

// TestPolite proves that every stream the server opened is closed by its
// closing tag, after stream errors too.
func TestPolite(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, word := range []string{"healthy", "no_starttls", "auth_required", "starttls_failure", "stream_error:host-unknown"} {
		t.Run(word, func(t *testing.T) {
			t.Parallel()
			b, err := probetest.Named(word)
			if err != nil {
				t.Fatal(err)
			}
			s := probetest.NewServer(t, probetest.Config{Domain: domain, CA: f.ca, Cert: &f.cert, Behaviour: b})
			r := probe.New(probe.Options{RootCAs: f.ca.Pool(), SlowConnect: -1}).Probe(t.Context(), probe.Target{Addr: s.Addr(), Domain: domain, From: from})
			s.Stop() // waits until the server has read the rest
			if s.Polite() != 1 || len(r.Notes)+len(r.Remarks) > 0 {
				t.Errorf("%d polite ends of %d: %+v", s.Polite(), s.Accepted(), r)
			}
		})
	}
}
