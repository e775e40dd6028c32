package rfc2136

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"

	"edgewatch/actions"
)

// edit is one RRset of an update: what it must hold, and what becomes of it.
type edit struct {
	set
	old    []dns.RR // must be held exactly; none means that the set must not exist
	remove bool     // delete old
	add    []dns.RR
}

func (e edit) changes() bool { return e.remove || len(e.add) > 0 }

// plan compares v with w: no edits when v is as wanted, else those that make
// it so, together with the sets that must stay as they were read. The error
// is Rejected when a person has to decide first.
func (v *view) plan(w Wanted, op string) ([]edit, error) {
	var edits []edit
	if a := w.Address; a != nil {
		e, err := v.planAddress(a)
		if err != nil {
			return nil, v.reject(op, err, "a person has to decide: make "+trim(a.Name)+" hold addresses of a configured pool, or correct the configuration")
		}
		edits = append(edits, e...)
	}
	for _, s := range w.Services {
		e, err := v.planService(s, w.record())
		if err != nil {
			return nil, v.reject(op, err, "a person has to decide: correct the record, or the configuration")
		}
		edits = append(edits, e...)
	}
	if w.Fence == nil || len(edits) == 0 {
		return edits, nil
	}
	e, err := v.planFence(w.Fence)
	if err != nil {
		return nil, v.reject(op, err, "find out which watchdog leads; only that one may go on")
	}
	return append(edits, e...), nil
}

func (v *view) reject(op string, err error, next string) error {
	return &actions.Error{Kind: actions.Rejected, Host: v.server, Op: op, Err: err, Next: next}
}

// planAddress makes both address sets part of the update as soon as one of
// them differs: what was read together is changed together.
func (v *view) planAddress(a *AddressSet) ([]edit, error) {
	if target, ok := v.cname(a.Name); ok {
		return nil, fmt.Errorf("%s is a CNAME to %s, which an SRV record may not point to and no address can be set beside", trim(a.Name), trim(target))
	}
	held := v.addrs(a.Name)
	for _, h := range held {
		if !slices.Contains(a.Addrs, h) && !slices.Contains(a.Known, h) {
			return nil, fmt.Errorf("%s holds %s, which is no address of any configured pool: somebody edited it", trim(a.Name), h)
		}
	}
	if slices.Equal(held, a.Addrs) {
		return nil, nil
	}
	var edits []edit
	for _, rtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		key := set{a.Name, rtype}
		e := edit{set: key, old: v.sets[key]}
		if want := a.records(rtype); !slices.Equal(rdata(e.old), rdata(want)) {
			e.remove, e.add = len(e.old) > 0, want
		}
		edits = append(edits, e)
	}
	if len(held) == 0 {
		// Servers ignore an address beside a CNAME and still answer NOERROR.
		edits = append(edits, edit{set: set{a.Name, dns.TypeCNAME}})
	}
	return edits, nil
}

func (a *AddressSet) records(rtype uint16) []dns.RR {
	var out []dns.RR
	for _, ip := range a.Addrs {
		hdr := dns.RR_Header{Name: a.Name, Rrtype: rtype, Class: dns.ClassINET, Ttl: a.TTL}
		switch {
		case rtype == dns.TypeA && ip.Is4():
			out = append(out, &dns.A{Hdr: hdr, A: ip.AsSlice()})
		case rtype == dns.TypeAAAA && ip.Is6():
			out = append(out, &dns.AAAA{Hdr: hdr, AAAA: ip.AsSlice()})
		}
	}
	return out
}

