package configs

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"edgewatch/watchdog"
)

// validate asks the rules between values; those of single values were held
// by the decoder.
func (c *Config) validate() {
	c.validateProgram()
	c.validateSecretKeys()
	c.validateUnique()
	c.validateAddrs()
	c.validateRoutes()
	for i := range c.Federations {
		r := rules{source: c.src, f: &c.Federations[i], path: fmt.Sprintf("federations[%d]", i), health: c.Listen.Health}
		r.probe()
		r.breaker()
		r.guards()
		r.detection()
		r.trust()
		r.readiness()
		r.allCanaries()
		r.failback()
		r.timeouts()
		r.haste()
		r.canaries()
		r.witnesses()
		r.pools()
		r.dns()
		r.dyingWithPool()
		r.winrm()
		r.mode()
	}
}

// maxSocket is how long the name of a Unix socket can be everywhere.
const maxSocket = 103

func (c *Config) validateProgram() {
	if c.State == "" {
		c.src.bad("state", "is empty: the journal must be kept in a file")
	}
	if c.History.Keep.Duration < 30*24*time.Hour {
		c.src.warn("history.keep", "%s is short: replay and uptime know nothing older", c.History.Keep)
	}
	if len(c.Socket) > maxSocket {
		c.src.bad("socket", "is longer than the %d characters a socket's name can have", maxSocket)
	}
	switch s := c.Slack; {
	case s == nil:
		c.src.warn("slack", "is missing: nobody is told what edgewatch sees and does")
	case s.AppTokenFile == "" && s.AppTokenEnv == "":
		c.src.warn("slack.app_token_file", "is missing, and app_token_env too: Slack is told and takes no commands")
	case len(s.Users) == 0:
		c.src.warn("slack.users", "is empty: nobody can command from Slack")
	}
}

// validateSecretKeys wants every secret named by exactly one key.
func (c *Config) validateSecretKeys() {
	c.eachSecret(func(r secret) {
		file, env := c.src.given(r.path("_file")), c.src.given(r.path("_env"))
		switch {
		case file && env:
			c.src.bad(r.path("_env"), "contradicts %s_file: give one of them", r.key)
		case r.used() == "" && !r.optional && !c.src.wrong(r.path("")):
			c.src.bad(r.path("_file"), "is missing: %s_file or %[1]s_env must name the secret", r.key)
		}
	})
}

// unique reports values that are given more than once.
type unique struct {
	src  *source
	seen map[string]string // where a value was seen, by kind and value
}

func (u unique) add(path, what, value string) {
	if value == "" {
		return
	}
	if first, ok := u.seen[what+" "+value]; ok {
		u.src.bad(path, "the %s %s is taken by %s", what, value, first)
		return
	}
	u.seen[what+" "+value] = path
}

func (c *Config) validateUnique() {
	all := unique{c.src, map[string]string{}}
	for i, f := range c.Federations {
		path := fmt.Sprintf("federations[%d]", i)
		all.add(path+".name", "federation name", f.Name)
		for j, d := range f.Domains {
			all.add(fmt.Sprintf("%s.domains[%d]", path, j), "domain", d)
		}
		own := unique{c.src, map[string]string{}}
		for j, z := range f.DNS.Zones {
			own.add(fmt.Sprintf("%s.dns.zones[%d].name", path, j), "zone", z.Name)
		}
		for j, p := range f.Pools {
			at := fmt.Sprintf("%s.pools[%d]", path, j)
			own.add(at+".name", "pool name", p.Name)
			all.add(at+".fqdn", "pool", p.FQDN)
			all.add(at+".dns_name", "external name", p.DNSName)
			for k, a := range p.Addresses {
				if a.IsValid() {
					all.add(fmt.Sprintf("%s.addresses[%d]", at, k), "address", a.Unmap().String())
				}
			}
			for k, s := range p.Servers {
				all.add(fmt.Sprintf("%s.servers[%d].fqdn", at, k), "server", s.FQDN)
			}
		}
	}
}

// validateAddrs wants one WinRM address for one host: of two with the same,
// the services of one would be stopped in the name of the other.
func (c *Config) validateAddrs() {
	hosts := map[string]string{} // by address
	add := func(path, host string, w WinRM) {
		addr := strings.ToLower(w.Addr)
		if host == "" || addr == "" {
			return
		}
		if first, ok := hosts[addr]; ok && first != host {
			c.src.bad(path+".winrm.addr", "%s is the address of %s already", w.Addr, first)
			return
		}
		hosts[addr] = host
	}
	for i, f := range c.Federations {
		path := fmt.Sprintf("federations[%d]", i)
		add(path+".management", f.Management.Host, f.Management.WinRM)
		for j, p := range f.Pools {
			if p.Management != nil {
				add(fmt.Sprintf("%s.pools[%d].management", path, j), p.Management.Host, p.Management.WinRM)
			}
			for k, s := range p.Servers {
				add(fmt.Sprintf("%s.pools[%d].servers[%d]", path, j, k), s.FQDN, s.WinRM)
			}
		}
	}
}

