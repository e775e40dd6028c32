package probe

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/miekg/dns"
)

// DefaultDNSTimeout is how long one name server may take.
const DefaultDNSTimeout = 3 * time.Second

// Limits of what DNS may make us do.
const (
	maxAliases = 8
	maxAnswers = 64
	udpSize    = 1232
)

// ResolverOptions configure a Resolver.
type ResolverOptions struct {
	Servers   []string      // name servers to ask, host:port, in order of preference
	Timeout   time.Duration // for one server; 0 = DefaultDNSTimeout
	DirectTLS bool          // for Partner and Views: follow _xmpps-server (XEP-0368) beside _xmpp-server, not only without it
}

// Resolver asks name servers itself, so that it holds the answer's rcode and
// can tell apart what the standard library calls "no such host". It is safe
// for concurrent use and caches nothing.
type Resolver struct {
	o ResolverOptions
}

// NewResolver returns a Resolver that asks o.Servers.
func NewResolver(o ResolverOptions) *Resolver {
	if o.Timeout <= 0 {
		o.Timeout = DefaultDNSTimeout
	}
	o.Servers = slices.Clone(o.Servers)
	return &Resolver{o: o}
}

// SRV is one service record.
type SRV struct {
	Target   string `json:"target"` // rooted, lower case; "." means that there is no service
	Port     uint16 `json:"port"`
	Priority uint16 `json:"priority"` // the lowest is tried first
	Weight   uint16 `json:"weight"`   // share among equals
}

// compare orders records as partners try them: the lowest priority first, of
// equals the heavier first, as that is the likelier.
func (s SRV) compare(o SRV) int {
	return cmp.Or(cmp.Compare(s.Priority, o.Priority), cmp.Compare(o.Weight, s.Weight), cmp.Compare(s.Target, o.Target))
}

// Lookup is what DNS said of one name and type. Its class is OK when there are
// records, else one of NXDomain, NoData, ServFail, Refused, Lame, Timeout,
// Unreachable, BadAnswer and LocalError.
type Lookup struct {
	Name   string        `json:"name"` // rooted
	Type   string        `json:"type"`
	Server string        `json:"server,omitempty"` // who gave this answer
	Took   time.Duration `json:"took"`
	Class  Class         `json:"class"`
	Error  string        `json:"error,omitempty"`
	Alias  string        `json:"alias,omitempty"` // where CNAMEs led, when there were any
	TTL    uint32        `json:"ttl,omitempty"`   // the lowest of the records, in seconds
	SRV    []SRV         `json:"srv,omitempty"`   // by priority, then heavier first
	Addrs  []netip.Addr  `json:"addrs,omitempty"`
}

// LookupSRV asks for the SRV records of name.
func (r *Resolver) LookupSRV(ctx context.Context, name string) Lookup {
	return r.lookup(ctx, name, dns.TypeSRV)
}

// LookupA asks for the IPv4 addresses of name.
func (r *Resolver) LookupA(ctx context.Context, name string) Lookup {
	return r.lookup(ctx, name, dns.TypeA)
}

// LookupAAAA asks for the IPv6 addresses of name.
func (r *Resolver) LookupAAAA(ctx context.Context, name string) Lookup {
	return r.lookup(ctx, name, dns.TypeAAAA)
}

// lookup asks one question and follows aliases that the server leaves to us.
func (r *Resolver) lookup(ctx context.Context, name string, qtype uint16) Lookup {
	start := time.Now()
	name = strings.ToLower(dns.Fqdn(name))
	l := Lookup{Name: name, Type: dns.TypeToString[qtype]}
	if _, ok := dns.IsDomainName(name); !ok {
		l.Class, l.Error = LocalError, fmt.Sprintf("%q is not a domain name", name)
		return l
	}
	if len(r.o.Servers) == 0 {
		l.Class, l.Error = LocalError, "no name server to ask: configure at least one resolver"
		return l
	}
	for range maxAliases {
		r.ask(ctx, &l, name, qtype)
		if l.Class != NoData || l.Alias == "" || l.Alias == name {
			break
		}
		name = l.Alias
	}
	l.Took = time.Since(start)
	return l
}

// ask goes from server to server until one knows. What the first one said of
// its trouble stands when none does.
func (r *Resolver) ask(ctx context.Context, l *Lookup, name string, qtype uint16) {
	var troubles []string
	l.Class = ClassUnknown
	for _, server := range r.o.Servers {
		msg, class, err := r.exchange(ctx, server, name, qtype)
		if err == nil {
			class, err = l.read(msg, name, qtype)
		}
		if class == OK || class == NXDomain || class == NoData {
			l.Server, l.Class, l.Error = server, class, ""
			if err != nil {
				l.Error = err.Error()
			}
			return
		}
		troubles = append(troubles, fmt.Sprintf("%s: %v", server, err))
		if l.Class == ClassUnknown {
			l.Server, l.Class = server, class
		}
		if ctx.Err() != nil {
			l.Class = LocalError
			break
		}
	}
	l.Error = fmt.Sprintf("%s %s: %s", l.Name, l.Type, strings.Join(troubles, "; "))
}

