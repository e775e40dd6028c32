package rfc2136

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"edgewatch/actions"
)

// writableTask is the preflight of a recordsTask.
type writableTask struct {
	updater *Updater
	wanted  Wanted
	invalid error
}

var _ actions.Task = (*writableTask)(nil)

// Target implements actions.Task.
func (t *writableTask) Target() string { return "zone " + trim(t.updater.zone.Name) }

// Apply implements actions.Task; a preflight changes nothing.
func (t *writableTask) Apply(context.Context) error { return nil }

// Preview implements actions.Task.
func (t *writableTask) Preview() []string { return t.updater.proofScript(t.wanted) }

// Check implements actions.Task. Pending means that a server lags behind the
// primary; everything that time does not cure is Rejected.
func (t *writableTask) Check(ctx context.Context) (actions.Observation, error) {
	var none actions.Observation
	u := t.updater
	op := "compare zone " + trim(u.zone.Name)
	if t.invalid != nil {
		return none, u.fail(actions.Rejected, t.invalid, "correct the configuration")
	}
	servers := append([]string{u.zone.Server}, slices.DeleteFunc(slices.Clone(u.zone.Authoritative), func(s string) bool { return s == u.zone.Server })...)
	rs := u.readEach(ctx, servers, t.wanted)
	if err := t.unanswered(rs); err != nil {
		return none, err
	}
	primary := rs[0].view
	words := []string{}
	lag := false
	for _, r := range rs {
		if r.err != nil {
			words = append(words, fmt.Sprintf("%s: no answer (%v)", r.server, reason(r.err)))
			continue
		}
		edits, err := r.view.plan(t.wanted, op)
		if err != nil && !r.view.outdated(rs) {
			return none, err
		}
		text := r.view.describe(t.wanted, edits)
		if err != nil {
			text = fmt.Sprintf("%s serial %d: %v", r.server, r.view.serial, reason(err))
		}
		if !r.view.same(primary, t.wanted) {
			lag = true
			text += ", which is not what the primary has"
		}
		words = append(words, text)
	}
	if err := t.prove(ctx, primary); err != nil {
		return none, err
	}
	words = append(words, "key "+trim(u.zone.TSIG.Name)+" may change the records")
	o := actions.Observation{Status: actions.Done, Detail: strings.Join(words, "; ")}
	if lag {
		o.Status = actions.Pending
	}
	return o, nil
}

// unanswered is the error of the servers that gave no view, unless so many
// of them may be silent. The primary, which comes first, may never.
func (t *writableTask) unanswered(rs []reading) error {
	var silent []error
	for i, r := range rs {
		switch {
		case r.err == nil:
		case i == 0 || actions.KindOf(r.err) != actions.Transient:
			return r.err
		default:
			silent = append(silent, r.err)
		}
	}
	if len(silent) > t.updater.zone.MaySilent {
		return silent[0]
	}
	return nil
}

// prove sends a signed update that deletes, from each set that the failover
// would change, a record that is not there. A server checks the key's rights
// per record of the update, so that prerequisites alone would prove only the
// key; deleting nothing changes nothing, the serial neither. The sets are
// prerequisites, so that it stays nothing whatever happens meanwhile.
func (t *writableTask) prove(ctx context.Context, v *view) error {
	u := t.updater
	m := new(dns.Msg)
	m.SetUpdate(u.zone.Name)
	for _, s := range t.wanted.touched(v) {
		old, absent := v.sets[s], s.absent(v.sets[s])
		if len(old) > 0 {
			m.Used(copies(old))
		} else {
			// BIND does not judge deletions at a set that is not there.
			m.RRsetNotUsed([]dns.RR{s.marker()})
			m.Insert(copies([]dns.RR{absent}))
		}
		m.Remove([]dns.RR{absent})
	}
	if len(m.Ns) == 0 {
		m.NameUsed([]dns.RR{set{u.zone.Name, dns.TypeANY}.marker()})
	}
	err := u.update(ctx, m)
	var refused *rcodeError
	if errors.As(err, &refused) && unmet(refused.rcode) {
		return u.fail(actions.Transient, fmt.Errorf("the records do not stay as they are read (%w)", refused),
			"if this lasts, compare the zone's data with what the server answers: a wildcard record or another view may answer in place of the records")
	}
	return err
}

// touched names the sets that a failover may change: each address type that
// any pool uses, the services that have no record yet, and the fence.
func (w Wanted) touched(v *view) []set {
	var out []set
	if a := w.Address; a != nil {
		all := slices.Concat(a.Addrs, a.Known, v.addrs(a.Name))
		if slices.ContainsFunc(all, netip.Addr.Is4) {
			out = append(out, set{a.Name, dns.TypeA})
		}
		if slices.ContainsFunc(all, netip.Addr.Is6) {
			out = append(out, set{a.Name, dns.TypeAAAA})
		}
	}
	for _, s := range w.Services {
		if edits, err := v.planService(s, w.record()); err == nil && len(edits) > 0 {
			out = append(out, set{s.owner(), dns.TypeSRV})
		}
	}
	if w.Fence != nil {
		out = append(out, w.Fence.set())
	}
	return out
}

// absent is a record of the set that old does not hold.
func (s set) absent(old []dns.RR) dns.RR {
	hdr := dns.RR_Header{Name: s.name, Rrtype: s.rtype, Class: dns.ClassINET}
	held := rdata(old)
	switch s.rtype {
	case dns.TypeA, dns.TypeAAAA:
		ip := netip.IPv4Unspecified()
		if s.rtype == dns.TypeAAAA {
			ip = netip.IPv6Unspecified()
		}
		for slices.Contains(held, ip.String()) {
			ip = ip.Next()
		}
		if s.rtype == dns.TypeA {
			return &dns.A{Hdr: hdr, A: ip.AsSlice()}
		}
		return &dns.AAAA{Hdr: hdr, AAAA: ip.AsSlice()}
	case dns.TypeTXT:
		return &dns.TXT{Hdr: hdr, Txt: []string{"edgewatch may write here"}}
	}
	srv := &dns.SRV{Hdr: hdr, Priority: 65535, Weight: 65535, Target: "edgewatch.invalid."}
	for slices.Contains(held, rdata([]dns.RR{srv})[0]) {
		srv.Port++
	}
	return srv
}
