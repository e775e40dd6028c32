package configs

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
)

// CanaryKind is what a canary is asked.
type CanaryKind string

// The kinds of canaries, as the schemes of their URLs.
const (
	CanaryTCP   CanaryKind = "tcp"   // that the port opens
	CanaryDNS   CanaryKind = "dns"   // that this server knows a name
	CanaryXMPP  CanaryKind = "xmpp"  // that it is a federation server of a domain
	CanaryXMPPS CanaryKind = "xmpps" // the same with TLS before the stream (XEP-0368)
)

// Canary is one host that answers as long as the way to it works. It is
// written as one of
//
//	198.51.100.1:443 or tcp://198.51.100.1:443
//	dns://198.51.100.53[:53]?name=example.com[&type=AAAA]
//	xmpp://198.51.100.7[:5269]?domain=example.net
//	xmpps://198.51.100.7:5270?domain=example.net
//
// with the address of the host itself: to look its name up would ask another.
type Canary struct {
	Kind   CanaryKind
	Addr   netip.AddrPort
	Name   string // dns: the name that is asked for
	Type   string // dns: the type of record, one of canaryTypes
	Domain string // xmpp, xmpps: the domain that is asked for
}

// canaryTypes are the records a DNS canary can be asked for; the first is the
// default.
var canaryTypes = []string{"A", "AAAA", "SRV"}

// scheme is what the URL of a kind of canary holds.
type scheme struct {
	port          string // when none is written; "" = one must be
	needs, allows []string
}

var schemes = map[CanaryKind]scheme{
	CanaryTCP:   {},
	CanaryDNS:   {port: "53", needs: []string{"name"}, allows: []string{"name", "type"}},
	CanaryXMPP:  {port: "5269", needs: []string{"domain"}, allows: []string{"domain"}},
	CanaryXMPPS: {needs: []string{"domain"}, allows: []string{"domain"}},
}

// String is the canary as UnmarshalText reads it. It is unique.
func (c Canary) String() string {
	q := ""
	switch c.Kind {
	case CanaryTCP:
		return c.Addr.String()
	case CanaryDNS:
		q = "name=" + c.Name
		if c.Type != canaryTypes[0] {
			q += "&type=" + c.Type
		}
	case CanaryXMPP, CanaryXMPPS:
		q = "domain=" + c.Domain
	}
	return fmt.Sprintf("%s://%s?%s", c.Kind, c.Addr, q)
}

// MarshalText implements encoding.TextMarshaler.
func (c Canary) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. Its errors are phrases.
func (c *Canary) UnmarshalText(b []byte) error {
	word := string(b)
	name, _, isURL := strings.Cut(word, "://")
	if !isURL {
		*c = Canary{Kind: CanaryTCP}
		if err := c.address(word, ""); err != nil {
			return errCanaryForm
		}
		return nil
	}
	kind := CanaryKind(name)
	s, ok := schemes[kind]
	if !ok {
		return phrase("not a canary: write tcp://, dns://, xmpp:// or xmpps://")
	}
	*c = Canary{Kind: kind}
	u, err := url.Parse(word)
	if err != nil || u.User != nil || u.Path != "" || u.Fragment != "" || strings.Contains(word, "#") || u.Opaque != "" {
		return phrase(fmt.Sprintf("not a canary: write %s", s.form(kind)))
	}
	if err := c.address(u.Host, s.port); err != nil {
		return err
	}
	return c.query(s, u.RawQuery)
}

// form is how a canary of this kind is written, for messages.
func (s scheme) form(kind CanaryKind) string {
	form := string(kind) + "://ADDRESS:PORT"
	if s.port != "" {
		form = string(kind) + "://ADDRESS[:" + s.port + "]"
	}
	for i, key := range s.needs {
		form += string("?&"[min(i, 1)]) + key + "=…"
	}
	return form
}

var (
	errCanaryAddr = phrase("not an IP address with a port")
	// errCanaryForm is of a word without a scheme.
	errCanaryForm = errCanaryAddr + "; a name server is written " + phrase(schemes[CanaryDNS].form(CanaryDNS)) +
		", an XMPP server " + phrase(schemes[CanaryXMPP].form(CanaryXMPP))
)

func (c *Canary) address(word, port string) error {
	if port != "" {
		word = withPort(word, port)
	}
	addr, err := netip.ParseAddrPort(word)
	if err != nil || addr.Port() == 0 {
		return errCanaryAddr
	}
	c.Addr = addr
	return nil
}

// query reads what is asked of the host.
func (c *Canary) query(s scheme, raw string) error {
	values, err := url.ParseQuery(raw)
	if err != nil {
		return phrase("not a canary: what follows the ? cannot be read")
	}
	for _, key := range s.needs {
		if values.Get(key) == "" {
			return phrase(fmt.Sprintf("without %s: write %s", key, s.form(c.Kind)))
		}
	}
	for key, list := range values {
		switch {
		case !slices.Contains(s.allows, key):
			return phrase(fmt.Sprintf("not a canary: %s knows no %q", c.Kind, key))
		case len(list) != 1:
			return phrase(fmt.Sprintf("not a canary: it has more than one %s", key))
		}
	}
	for _, key := range s.needs {
		usual, problem := dnsName("", values.Get(key))
		if problem != "" {
			return phrase(fmt.Sprintf("not a canary: its %s %s", key, problem))
		}
		if key == "name" {
			c.Name = usual
		} else {
			c.Domain = usual
		}
	}
	if c.Kind != CanaryDNS {
		return nil
	}
	if c.Type = canaryTypes[0]; values.Has("type") {
		c.Type = values.Get("type")
	}
	if !slices.Contains(canaryTypes, c.Type) {
		return phrase(fmt.Sprintf("not a canary: its type is none of %s", strings.Join(canaryTypes, ", ")))
	}
	return nil
}

// phrase is an error that ends the sentence "… is".
type phrase string

func (p phrase) Error() string { return string(p) }

// isPhrase reports whether err ends that sentence by itself.
func isPhrase(err error) bool {
	_, ok := errors.AsType[phrase](err)
	return ok
}
