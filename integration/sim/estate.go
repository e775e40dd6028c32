package sim

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"time"

	"edgewatch/actions"
	"edgewatch/configs"
	"edgewatch/watchdog"
	"edgewatch/watchdog/app"
)

// estate is the federation that is simulated: what edgewatch goes by, and the
// hosts that its configuration names.
type estate struct {
	f        *configs.Federation
	settings watchdog.Settings
	plan     planner // to be looked at
}

// planner makes the shipped plan of a move.
type planner = func(kind actions.PlanKind, from, to string) (*actions.Plan, error)

// newEstate takes the shipped mapping from configuration to settings and the
// shipped plans.
func newEstate(f *configs.Federation) (*estate, error) {
	plan, err := app.Planner(f, nil)
	if err != nil {
		return nil, fmt.Errorf("federation %s: %w", f.Name, err)
	}
	e := &estate{f: f, settings: app.Settings(f), plan: plan}
	if e.settings.Rules.Unable != "" {
		return nil, fmt.Errorf("federation %s: %s", f.Name, e.settings.Rules.Unable)
	}
	return e, nil
}

// summary is what the estate goes by, in a line.
func (e *estate) summary() string {
	r := e.settings.Rules
	return fmt.Sprintf("mode %s, domains %v, pools %v, cool-down %s, budget %d, a round every %s, %d bad ones, %d witnesses",
		r.Mode, e.f.Domains, r.Pools, r.Cooldown, r.Budget, e.settings.Watch.Interval, e.settings.Breaker.BadRounds, len(r.Witnesses))
}

// exampleFederation is the federation of the shipped example configuration,
// with its defaults, in mode auto.
func exampleFederation() (*configs.Federation, error) {
	cfg, err := configs.Parse("edgewatch.example.yaml", configs.Example(), configs.Options{})
	if err != nil {
		return nil, fmt.Errorf("the shipped example configuration: %w", err)
	}
	f := &cfg.Federations[0]
	f.Mode = watchdog.ModeAuto
	return f, nil
}

// vary makes another estate of f, drawn by r: more or fewer pools and servers,
// other guards. What it draws is within what a configuration may say.
func vary(f configs.Federation, r *rand.Rand) *configs.Federation {
	f.Pools = slices.Clone(f.Pools)
	if r.IntN(3) == 0 {
		f.Pools = append(f.Pools, thirdPool(f.Pools[1]))
	}
	for i := range f.Pools {
		p := &f.Pools[i]
		if r.IntN(4) == 0 {
			p.Servers, p.Addresses = p.Servers[:1], p.Addresses[:1]
		} else if r.IntN(4) == 0 {
			p.MinUp = 2
		}
	}
	switch n := r.IntN(20); {
	case n == 0:
		f.Mode = watchdog.ModeObserve
	case n == 1:
		f.Mode = watchdog.ModeApprove
	}
	if r.IntN(2) == 0 {
		f.Guards.Cooldown.Duration = time.Duration(5+r.IntN(20)) * time.Minute
		f.Guards.Budget = 1 + r.IntN(3)
	}
	if r.IntN(6) == 0 {
		f.Mode, f.Approval.Then = watchdog.ModeApprove, watchdog.ApprovalActs
		f.Approval.Timeout.Duration = time.Duration(1+r.IntN(9)) * time.Minute
	}
	if r.IntN(3) == 0 {
		f.Breaker.BadRounds = 3 + r.IntN(4)
		f.Breaker.MinBadTime.Duration = time.Duration(5+r.IntN(25)) * time.Second
		f.Probe.Interval.Duration = time.Duration(6+r.IntN(10)) * time.Second
	}
	if r.IntN(4) == 0 {
		f.Failback.Auto, f.Failback.Window = true, "00:01-23:59"
		f.Failback.StableFor.Duration = time.Duration(2+r.IntN(18)) * time.Minute
	}
	if r.IntN(3) == 0 {
		n := 1 + r.IntN(2)
		return withWitness(f, n, r.IntN(n+1))
	}
	return &f
}

// secondDomain adds, for a share of estates, a domain whose zone leads partners
// to the record of the first and never has to change.
func secondDomain(f *configs.Federation, r *rand.Rand) *configs.Federation {
	if r.IntN(4) != 0 || f.DNS.Record == "" {
		return f
	}
	two := *f
	z := f.DNS.Zones[0]
	z.Name = "fabrikam.com"
	two.Domains, two.DNS.Zones = append(slices.Clone(f.Domains), z.Name), append(slices.Clone(f.DNS.Zones), z)
	return &two
}

// thirdPool is one more pool like p.
func thirdPool(p configs.Pool) configs.Pool {
	t := p
	t.Name, t.Site, t.FQDN, t.Route.Server = "EdgePool3", "Site3", "edgepool3.contoso.local", "edgeserver3.contoso.local"
	t.SRVPriority = p.SRVPriority + 10
	t.Servers, t.Addresses = slices.Clone(p.Servers), nil
	for i := range t.Servers {
		name := "edgeserver3.contoso.local"
		if i > 0 {
			name = fmt.Sprintf("edgeserver3%c.contoso.local", 'a'+i)
		}
		t.Servers[i].FQDN = name
		t.Servers[i].WinRM.Addr, t.Servers[i].WinRM.ServerName = "", ""
		t.Addresses = append(t.Addresses, netip.AddrFrom4([4]byte{198, 51, 100, byte(200 + i)}))
	}
	return t
}

// reconfigured is f after somebody has changed the configuration, drawn by r:
// what a restart may find changed while a failover, a pause or a question is
// open.
func reconfigured(f configs.Federation, r *rand.Rand) *configs.Federation {
	f.Pools = slices.Clone(f.Pools)
	n := r.IntN(6)
	switch {
	case n == 0, n == 4 && len(f.Pools) < 3, n == 5 && len(f.Witnesses.URLs) == 0:
		f.Mode = []watchdog.Mode{watchdog.ModeObserve, watchdog.ModeApprove, watchdog.ModeAuto}[r.IntN(3)]
		f.Approval.Then = []watchdog.LateApproval{watchdog.ApprovalHolds, watchdog.ApprovalActs}[r.IntN(2)]
	case n == 1:
		f.Guards.Cooldown.Duration = time.Duration(1+r.IntN(30)) * time.Minute
		f.Guards.Budget = 1 + r.IntN(3)
	case n == 2:
		f.Breaker.BadRounds = 3 + r.IntN(4)
		f.Probe.Interval.Duration = time.Duration(6+r.IntN(10)) * time.Second
	case n == 3:
		f.Pools[0], f.Pools[1] = f.Pools[1], f.Pools[0]
		f.Pools[0].SRVPriority, f.Pools[1].SRVPriority = f.Pools[1].SRVPriority, f.Pools[0].SRVPriority
	case n == 4:
		f.Pools = f.Pools[:2]
	case n == 5:
		f.Witnesses = configs.Witnesses{}
	}
	return &f
}
