package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"edgewatch/probe"
)

func (t *tool) printResults(results []probe.Result) {
	now := time.Now()
	tab := table{style: t.style}
	tab.header("ADDRESS", "LEVEL", "CLASS", "PHASE", "BLAME", "TOOK", "CERTIFICATE", "TLS", "PHASES")
	for i := range results {
		r := &results[i]
		version := "–"
		if r.TLS != nil {
			version = r.TLS.Version
		}
		tab.row(cell{r.Target.Addr.String(), plain}, levelCell(r.Level), cell{className(r), plain}, cell{r.Phase.String(), plain},
			cell{r.Blame.String(), plain}, cell{span(r.Took), plain}, certCell(r, now), cell{version, plain}, cell{phaseTimes(r), faint})
	}
	tab.print(t.out)
	for i := range results {
		t.explain(&results[i])
	}
}

func phaseTimes(r *probe.Result) string {
	parts := make([]string, len(r.Phases))
	for i, p := range r.Phases {
		parts[i] = p.Phase.String() + " " + span(p.Took)
	}
	return strings.Join(parts, ", ")
}

// explain says what is wrong with an address and what to check.
func (t *tool) explain(r *probe.Result) {
	say := func(format string, args ...any) {
		fmt.Fprintln(t.out, printable(fmt.Sprintf(format, args...)))
	}
	if r.Class != probe.OK {
		say("%s: %s", r.Target.Addr, r.Error)
		if means := r.Class.Meaning(); means != "" {
			say("  %s: %s", r.Class, means)
		}
	}
	if r.Cert != nil {
		for _, c := range r.Cert.Problems {
			if c != r.Class {
				say("  %s: %s", c, c.Meaning())
			}
		}
	}
	for _, c := range r.Remarks {
		say("  remark %s: %s", c, c.Meaning())
	}
}

// probePartner looks at a domain as a partner does.
func (t *tool) probePartner(ctx context.Context, f probeFlags, p *probe.Prober, asJSON bool) error {
	if len(f.resolvers) == 0 {
		return usage(errors.New("--srv wants the name server to ask: --resolver ADDRESS"))
	}
	servers := make([]string, len(f.resolvers))
	for i, s := range f.resolvers {
		var err error
		if servers[i], err = resolverAddr(s); err != nil {
			return usage(err)
		}
	}
	res := p.Partner(ctx, probe.NewResolver(probe.ResolverOptions{Servers: servers}), f.srv, f.from)
	if asJSON {
		return errors.Join(t.printJSON(partnerForScripts(res, time.Now())), levelFailure(res.Level))
	}
	c := levelCell(res.Level)
	fmt.Fprintf(t.out, "Partners of %s find: %s (%s)\n", printable(res.Domain), t.style.paint(c.tone, c.text), span(res.Took))
	if res.Error != "" {
		fmt.Fprintln(t.out, printable(res.Error))
	}
	for _, remark := range res.Remarks {
		fmt.Fprintln(t.out, printable(fmt.Sprintf("remark %s: %s", remark, remark.Meaning())))
	}
	t.printTargets(res)
	return levelFailure(res.Level)
}

func (t *tool) printTargets(res probe.PartnerResult) {
	fmt.Fprintln(t.out)
	tab := table{style: t.style}
	tab.header("PRIORITY", "WEIGHT", "TARGET", "ADDRESSES")
	var results []probe.Result
	for _, target := range res.Targets {
		var addrs []string
		for _, r := range target.Results {
			addrs = append(addrs, r.Target.Addr.Addr().String())
			if !slices.ContainsFunc(results, func(seen probe.Result) bool { return seen.Target == r.Target }) {
				results = append(results, r)
			}
		}
		if target.Class != probe.OK {
			addrs = append(addrs, target.Error)
		}
		name := fmt.Sprintf("%s:%d", strings.TrimSuffix(target.Target, "."), target.Port)
		tab.row(cell{fmt.Sprint(target.Priority), plain}, cell{fmt.Sprint(target.Weight), plain}, cell{name, plain}, cell{strings.Join(addrs, ", "), plain})
	}
	if len(res.Targets) > 0 {
		tab.print(t.out)
	}
	if len(results) > 0 {
		fmt.Fprintln(t.out)
		t.printResults(results)
	}
}

// resolverAddr is a name server's address with its port.
func resolverAddr(s string) (string, error) {
	if ip, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return net.JoinHostPort(ip.String(), "53"), nil
	}
	if _, err := netip.ParseAddrPort(s); err != nil {
		return "", fmt.Errorf("--resolver %q is no ADDRESS:PORT", s)
	}
	return s, nil
}
