package probe

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// View is what one name server has partners of a domain find, without asking
// what it leads to. The zero View says nothing.
type View struct {
	Server   string          `json:"server"` // host:port
	Services []Lookup        `json:"services"`
	Fallback bool            `json:"fallback,omitempty"` // no SRV: the domain itself on port 5269
	Targets  []PartnerTarget `json:"targets,omitempty"`  // best priority first, without results
	Class    Class           `json:"class"`              // OK when there is an address, else why there is none
	Error    string          `json:"error,omitempty"`
}

// Views asks every one of the resolver's servers by itself, all at once, so
// that those which tell another story than the rest can be named.
func (r *Resolver) Views(ctx context.Context, domain string) []View {
	out := make([]View, len(r.o.Servers))
	var wg sync.WaitGroup
	for i, server := range r.o.Servers {
		wg.Go(func() { out[i] = r.view(ctx, server, domain) })
	}
	wg.Wait()
	return out
}

func (r *Resolver) view(ctx context.Context, server, domain string) View {
	o := r.o
	o.Servers = []string{server}
	v := &partnerView{r: NewResolver(o), res: PartnerResult{Domain: plainDomain(domain)}}
	out := View{Server: server}
	if v.services(ctx) {
		v.resolve(ctx)
		out.Class, out.Error = reached(v.res.Targets)
	} else {
		out.Class, out.Error = v.res.Class, v.res.Error
	}
	out.Services, out.Fallback, out.Targets = v.res.Services, v.res.Fallback, v.res.Targets
	return out
}

// reached is OK when a target has an address, else what keeps the first from
// having one.
func reached(targets []PartnerTarget) (Class, string) {
	for i := range targets {
		if len(targets[i].addresses()) > 0 {
			return OK, ""
		}
	}
	for _, t := range targets {
		return t.Class, t.Error
	}
	return NoAddress, "no SRV record leads anywhere"
}

// Knows reports whether the server told what there is, be it nothing, as
// opposed to one that gave no answer.
func (v *View) Knows() bool {
	unsure := func(t PartnerTarget) bool { return t.Class != OK && t.Class != NoAddress && t.Class != NXDomain }
	switch v.Class {
	case OK, NXDomain, NoData, NoService, NoAddress:
		return !slices.ContainsFunc(v.Targets, unsure)
	default:
		return false
	}
}

// String is the story the server tells, in the same words whenever it is the
// same: targets and their addresses, or the class of its trouble.
func (v *View) String() string {
	if v.Class != OK {
		return string(v.Class)
	}
	parts := make([]string, len(v.Targets))
	for i := range v.Targets {
		t := &v.Targets[i]
		var addrs []string
		for _, a := range t.addresses() {
			addrs = append(addrs, a.Addr().String())
		}
		slices.Sort(addrs)
		if len(addrs) == 0 {
			addrs = []string{string(t.Class)}
		}
		parts[i] = fmt.Sprintf("%d %d %s:%d = %s", t.Priority, t.Weight, strings.TrimSuffix(t.Target, "."), t.Port, strings.Join(addrs, ", "))
		if t.DirectTLS {
			parts[i] += " (direct TLS)"
		}
	}
	slices.Sort(parts) // of one priority and weight, in any order
	return strings.Join(parts, "; ")
}

// Agree reports whether all servers that know tell the same story.
func Agree(views []View) bool {
	story := ""
	for i := range views {
		switch s := views[i].String(); {
		case !views[i].Knows():
		case story == "":
			story = s
		case s != story:
			return false
		}
	}
	return true
}
