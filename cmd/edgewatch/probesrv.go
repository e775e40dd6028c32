package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"edgewatch/probe"
	"edgewatch/watchdog/app"
)

// partnerProbe looks at a domain as a partner does.
type partnerProbe struct {
	t     *tool
	f     probeFlags
	eye   *app.Eye // nil without a configuration
	res   probe.PartnerResult
	views []probe.View  // of each name server
	asked time.Duration // how long those took
	drift *driftJSON    // nil without a configuration
}

func (t *tool) probePartner(ctx context.Context, f probeFlags, asJSON bool) error {
	w := partnerProbe{t: t, f: f}
	o, err := w.prepare()
	if err != nil {
		return err
	}
	r := probe.ResolverOptions{Servers: w.f.resolvers, DirectTLS: f.direct}
	if w.eye != nil && !f.given("resolver") {
		r.Servers = w.eye.Resolvers
	}
	every := r
	every.Servers = w.f.resolvers
	var meanwhile sync.WaitGroup
	meanwhile.Go(func() {
		began := time.Now()
		w.views = probe.NewResolver(every).Views(ctx, f.srv)
		w.asked = time.Since(began)
	})
	w.res = probe.New(o).Partner(ctx, probe.NewResolver(r), f.srv, w.f.from)
	meanwhile.Wait()
	if w.eye != nil {
		w.findDrift(ctx)
	}
	if asJSON {
		err = t.printJSON(w.forScripts(time.Now()))
	} else {
		w.print()
	}
	if w.drift != nil && w.drift.Drifted {
		return errors.Join(err, &failure{code: exitFailed})
	}
	return errors.Join(err, levelFailure(w.res.Level))
}

// prepare takes from the configuration what the command line does not say.
func (w *partnerProbe) prepare() (probe.Options, error) {
	var o probe.Options
	if w.f.config != "" {
		cfg, err := load(w.f.config)
		if err != nil {
			return o, err
		}
		if w.eye, err = app.NewEye(cfg, w.f.srv); err != nil {
			return o, usage(fmt.Errorf("%s: %w", w.f.config, err))
		}
		if o = w.eye.Options; w.f.from == "" {
			w.f.from = w.eye.From
		}
		if len(w.f.resolvers) == 0 {
			w.f.resolvers = w.eye.Servers
		}
	}
	if len(w.f.resolvers) == 0 {
		return o, usage(errors.New("--srv wants the name server to ask: --resolver ADDRESS, or --config FILE with one that names it"))
	}
	if w.f.from == "" {
		w.f.from = "probe." + w.f.srv
	}
	return w.f.options(w.t.err, o)
}

// findDrift holds where every name server leads partners against the pool
// that carries federation by the journal of the running edgewatch.
func (w *partnerProbe) findDrift(ctx context.Context) {
	d := &driftJSON{Federation: w.eye.Federation(), LeadsTo: w.eye.LeadsTo(w.res.Targets)}
	w.drift = d
	silent := fmt.Sprintf("no name server tells where partners of %s are led", w.res.Domain)
	knows := slices.ContainsFunc(w.views, func(v probe.View) bool { return v.Knows() })
	var err error
	if d.Active, err = w.active(ctx); err != nil {
		d.Why = fmt.Sprintf("DNS leads partners of %s to %s", w.res.Domain, somewhere(d.LeadsTo))
		if !knows {
			d.Why = silent
		}
		d.Why += fmt.Sprintf("; which pool carries federation is not known: %v", err)
		return
	}
	astray := map[string][]string{} // servers by the pool that they lead to
	know := 0
	for i := range w.views {
		v := &w.views[i]
		if !v.Knows() {
			continue
		}
		know++
		if pool := w.eye.LeadsTo(v.Targets); pool != d.Active {
			astray[pool] = append(astray[pool], v.Server)
		}
	}
	switch {
	case !knows:
		d.Why = fmt.Sprintf("%s; %s carries federation", silent, d.Active)
	case len(astray) == 0:
		d.Why = fmt.Sprintf("DNS leads partners of %s to %s, which carries federation", w.res.Domain, d.Active)
	default:
		d.Drifted = true
		var parts []string
		for pool, servers := range astray {
			who := strings.Join(servers, ", ")
			if len(servers) == know {
				who = "DNS"
			}
			parts = append(parts, fmt.Sprintf("%s leads partners of %s to %s", who, w.res.Domain, somewhere(pool)))
		}
		slices.Sort(parts)
		d.Why = strings.Join(parts, "; ") + ", but " + d.Active + " carries federation"
	}
}

