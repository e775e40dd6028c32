package actions

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	"edgewatch/probe"
)

// observer is a Task that only looks.
type observer struct {
	target  string
	preview string
	check   func(ctx context.Context) (Observation, error)
}

func (o *observer) Target() string              { return o.target }
func (o *observer) Preview() []string           { return []string{o.preview} }
func (o *observer) Apply(context.Context) error { return nil }
func (o *observer) Check(ctx context.Context) (Observation, error) {
	return o.check(ctx)
}

// NewPortCheck is step 6 on one address: is the path to its port open? The
// services are stopped at that time, so that an open and a refused port both
// prove it; silence means that something filters. Dial opens a connection.
func NewPortCheck(addr netip.AddrPort, dial func(ctx context.Context, network, addr string) (net.Conn, error)) Task {
	return &observer{
		target:  addr.String(),
		preview: fmt.Sprintf("connect to %s: open and refused both prove the path, silence means filtered", addr),
		check: func(ctx context.Context) (Observation, error) {
			conn, err := dial(ctx, "tcp", addr.String())
			switch {
			case err == nil:
				conn.Close()
				return Observation{Status: Done, Detail: "open"}, nil
			case errors.Is(err, syscall.ECONNREFUSED):
				return Observation{Status: Done, Detail: "refused, so the path is open"}, nil
			case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
				return Observation{Status: Pending, Detail: "no answer: something on the way filters the port"}, nil
			}
			return Observation{}, &Error{
				Kind: Transient, Host: addr.String(), Op: "connect", Err: err,
				Next: "check the route and the firewall between edgewatch and the external address of the Edge pool",
			}
		},
	}
}

// Prober is what NewAnswers asks; *probe.Prober is one.
type Prober interface {
	Probe(ctx context.Context, t probe.Target) probe.Result
}

// NewAnswers verifies that at least need of the targets answer XMPP, whatever
// their certificates are like (runbook: the real proof comes after step 7).
// Pool names them.
func NewAnswers(p Prober, pool string, targets []probe.Target, need int) Task {
	names := make([]string, len(targets))
	for i, t := range targets {
		names[i] = t.Addr.String()
	}
	return &observer{
		target:  pool,
		preview: fmt.Sprintf("open an XMPP stream to %s: at least %d must answer", strings.Join(names, ", "), need),
		check: func(ctx context.Context) (Observation, error) {
			results := make([]probe.Result, len(targets))
			var wg sync.WaitGroup
			for i, t := range targets {
				wg.Go(func() { results[i] = p.Probe(ctx, t) })
			}
			wg.Wait()
			answers, parts := 0, make([]string, len(results))
			for i, r := range results {
				if r.Level.Answers() {
					answers++
				}
				parts[i] = fmt.Sprintf("%s %s/%s", r.Target.Addr, r.Phase, r.Class)
			}
			status := Pending
			if answers >= need {
				status = Done
			}
			return Observation{Status: status, Detail: fmt.Sprintf("%d of %d answer: %s", answers, len(results), strings.Join(parts, ", "))}, nil
		},
	}
}

// PartnerSight is what a federating partner finds for a domain.
type PartnerSight struct {
	Answering []netip.Addr // addresses that answer XMPP, of the best SRV records of which one does: partners go there (RFC 2782)
	Text      string       // all that was found, in words
}

// NewPartnerCheck verifies that a federating partner of domain is led by SRV
// and address records to an address of pool that answers, and to no pool before it.
func NewPartnerCheck(domain, pool string, addrs []netip.Addr, look func(ctx context.Context) (PartnerSight, error)) Task {
	return &observer{
		target:  "partner of " + domain,
		preview: fmt.Sprintf("look up _xmpp-server._tcp.%s, then its addresses, and open an XMPP stream there: it must lead to %s", domain, pool),
		check: func(ctx context.Context) (Observation, error) {
			sight, err := look(ctx)
			if err != nil {
				return Observation{}, &Error{Kind: Transient, Host: domain, Op: "partner's view", Err: err, Next: "check that the resolvers answer"}
			}
			status := Pending
			if slices.ContainsFunc(sight.Answering, func(a netip.Addr) bool { return slices.Contains(addrs, a) }) {
				status = Done
			}
			return Observation{Status: status, Detail: sight.Text}, nil
		},
	}
}
