package configs

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"edgewatch/watchdog"
)

// need is what a federation lacks to be failed over.
type need struct{ path, why string }

// CanAct reports whether the configuration holds everything a failover
// needs. It always does in the modes approve and auto; in observe it may
// leave out what only a failover uses.
func (f *Federation) CanAct() bool { return len(f.needs()) == 0 }

// needs lists what a failover would lack, with paths below the federation.
func (f *Federation) needs() []need {
	var out []need
	lacks := func(missing bool, why, path string, args ...any) {
		if missing {
			out = append(out, need{fmt.Sprintf(path, args...), why})
		}
	}
	lacks(len(f.Pools) < 2, "there is no other pool to fail over to", "pools[%d]", len(f.Pools))
	lacks(len(f.DNS.Zones) == 0, "the records of steps 4 and 5 are changed there", "dns.zones")
	for i, z := range f.DNS.Zones {
		lacks(z.TSIG == nil, "updates are always signed", "dns.zones[%d].tsig", i)
		lacks(len(z.Authoritative) == 0, "a change counts when every server that a partner may ask serves it", "dns.zones[%d].authoritative", i)
	}
	out = append(out, lackOf(f.Management.WinRM, f.Management.Host, "management")...)
	for i := range f.Pools {
		p := &f.Pools[i]
		lacks(f.DNS.Record == "" && p.DNSName == "", "dns.record or a dns_name of every pool says where SRV records point to", "pools[%d].dns_name", i)
		lacks(p.Site == "", "Set-CsSite needs it", "pools[%d].site", i)
		lacks(p.FQDN == "", "Get-CsService knows the pool by it", "pools[%d].fqdn", i)
		lacks(p.Route.Server == "" && p.Route.Value == "" && p.Route.Parameter != "XmppFederationRoute",
			"Set-CsSite is given it", "pools[%d].route.server", i)
		lacks(len(p.Servers) == 0, "services are stopped and started on each of them", "pools[%d].servers", i)
		if p.Management != nil {
			out = append(out, lackOf(p.Management.WinRM, p.Management.Host, fmt.Sprintf("pools[%d].management", i))...)
		}
		for k, s := range p.Servers {
			if s.FQDN != "" {
				out = append(out, lackOf(s.WinRM, s.FQDN, fmt.Sprintf("pools[%d].servers[%d]", i, k))...)
			}
		}
	}
	return out
}

// lackOf says what is missing to run commands on a host, given at path.
func lackOf(w WinRM, host, path string) []need {
	switch {
	case host == "":
		return []need{{path + ".host", "Set-CsSite runs there"}}
	case w.Auth == "certificate" && w.CertFile == "":
		return []need{{path + ".winrm.cert_file", "auth is certificate"}}
	case w.Auth == "certificate" && w.KeyFile == "":
		return []need{{path + ".winrm.key_file", "auth is certificate"}}
	case w.Auth != "certificate" && w.Credential == "":
		return []need{{path + ".winrm.credential", "edgewatch logs on to " + host}}
	}
	return nil
}

// mode holds what a mode asks of the rest.
func (r *rules) mode() {
	needs := r.f.needs()
	if !r.f.acts() {
		if len(needs) > 0 && r.f.Mode == watchdog.ModeObserve {
			paths := make([]string, len(needs))
			for i, n := range needs {
				paths[i] = n.path
			}
			r.warn(r.path, "nothing can be failed over, not even on request, without %s", strings.Join(paths, ", "))
		}
		return
	}
	for _, n := range needs {
		r.bad(r.in("%s", n.path), "is missing: %s (wanted in mode %s)", n.why, r.f.Mode)
	}
	if r.f.Mode != watchdog.ModeAuto {
		return
	}
	if len(r.f.Canaries.Targets) == 0 {
		r.bad(r.in("canaries.targets"), "is empty: mode auto wants at least one, or an outage of edgewatch's own network would look like one of a pool")
	}
}

// zone is the index of the zone that holds name, the most specific one, or
// -1.
func (d *DNS) zone(name string) int {
	best := -1
	for i, z := range d.Zones {
		if (name == z.Name || strings.HasSuffix(name, "."+z.Name)) && (best < 0 || len(z.Name) > len(d.Zones[best].Name)) {
			best = i
		}
	}
	return best
}

// ZoneOf returns the zone that holds name, the most specific one, or nil.
func (d *DNS) ZoneOf(name string) *Zone {
	if i := d.zone(strings.ToLower(strings.TrimSuffix(name, "."))); i >= 0 {
		return &d.Zones[i]
	}
	return nil
}