// planService looks for a record of s. Targets are resolved as they will be
// after the update: the target may be the very name that step 4 changes.
func (v *view) planService(s Service, a *AddressSet) ([]edit, error) {
	owner := s.owner()
	if target, ok := v.cname(owner); ok {
		return nil, fmt.Errorf("%s is a CNAME to %s: no SRV record can be set beside it", trim(owner), trim(target))
	}
	found := false
	for _, srv := range v.services(owner) {
		target := dns.CanonicalName(srv.Target)
		if target == "." {
			return nil, fmt.Errorf("%s says that %s offers no federation (target \".\")", trim(owner), trim(s.Domain))
		}
		all, some := v.leads(target, s, a)
		switch {
		case some && srv.Port != s.Port:
			return nil, fmt.Errorf("%s has an SRV record to %s with port %d where %d is wanted", trim(owner), trim(target), srv.Port, s.Port)
		case all && srv.Port == s.Port:
			found = true
		}
	}
	if found {
		return nil, nil
	}
	if err := v.usable(s, a); err != nil {
		return nil, err
	}
	key := set{owner, dns.TypeSRV}
	old, ttl := v.sets[key], s.TTL
	if len(old) > 0 {
		ttl = old[0].Header().Ttl // a set has one TTL: another would change the others' too
	}
	srv := &dns.SRV{Hdr: dns.RR_Header{Name: owner, Rrtype: dns.TypeSRV, Class: dns.ClassINET, Ttl: ttl},
		Priority: s.Priority, Weight: s.Weight, Port: s.Port, Target: s.Target}
	edits := []edit{{set: key, old: old, add: []dns.RR{srv}}}
	if len(old) == 0 {
		edits = append(edits, edit{set: set{owner, dns.TypeCNAME}})
	}
	return edits, nil
}

// leads reports whether all, and whether some, addresses of host are of the
// pool of s. A host this server knows nothing of is judged by its name.
func (v *view) leads(host string, s Service, a *AddressSet) (all, some bool) {
	if v.foreign[host] {
		return host == s.Target, host == s.Target
	}
	addrs := v.resolve(host, a)
	all = len(addrs) > 0
	for _, ip := range addrs {
		if slices.Contains(s.Addrs, ip) {
			some = true
		} else {
			all = false
		}
	}
	return all, some
}

func (v *view) resolve(host string, a *AddressSet) []netip.Addr {
	if a != nil && host == a.Name {
		return a.Addrs
	}
	return v.addrs(host)
}

// usable reports why an SRV record to the target of s would lead nowhere.
func (v *view) usable(s Service, a *AddressSet) error {
	if target, ok := v.cname(s.Target); ok {
		return fmt.Errorf("%s, the target wanted for the SRV record of %s, is a CNAME to %s, which RFC 2782 forbids", trim(s.Target), trim(s.Domain), trim(target))
	}
	if all, _ := v.leads(s.Target, s, a); !all {
		return fmt.Errorf("%s, the target wanted for the SRV record of %s, resolves to %s and not to the pool's %s", trim(s.Target), trim(s.Domain), list(v.resolve(s.Target, a)), list(s.Addrs))
	}
	return nil
}

// message is the UPDATE of edits: every set that was read is a prerequisite
// in full, deletions come before additions, as they run in order.
func (u *Updater) message(edits []edit) *dns.Msg {
	m := new(dns.Msg)
	m.SetUpdate(u.zone.Name)
	for _, e := range edits {
		if len(e.old) > 0 {
			m.Used(copies(e.old))
			continue
		}
		m.RRsetNotUsed([]dns.RR{e.marker()})
	}
	for _, e := range edits {
		if e.remove {
			m.RemoveRRset([]dns.RR{e.marker()})
		}
		m.Insert(copies(e.add))
	}
	return m
}

// marker is a record that only carries the name and type of the set.
func (s set) marker() dns.RR {
	return &dns.ANY{Hdr: dns.RR_Header{Name: s.name, Rrtype: s.rtype, Class: dns.ClassINET}}
}

// copies protects rrs: the library's update helpers write into the headers
// of what they are given.
func copies(rrs []dns.RR) []dns.RR {
	out := make([]dns.RR, len(rrs))
	for i, rr := range rrs {
		out[i] = dns.Copy(rr)
	}
	return out
}

func list(addrs []netip.Addr) string {
	if len(addrs) == 0 {
		return "nothing"
	}
	words := make([]string, len(addrs))
	for i, a := range addrs {
		words[i] = a.String()
	}
	return strings.Join(words, ", ")
}
