package configs

import (
	"net/netip"
	"strings"
	"testing"
)

// TestCanary: every form is read and printed, and reads back as the same.
func TestCanary(t *testing.T) {
	at := netip.MustParseAddrPort
	for in, want := range map[string]struct {
		canary Canary
		text   string
	}{
		"192.0.2.1:443":                               {Canary{Kind: CanaryTCP, Addr: at("192.0.2.1:443")}, "192.0.2.1:443"},
		"tcp://192.0.2.1:443":                         {Canary{Kind: CanaryTCP, Addr: at("192.0.2.1:443")}, "192.0.2.1:443"},
		"tcp://[2001:db8::1]:443":                     {Canary{Kind: CanaryTCP, Addr: at("[2001:db8::1]:443")}, "[2001:db8::1]:443"},
		"dns://192.0.2.53?name=Example.com.":          {Canary{Kind: CanaryDNS, Addr: at("192.0.2.53:53"), Name: "example.com", Type: "A"}, "dns://192.0.2.53:53?name=example.com"},
		"dns://[2001:db8::53]?name=com&type=AAAA":     {Canary{Kind: CanaryDNS, Addr: at("[2001:db8::53]:53"), Name: "com", Type: "AAAA"}, "dns://[2001:db8::53]:53?name=com&type=AAAA"},
		"dns://192.0.2.53:5353?type=A&name=a.example": {Canary{Kind: CanaryDNS, Addr: at("192.0.2.53:5353"), Name: "a.example", Type: "A"}, "dns://192.0.2.53:5353?name=a.example"},
		"dns://192.0.2.53?name=_xmpp-server._tcp.a.example&type=SRV": {
			Canary{Kind: CanaryDNS, Addr: at("192.0.2.53:53"), Name: "_xmpp-server._tcp.a.example", Type: "SRV"},
			"dns://192.0.2.53:53?name=_xmpp-server._tcp.a.example&type=SRV"},
		"xmpp://192.0.2.7?domain=example.net":       {Canary{Kind: CanaryXMPP, Addr: at("192.0.2.7:5269"), Domain: "example.net"}, "xmpp://192.0.2.7:5269?domain=example.net"},
		"xmpps://192.0.2.7:5270?domain=example.net": {Canary{Kind: CanaryXMPPS, Addr: at("192.0.2.7:5270"), Domain: "example.net"}, "xmpps://192.0.2.7:5270?domain=example.net"},
	} {
		var c Canary
		if err := c.UnmarshalText([]byte(in)); err != nil || c != want.canary || c.String() != want.text {
			t.Errorf("%s: %+v, %v, printed %s; want %+v, %s", in, c, err, c, want.canary, want.text)
		}
		var again Canary
		if err := again.UnmarshalText([]byte(c.String())); err != nil || again != c {
			t.Errorf("%s: reads back as %+v, %v", c, again, err)
		}
	}
}

// TestCanaryRefused: whatever is not exactly one of the forms is refused, with
// words that end the sentence "… is".
func TestCanaryRefused(t *testing.T) {
	for in, want := range map[string]string{
		"":                                  "not an IP address with a port",
		"192.0.2.1":                         "not an IP address with a port; a name server is written dns://ADDRESS[:53]?name=…, an XMPP server xmpp://ADDRESS[:5269]?domain=…",
		"192.0.2.1:0":                       "not an IP address with a port",
		"example.com:443":                   "not an IP address with a port",
		"tcp://192.0.2.1":                   "not an IP address with a port",
		"tcp://example.com:443":             "not an IP address with a port",
		"xmpps://192.0.2.7":                 "not an IP address with a port",
		"https://192.0.2.1:443":             "tcp://, dns://, xmpp:// or xmpps://",
		"TCP://192.0.2.1:443":               "tcp://, dns://",
		"://192.0.2.1:443":                  "tcp://, dns://",
		"tcp://192.0.2.1:443/":              "write tcp://ADDRESS:PORT",
		"tcp://192.0.2.1:443#a":             "write tcp://ADDRESS:PORT",
		"tcp://192.0.2.1:443#":              "write tcp://ADDRESS:PORT",
		"tcp://a@192.0.2.1:443":             "write tcp://ADDRESS:PORT",
		"tcp://192.0.2.1:443?a=b":           `tcp knows no "a"`,
		"dns://192.0.2.53":                  "without name: write dns://ADDRESS[:53]?name=…",
		"dns://192.0.2.53?name=":            "without name",
		"dns://192.0.2.53?name=a b.example": "is not a DNS name",
		"dns://192.0.2.53?name=a.example&name=b.example": "more than one name",
		"dns://192.0.2.53?name=a.example&typ=A":          `knows no "typ"`,
		"dns://192.0.2.53?name=a.example&type=a":         "none of A, AAAA, SRV",
		"dns://192.0.2.53?name=a.example&type=":          "none of A, AAAA, SRV",
		"dns://192.0.2.53?name=%zz":                      "cannot be read",
		"xmpp://192.0.2.7":                               "without domain",
		"xmpp://192.0.2.7?domain=a..example":             "its domain is not a DNS name",
		"xmpp://192.0.2.7?name=a.example":                "without domain",
	} {
		var c Canary
		err := c.UnmarshalText([]byte(in))
		if err == nil || !strings.Contains(err.Error(), want) || !isPhrase(err) {
			t.Errorf("%q: %v, want %q", in, err, want)
		}
	}
}
