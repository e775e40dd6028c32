package rfc2136

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"edgewatch/actions"
)

// set names one RRset.
type set struct {
	name  string
	rtype uint16
}

// view is what one server answered about the wanted records.
type view struct {
	server   string
	serial   uint32
	negative uint32 // seconds a resolver may remember that a record is missing (RFC 2308)
	sets     map[set][]dns.RR
	foreign  map[string]bool // SRV targets this server has no authority over
}

// errLame is an answer without authority.
var errLame = errors.New("answers without authority")

// maxReads bounds how often a zone that changes while it is read is read again.
const maxReads = 3

// read asks server for everything w speaks of. An answer counts only if it
// carries authority. The serial is the same before and after, so that the
// view is of one version of the zone.
func (u *Updater) read(ctx context.Context, server string, w Wanted) (*view, error) {
	ctx, cancel := u.bounded(ctx)
	defer cancel()
	op := "read zone " + trim(u.zone.Name)
	conn, done, err := u.dial(ctx, server, op)
	if err != nil {
		return nil, err
	}
	defer done()
	for range maxReads {
		v := &view{server: server, sets: map[set][]dns.RR{}, foreign: map[string]bool{}}
		err := v.readAll(ctx, conn, u.zone.Name, w)
		if errors.Is(err, errTorn) {
			continue
		}
		if err != nil {
			return nil, readError(ctx, server, op, err)
		}
		return v, nil
	}
	return nil, &actions.Error{Kind: actions.Transient, Host: server, Op: op,
		Err: fmt.Errorf("the zone changed during each of %d readings", maxReads)}
}

var errTorn = errors.New("the zone changed while it was read")

func (v *view) readAll(ctx context.Context, conn *dns.Conn, zone string, w Wanted) error {
	if err := v.readSOA(conn, zone); err != nil {
		return err
	}
	before := v.serial
	if a := w.Address; a != nil {
		if err := v.ask(conn, a.Name, dns.TypeA, dns.TypeAAAA); err != nil {
			return err
		}
	}
	if f := w.Fence; f != nil {
		if err := v.ask(conn, f.Name, dns.TypeTXT); err != nil {
			return err
		}
	}
	for _, s := range w.Services {
		if err := v.ask(conn, s.owner(), dns.TypeSRV); err != nil {
			return err
		}
		hosts := []string{s.Target}
		for _, srv := range v.services(s.owner()) {
			hosts = append(hosts, dns.CanonicalName(srv.Target))
		}
		for _, h := range hosts {
			if h == "." {
				continue
			}
			// A target outside this server's zones cannot be judged here.
			switch err := v.ask(conn, h, dns.TypeA, dns.TypeAAAA); {
			case errors.Is(err, errLame):
				v.foreign[h] = true
			case err != nil:
				return err
			}
		}
	}
	if err := v.readSOA(conn, zone); err != nil {
		return err
	}
	if v.serial != before {
		return errTorn
	}
	return ctx.Err()
}

func (v *view) readSOA(conn *dns.Conn, zone string) error {
	if err := v.fetch(conn, set{zone, dns.TypeSOA}); err != nil {
		return err
	}
	for _, rr := range v.sets[set{zone, dns.TypeSOA}] {
		if soa, ok := rr.(*dns.SOA); ok {
			v.serial, v.negative = soa.Serial, min(soa.Hdr.Ttl, soa.Minttl)
			return nil
		}
	}
	return fmt.Errorf("%s SOA: %w", zone, errLame)
}

// ask fetches those of the types at name that were not fetched yet.
func (v *view) ask(conn *dns.Conn, name string, types ...uint16) error {
	for _, rtype := range types {
		key := set{name, rtype}
		if _, known := v.sets[key]; known {
			continue
		}
		if err := v.fetch(conn, key); err != nil {
			return err
		}
	}
	return nil
}

// fetch asks one question without recursion and keeps what the answer says
// of the asked name itself.
func (v *view) fetch(conn *dns.Conn, key set) error {
	m := new(dns.Msg)
	m.SetQuestion(key.name, key.rtype)
	m.RecursionDesired = false
	if err := conn.WriteMsg(m); err != nil {
		return fmt.Errorf("ask for %s %s: %w", key.name, dns.TypeToString[key.rtype], err)
	}
	r, err := conn.ReadMsg()
	if err != nil {
		return fmt.Errorf("ask for %s %s: %w", key.name, dns.TypeToString[key.rtype], err)
	}
	if r.Id != m.Id || !r.Response || len(r.Question) != 1 || dns.CanonicalName(r.Question[0].Name) != key.name || r.Question[0].Qtype != key.rtype {
		return fmt.Errorf("ask for %s %s: what came back is no answer to the question", key.name, dns.TypeToString[key.rtype])
	}
	switch {
	case r.Rcode == dns.RcodeServerFailure:
		return fmt.Errorf("%s %s: %s", key.name, dns.TypeToString[key.rtype], dns.RcodeToString[r.Rcode])
	case r.Rcode != dns.RcodeSuccess && r.Rcode != dns.RcodeNameError, !r.Authoritative:
		return fmt.Errorf("%s %s: %w (%s)", key.name, dns.TypeToString[key.rtype], errLame, dns.RcodeToString[r.Rcode])
	}
	v.sets[key] = nil
	for _, rr := range r.Answer {
		if dns.CanonicalName(rr.Header().Name) != key.name {
			continue
		}
		switch rr.Header().Rrtype {
		case key.rtype:
			v.sets[key] = append(v.sets[key], rr)
		case dns.TypeCNAME:
			v.sets[set{key.name, dns.TypeCNAME}] = []dns.RR{rr}
		}
	}
	return nil
}

