package app

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"edgewatch/actions"
	"edgewatch/actions/rfc2136"
	"edgewatch/actions/winrm"
	"edgewatch/configs"
)

// Plan makes a move of a federation to a pool, to be shown: it reads no file,
// needs no secret and contacts nobody. An empty federation means the only one;
// an empty pool means the first one for a failback and else the second. The
// pool that federation leaves is taken to be the first, or the second where
// that is the target; for a failback, which leads to a preferred pool, the one
// after the target.
func Plan(cfg *configs.Config, kind actions.PlanKind, federation, to string) (*actions.Plan, error) {
	f, err := pick(cfg, federation)
	if err != nil {
		return nil, err
	}
	from := f.Pools[0].Name
	switch {
	case to == "" && len(f.Pools) < 2:
		return nil, fmt.Errorf("federation %s has no second pool: there is no %s", f.Name, kind)
	case to == "" && kind == actions.Failback:
		to = from
	case to == "":
		to = f.Pools[1].Name
	case f.Pool(to) == nil:
		return nil, NotPlannedError(fmt.Sprintf("federation %s has no pool %q: known are %s", f.Name, to, strings.Join(poolNames(f), ", ")))
	}
	switch i := slices.Index(poolNames(f), to); {
	case kind == actions.Failback && i == len(f.Pools)-1 && i > 0:
		return nil, NotPlannedError(fmt.Sprintf("%s is not preferred to %s, so that there is nothing to fail back: switchover %[1]s REASON", to, from))
	case kind == actions.Failback && i < len(f.Pools)-1, to == from && len(f.Pools) > 1:
		from = f.Pools[i+1].Name
	}
	b, err := newBuilder(f, true, nil)
	if err != nil {
		return nil, err
	}
	return b.plan(kind, from, to)
}

// Planner makes the moves of a federation from one pool to another, to be
// simulated: it reads no file and needs no secret. The tasks of its plans that
// read and change a zone reach name servers through what dial gives for its
// name; nil leaves them the network.
func Planner(f *configs.Federation, dial func(zone string) rfc2136.Dial) (func(kind actions.PlanKind, from, to string) (*actions.Plan, error), error) {
	b, err := newBuilder(f, true, dial)
	if err != nil {
		return nil, err
	}
	return b.plan, nil
}

// NotPlannedError says that what was asked for cannot be: there is no such
// federation or pool, or no such move between pools.
type NotPlannedError string

// Error implements error.
func (e NotPlannedError) Error() string { return string(e) }

func pick(cfg *configs.Config, federation string) (*configs.Federation, error) {
	if federation == "" {
		if len(cfg.Federations) == 1 {
			return &cfg.Federations[0], nil
		}
		return nil, NotPlannedError("there are several federations: say which with -f: " + strings.Join(federationNames(cfg), " or "))
	}
	if f := cfg.Federation(federation); f != nil {
		return f, nil
	}
	return nil, NotPlannedError(fmt.Sprintf("no such federation: %q: known are %s", federation, strings.Join(federationNames(cfg), ", ")))
}

func federationNames(cfg *configs.Config) []string {
	names := make([]string, len(cfg.Federations))
	for i := range cfg.Federations {
		names[i] = cfg.Federations[i].Name
	}
	return names
}

func poolNames(f *configs.Federation) []string {
	names := make([]string, len(f.Pools))
	for i := range f.Pools {
		names[i] = f.Pools[i].Name
	}
	return names
}

// plan generates the documented procedure of that kind from the pool model:
// federation leaves from, which is EdgePool1 of the failover's page and
// EdgePool2 of the failback's, and goes to to. The failback's page names the
// wrong pool's server in its A-record step; what comes from the model cannot.
// Where from is "", all there is to do is to start the services of to.
func (b *builder) plan(kind actions.PlanKind, from, to string) (*actions.Plan, error) {
	pf, pt := b.f.Pool(from), b.f.Pool(to)
	if pf == nil && from != "" || pt == nil {
		return nil, fmt.Errorf("from %q to %q: no such pool is configured", from, to)
	}
	if !b.f.CanAct() {
		return nil, fmt.Errorf("pool %s cannot be failed over to: %s", to, unable)
	}
	if kind == actions.Switchover && pf != nil && b.keepsPartners(pf, pt) {
		return nil, NotPlannedError(fmt.Sprintf("partners go to %s for as long as it answers, because its srv_priority of %d goes before the %d of %s, and a switchover changes no SRV record that is there: "+
			"let DNS and srv_priority prefer %[4]s first; or take %[1]s down, and failover %[4]s REASON", from, pf.SRVPriority, pt.SRVPriority, to))
	}
	var stop, start []actions.Task
	for _, s := range pt.Servers {
		stop = append(stop, winrm.NewStopServices(b.chain[s.FQDN]))
		start = append(start, winrm.NewStartServices(b.chain[s.FQDN]))
	}
	t := b.f.Timeouts
	step := func(name actions.StepName, d configs.Duration, tasks []actions.Task) actions.Step {
		return actions.Step{Name: name, Tasks: tasks, Timeout: d.Duration}
	}
	startStep := step(actions.StartServices, t.StartServices, start)
	startStep.Need = min(pt.MinUp, len(start))
	plan := &actions.Plan{Kind: kind, Federation: b.f.Name, From: from, To: to, Timeout: t.Failover.Duration}
	if pf == nil {
		plan.Steps = []actions.Step{startStep}
		return plan, plan.Validate()
	}
	route := winrm.NewSetRoute(b.chain[b.f.ManagementOf(pt).Host], b.route(pf, pt))
	written := func() (time.Time, bool) { return route.Written(plan.Before) }
	steps := []actions.Step{
		step(actions.Preflight, t.Preflight, b.preflight(pt, b.chain)),
		step(actions.StopServices, t.StopServices, stop),
		step(actions.SetRoute, t.SetRoute, []actions.Task{route}),
		step(actions.DNSRecords, t.DNSRecords, b.records(pf, pt)),
		step(actions.CheckPort, t.CheckPort, b.ports(pt)),
		startStep,
		step(actions.Verify, t.Verify, b.verify(pt, written)),
	}
	for _, name := range kind.Steps() {
		i := slices.IndexFunc(steps, func(s actions.Step) bool { return s.Name == name })
		plan.Steps = append(plan.Steps, steps[i])
	}
	if err := plan.Validate(); err != nil {
		return nil, err
	}
	return plan, nil
}

