package sim

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"edgewatch/actions/actionstest"
	"edgewatch/configs"
	"edgewatch/watchdog/app"
)

// zone is one DNS zone: a primary and secondaries that speak the protocol
// (package actionstest), so that what changes records is the shipped code with
// its signed updates. Connections are made in memory: sockets have no virtual
// time.
type zone struct {
	name    string // without final dot
	primary *actionstest.DNSServer
	servers map[string]*actionstest.DNSServer // by address, the primary too
	wires   map[string]*wireTo
}

// elsewhere stands for addresses of no pool.
const elsewhere = "addresses of no pool"

var foreignAddr = netip.MustParseAddr("192.0.2.250")

// secondaryLag is how long a secondary takes to follow, unless a fault says
// otherwise.
const secondaryLag = 2 * time.Second

// startZone starts the servers of a zone that leads partners to the first
// pool. The caller closes it.
func startZone(f *configs.Federation, c *configs.Zone) (*zone, error) {
	z := &zone{name: strings.TrimSuffix(c.Name, "."), servers: map[string]*actionstest.DNSServer{}, wires: map[string]*wireTo{}}
	cfg := actionstest.DNSConfig{Zones: []actionstest.DNSZone{{Name: c.Name, Records: records(f, c)}}}
	if k := c.TSIG; k != nil {
		cfg.Keys = []actionstest.DNSKey{{Name: k.Name, Algorithm: k.Algorithm, Secret: cmp.Or(k.Secret.Reveal(), app.OfflineSecret)}}
	}
	addrs := []string{c.Server.String()}
	for _, a := range c.Authoritative {
		if !slices.Contains(addrs, a.String()) {
			addrs = append(addrs, a.String())
		}
	}
	for i, addr := range addrs {
		l := newWireTo(addr)
		s, err := actionstest.ServeDNS(l, cfg)
		if err != nil {
			z.close()
			return nil, fmt.Errorf("zone %s: %w", z.name, err)
		}
		z.servers[addr], z.wires[addr] = s, l
		if i == 0 {
			z.primary = s
		} else if err := s.Follow(z.primary, secondaryLag); err != nil {
			z.close()
			return nil, fmt.Errorf("zone %s: %w", z.name, err)
		}
	}
	return z, nil
}

// records are the lines of a zone that is as a configuration expects it.
func records(f *configs.Federation, c *configs.Zone) []string {
	holds := func(name string) bool { z := f.DNS.ZoneOf(name); return z != nil && z.Name == c.Name }
	var out []string
	hosts := []configs.Pool{}
	if f.DNS.Record != "" {
		only := f.Pools[0]
		only.DNSName = f.DNS.Record
		hosts = append(hosts, only)
	} else {
		hosts = append(hosts, f.Pools...)
	}
	for _, p := range hosts {
		if holds(p.DNSName) {
			out = append(out, addressLines(p.DNSName, f.DNS.TTL.Duration, p.Addresses)...)
		}
		for _, d := range f.Domains {
			if holds(d) {
				out = append(out, fmt.Sprintf("%s %d SRV %d %d %d %s", service(d), int(f.DNS.SRV.TTL.Seconds()), p.SRVPriority, f.DNS.SRV.Weight, f.Port, dns.Fqdn(p.DNSName)))
			}
		}
	}
	return out
}

func service(domain string) string { return dns.Fqdn("_xmpp-server._tcp." + domain) }

func addressLines(name string, ttl time.Duration, addrs []netip.Addr) []string {
	var out []string
	for _, a := range addrs {
		kind := "A"
		if a.Is6() {
			kind = "AAAA"
		}
		out = append(out, fmt.Sprintf("%s %d %s %s", dns.Fqdn(name), int(ttl.Seconds()), kind, a))
	}
	return out
}

func (z *zone) close() {
	for _, s := range z.servers {
		s.Close()
	}
}

// addresses are those that the name has on the primary.
func (z *zone) addresses(name string) []netip.Addr {
	var out []netip.Addr
	for _, kind := range []string{"A", "AAAA"} {
		for _, text := range z.primary.Records(name, kind) {
			if a, err := netip.ParseAddr(text); err == nil {
				out = append(out, a)
			}
		}
	}
	return out
}

// set lets somebody give the name other addresses, by hand.
func (z *zone) set(name string, ttl time.Duration, addrs []netip.Addr) error {
	for _, kind := range []string{"A", "AAAA"} {
		var of []string
		for _, l := range addressLines(name, ttl, addrs) {
			if strings.Contains(l, " "+kind+" ") {
				of = append(of, l)
			}
		}
		if err := z.primary.Edit(z.name, dns.Fqdn(name), kind, of...); err != nil {
			return err
		}
	}
	return nil
}

