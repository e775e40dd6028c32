package app

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"edgewatch/actions"
	"edgewatch/configs"
	"edgewatch/probe"
)

// Eye is how the configuration has a partner of one domain look, and what it
// knows of where that should lead.
type Eye struct {
	Options   probe.Options // CA and client certificate of the federation's probes
	From      string        // the domain they present as their own
	Resolvers []string      // asked one after the other for what a partner finds
	Servers   []string      // these and the authoritative servers: each of them should tell the same

	f *configs.Federation
}

// NewEye builds the eye for a domain of one of the federations. It reads the
// certificates that the configuration names and contacts nobody.
func NewEye(cfg *configs.Config, domain string) (*Eye, error) {
	domain = strings.ToLower(strings.TrimSuffix(domain, "."))
	i := slices.IndexFunc(cfg.Federations, func(f configs.Federation) bool { return slices.Contains(f.Domains, domain) })
	if i < 0 {
		return nil, fmt.Errorf("no federation of the configuration has the domain %s", domain)
	}
	b := &builder{f: &cfg.Federations[i]}
	if err := b.buildProber(); err != nil {
		return nil, err
	}
	e := &Eye{Options: b.options, From: b.f.Probe.From, Resolvers: resolvers(b.f), Servers: nameServers(b.f), f: b.f}
	return e, nil
}

// Federation is the name of the federation that has the domain.
func (e *Eye) Federation() string { return e.f.Name }

// LeadsTo names the pool that targets lead to, as PartnerView.Pool does.
func (e *Eye) LeadsTo(targets []probe.PartnerTarget) string { return poolOf(e.f, targets) }

// authoritative are the authoritative servers of a federation's zones.
func authoritative(f *configs.Federation) []string {
	var out []string
	for _, z := range f.DNS.Zones {
		out = append(out, addrPorts(z.Authoritative)...)
	}
	return out
}

// nameServers are all that should tell the same: those which are asked for what
// partners find, and the authoritative ones.
func nameServers(f *configs.Federation) []string {
	var out []string
	for _, s := range slices.Concat(resolvers(f), authoritative(f)) {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// elsewhere stands for addresses that no configured pool has.
const elsewhere = "addresses of no pool"

// poolOf names the pool that DNS prefers: the one that has the addresses of
// the best SRV records. Where these are of several pools, or of none, it names
// all that they lead to; "" when there are no addresses.
func poolOf(f *configs.Federation, targets []probe.PartnerTarget) string {
	var found []string
	for _, t := range targets {
		if t.Priority != targets[0].Priority {
			break
		}
		for _, l := range t.Lookups {
			for _, a := range l.Addrs {
				found = append(found, ownerOf(f, a.Unmap()))
			}
		}
	}
	slices.Sort(found)
	return strings.Join(slices.Compact(found), " and ")
}

// ownerOf names the pool that has the address.
func ownerOf(f *configs.Federation, a netip.Addr) string {
	for i := range f.Pools {
		if slices.Contains(f.Pools[i].Addresses, a) {
			return f.Pools[i].Name
		}
	}
	return elsewhere
}

// sight asks what a partner of domain finds now.
func (b *builder) sight(domain string) func(ctx context.Context) (actions.PartnerSight, error) {
	return func(ctx context.Context) (actions.PartnerSight, error) {
		if b.resolver == nil {
			return actions.PartnerSight{}, errors.New("no resolver and no authoritative server is configured")
		}
		r := b.prober.Partner(ctx, b.resolver, domain, b.f.Probe.From)
		sight := actions.PartnerSight{Answering: b.reached(r.Targets), Text: sightText(r)}
		var owners []string
		for _, a := range sight.Answering {
			owners = append(owners, ownerOf(b.f, a))
		}
		if slices.Sort(owners); len(owners) > 0 {
			sight.Text += "; of what answers, partners go to " + strings.Join(slices.Compact(owners), " and ")
		}
		return sight, nil
	}
}

// reached are the addresses that partners get to: those that answer of the SRV
// records of the lowest priority at which one does (RFC 2782). A server that
// counts as down although it answers is taken only where there is no other.
func (b *builder) reached(targets []probe.PartnerTarget) []netip.Addr {
	for _, judge := range []func(probe.Result) probe.Result{b.judge, func(r probe.Result) probe.Result { return r }} {
		var out []netip.Addr
		for i, t := range targets {
			if i > 0 && t.Priority != targets[i-1].Priority && len(out) > 0 {
				break
			}
			for _, r := range t.Results {
				if judge(r).Level.Answers() {
					out = append(out, r.Target.Addr.Addr().Unmap())
				}
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}