// keepsPartners reports whether partners go to from, while it answers, whatever
// is done to lead them to to: each has an SRV record of its own, and from's is
// preferred.
func (b *builder) keepsPartners(from, to *configs.Pool) bool {
	return b.f.DNS.Record == "" && from.SRVPriority < to.SRVPriority
}

func (b *builder) route(from, to *configs.Pool) winrm.Route {
	r := winrm.Route{Site: to.Site, PoolFQDN: to.FQDN, ServerFQDN: to.Route.Server, Value: to.Route.Value, From: from.Site}
	if to.Route.Parameter != "auto" {
		r.Parameter = to.Route.Parameter
	}
	return r
}

// preflight is all that must hold before anything is touched.
func (b *builder) preflight(to *configs.Pool, clients map[string]*winrm.Client) []actions.Task {
	var tasks []actions.Task
	for _, s := range to.Servers {
		tasks = append(tasks, winrm.NewReady(clients[s.FQDN], ""))
	}
	if host := b.f.ManagementOf(to).Host; host != "" {
		tasks = append(tasks, winrm.NewManagement(clients[host], b.route(&configs.Pool{}, to)))
	}
	for _, z := range b.zones {
		if w, ok := b.wanted(z.name, nil, to); ok {
			tasks = append(tasks, z.updater.Writable(w))
		}
	}
	return tasks
}

// records is steps 4 and 5: one atomic update per zone.
func (b *builder) records(from, to *configs.Pool) []actions.Task {
	var tasks []actions.Task
	for _, z := range b.zones {
		if w, ok := b.wanted(z.name, from, to); ok {
			tasks = append(tasks, z.updater.Records(w))
		}
	}
	return tasks
}

// wanted is what the zone shall hold once to is active; false when the zone
// holds nothing of this federation.
func (b *builder) wanted(zone string, from, to *configs.Pool) (rfc2136.Wanted, bool) {
	var w rfc2136.Wanted
	target := to.DNSName
	if b.f.DNS.Record != "" {
		target = b.f.DNS.Record
		record := &rfc2136.AddressSet{Name: target, Addrs: to.Addresses, TTL: seconds(b.f.DNS.TTL), Known: b.known()}
		if from != nil {
			record.From = from.Addresses
		}
		if b.zoneOf(target) == zone {
			w.Address = record
		} else {
			w.Elsewhere = record // what acts has a key for every zone: CanAct
		}
	}
	for _, d := range b.f.Domains {
		if b.zoneOf(d) != zone {
			continue
		}
		w.Services = append(w.Services, rfc2136.Service{
			Domain: d, Target: target, Port: uint16(b.f.Port),
			Priority: uint16(to.SRVPriority), Weight: uint16(b.f.DNS.SRV.Weight),
			TTL: seconds(b.f.DNS.SRV.TTL), Addrs: to.Addresses,
		})
	}
	return w, w.Address != nil || len(w.Services) > 0
}

// zoneOf names the configured zone that holds the name, "" when none does.
func (b *builder) zoneOf(name string) string {
	if z := b.f.DNS.ZoneOf(name); z != nil {
		return z.Name
	}
	return ""
}

// known is every address of every pool: what the record may hold.
func (b *builder) known() []netip.Addr {
	var all []netip.Addr
	for i := range b.f.Pools {
		all = append(all, b.f.Pools[i].Addresses...)
	}
	return all
}

// ports is step 6 on each address.
func (b *builder) ports(to *configs.Pool) []actions.Task {
	d := &net.Dialer{Timeout: dialTimeout}
	var tasks []actions.Task
	for _, t := range targets(b.f, to) {
		tasks = append(tasks, actions.NewPortCheck(t.Addr, d.DialContext))
	}
	return tasks
}

// verify is the proof after step 7.
func (b *builder) verify(to *configs.Pool, written func() (at time.Time, doubtful bool)) []actions.Task {
	replicas := make([]string, len(to.Servers))
	for i, s := range to.Servers {
		replicas[i] = s.FQDN
	}
	tasks := []actions.Task{
		winrm.NewReplication(b.chain[b.f.ManagementOf(to).Host], replicas, min(to.MinUp, len(replicas)), written),
		actions.NewAnswers(b.prober, to.Name, targets(b.f, to), to.MinUp),
	}
	for _, d := range b.f.Domains {
		tasks = append(tasks, actions.NewPartnerCheck(d, to.Name, to.Addresses, b.sight(d)))
	}
	return tasks
}

func seconds(d configs.Duration) uint32 {
	return uint32(d.Seconds())
}