// longTTL is how long partners may keep an old address before that deserves a
// look: a failover takes some minutes itself.
const longTTL = 10 * time.Minute

func (r *rules) dns() {
	d := &r.f.DNS
	if len(d.Zones) > 0 {
		for i, name := range r.f.Domains {
			if d.zone(name) < 0 {
				r.bad(r.in("domains[%d]", i), "no zone of dns.zones holds %s, whose SRV record step 5 may have to add", name)
			}
		}
		if d.Record != "" && d.zone(d.Record) < 0 {
			r.bad(r.in("dns.record"), "no zone of dns.zones holds %s", d.Record)
		}
	}
	if d.TTL.Duration > longTTL {
		r.warn(r.in("dns.ttl"), "%s is long: when federation moves the next time, partners keep the old address for up to so long", d.TTL)
	}
	for i, z := range d.Zones {
		if whole := r.f.Timeouts.DNSRecords; z.Timeout.Duration > whole.Duration {
			r.bad(r.in("dns.zones[%d].timeout", i), "%s is longer than all of the step may take (timeouts.dns_records: %s)", z.Timeout, whole)
		}
		if n := len(z.Authoritative); z.MaySilent > 0 && z.MaySilent >= n {
			r.bad(r.in("dns.zones[%d].may_be_silent", i), "%d of %d servers may be silent: at least one must answer", z.MaySilent, n)
		}
		if z.TSIG != nil && len(z.Authoritative) == 0 && !r.f.acts() {
			r.bad(r.in("dns.zones[%d].authoritative", i), "is missing: tsig is for changes, and a change counts when every server that a partner may ask serves it")
		}
	}
	r.record()
}

// dyingWithPool tells of what a failover needs and the death of a pool takes
// along.
func (r *rules) dyingWithPool() {
	r.managementAt("management.host", r.f.Management.Host)
	for i, p := range r.f.Pools {
		if p.Management != nil {
			r.managementAt(fmt.Sprintf("pools[%d].management.host", i), p.Management.Host)
		}
	}
	for i, a := range r.f.DNS.Resolvers {
		if pool := r.poolAt(a); pool != "" {
			r.warn(r.in("dns.resolvers[%d]", i), "%s is an address of %s: when that pool is dead, nobody says there what partners see", a.Addr(), pool)
		}
	}
	for i, z := range r.f.DNS.Zones {
		if pool := r.poolAt(z.Server); pool != "" {
			r.warn(r.in("dns.zones[%d].server", i), "%s is an address of %s: when that pool is dead, the records cannot be changed", z.Server.Addr(), pool)
		}
		for k, a := range z.Authoritative {
			if pool := r.poolAt(a); pool != "" && z.MaySilent == 0 {
				r.warn(r.in("dns.zones[%d].authoritative[%d]", i, k), "%s is an address of %s: when that pool is dead, the failover waits for it in vain; see may_be_silent", a.Addr(), pool)
			}
		}
	}
}

// managementAt wants the host that Set-CsSite runs on beside the pools.
func (r *rules) managementAt(path, host string) {
	for _, p := range r.f.Pools {
		if host != "" && slices.ContainsFunc(p.Servers, func(s Server) bool { return s.FQDN == host }) {
			r.warn(r.in("%s", path), "%s is an Edge Server of %s: it dies with that pool, and an Edge cannot run Set-CsSite; name a host inside, best the one with the CMS", host, p.Name)
		}
	}
}

// poolAt names the pool that has the address, "" when none has.
func (r *rules) poolAt(a netip.AddrPort) string {
	for _, p := range r.f.Pools {
		if a.IsValid() && slices.Contains(p.Addresses, a.Addr().Unmap()) { // those of pools are unmapped
			return p.Name
		}
	}
	return ""
}

// record holds what tells one name of all pools from one name per pool.
func (r *rules) record() {
	d := &r.f.DNS
	named := slices.ContainsFunc(r.f.Pools, func(p Pool) bool { return p.DNSName != "" })
	for i, p := range r.f.Pools {
		path := r.in("pools[%d].dns_name", i)
		switch {
		case d.Record != "" && p.DNSName != "":
			r.bad(path, "contradicts dns.record: SRV records point either to one name that moves or to one name per pool")
		case d.Record == "" && named && p.DNSName == "":
			r.bad(path, "is missing: other pools have one, and there is no dns.record")
		}
	}
	if d.Record == "" && d.SharedWithSIP {
		r.bad(r.in("dns.shared_with_sip"), "there is no dns.record that could be shared")
	}
	for _, name := range r.f.Domains {
		if d.Record == name {
			r.warn(r.in("dns.record"), "%s is a domain itself: whatever else is found by that name moves along", name)
		}
		for _, host := range []string{"sip", "sipexternal", "sipdir", "access"} {
			if d.Record == host+"."+name && !d.SharedWithSIP {
				r.bad(r.in("dns.record"), "%s looks like the name SIP clients use, who would move along: give XMPP a name of its own or set shared_with_sip: true", d.Record)
			}
		}
	}
}

