package actionstest

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// dnsZone is one version of a zone. A version that is served is never
// changed; clone, change the clone and store it.
type dnsZone struct {
	name string
	sets map[string]map[uint16][]dns.RR
}

func parseZone(z DNSZone) (*dnsZone, error) {
	out := &dnsZone{name: dns.CanonicalName(z.Name), sets: map[string]map[uint16][]dns.RR{}}
	for _, line := range z.Records {
		if err := out.parse(line); err != nil {
			return nil, err
		}
	}
	if len(out.sets[out.name][dns.TypeSOA]) == 0 {
		if err := out.parse("@ 3600 SOA ns1 hostmaster 1 3600 600 86400 60"); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// parse adds the record of a zone-file line; its default TTL is 300.
func (z *dnsZone) parse(line string) error {
	p := dns.NewZoneParser(strings.NewReader(line), z.name, "")
	p.SetDefaultTTL(300)
	for rr, ok := p.Next(); ok; rr, ok = p.Next() {
		name := dns.CanonicalName(rr.Header().Name)
		if !dns.IsSubDomain(z.name, name) {
			return fmt.Errorf("record %q is not in zone %s", line, z.name)
		}
		z.put(rr)
	}
	if err := p.Err(); err != nil {
		return fmt.Errorf("record %q of zone %s: %w", line, z.name, err)
	}
	return nil
}

func (z *dnsZone) absolute(name string) string {
	if name == "@" {
		return z.name
	}
	if dns.IsFqdn(name) {
		return dns.CanonicalName(name)
	}
	return dns.CanonicalName(name + "." + z.name)
}

func (z *dnsZone) clone() *dnsZone {
	out := &dnsZone{name: z.name, sets: map[string]map[uint16][]dns.RR{}}
	for name, types := range z.sets {
		out.sets[name] = maps.Clone(types)
	}
	return out
}

// put adds rr to its set, replacing a record with the same value. The set
// takes the TTL of rr.
func (z *dnsZone) put(rr dns.RR) {
	name, rtype := dns.CanonicalName(rr.Header().Name), rr.Header().Rrtype
	set := []dns.RR{}
	for _, old := range z.sets[name][rtype] {
		if !dns.IsDuplicate(old, rr) {
			c := dns.Copy(old)
			c.Header().Ttl = rr.Header().Ttl
			set = append(set, c)
		}
	}
	if z.sets[name] == nil {
		z.sets[name] = map[uint16][]dns.RR{}
	}
	z.sets[name][rtype] = append(set, dns.Copy(rr))
}

func (z *dnsZone) deleteSet(name string, rtype uint16) {
	delete(z.sets[name], rtype)
	if len(z.sets[name]) == 0 {
		delete(z.sets, name)
	}
}

func (z *dnsZone) deleteRecord(rr dns.RR) {
	name, rtype := dns.CanonicalName(rr.Header().Name), rr.Header().Rrtype
	left := slices.DeleteFunc(slices.Clone(z.sets[name][rtype]), func(old dns.RR) bool { return dns.IsDuplicate(old, rr) })
	if len(left) == 0 {
		z.deleteSet(name, rtype)
		return
	}
	z.sets[name][rtype] = left
}

func (z *dnsZone) soa() *dns.SOA {
	for _, rr := range z.sets[z.name][dns.TypeSOA] {
		if soa, ok := rr.(*dns.SOA); ok {
			return soa
		}
	}
	return &dns.SOA{Hdr: dns.RR_Header{Name: z.name, Rrtype: dns.TypeSOA, Class: dns.ClassINET}}
}

func (z *dnsZone) serial() uint32 { return z.soa().Serial }

func (z *dnsZone) bump() {
	soa := *z.soa()
	soa.Serial++
	z.sets[z.name][dns.TypeSOA] = []dns.RR{&soa}
}

// equal compares contents, TTLs too.
func (z *dnsZone) equal(o *dnsZone) bool { return slices.Equal(z.lines(), o.lines()) }

func (z *dnsZone) lines() []string {
	var out []string
	for _, types := range z.sets {
		for _, rrs := range types {
			for _, rr := range rrs {
				out = append(out, rr.String())
			}
		}
	}
	slices.Sort(out)
	return out
}

// exists reports whether the name owns records, or stands above one that does.
func (z *dnsZone) exists(name string) bool {
	for owner := range z.sets {
		if dns.IsSubDomain(name, owner) {
			return true
		}
	}
	return false
}

// at are the sets of name, those of a wildcard above it if it has none.
func (z *dnsZone) at(name string) (map[uint16][]dns.RR, bool) {
	if z.exists(name) {
		return z.sets[name], true
	}
	for labels := dns.SplitDomainName(name); len(labels) > 1; labels = labels[1:] {
		parent := dns.Fqdn(strings.Join(labels[1:], "."))
		if types, ok := z.sets["*."+parent]; ok {
			return types, true
		}
		if z.exists(parent) {
			break
		}
	}
	return nil, false
}

// answer fills r, the answer to a query for name and type.
func (z *dnsZone) answer(r *dns.Msg, name string, rtype uint16) {
	r.Authoritative = true
	for range 8 { // a chain of aliases longer than that is a loop
		types, ok := z.at(name)
		if !ok {
			r.Rcode = dns.RcodeNameError
			break
		}
		if alias := types[dns.TypeCNAME]; len(alias) > 0 && rtype != dns.TypeCNAME && rtype != dns.TypeANY {
			r.Answer = append(r.Answer, owned(name, alias)...)
			c, ok := alias[0].(*dns.CNAME)
			if !ok || !dns.IsSubDomain(z.name, dns.CanonicalName(c.Target)) {
				return
			}
			name = dns.CanonicalName(c.Target)
			continue
		}
		for _, t := range slices.Sorted(maps.Keys(types)) {
			if t == rtype || rtype == dns.TypeANY {
				r.Answer = append(r.Answer, owned(name, types[t])...)
			}
		}
		break
	}
	if len(r.Answer) == 0 {
		r.Ns = append(r.Ns, dns.Copy(z.soa()))
	}
	for _, rr := range r.Answer {
		if srv, ok := rr.(*dns.SRV); ok {
			host := z.sets[dns.CanonicalName(srv.Target)]
			r.Extra = append(r.Extra, owned(srv.Target, host[dns.TypeA])...)
			r.Extra = append(r.Extra, owned(srv.Target, host[dns.TypeAAAA])...)
		}
	}
}

// owned are copies of rrs under name, as a wildcard's records are given.
func owned(name string, rrs []dns.RR) []dns.RR {
	out := make([]dns.RR, len(rrs))
	for i, rr := range rrs {
		out[i] = dns.Copy(rr)
		out[i].Header().Name = name
	}
	return out
}

// value is the record without owner, TTL, class and type.
func value(rr dns.RR) string { return strings.TrimPrefix(rr.String(), rr.Header().String()) }
