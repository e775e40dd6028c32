package app

import (
	"net/netip"
	"os"
	"time"

	"edgewatch/actions"
	"edgewatch/configs"
	"edgewatch/probe"
	"edgewatch/watchdog"
)

// What is no setting: bounds that keep an incident from going on for ever.
const (
	maxAttempts = 3                // pools tried in one incident before a person must ack
	retryEvery  = time.Minute      // a failover that stopped after the route moved is tried again, then at doubled distances
	maxRetries  = 12               // … this often: for about two hours
	retryFailed = 10 * time.Minute // a pool whose failover failed may be tried again after this
)

// unable is why a federation in mode observe may have no failover at all.
const unable = "the configuration does not say all that a failover needs; edgewatch config check lists what is missing"

// settings maps the configuration of a federation to what its engine goes by.
func settings(f *configs.Federation) watchdog.Settings {
	names := make([]string, len(f.Pools))
	pools, servers, addresses := make([]watchdog.WatchPool, len(f.Pools)), map[string][]string{}, []string(nil)
	for i := range f.Pools {
		p := &f.Pools[i]
		names[i] = p.Name
		for _, server := range p.Servers {
			servers[p.Name] = append(servers[p.Name], server.FQDN)
		}
		for _, t := range targets(f, p) {
			addresses = append(addresses, t.Addr.String())
		}
		pools[i] = watchdog.WatchPool{Name: p.Name, Targets: targets(f, p), MinUp: p.MinUp}
	}
	canaries := make([]string, len(f.Canaries.Targets))
	for i, c := range f.Canaries.Targets {
		canaries[i] = c.String()
	}
	minCanaries := f.Canaries.MinGood
	if len(canaries) == 0 {
		minCanaries = 0
	}
	why := ""
	if !f.CanAct() {
		why = unable
	}
	interval := f.Probe.Interval.Duration
	partnerAge, domains := time.Duration(0), []string(nil)
	if len(resolvers(f)) > 0 {
		partnerAge, domains = readinessAge(f), f.Domains
	}
	ask := time.Duration(0)
	if len(f.Witnesses.URLs) > 0 {
		ask = f.Witnesses.Timeout.Duration
	}
	from, to, _ := configs.Window(f.Failback.Window)
	return watchdog.Settings{
		Rules: watchdog.Rules{
			Federation: f.Name, Mode: f.Mode, Pools: names, Domains: domains, Addresses: addresses, Servers: servers, Unable: why,
			OwnSRV:   f.DNS.Record == "" && len(f.DNS.Zones) > 0,
			Cooldown: f.Guards.Cooldown.Duration, Budget: f.Guards.Budget, BudgetWindow: f.Guards.BudgetWindow.Duration,
			MaxAttempts: maxAttempts, RetryEvery: retryEvery, MaxRetries: maxRetries, RetryFailed: retryFailed,
			ApprovalTimeout: f.Approval.Timeout.Duration, ApprovalThen: f.Approval.Then, Unproven: f.Guards.Unproven,
			Failback:  watchdog.FailbackRules{Auto: f.Failback.Auto, StableFor: f.Failback.StableFor.Duration, From: from, To: to},
			Witnesses: f.Witnesses.URLs, MinDown: f.Witnesses.MinDown,
			StartupGrace: f.Guards.StartupGrace.Duration,
			EvidenceAge:  3*interval + f.Probe.Timeout.Duration,
			ReadinessAge: readinessAge(f), PartnerAge: partnerAge,
			ResumeWithin: f.Timeouts.Failover.Duration,
		},
		Breaker: f.BreakerRules(),
		Watch: watchdog.WatchRules{
			Pools: pools, Interval: interval, SuspectInterval: f.Probe.SuspectInterval.Duration,
			// A probe may wait for its turn as long as it may last.
			RoundTimeout: max(2*f.Probe.Timeout.Duration, f.Canaries.Timeout.Duration, ask),
			Vantage:      vantage(),
			Canaries:     canaries, MinCanaries: minCanaries,
			Witnesses: f.Witnesses.URLs, WitnessTimeout: ask,
			SurveyInterval: f.Guards.ReadinessInterval.Duration,
		},
		// Once enough servers run, the others may still be starting: how long that
		// takes differs from server to server by more than a moment.
		Runner: actions.Runner{Grace: f.Timeouts.StartServices.Duration / 3},
	}
}

// vantage names where this process looks from: its host. Empty when that has
// no name.
func vantage() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}

// readinessAge is how old what a survey found may be.
func readinessAge(f *configs.Federation) time.Duration {
	return 3*f.Guards.ReadinessInterval.Duration + f.Timeouts.Preflight.Duration
}

// resolvers are the name servers that are asked for what partners find.
func resolvers(f *configs.Federation) []string {
	servers := addrPorts(f.DNS.Resolvers)
	if len(servers) == 0 {
		servers = authoritative(f)
	}
	return servers
}

// targets are the questions asked of a pool: each of its addresses, for the
// federation's first domain.
func targets(f *configs.Federation, p *configs.Pool) []probe.Target {
	out := make([]probe.Target, len(p.Addresses))
	for i, a := range p.Addresses {
		out[i] = probe.Target{Addr: netip.AddrPortFrom(a, uint16(f.Port)), Domain: f.Domains[0], From: f.Probe.From}
	}
	return out
}

// Settings is what the engine of f goes by, for those who run one without a
// process around it.
func Settings(f *configs.Federation) watchdog.Settings { return settings(f) }