func readError(ctx context.Context, server, op string, err error) error {
	e := &actions.Error{Kind: actions.Transient, Host: server, Op: op, Err: err,
		Next: "check that the server runs, and answers this zone over TCP"}
	if errors.Is(err, errLame) {
		e.Kind = actions.Rejected
		e.Next = "load the zone on this server, or take it off the list of authoritative servers"
	} else if c := context.Cause(ctx); c != nil {
		e.Err = c
	}
	return e
}

// reading is what came of reading one server: a view or an error.
type reading struct {
	server string
	view   *view
	err    error
}

// readEach asks all servers at once and answers in their order.
func (u *Updater) readEach(ctx context.Context, servers []string, w Wanted) []reading {
	out := make([]reading, len(servers))
	var wg sync.WaitGroup
	for i, server := range servers {
		wg.Go(func() {
			v, err := u.read(ctx, server, w)
			out[i] = reading{server, v, err}
		})
	}
	wg.Wait()
	return out
}

// outdated reports whether another server has a newer version of the zone:
// what v holds is then a matter of time, and no reason to ask a person.
func (v *view) outdated(rs []reading) bool {
	return slices.ContainsFunc(rs, func(r reading) bool {
		// Serials are compared on a circle (RFC 1982).
		return r.view != nil && int32(r.view.serial-v.serial) > 0
	})
}

// addrs are the addresses of name, sorted.
func (v *view) addrs(name string) []netip.Addr {
	var out []netip.Addr
	for _, rr := range v.sets[set{name, dns.TypeA}] {
		if a, ok := rr.(*dns.A); ok {
			if ip, ok := netip.AddrFromSlice(a.A.To4()); ok {
				out = append(out, ip)
			}
		}
	}
	for _, rr := range v.sets[set{name, dns.TypeAAAA}] {
		if a, ok := rr.(*dns.AAAA); ok {
			if ip, ok := netip.AddrFromSlice(a.AAAA.To16()); ok {
				out = append(out, ip)
			}
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out)
}

func (v *view) services(owner string) []*dns.SRV {
	var out []*dns.SRV
	for _, rr := range v.sets[set{owner, dns.TypeSRV}] {
		if srv, ok := rr.(*dns.SRV); ok {
			out = append(out, srv)
		}
	}
	return out
}

func (v *view) cname(name string) (string, bool) {
	for _, rr := range v.sets[set{name, dns.TypeCNAME}] {
		if c, ok := rr.(*dns.CNAME); ok {
			return c.Target, true
		}
	}
	return "", false
}

// ttl is the longest TTL of what stands at the sets, or how long their
// absence may be remembered.
func (v *view) ttl(keys ...set) time.Duration {
	var longest uint32
	for _, k := range keys {
		if len(v.sets[k]) == 0 {
			longest = max(longest, v.negative)
		}
		for _, rr := range v.sets[k] {
			longest = max(longest, rr.Header().Ttl)
		}
	}
	return time.Duration(longest) * time.Second
}

// same reports whether two servers hold the same of w, TTLs aside.
func (v *view) same(o *view, w Wanted) bool {
	for _, k := range w.sets() {
		if !slices.Equal(rdata(v.sets[k]), rdata(o.sets[k])) {
			return false
		}
	}
	return true
}

// sets names the RRsets w is about.
func (w Wanted) sets() []set {
	var out []set
	if w.Address != nil {
		out = append(out, set{w.Address.Name, dns.TypeA}, set{w.Address.Name, dns.TypeAAAA}, set{w.Address.Name, dns.TypeCNAME})
	}
	for _, s := range w.Services {
		out = append(out, set{s.owner(), dns.TypeSRV}, set{s.owner(), dns.TypeCNAME})
	}
	if w.Fence != nil {
		out = append(out, w.Fence.set())
	}
	return out
}

// rdata is the set's values as text without names and TTLs, sorted.
func rdata(rrs []dns.RR) []string {
	out := make([]string, len(rrs))
	for i, rr := range rrs {
		out[i] = strings.ToLower(strings.TrimPrefix(rr.String(), rr.Header().String()))
	}
	slices.Sort(out)
	return out
}

// trim is a name as people write it.
func trim(name string) string { return strings.TrimSuffix(name, ".") }
