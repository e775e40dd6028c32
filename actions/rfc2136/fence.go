package rfc2136

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// Fence keeps a watchdog that was deposed without knowing it from changing
// the records: the name holds a TXT record with the term of the last writer,
// and every update carries it as a prerequisite. An update of a lower term
// is refused; one of a higher term writes its own term along.
type Fence struct {
	Name string // of a TXT record that only watchdogs write, e.g. "_edgewatch.contoso.com"
	Term uint64 // grows with every change of leadership
}

const (
	fencePrefix = "edgewatch-term="
	fenceTTL    = 60 // seconds; nobody resolves it
)

// planFence is the part of the fence in an update that changes records.
func (v *view) planFence(f *Fence) ([]edit, error) {
	key := f.set()
	e := edit{set: key, old: v.sets[key]}
	for _, rr := range e.old {
		txt, ok := rr.(*dns.TXT)
		if !ok {
			continue
		}
		word, ours := strings.CutPrefix(strings.Join(txt.Txt, ""), fencePrefix)
		term, err := strconv.ParseUint(word, 10, 64)
		switch {
		case !ours || err != nil:
			return nil, fmt.Errorf("the TXT record %s, which only watchdogs write, holds %q", trim(f.Name), txt.Txt)
		case term > f.Term:
			return nil, fmt.Errorf("a watchdog of term %d has written to the zone: this one, of term %d, was deposed", term, f.Term)
		case term == f.Term:
			return []edit{e}, nil
		}
	}
	e.remove, e.add = len(e.old) > 0, []dns.RR{f.record()}
	return []edit{e}, nil
}

func (f *Fence) set() set { return set{f.Name, dns.TypeTXT} }

func (f *Fence) record() dns.RR {
	return &dns.TXT{Hdr: dns.RR_Header{Name: f.Name, Rrtype: dns.TypeTXT, Class: dns.ClassINET, Ttl: fenceTTL},
		Txt: []string{fencePrefix + strconv.FormatUint(f.Term, 10)}}
}