func somewhere(pool string) string {
	if pool == "" {
		return "no address"
	}
	return pool
}

// active asks the running edgewatch for the pool that carries federation.
func (w *partnerProbe) active(ctx context.Context) (string, error) {
	client, err := remote{socket: &w.f.socket, config: &w.f.config}.client()
	if err != nil {
		return "", err
	}
	snaps, err := client.Status(ctx, w.eye.Federation())
	if err != nil {
		return "", err
	}
	if len(snaps) == 0 || snaps[0].Active == "" {
		return "", errors.New("edgewatch is starting")
	}
	return snaps[0].Active, nil
}

func (w *partnerProbe) print() {
	t, res := w.t, &w.res
	c := levelCell(res.Level)
	fmt.Fprintf(t.out, "Partners of %s find: %s (%s; all name servers were asked in %s)\n", printable(res.Domain), t.style.paint(c.tone, c.text), span(res.Took), span(w.asked))
	if d := w.drift; d != nil {
		how := plain
		switch {
		case d.Drifted:
			how = bad
		case d.Active == "":
			how = warning
		}
		fmt.Fprintln(t.out, t.style.paint(how, printable(d.Why)))
	}
	if res.Error != "" {
		fmt.Fprintln(t.out, printable(res.Error))
	}
	for _, remark := range res.Remarks {
		fmt.Fprintln(t.out, printable(fmt.Sprintf("remark %s: %s", remark, remark.Meaning())))
	}
	w.printViews()
	t.printTargets(*res)
}

// printViews shows what each name server says.
func (w *partnerProbe) printViews() {
	t := w.t
	fmt.Fprintln(t.out)
	tab := table{style: t.style}
	head := []string{"NAME SERVER", "LEADS TO", "ANSWER"}
	if w.eye == nil {
		head = slices.Delete(head, 1, 2)
	}
	tab.header(head...)
	for i := range w.views {
		v := &w.views[i]
		row := []cell{{v.Server, plain}}
		if w.eye != nil {
			pool := cell{somewhere(w.eye.LeadsTo(v.Targets)), plain}
			if !v.Knows() {
				pool.text = "–"
			}
			if w.drift.Active != "" && v.Knows() && pool.text != w.drift.Active {
				pool.tone = bad
			}
			row = append(row, pool)
		}
		answer := cell{v.String(), plain}
		if !v.Knows() {
			answer = cell{v.String() + ": " + v.Error, warning}
		}
		tab.row(append(row, answer)...)
	}
	tab.print(t.out)
	if !probe.Agree(w.views) {
		fmt.Fprintln(t.out, t.style.paint(bad, "the name servers do not agree: what partners find depends on whom they ask"))
	}
}

// resolverAddrs are name servers' addresses with their ports.
func resolverAddrs(list []string) ([]string, error) {
	out := make([]string, len(list))
	for i, s := range list {
		if ip, err := bareAddr(s); err == nil {
			out[i] = net.JoinHostPort(ip.String(), "53")
			continue
		}
		if _, err := netip.ParseAddrPort(s); err != nil {
			return nil, usage(fmt.Errorf("--resolver %q is no ADDRESS:PORT", s))
		}
		out[i] = s
	}
	return out, nil
}
