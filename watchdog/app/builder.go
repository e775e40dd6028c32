package app

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"edgewatch/actions"
	"edgewatch/actions/rfc2136"
	"edgewatch/actions/winrm"
	"edgewatch/configs"
	"edgewatch/probe"
	"edgewatch/watchdog"
	"edgewatch/watchdog/web"
)

// builder makes the plans and the senses of one federation. It keeps the
// connections that they use.
type builder struct {
	f         *configs.Federation
	offline   bool          // for plans that are only shown: no file is read, no secret needed
	options   probe.Options // of prober
	prober    *probe.Prober
	canaries  *probe.Prober // of XMPP canaries
	resolver  *probe.Resolver
	witnesses *web.WitnessClient
	zones     []zone
	dial      func(zone string) rfc2136.Dial
	chain     map[string]*winrm.Client // by host: of failovers
	survey    map[string]*winrm.Client // by host: of readiness checks, so that none holds a failover up
	refused   sync.Map                 // by pool: the logonRefusal that its last readiness check met
}

// zone is one DNS zone with the updater that changes it.
type zone struct {
	name    string
	updater *rfc2136.Updater
}

// newBuilder takes for dial what gives a zone its way to name servers; nil leaves
// them the network.
func newBuilder(f *configs.Federation, offline bool, dial func(zone string) rfc2136.Dial) (*builder, error) {
	b := &builder{f: f, offline: offline, dial: dial, chain: map[string]*winrm.Client{}, survey: map[string]*winrm.Client{}}
	if err := b.buildProber(); err != nil {
		return nil, err
	}
	if err := b.buildZones(); err != nil {
		return nil, err
	}
	for i := range f.Pools {
		p := &f.Pools[i]
		if err := b.validateRecords(p); err != nil {
			return nil, err
		}
		m := f.ManagementOf(p)
		if err := b.addHost(m.Host, m.WinRM); err != nil {
			return nil, err
		}
		for _, s := range p.Servers {
			if err := b.addHost(s.FQDN, s.WinRM); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

func (b *builder) buildProber() error {
	roots, err := b.roots(b.f.Probe.CAFile)
	if err != nil {
		return err
	}
	cert, err := b.keyPair(b.f.Probe.ClientCertFile, b.f.Probe.ClientKeyFile)
	if err != nil {
		return err
	}
	o := probe.Options{
		Timeout: b.f.Probe.Timeout.Duration, RootCAs: roots, ClientCert: cert,
		ExpiryWarning: b.f.Probe.ExpiryWarning.Duration,
		PerAddress:    1, // kind to the server: never two streams of ours at once
	}
	b.options = o
	b.prober = probe.New(o)
	o.Timeout = b.f.Canaries.Timeout.Duration
	b.canaries = probe.New(o)
	if servers := resolvers(b.f); len(servers) > 0 {
		b.resolver = probe.NewResolver(probe.ResolverOptions{Servers: servers})
	}
	return nil
}

func (b *builder) buildZones() error {
	for _, z := range b.f.DNS.Zones {
		rz := rfc2136.Zone{
			Name: z.Name, Server: z.Server.String(),
			Authoritative: addrPorts(z.Authoritative), MaySilent: z.MaySilent, Timeout: z.Timeout.Duration,
		}
		if b.dial != nil {
			rz.Dial = b.dial(z.Name)
		}
		if z.TSIG != nil {
			rz.TSIG = rfc2136.Key{Name: z.TSIG.Name, Algorithm: z.TSIG.Algorithm, Secret: b.secret(z.TSIG.Secret)}
		} else if b.offline || b.f.Mode == watchdog.ModeObserve {
			continue // nothing can be changed there, and nothing will be
		}
		u, err := rfc2136.NewUpdater(rz)
		if err != nil {
			return fmt.Errorf("zone %s: %w", z.Name, err)
		}
		b.zones = append(b.zones, zone{z.Name, u})
	}
	return nil
}

// validateRecords holds what p's failover would write to what the zones can
// take.
func (b *builder) validateRecords(p *configs.Pool) error {
	for _, z := range b.zones {
		w, ok := b.wanted(z.name, nil, p)
		if !ok {
			continue
		}
		if err := z.updater.Validate(w); err != nil {
			return fmt.Errorf("records of pool %s in zone %s: %w", p.Name, z.name, err)
		}
	}
	return nil
}

// OfflineSecret stands in plans of Planner for a secret that was not loaded: it
// is well-formed, in base64.
const OfflineSecret = "bm90IGxvYWRlZA==" // #nosec G101 -- it opens nothing

// secret is s, or OfflineSecret where none was loaded because nothing will be
// sent.
func (b *builder) secret(s actions.Secret) actions.Secret {
	if b.offline && s.IsZero() {
		return actions.NewSecret(OfflineSecret)
	}
	return s
}

func (b *builder) addHost(host string, w configs.WinRM) error {
	if host == "" || b.chain[host] != nil {
		return nil
	}
	o, err := b.winrmOptions(host, w)
	if err != nil {
		return err
	}
	for _, clients := range []map[string]*winrm.Client{b.chain, b.survey} {
		c, err := winrm.New(o)
		if err != nil {
			return fmt.Errorf("WinRM of %s: %w", host, err)
		}
		clients[host] = c
	}
	return nil
}

func (b *builder) winrmOptions(host string, w configs.WinRM) (winrm.Options, error) {
	o := winrm.Options{
		Host: host, Addr: w.Addr, HTTPS: w.HTTPS, ServerName: w.ServerName, Timeout: w.Timeout.Duration,
		Module: winrm.ModuleAuto,
	}
	if err := o.Auth.UnmarshalText([]byte(w.Auth)); err != nil {
		return o, fmt.Errorf("WinRM of %s: %w", host, err)
	}
	if cred, ok := b.f.Credentials[w.Credential]; ok {
		o.User, o.Password = cred.User, b.secret(cred.Password)
	}
	var err error
	if o.RootCAs, err = b.roots(w.CAFile); err != nil {
		return o, err
	}
	o.ClientCert, err = b.keyPair(w.CertFile, w.KeyFile)
	if b.offline && w.CertFile != "" {
		o.ClientCert = &tls.Certificate{Certificate: [][]byte{{}}}
	}
	return o, err
}

// roots reads CA certificates; nil, the system's, for no file.
func (b *builder) roots(file string) (*x509.CertPool, error) {
	if file == "" || b.offline {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read CA certificates: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read CA certificates: %s holds none in PEM form", file)
	}
	return pool, nil
}

func (b *builder) keyPair(certFile, keyFile string) (*tls.Certificate, error) {
	if certFile == "" || b.offline {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("read client certificate: %w", err)
	}
	return &cert, nil
}

func addrPorts(in []netip.AddrPort) []string {
	out := make([]string, len(in))
	for i, a := range in {
		out[i] = a.String()
	}
	return out
}

// senses is how the engine of this federation sees the world.
func (b *builder) senses() watchdog.Senses {
	s := watchdog.Senses{Probe: b.probe, Canary: b.canary, Ready: b.ready, Witness: b.witness}
	if b.resolver != nil {
		s.Partner = b.partners
	}
	return s
}

// probe asks one address; its certificate is held to every domain of the
// federation. What degrades may count as down where the configuration says so.
func (b *builder) probe(ctx context.Context, t probe.Target) probe.Result {
	return b.judge(b.prober.ProbeCovering(ctx, t, b.f.Domains))
}

// judge is r as the configuration wants what degrades to count.
func (b *builder) judge(r probe.Result) probe.Result {
	if r.Level != probe.Degraded || r.Blame != probe.Remote {
		return r
	}
	down := b.f.Probe.TLSCountsAsDown && r.Phase >= probe.PhaseStartTLS
	if r.Class == probe.StreamError { // which is no trouble of TLS, though it may come inside it
		down = b.f.Probe.TurnedAwayCountsAsDown && slices.Contains(turnAway, r.Condition)
	}
	if down {
		r.Level = probe.Down
	}
	return r
}

// buildWitnesses makes what asks the witnesses, for a process of that instance.
func (b *builder) buildWitnesses(instance string) error {
	roots, err := b.roots(b.f.Witnesses.CAFile)
	if err != nil {
		return fmt.Errorf("witnesses: %w", err)
	}
	b.witnesses = web.NewWitnessClient(web.WitnessOptions{RootCAs: roots, Instance: instance})
	return nil
}

// witness asks another edgewatch what it sees of this federation.
func (b *builder) witness(ctx context.Context, url string) (watchdog.Testimony, error) {
	return b.witnesses.Ask(ctx, url, b.f.Name)
}

// turnAway are the stream errors by which a server says that it does not
// serve the domain now, whatever it is asked.
var turnAway = []string{"host-unknown", "host-gone", "see-other-host", "system-shutdown"}

// logonPause is how long a pool whose logon was refused is not asked again:
// readiness checks with a wrong password must not lock the account.
const logonPause = 15 * time.Minute

// ready does what guards.standby_ready wants of the pool for real; it changes
// nothing.
func (b *builder) ready(ctx context.Context, pool string) error {
	if !b.f.CanAct() {
		return errors.New(unable)
	}
	if r, ok := b.refused.Load(pool); ok {
		if refusal := r.(logonRefusal); time.Since(refusal.at) < logonPause {
			return fmt.Errorf("%w (asked again at %s, so that the account is not locked)", refusal.err, refusal.at.Add(logonPause).UTC().Format(time.TimeOnly+" MST"))
		}
	}
	err := b.rehearse(ctx, b.f.Pool(pool))
	if errors.Is(err, winrm.ErrLogon) {
		b.refused.Store(pool, logonRefusal{err, time.Now()})
	} else {
		b.refused.Delete(pool)
	}
	return err
}

// logonRefusal is a logon that a host of a pool refused.
type logonRefusal struct {
	err error
	at  time.Time
}

// rehearse does every check of whether the pool could take over once.
func (b *builder) rehearse(ctx context.Context, p *configs.Pool) error {
	ctx, cancel := context.WithTimeout(ctx, b.f.Timeouts.Preflight.Duration)
	defer cancel()
	all := b.rehearsals(p)
	failures := make([]error, len(all))
	var wg sync.WaitGroup
	for i, r := range all {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					failures[i] = fmt.Errorf("%s: a defect in edgewatch: %v", r.target, p)
				}
			}()
			failures[i] = r.check(ctx)
		})
	}
	wg.Wait()
	return actions.Join(failures...)
}