// validateRoutes wants the route of each pool to lead to that pool: a name
// that is another's would stop one pool and send federation to the other.
func (c *Config) validateRoutes() {
	pools := map[string]string{} // path of the pool a name leads to
	for i, f := range c.Federations {
		for j, p := range f.Pools {
			if p.FQDN != "" {
				pools[p.FQDN] = fmt.Sprintf("federations[%d].pools[%d]", i, j)
			}
		}
	}
	for i, f := range c.Federations {
		for j, p := range f.Pools {
			pool := fmt.Sprintf("federations[%d].pools[%d]", i, j)
			value := strings.ToLower(strings.TrimSpace(p.Route.Value[strings.LastIndexByte(p.Route.Value, ':')+1:]))
			for key, name := range map[string]string{"server": p.Route.Server, "value": value} {
				if first, ok := pools[name]; ok && first != pool {
					c.src.bad(pool+".route."+key, "%s leads to %s", name, first)
				} else if name != "" {
					pools[name] = pool
				}
			}
		}
	}
}

// rules are those of one federation.
type rules struct {
	*source
	f      *Federation
	path   string
	health string // listen.health
}

// in is the path of a key of the federation.
func (r *rules) in(format string, args ...any) string {
	return r.path + "." + fmt.Sprintf(format, args...)
}

func (r *rules) probe() {
	p := &r.f.Probe
	if slices.Contains(r.f.Domains, p.From) {
		r.bad(r.in("probe.from"), "%s is one of the domains: a server does not federate with itself; take another name of yours", p.From)
	}
	if p.Timeout.Duration >= p.Interval.Duration && !r.wrong(r.in("probe.interval")) {
		r.bad(r.in("probe.timeout"), "%s must be shorter than interval (%s)", p.Timeout, p.Interval)
	}
	if p.SuspectInterval.Duration > p.Interval.Duration && !r.wrong(r.in("probe.interval")) {
		r.bad(r.in("probe.suspect_interval"), "%s must not be longer than interval (%s)", p.SuspectInterval, p.Interval)
	}
	for _, i := range []struct {
		key string
		d   Duration
	}{{"interval", p.Interval}, {"suspect_interval", p.SuspectInterval}} {
		if i.d.Duration < time.Second {
			r.warn(r.in("probe.%s", i.key), "%s is for labs: the XMPP gateway limits the connections of a partner", i.d)
		}
	}
	r.together("probe", "client_cert_file", p.ClientCertFile, "client_key_file", p.ClientKeyFile)
	if p.TLSCountsAsDown {
		r.warn(r.in("probe.tls_counts_as_down"), "a renewed certificate or a changed cipher can now cause a failover")
	}
	if p.TurnedAwayCountsAsDown {
		r.warn(r.in("probe.turned_away_counts_as_down"), "a domain that is missing in a pool's configuration, or a restart of its services, can now cause a failover")
	}
	if r.f.Port != 5269 {
		r.warn(r.in("port"), "partners connect to 5269; another port is for labs and NAT")
	}
}

// together wants both or none of two keys.
func (r *rules) together(section, a, av, b, bv string) {
	if av != "" && bv == "" {
		r.bad(r.in("%s.%s", section, b), "is missing: %s has no use without it", a)
	}
	if av == "" && bv != "" {
		r.bad(r.in("%s.%s", section, a), "is missing: %s has no use without it", b)
	}
}

func (r *rules) breaker() {
	b := &r.f.Breaker
	if least := time.Duration(b.BadRounds) * r.f.Probe.Interval.Duration; b.Ratio > 0 && b.Window.Duration < least {
		r.bad(r.in("breaker.window"), "%s is too short for %d rounds %s apart: at least %s", b.Window, b.BadRounds, r.f.Probe.Interval, Duration{least})
	}
	if b.MinBadTime.Duration < shortest {
		r.warn(r.in("breaker.min_bad_time"), "%s is short: a restart of the services takes longer and would cause a failover", b.MinBadTime)
	}
}

// shortest is the least time a pool should look bad before it counts as
// down: a restart of its services takes longer.
const shortest = 10 * time.Second

func (r *rules) guards() {
	g := &r.f.Guards
	if g.Cooldown.Duration > g.BudgetWindow.Duration {
		r.bad(r.in("guards.cooldown"), "%s is longer than budget_window (%s), so the budget would never count", g.Cooldown, g.BudgetWindow)
	}
}