// winrm holds the rules of every host that commands are run on.
func (r *rules) winrm() {
	used := map[string]bool{}
	for _, key := range []string{"addr", "server_name"} {
		if r.given(r.in("winrm.%s", key)) {
			r.bad(r.in("winrm.%s", key), "belongs to a single host: give it there")
		}
	}
	r.credential(r.in("winrm"), r.f.WinRM.Credential, used)
	r.host(r.in("management.winrm"), r.f.Management.WinRM, used, "management.winrm", "winrm")
	for i, p := range r.f.Pools {
		if p.Management != nil {
			at := fmt.Sprintf("pools[%d].management.winrm", i)
			r.host(r.in("%s", at), p.Management.WinRM, used, at, "management.winrm", "winrm")
		}
		for k, s := range p.Servers {
			at := fmt.Sprintf("pools[%d].servers[%d].winrm", i, k)
			r.host(r.in("%s", at), s.WinRM, used, at, "winrm")
		}
	}
	for name := range r.f.Credentials {
		if !used[name] {
			r.warn(r.in("credentials.%s", name), "is not used by any winrm")
		}
	}
}

// host holds the rules of one host. from are the sections its settings come
// from, the nearest first; a problem is told where the setting was given.
func (r *rules) host(path string, w WinRM, used map[string]bool, from ...string) {
	r.credential(path, w.Credential, used)
	given := func(key string) string {
		for _, section := range from {
			if at := r.in("%s.%s", section, key); r.given(at) {
				return at
			}
		}
		return join(path, key)
	}
	if w.Auth == "basic" && !w.HTTPS {
		r.bad(given("https"), "auth basic without https would send the password in the clear: use https, or auth ntlm")
	}
	if w.Auth == "certificate" {
		if !w.HTTPS {
			r.bad(given("https"), "auth certificate works only with https")
		}
		if w.Credential != "" {
			r.bad(path+".credential", "contradicts auth certificate, which has no account")
		}
	}
	r.together(from[0], "cert_file", w.CertFile, "key_file", w.KeyFile)
	if w.Auth != "certificate" && (r.given(path+".cert_file") || r.given(path+".key_file")) {
		r.bad(path+".cert_file", "has no use without auth certificate")
	}
	for _, key := range []string{"ca_file", "server_name"} {
		if !w.HTTPS && r.given(join(path, key)) {
			r.bad(join(path, key), "has no use without https")
		}
	}
}

// credential holds that a name stands in credentials.
func (r *rules) credential(path, name string, used map[string]bool) {
	used[name] = true
	if _, ok := r.f.Credentials[name]; ok || name == "" || !r.given(path+".credential") {
		return
	}
	var names []string
	for n := range r.f.Credentials {
		names = append(names, n)
	}
	slices.Sort(names)
	r.bad(path+".credential", "there is no %q in credentials%s", name, didYouMean(name, names))
}

// failback wants a window for what is done by itself.
func (r *rules) failback() {
	b := r.f.Failback
	switch {
	case b.Auto && b.Window == "":
		r.bad(r.in("failback.auto"), "needs a window, like window: \"02:00-04:30\": federation returns by itself at times only when somebody expects it")
	case b.Auto && r.f.Mode != watchdog.ModeAuto:
		r.warn(r.in("failback.auto"), "is without effect in mode %s", r.f.Mode)
	case b.Auto && r.f.Guards.Budget < 2:
		r.warn(r.in("guards.budget"), "of 1 is used up by a failover: automatic failback waits until budget_window is over")
	case !b.Auto && b.Window != "":
		r.warn(r.in("failback.window"), "is without effect unless failback.auto is set")
	}
	if r.f.Mode == watchdog.ModeApprove && r.f.Guards.Unproven == watchdog.UnprovenNext {
		r.warn(r.in("guards.unproven"), "next is without effect in mode approve: edgewatch does not ask about a second pool, it tries the same failover again and then wants a person")
	}
	if a := r.f.Approval; r.f.Mode == watchdog.ModeApprove && a.Timeout.Duration == 0 && a.Then == watchdog.ApprovalActs {
		r.bad(r.in("approval.then"), "cannot be failover with a timeout of 0s, which waits without end")
	}
}