// partners is what federating partners find, a domain at a time.
func (b *builder) partners(ctx context.Context) []watchdog.PartnerView {
	out := make([]watchdog.PartnerView, len(b.f.Domains))
	for i, d := range b.f.Domains {
		r := b.prober.Partner(ctx, b.resolver, d, b.f.Probe.From)
		out[i] = watchdog.PartnerView{Domain: d, Level: r.Level, Pool: poolOf(b.f, r.Targets), Text: sightText(r) + b.discord(ctx, d)}
	}
	return out
}

// discord says which name servers lead partners of the domain elsewhere than
// others do; "" when all that know agree.
func (b *builder) discord(ctx context.Context, domain string) string {
	views := probe.NewResolver(probe.ResolverOptions{Servers: nameServers(b.f)}).Views(ctx, domain)
	if probe.Agree(views) {
		return ""
	}
	var parts []string
	for i := range views {
		if v := &views[i]; v.Knows() {
			pool := cmp.Or(poolOf(b.f, v.Targets), "no address")
			parts = append(parts, fmt.Sprintf("%s leads to %s (%s)", v.Server, pool, v))
		}
	}
	return "; the name servers do not agree: " + strings.Join(parts, ", ")
}

// sightText is what a partner finds, in words.
func sightText(r probe.PartnerResult) string {
	parts := []string{}
	for _, t := range r.Targets {
		if t.Class != probe.OK {
			parts = append(parts, fmt.Sprintf("%s %s", strings.TrimSuffix(t.Target, "."), t.Class))
		}
		for _, res := range t.Results {
			parts = append(parts, fmt.Sprintf("%s %s %s/%s", strings.TrimSuffix(t.Target, "."), res.Target.Addr, res.Phase, res.Class))
		}
	}
	if len(parts) == 0 {
		parts = append(parts, fmt.Sprintf("%s/%s %s", r.Phase, r.Class, r.Error))
	}
	return strings.Join(parts, ", ")
}

// dialTimeout is how long step 6 waits for one answer.
const dialTimeout = 5 * time.Second