// refuse lets the primary refuse updates, or take them again.
func (z *zone) refuse(on bool) {
	fault := actionstest.DNSHealthy
	if on {
		fault = actionstest.DNSRefuse
	}
	z.primary.FailUpdates(fault)
}

// lag lets secondaries follow after d.
func (z *zone) lag(d time.Duration) {
	for _, s := range z.servers {
		s.Lag(d)
	}
}

// fail lets secondaries follow after d, and keep silent.
func (z *zone) fail(d time.Duration, silent bool) {
	fault := actionstest.DNSHealthy
	if silent {
		fault = actionstest.DNSHang
	}
	z.lag(d)
	for _, s := range z.servers {
		if s != z.primary {
			s.FailQueries(fault)
		}
	}
}

// holding is the zone that holds the name, nil when none does.
func (w *world) holding(name string) *zone {
	if z := w.f.DNS.ZoneOf(name); z != nil {
		return w.zones["zone "+strings.TrimSuffix(z.Name, ".")]
	}
	return nil
}

// leads names the pools that partners try, the preferred one first.
func (w *world) leads() []string {
	if name := w.f.DNS.Record; name != "" {
		if z := w.holding(name); z != nil {
			return w.owners(z.addresses(name))
		}
		return nil
	}
	z := w.holding(w.f.Domains[0])
	if z == nil {
		return nil
	}
	type lead struct {
		priority int
		target   string
	}
	var leads []lead
	for _, text := range z.primary.Records(service(w.f.Domains[0]), "SRV") {
		if fields := strings.Fields(text); len(fields) == 4 {
			priority, _ := strconv.Atoi(fields[0]) // a zone holds no other
			leads = append(leads, lead{priority, fields[3]})
		}
	}
	slices.SortStableFunc(leads, func(a, b lead) int { return a.priority - b.priority })
	var out []string
	for _, l := range leads {
		for _, p := range w.pools {
			if dns.CanonicalName(p.DNSName) == dns.CanonicalName(l.target) {
				out = append(out, p.Name)
			}
		}
	}
	return out
}

// owners names the pools that have the addresses, each once.
func (w *world) owners(addrs []netip.Addr) []string {
	var out []string
	for _, a := range addrs {
		name := elsewhere
		if p, _ := w.behind(a); p != nil {
			name = p.Name
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// edit lets somebody point the record at a pool, or at addresses of none. The
// caller holds the lock.
func (w *world) edit(value string) error {
	name := w.f.DNS.Record
	z := w.holding(name)
	if z == nil {
		return nil
	}
	addrs := []netip.Addr{foreignAddr}
	if p := w.poolNamed(value); p != nil {
		addrs = p.Addresses
	}
	w.edited, w.strange = true, value == elsewhere
	return z.set(name, w.f.DNS.TTL.Duration, addrs)
}

// openZones starts the name servers of the estate and holds what they are told
// to the invariants.
func (r *run) openZones() error {
	for i := range r.world.f.DNS.Zones {
		z, err := startZone(r.world.f, &r.world.f.DNS.Zones[i])
		if err != nil {
			return err
		}
		r.world.zones["zone "+z.name] = z
		what := "update " + z.name
		z.primary.BeforeUpdate(func() {
			r.world.mu.Lock()
			takes := r.world.between(what, 5*time.Millisecond, 60*time.Millisecond)
			r.world.mu.Unlock()
			time.Sleep(takes) // on its way
			if r.checks.changing(z) {
				r.meddle()
			}
		})
		z.primary.AfterUpdate(func(u actionstest.DNSUpdate) {
			if !u.Changed {
				return
			}
			r.checks.updated(z)
			if p := r.living(); p != nil {
				r.crossing(p, "during dns-records")
			}
		})
	}
	return nil
}

func (r *run) closeZones() {
	for _, z := range r.world.zones {
		z.close()
	}
}

// meddle is somebody who changes DNS in the very moment in which an update
// arrives, where the story has one.
func (r *run) meddle() {
	r.mu.Lock()
	value := r.story.meddles
	if r.healed {
		value = ""
	}
	r.story.meddles = ""
	r.mu.Unlock()
	if value != "" {
		r.editDNS(value)
	}
}

// editDNS is somebody who changes DNS by hand.
func (r *run) editDNS(value string) {
	r.notef("somebody changes DNS to %s", value)
	r.world.mu.Lock()
	r.checks.carried.led, r.checks.byUs = false, false
	err := r.world.edit(value)
	r.world.mu.Unlock()
	if err != nil {
		r.violate("simulator", err.Error())
	}
}
