package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"edgewatch/configs"
	"edgewatch/probe"
)

// canary asks one canary, by the name that settings gave it. Nil says that it
// answers as it should: a wrong answer shows that something between us and
// the canary answers in its place, and is no answer. The words of an error are
// the same as long as its cause is: they hold no port of ours and no times.
func (b *builder) canary(ctx context.Context, name string) error {
	i := slices.IndexFunc(b.f.Canaries.Targets, func(c configs.Canary) bool { return c.String() == name })
	if i < 0 {
		return errors.New("no such canary is configured")
	}
	c := b.f.Canaries.Targets[i]
	switch c.Kind {
	case configs.CanaryTCP:
		return b.canaryTCP(ctx, c)
	case configs.CanaryDNS:
		return b.canaryDNS(ctx, c)
	case configs.CanaryXMPP, configs.CanaryXMPPS:
		return b.canaryXMPP(ctx, c)
	}
	return fmt.Errorf("a canary of the kind %q cannot be asked", c.Kind)
}

// canaryTCP connects.
func (b *builder) canaryTCP(ctx context.Context, c configs.Canary) error {
	d := net.Dialer{Timeout: b.f.Canaries.Timeout.Duration}
	conn, err := d.DialContext(ctx, "tcp", c.Addr.String())
	if op, ok := errors.AsType[*net.OpError](err); ok {
		return fmt.Errorf("no connection: %w", op.Err)
	}
	if err != nil {
		return fmt.Errorf("no connection: %w", err)
	}
	return conn.Close()
}

// canaryDNS asks that one server itself. Only records count: who says that
// the name does not exist is not the server that was configured, or does not
// see what it should.
func (b *builder) canaryDNS(ctx context.Context, c configs.Canary) error {
	limit := b.f.Canaries.Timeout.Duration
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errLate)
	defer cancel()
	r := probe.NewResolver(probe.ResolverOptions{Servers: []string{c.Addr.String()}, Timeout: limit})
	var l probe.Lookup
	switch c.Type {
	case "AAAA":
		l = r.LookupAAAA(ctx, c.Name)
	case "SRV":
		l = r.LookupSRV(ctx, c.Name)
	default:
		l = r.LookupA(ctx, c.Name)
	}
	if l.Class == probe.OK {
		return nil
	}
	if l.Class == probe.LocalError && errors.Is(context.Cause(ctx), errLate) { // through more than one question
		l.Class = probe.Timeout
	}
	return fmt.Errorf("dns/%s instead of %s records of %s: %s", l.Class, c.Type, c.Name, firstSentence(l.Class))
}

var errLate = errors.New("the canary took longer than its time limit")

// canaryXMPP opens a stream as a partner does.
func (b *builder) canaryXMPP(ctx context.Context, c configs.Canary) error {
	r := b.canaries.Probe(ctx, probe.Target{Addr: c.Addr, Domain: c.Domain, From: b.f.Probe.From, DirectTLS: c.Kind == configs.CanaryXMPPS})
	if canaryAnswers(&r) {
		return nil
	}
	word := string(r.Class)
	if r.Condition != "" {
		word += ":" + r.Condition
	}
	return fmt.Errorf("%s/%s: %s", r.Phase, word, firstSentence(r.Class))
}

// canaryAnswers reports whether a conversation came to its end as it should.
// What is wrong with the canary's own certificate does not speak of our
// network. Everything else that degrades does: a server that says half a word
// may be at the far end of a line that loses the large packets.
func canaryAnswers(r *probe.Result) bool {
	if r.Level == probe.Up {
		return r.Class != probe.StreamError
	}
	ended := len(r.Features) > 0 || slices.Contains(r.Remarks, probe.AuthRequired)
	return r.Level == probe.Degraded && r.Phase == probe.PhaseCert && ended
}

// firstSentence is what a class means, without what to check.
func firstSentence(c probe.Class) string {
	first, _, _ := strings.Cut(c.Meaning(), ". ")
	return strings.TrimSuffix(first, ".")
}
