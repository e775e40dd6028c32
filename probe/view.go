package probe

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
)

// Limits of one partner's eye.
const (
	maxTargets    = 16 // SRV records followed
	maxAddresses  = 32 // addresses probed
	maxParallel   = 8
	federatedPort = 5269
)

// partnerView is one partner's eye at work.
type partnerView struct {
	p   *Prober // nil: only DNS is looked at
	r   *Resolver
	res PartnerResult
}

func (v *partnerView) look(ctx context.Context) {
	if !v.services(ctx) {
		return
	}
	v.resolve(ctx)
	v.probe(ctx)
	v.verdict()
}

// stopAt ends the view in DNS: there is nobody to probe.
func (v *partnerView) stopAt(c Class, format string, args ...any) bool {
	v.res.Phase, v.res.Class, v.res.Level = PhaseDNS, c, Inconclusive
	v.res.Blame, v.res.Error = c.Info().Blame, fmt.Sprintf(format, args...)
	return false
}

func (v *partnerView) remark(c Class) {
	if !slices.Contains(v.res.Remarks, c) {
		v.res.Remarks = append(v.res.Remarks, c)
	}
}

// services finds the targets. No SRV record means the domain itself; an answer
// that could not be had does not, because partners would not fall back either.
func (v *partnerView) services(ctx context.Context) bool {
	plain := v.r.LookupSRV(ctx, "_xmpp-server._tcp."+v.res.Domain)
	v.res.Services = append(v.res.Services, plain)
	off := noService(plain)
	found := plain.Class == OK && !off
	if found && !v.r.o.DirectTLS {
		v.targets(plain.SRV, nil)
		return true
	}
	if plain.Class != OK && plain.Class != NXDomain && plain.Class != NoData {
		return v.stopAt(plain.Class, "%s", plain.Error)
	}
	direct := v.r.LookupSRV(ctx, "_xmpps-server._tcp."+v.res.Domain)
	v.res.Services = append(v.res.Services, direct)
	alsoDirect := direct.Class == OK && !noService(direct)
	if alsoDirect && !found {
		v.remark(NoStartTLSService)
	}
	if alsoDirect || found {
		v.targets(plain.SRV, direct.SRV)
		return true
	}
	if off {
		return v.stopAt(NoService, "the SRV record of %s says that there is no XMPP federation", plain.Name)
	}
	v.res.Fallback = true
	v.remark(DNSNoSRV)
	v.targets([]SRV{{Target: v.res.Domain + ".", Port: federatedPort}}, nil)
	return true
}

// noService reports whether the target "." is all there is.
func noService(l Lookup) bool {
	return l.Class == OK && !slices.ContainsFunc(l.SRV, func(s SRV) bool { return s.Target != "." })
}

// targets lists where the records lead. XEP-0368 has both kinds mixed, as if
// they were of one service.
func (v *partnerView) targets(plain, direct []SRV) {
	var all []PartnerTarget
	for i, srv := range slices.Concat(plain, direct) {
		if srv.Target != "." {
			all = append(all, PartnerTarget{SRV: srv, DirectTLS: i >= len(plain)})
		}
	}
	slices.SortStableFunc(all, func(a, b PartnerTarget) int { return a.compare(b.SRV) })
	if len(all) > maxTargets {
		v.remark(TooManyTargets)
		all = all[:maxTargets]
	}
	v.res.Targets = all
}

// each runs f for 0 to n-1, a bounded number at a time, and waits for all.
func (v *partnerView) each(n int, f func(int)) {
	width := maxParallel
	if v.p != nil && v.p.o.Trace != nil {
		width = 1 // a transcript of several at once cannot be read
	}
	gate := make(chan struct{}, width)
	var wg sync.WaitGroup
	for i := range n {
		gate <- struct{}{}
		wg.Go(func() {
			defer func() { <-gate }()
			f(i)
		})
	}
	wg.Wait()
}

// resolve finds the addresses of every target.
func (v *partnerView) resolve(ctx context.Context) {
	v.each(len(v.res.Targets), func(i int) {
		t := &v.res.Targets[i]
		t.Lookups = []Lookup{v.r.LookupAAAA(ctx, t.Target), v.r.LookupA(ctx, t.Target)}
		t.settle(v.res.Fallback)
	})
}

// settle says whether the target has addresses, and why not.
func (t *PartnerTarget) settle(fallback bool) {
	t.Class = OK
	addrs := 0
	for _, l := range t.Lookups {
		addrs += len(l.Addrs)
		if l.Alias != "" && !fallback && !slices.Contains(t.Remarks, SRVCNAME) {
			t.Remarks = append(t.Remarks, SRVCNAME)
		}
		if l.Class != OK && l.Class != NoData && l.Class != NXDomain {
			t.Class, t.Error = l.Class, l.Error
		}
	}
	if t.Class == OK && t.Port == 0 {
		t.Class, t.Error = BadAnswer, fmt.Sprintf("the SRV record leads to port 0 of %s", t.Target)
	}
	if addrs > 0 || t.Class != OK {
		return
	}
	if t.Class = NoAddress; fallback && t.Lookups[0].Class == NXDomain {
		t.Class = NXDomain
	}
	t.Error = fmt.Sprintf("%s has no address", t.Target)
}

// probe asks every address once, however many targets lead to it.
func (v *partnerView) probe(ctx context.Context) {
	type question struct {
		addr   netip.AddrPort
		direct bool
	}
	var questions []question
	for i := range v.res.Targets {
		for _, a := range v.res.Targets[i].addresses() {
			q := question{a, v.res.Targets[i].DirectTLS}
			if slices.Contains(questions, q) {
				continue
			}
			if len(questions) == maxAddresses {
				v.remark(TooManyTargets)
				continue
			}
			questions = append(questions, q)
		}
	}
	results := make([]Result, len(questions))
	v.each(len(questions), func(i int) {
		results[i] = v.p.Probe(ctx, Target{Addr: questions[i].addr, Domain: v.res.Domain, From: v.res.From, DirectTLS: questions[i].direct})
	})
	for i := range v.res.Targets {
		t := &v.res.Targets[i]
		for _, a := range t.addresses() {
			if at := slices.Index(questions, question{a, t.DirectTLS}); at >= 0 {
				t.Results = append(t.Results, results[at])
			}
		}
	}
}

// addresses is where the target leads: an IPv4 address in an AAAA record is
// reached over IPv4.
func (t *PartnerTarget) addresses() []netip.AddrPort {
	if t.Port == 0 {
		return nil
	}
	var out []netip.AddrPort
	for _, l := range t.Lookups {
		for _, a := range l.Addrs {
			if ap := netip.AddrPortFrom(a.Unmap(), t.Port); !slices.Contains(out, ap) {
				out = append(out, ap)
			}
		}
	}
	return out
}
