package actionstest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// DNSUpdate is one UPDATE in a server's log.
type DNSUpdate struct {
	Zone     string
	Key      string // empty if the update was not signed
	Rcode    string // what it was, or would have been, answered with
	Requires []string
	Changes  []string
	Changed  bool   // the zone is another one after it
	Serial   uint32 // of the zone after it
}

// serve answers one message.
func (s *DNSServer) serve(w dns.ResponseWriter, m *dns.Msg) {
	s.mu.Lock()
	fault, before := s.queryFault, s.beforeUpdate
	if m.Opcode == dns.OpcodeUpdate {
		fault = s.updateFault
	}
	s.mu.Unlock()
	if m.Opcode == dns.OpcodeUpdate && before != nil {
		before()
	}
	if fault == DNSHang {
		<-s.ctx.Done()
		_ = w.Close()
		return
	}
	r := new(dns.Msg).SetReply(m)
	switch {
	case len(m.Question) != 1:
		r.Rcode = dns.RcodeFormatError
	case m.Opcode == dns.OpcodeUpdate:
		s.serveUpdate(w, m, r, fault)
		return
	case m.Opcode == dns.OpcodeQuery:
		s.query(m, r, fault)
	default:
		r.Rcode = dns.RcodeNotImplemented
	}
	size := dns.MaxMsgSize
	if w.RemoteAddr().Network() == "udp" {
		size = dns.MinMsgSize
		if opt := m.IsEdns0(); opt != nil {
			size = max(size, int(opt.UDPSize()))
		}
	}
	if m.IsEdns0() != nil {
		r.SetEdns0(1232, false)
	}
	r.Truncate(size)
	_ = w.WriteMsg(r) // who went away cannot be told so
}

func (s *DNSServer) query(m, r *dns.Msg, fault DNSFault) {
	name := dns.CanonicalName(m.Question[0].Name)
	s.mu.Lock()
	z := s.zoneLocked(name)
	s.mu.Unlock()
	switch {
	case fault == DNSServFail:
		r.Rcode = dns.RcodeServerFailure
	case fault == DNSRefuse || z == nil:
		r.Rcode = dns.RcodeRefused
	default:
		z.answer(r, name, m.Question[0].Qtype)
		if fault == DNSLame {
			r.Authoritative = false
		}
	}
}

// serveUpdate judges the signature, then the update, and answers.
func (s *DNSServer) serveUpdate(w dns.ResponseWriter, m, r *dns.Msg, fault DNSFault) {
	s.mu.Lock()
	now := time.Now().Add(s.clock)
	s.mu.Unlock()
	t := m.IsTsig()
	switch {
	case fault == DNSForge:
		_ = w.WriteMsg(r)
		return
	case t == nil:
		r.Rcode = dns.RcodeRefused
		s.log(m, "", r.Rcode, false)
		_ = w.WriteMsg(r)
		return
	}
	key, known := s.keys[dns.CanonicalName(t.Hdr.Name)]
	r.SetTsig(t.Hdr.Name, t.Algorithm, t.Fudge, now.Unix())
	answer, _ := r.Extra[len(r.Extra)-1].(*dns.TSIG)
	signed := time.Unix(int64(t.TimeSigned), 0)
	switch {
	case !known || key.Algorithm != dns.CanonicalName(t.Algorithm):
		r.Rcode, answer.Error = dns.RcodeNotAuth, dns.RcodeBadKey
	case w.TsigStatus() != nil && !errors.Is(w.TsigStatus(), dns.ErrTime): // the time is judged by our own clock
		r.Rcode, answer.Error = dns.RcodeNotAuth, dns.RcodeBadSig
	case now.Sub(signed).Abs() > time.Duration(t.Fudge)*time.Second:
		r.Rcode, answer.Error = dns.RcodeNotAuth, dns.RcodeBadTime
		answer.TimeSigned = t.TimeSigned
		answer.OtherLen, answer.OtherData = 6, fmt.Sprintf("%012x", now.Unix())
	case fault == DNSRefuse:
		r.Rcode = dns.RcodeRefused
	case fault == DNSServFail:
		r.Rcode = dns.RcodeServerFailure
	case fault == DNSIgnore:
	default:
		u := s.update(m, key)
		r.Rcode = dns.StringToRcode[u.Rcode]
		if s.judged(u) {
			fault = DNSDropAnswer
		}
		s.answerUpdate(w, r, fault)
		return
	}
	s.log(m, key.Name, r.Rcode, false)
	_ = w.WriteMsg(r)
}

// judged tells whoever asked to be told of it about an update, and reports
// whether its answer is to be lost.
func (s *DNSServer) judged(u DNSUpdate) (lost bool) {
	s.mu.Lock()
	after := s.afterUpdate
	lost = u.Changed && s.lose > 0
	if lost {
		s.lose--
	}
	s.mu.Unlock()
	if after != nil {
		after(u)
	}
	return lost
}

// answerUpdate answers an update that was carried out, in the way of fault.
func (s *DNSServer) answerUpdate(w dns.ResponseWriter, r *dns.Msg, fault DNSFault) {
	switch fault {
	case DNSDropAnswer:
		_ = w.Close()
		return
	case DNSUnsigned:
		r.Extra = nil
	case DNSBadSignature:
		if raw, _, err := dns.TsigGenerate(r, "bm90LXRoZS1rZXk=", "", false); err == nil {
			_, _ = w.Write(raw)
		}
		return
	case DNSGarbage:
		r.Id++
		if t := r.IsTsig(); t != nil {
			t.OrigId = r.Id
		}
	default:
	}
	_ = w.WriteMsg(r)
}