// exchange sends one question over UDP and again over TCP when the answer did
// not fit.
func (r *Resolver) exchange(ctx context.Context, server, name string, qtype uint16) (*dns.Msg, Class, error) {
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	m.SetEdns0(udpSize, false)
	answer, err := r.once(ctx, "udp", server, m)
	if err == nil && answer.Rcode == dns.RcodeFormatError {
		m.Extra = nil // older than EDNS
		answer, err = r.once(ctx, "udp", server, m)
	}
	if err == nil && answer.Truncated {
		if answer, err = r.once(ctx, "tcp", server, m); err != nil {
			class := dnsClass(ctx, err)
			if class != LocalError {
				class = Timeout // the rest of the answer cannot be had
			}
			return nil, class, fmt.Errorf("the answer does not fit into UDP and TCP fails: %w", err)
		}
	}
	if err != nil {
		return nil, dnsClass(ctx, err), err
	}
	return answer, OK, nil
}

func (r *Resolver) once(ctx context.Context, network, server string, m *dns.Msg) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	var d net.Dialer
	raw, err := d.DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	conn := &dns.Conn{Conn: raw, UDPSize: udpSize}
	defer func() { _ = conn.Close() }()
	// The client heeds deadlines only, not that its context is cancelled.
	stop := context.AfterFunc(ctx, func() { _ = raw.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	c := &dns.Client{Net: network, Timeout: r.o.Timeout, UDPSize: udpSize}
	answer, _, err := c.ExchangeWithConnContext(ctx, m, conn)
	if err == nil && !answers(answer, m) {
		return nil, errors.New("the answer is to another question, or none")
	}
	return answer, err
}

// answers reports whether m is a response to the question of q. A server that
// could not read the question need not repeat it.
func answers(m, q *dns.Msg) bool {
	if !m.Response || len(m.Question) == 0 {
		return m.Response && m.Rcode != dns.RcodeSuccess
	}
	got, asked := m.Question[0], q.Question[0]
	return len(m.Question) == 1 && got.Qtype == asked.Qtype && got.Qclass == asked.Qclass && strings.EqualFold(got.Name, asked.Name)
}

// dnsClass sorts what kept a name server from answering.
func dnsClass(ctx context.Context, err error) Class {
	if ctx.Err() != nil {
		return LocalError
	}
	if isTimeout(err) {
		return Timeout
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		switch c := errnos[errno]; c {
		case Refused: // the word is taken by the rcode
			return Unreachable
		case ClassUnknown:
			return LocalError
		default:
			return c
		}
	}
	if _, ok := errors.AsType[*net.OpError](err); ok {
		return LocalError
	}
	return BadAnswer
}

// read takes the records out of an answer.
func (l *Lookup) read(m *dns.Msg, name string, qtype uint16) (Class, error) {
	switch m.Rcode {
	case dns.RcodeSuccess:
	case dns.RcodeNameError:
		return NXDomain, fmt.Errorf("%s does not exist", name)
	case dns.RcodeServerFailure:
		return ServFail, errors.New("SERVFAIL")
	case dns.RcodeRefused:
		return Refused, errors.New("REFUSED")
	default:
		return BadAnswer, fmt.Errorf("rcode %s", dns.RcodeToString[m.Rcode])
	}
	owner := name
	for range maxAliases {
		i := slices.IndexFunc(m.Answer, func(rr dns.RR) bool {
			return rr.Header().Rrtype == dns.TypeCNAME && strings.EqualFold(rr.Header().Name, owner)
		})
		if i < 0 {
			break
		}
		if cname, ok := m.Answer[i].(*dns.CNAME); ok {
			owner = strings.ToLower(cname.Target)
			l.Alias = owner
		}
	}
	for _, rr := range m.Answer {
		if rr.Header().Rrtype == qtype && strings.EqualFold(rr.Header().Name, owner) {
			l.add(rr)
		}
	}
	if len(l.SRV)+len(l.Addrs) > 0 {
		slices.SortStableFunc(l.SRV, SRV.compare)
		return OK, nil
	}
	if owner == name && isReferral(m) {
		return Lame, errors.New("a referral instead of an answer: the server does not ask others and does not own the zone")
	}
	return NoData, fmt.Errorf("%s has no %s record", name, dns.TypeToString[qtype])
}

// isReferral reports whether the server only points elsewhere.
func isReferral(m *dns.Msg) bool {
	if m.Authoritative || m.RecursionAvailable {
		return false
	}
	ns, soa := 0, 0
	for _, rr := range m.Ns {
		switch rr.Header().Rrtype {
		case dns.TypeNS:
			ns++
		case dns.TypeSOA:
			soa++
		}
	}
	return ns > 0 && soa == 0
}

func (l *Lookup) add(rr dns.RR) {
	if len(l.SRV)+len(l.Addrs) >= maxAnswers {
		return
	}
	if ttl := rr.Header().Ttl; len(l.SRV)+len(l.Addrs) == 0 || ttl < l.TTL {
		l.TTL = ttl
	}
	switch rr := rr.(type) {
	case *dns.SRV:
		l.SRV = append(l.SRV, SRV{Target: strings.ToLower(rr.Target), Port: rr.Port, Priority: rr.Priority, Weight: rr.Weight})
	case *dns.A:
		if a, ok := netip.AddrFromSlice(rr.A.To4()); ok {
			l.Addrs = append(l.Addrs, a)
		}
	case *dns.AAAA:
		if a, ok := netip.AddrFromSlice(rr.AAAA.To16()); ok {
			l.Addrs = append(l.Addrs, a)
		}
	}
}