func (r *rules) timeouts() {
	t := &r.f.Timeouts
	steps := []struct {
		key string
		d   Duration
	}{
		{"preflight", t.Preflight}, {"stop_services", t.StopServices}, {"set_route", t.SetRoute}, {"dns_records", t.DNSRecords},
		{"check_port", t.CheckPort}, {"start_services", t.StartServices}, {"verify", t.Verify},
	}
	var sum time.Duration
	for _, s := range steps {
		sum += s.d.Duration
		if s.d.Duration > t.Failover.Duration {
			r.bad(r.in("timeouts.%s", s.key), "%s is longer than the whole failover may take (failover: %s)", s.d, t.Failover)
		}
	}
	r.shortSteps()
	if sum > t.Failover.Duration {
		r.warn(r.in("timeouts.failover"), "%s is less than all steps together (%s): a slow step takes time from the later ones", t.Failover, Duration{sum})
	}
}

func (r *rules) canaries() {
	c := &r.f.Canaries
	if i := r.f.Probe.Interval; c.Timeout.Duration >= i.Duration && !r.wrong(r.in("probe.interval")) {
		r.bad(r.in("canaries.timeout"), "%s must be shorter than probe.interval (%s): each round asks the canaries", c.Timeout, i)
	}
	seen := map[Canary]bool{}
	for i, t := range c.Targets {
		path := r.in("canaries.targets[%d]", i)
		if !t.Addr.IsValid() || r.wrong(path) {
			continue
		}
		if pool := r.poolAt(t.Addr); pool != "" {
			r.bad(path, "%s is an address of %s: a canary must answer when the pools do not", t.Addr.Addr(), pool)
		}
		if t.Domain != "" && slices.Contains(r.f.Domains, t.Domain) {
			r.bad(path, "%s is one of the domains: a canary must answer when the pools do not", t.Domain)
		}
		if t.Domain != "" && t.Domain == r.f.Probe.From {
			r.bad(path, "%s is probe.from: a server does not federate with itself; ask for a domain of somebody else", t.Domain)
		}
		if seen[t] {
			r.bad(path, "%s is in the list already", t)
		}
		seen[t] = true
	}
	switch n := len(c.Targets); {
	case n == 0 && r.f.Mode != watchdog.ModeAuto:
		r.warn(r.in("canaries.targets"), "is empty: edgewatch cannot tell an outage of a pool from its own")
	case n > 0 && c.MinGood > n:
		r.bad(r.in("canaries.min_good"), "%d of %d targets can never answer", c.MinGood, n)
	case n == 1:
		r.warn(r.in("canaries.targets"), "has one target: while it is down there is no automatic failover; two or three in different networks are better")
	}
}

func (r *rules) pools() {
	priorities := map[int]string{}
	for i := range r.f.Pools {
		p := &r.f.Pools[i]
		for k, a := range p.Addresses {
			if a.IsValid() && (a.IsUnspecified() || a.IsMulticast() || a.Zone() != "") {
				r.bad(r.in("pools[%d].addresses[%d]", i, k), "%s is no address a partner could connect to", a)
			}
		}
		if n := len(p.Addresses); n > 0 && p.MinUp > n {
			r.bad(r.in("pools[%d].min_up", i), "%d addresses cannot be up when there are %d", p.MinUp, n)
		}
		if n := len(p.Servers); n > 0 && p.MinUp > n {
			r.bad(r.in("pools[%d].min_up", i), "%d servers cannot be up when there are %d", p.MinUp, n)
		}
		if r.strangeRoute(p) {
			r.bad(r.in("pools[%d].route.server", i), "%s is none of the pool's servers: Set-CsSite wants the internal FQDN of one of them", p.Route.Server)
		}
		for k, s := range p.Servers {
			if s.FQDN != "" && s.FQDN == p.DNSName {
				r.bad(r.in("pools[%d].dns_name", i), "%s is the internal name of servers[%d]: the external name is wanted", p.DNSName, k)
			}
		}
		if first, ok := priorities[p.SRVPriority]; ok {
			r.warn(r.in("pools[%d].srv_priority", i), "%d is also that of %s: partners would use both pools at once", p.SRVPriority, first)
		}
		priorities[p.SRVPriority] = p.Name
		behind := func(before Pool) bool { return before.SRVPriority > p.SRVPriority }
		if k := slices.IndexFunc(r.f.Pools[:i], behind); k >= 0 {
			r.warn(r.in("pools[%d].srv_priority", i), "%d goes before the %d of %s in SRV records, but edgewatch prefers %[3]s: it chooses by the order of pools alone",
				p.SRVPriority, r.f.Pools[k].SRVPriority, r.f.Pools[k].Name)
		}
	}
}

// strangeRoute reports whether the route names a server that is not the pool's.
func (r *rules) strangeRoute(p *Pool) bool {
	named := func(s Server) bool { return s.FQDN == p.Route.Server }
	return p.Route.Server != "" && len(p.Servers) > 0 && !slices.ContainsFunc(p.Servers, named)
}