// update carries m out as a whole or not at all (RFC 2136 section 3) and
// returns what came of it.
func (s *DNSServer) update(m *dns.Msg, key DNSKey) DNSUpdate {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, served := s.zones[dns.CanonicalName(m.Question[0].Name)]
	var rcode int
	switch {
	case !served:
		rcode = dns.RcodeNotAuth
	case s.secondary:
		rcode = dns.RcodeRefused
	default:
		rcode = prescan(old, m, key)
	}
	if rcode == dns.RcodeSuccess {
		rcode = require(old, m.Answer)
	}
	if rcode != dns.RcodeSuccess {
		return s.logLocked(m, key.Name, rcode, false)
	}
	z := old.clone()
	for _, rr := range m.Ns {
		z.change(rr)
	}
	changed := !z.equal(old)
	if changed {
		z.bump()
		s.storeLocked(z)
	}
	return s.logLocked(m, key.Name, rcode, changed)
}

// prescan checks that every record lies in the zone and that the key may
// change it (RFC 2136 section 3.4.1). BIND does so before it looks at the
// prerequisites.
func prescan(z *dnsZone, m *dns.Msg, key DNSKey) int {
	for _, rr := range slices.Concat(m.Answer, m.Ns) {
		if !dns.IsSubDomain(z.name, dns.CanonicalName(rr.Header().Name)) {
			return dns.RcodeNotZone
		}
	}
	for _, rr := range m.Ns {
		h := rr.Header()
		if h.Class != dns.ClassINET && h.Class != dns.ClassANY && h.Class != dns.ClassNONE {
			return dns.RcodeFormatError
		}
		if key.Grant != nil && !slices.Contains(key.Grant, dns.CanonicalName(h.Name)) {
			return dns.RcodeRefused
		}
	}
	return dns.RcodeSuccess
}

// require judges the prerequisites (RFC 2136 section 3.2).
func require(z *dnsZone, prerequisites []dns.RR) int {
	type set struct {
		name  string
		rtype uint16
	}
	exact := map[set][]string{}
	for _, rr := range prerequisites {
		h := rr.Header()
		name := dns.CanonicalName(h.Name)
		exists := len(z.sets[name][h.Rrtype]) > 0
		if h.Rrtype == dns.TypeANY {
			exists = len(z.sets[name]) > 0
		}
		switch {
		case h.Ttl != 0:
			return dns.RcodeFormatError
		case h.Class == dns.ClassINET:
			key := set{name, h.Rrtype}
			exact[key] = append(exact[key], value(rr))
		case h.Class == dns.ClassANY && !exists && h.Rrtype == dns.TypeANY:
			return dns.RcodeNameError
		case h.Class == dns.ClassANY && !exists:
			return dns.RcodeNXRrset
		case h.Class == dns.ClassNONE && exists && h.Rrtype == dns.TypeANY:
			return dns.RcodeYXDomain
		case h.Class == dns.ClassNONE && exists:
			return dns.RcodeYXRrset
		case h.Class != dns.ClassANY && h.Class != dns.ClassNONE:
			return dns.RcodeFormatError
		}
	}
	for key, want := range exact {
		var have []string
		for _, rr := range z.sets[key.name][key.rtype] {
			have = append(have, value(rr))
		}
		slices.Sort(have)
		slices.Sort(want)
		if !slices.Equal(have, slices.Compact(want)) {
			return dns.RcodeNXRrset
		}
	}
	return dns.RcodeSuccess
}

// change does one update operation (RFC 2136 section 3.4.2). Like every
// server it passes over what cannot be without saying so.
func (z *dnsZone) change(rr dns.RR) {
	h := rr.Header()
	name := dns.CanonicalName(h.Name)
	apex := name == z.name
	guarded := apex && (h.Rrtype == dns.TypeSOA || h.Rrtype == dns.TypeNS)
	types := z.sets[name]
	alias := len(types[dns.TypeCNAME]) > 0
	switch {
	case h.Class == dns.ClassANY && h.Rrtype == dns.TypeANY:
		for t := range types {
			if !apex || t != dns.TypeSOA && t != dns.TypeNS {
				z.deleteSet(name, t)
			}
		}
	case h.Class == dns.ClassANY && !guarded:
		z.deleteSet(name, h.Rrtype)
	case h.Class == dns.ClassNONE && !guarded:
		c := dns.Copy(rr)
		c.Header().Class = dns.ClassINET
		z.deleteRecord(c)
	case h.Class != dns.ClassINET, h.Rrtype == dns.TypeSOA:
	case alias && h.Rrtype != dns.TypeCNAME, h.Rrtype == dns.TypeCNAME && len(types) > 0 && !alias:
	case alias:
		z.deleteSet(name, dns.TypeCNAME)
		z.put(rr)
	default:
		z.put(rr)
	}
}

func (s *DNSServer) log(m *dns.Msg, key string, rcode int, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.logLocked(m, key, rcode, changed)
}

func (s *DNSServer) logLocked(m *dns.Msg, key string, rcode int, changed bool) DNSUpdate {
	u := DNSUpdate{Zone: m.Question[0].Name, Key: key, Rcode: dns.RcodeToString[rcode], Changed: changed}
	for _, rr := range m.Answer {
		u.Requires = append(u.Requires, rr.String())
	}
	for _, rr := range m.Ns {
		u.Changes = append(u.Changes, rr.String())
	}
	if z := s.zones[dns.CanonicalName(m.Question[0].Name)]; z != nil {
		u.Serial = z.serial()
	}
	s.updates = append(s.updates, u)
	return u
}
