package rfc2136

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/miekg/dns"
)

// script is w as input for nsupdate(1). Everything that needs to be looked
// up or filled in by hand is in lines that begin with ";", which nsupdate
// skips. The secret is never part of it.
func (u *Updater) script(w Wanted) []string {
	out := u.preamble()
	if a := w.Address; a != nil {
		out = append(out, a.script()...)
	}
	for _, s := range w.Services {
		out = append(out,
			fmt.Sprintf("; only if no SRV record with port %d there resolves to %s; others stay:", s.Port, list(s.Addrs)),
			fmt.Sprintf("update add %s %d IN SRV %d %d %d %s", s.owner(), s.TTL, s.Priority, s.Weight, s.Port, s.Target))
	}
	if f := w.Fence; f != nil {
		out = append(out,
			fmt.Sprintf("; only if %s does not hold a higher term:", trim(f.Name)),
			fmt.Sprintf("update delete %s IN TXT", f.Name),
			fmt.Sprintf("update add %s %d IN TXT %s", f.Name, fenceTTL, rdata([]dns.RR{f.record()})[0]))
	}
	return append(out, "send")
}

func (a *AddressSet) script() []string {
	var out []string
	if len(a.From) == 0 {
		out = append(out,
			fmt.Sprintf("; require what %s holds when it is read, one line per address; it may only be among %s:", trim(a.Name), list(union(a.Known, a.Addrs))),
			fmt.Sprintf("; prereq yxrrset %s IN A <address>", a.Name))
	}
	for _, rtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		word := dns.TypeToString[rtype]
		from := (&AddressSet{Name: a.Name, Addrs: a.From}).records(rtype)
		for _, rr := range from {
			out = append(out, fmt.Sprintf("prereq yxrrset %s IN %s %s", a.Name, word, rdata([]dns.RR{rr})[0]))
		}
		if len(a.From) > 0 && len(from) == 0 {
			out = append(out, fmt.Sprintf("prereq nxrrset %s IN %s", a.Name, word))
		}
	}
	for _, rtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		out = append(out, fmt.Sprintf("update delete %s IN %s", a.Name, dns.TypeToString[rtype]))
	}
	for _, ip := range a.Addrs {
		word := dns.TypeToString[dns.TypeA]
		if ip.Is6() {
			word = dns.TypeToString[dns.TypeAAAA]
		}
		out = append(out, fmt.Sprintf("update add %s %d IN %s %s", a.Name, a.TTL, word, ip))
	}
	return out
}

// proofScript is what the preflight sends: deletions of records that are not
// there. nsupdate prints nothing when the key may change them.
func (u *Updater) proofScript(w Wanted) []string {
	out := append(u.preamble(), "; deletes records that are not there: changes nothing, and is refused if the key has no right to")
	sets := Wanted{Address: w.Address, Fence: w.Fence}.touched(&view{})
	for _, s := range w.Services {
		sets = append(sets, set{s.owner(), dns.TypeSRV})
	}
	for _, s := range sets {
		word := dns.TypeToString[s.rtype]
		out = append(out, fmt.Sprintf("update delete %s IN %s %s", s.name, word, rdata([]dns.RR{s.absent(nil)})[0]))
	}
	return append(out, "send")
}

func (u *Updater) preamble() []string {
	host, port, err := net.SplitHostPort(u.zone.Server)
	if err != nil {
		host, port = u.zone.Server, "53"
	}
	return []string{
		fmt.Sprintf("; nsupdate -v -y %s:%s:<secret>", trim(u.algorithm), trim(u.zone.TSIG.Name)),
		strings.Join([]string{"server", host, port}, " "),
		"zone " + u.zone.Name,
	}
}

func union(a, b []netip.Addr) []netip.Addr { return plain(slices.Concat(a, b)) }
