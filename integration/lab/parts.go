package lab

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/netip"
	"time"

	"edgewatch/actions/actionstest"
	"edgewatch/probe/probetest"
)

// Zone is what a lab needs name servers for.
type Zone struct {
	Name    string
	Record  string // the name that step 4 moves; also in Records
	Domain  string
	Records []string // lines of a zone file with absolute names, without SOA and NS
	Key     Key      // may change every name of the zone
}

// Key signs updates (RFC 8945).
type Key struct {
	Name      string
	Algorithm string // "hmac-sha256"
	Secret    string // base64
}

// NameServers serve a Zone.
type NameServers struct {
	Primary       netip.AddrPort   // takes updates
	Authoritative []netip.AddrPort // every server that partners may ask, the primary too
	Key           Key
}

func labKey() Key {
	return Key{Name: "edgewatch-key", Algorithm: "hmac-sha256", Secret: base64.StdEncoding.EncodeToString([]byte("the lab's key, known to everybody"))}
}

// secondaryDelay is how long after a change the secondary has it.
const secondaryDelay = 100 * time.Millisecond

// fakeDNS is a primary with a secondary that follows it.
func (l *Lab) fakeDNS(primary, secondary netip.AddrPort, z Zone) (NameServers, error) {
	cfg := actionstest.DNSConfig{
		Zones: []actionstest.DNSZone{{Name: z.Name, Records: z.Records}},
		Keys:  []actionstest.DNSKey{{Name: z.Key.Name, Secret: z.Key.Secret}},
	}
	first, err := actionstest.ListenDNS(primary.String(), cfg)
	if err != nil {
		return NameServers{}, err
	}
	l.cleanup(func() error { first.Close(); return nil })
	second, err := actionstest.ListenDNS(secondary.String(), actionstest.DNSConfig{})
	if err != nil {
		return NameServers{}, err
	}
	l.cleanup(func() error { second.Close(); return nil })
	if err := second.Follow(first, secondaryDelay); err != nil {
		return NameServers{}, err
	}
	l.DNS = first
	return NameServers{Primary: primary, Authoritative: []netip.AddrPort{primary, secondary}, Key: z.Key}, nil
}

// fakeXMPP is an XMPP proxy in this process.
type fakeXMPP struct {
	addr   netip.AddrPort
	config probetest.Config
	server *probetest.Server // nil before the first start
}

func (f *fakeXMPP) Start(context.Context) error {
	if f.server != nil {
		return f.server.Start()
	}
	s, err := probetest.Listen(f.addr.String(), f.config)
	if err != nil {
		return err
	}
	f.server = s
	return nil
}

func (f *fakeXMPP) Stop() error {
	if f.server != nil {
		f.server.Stop()
	}
	return nil
}

func (f *fakeXMPP) Kill() error { return f.Stop() }

// zone is the lab's zone with the first pool as the active one.
func (e *estate) zone(domain, record string, port uint16, key Key) Zone {
	z := Zone{Name: domain, Record: record, Domain: domain, Key: key}
	for _, s := range e.pools[0].Servers {
		z.Records = append(z.Records, fmt.Sprintf("%s. 5 A %s", record, s.XMPP.Addr()))
	}
	z.Records = append(z.Records, fmt.Sprintf("_xmpp-server._tcp.%s. 60 SRV 0 0 %d %s.", domain, port, record))
	return z
}
