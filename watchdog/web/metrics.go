package web

import (
	"fmt"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"edgewatch/probe"
	"edgewatch/watchdog"
)

// Build is what edgewatch_build_info says.
type Build struct {
	Version  string
	Revision string
}

// RegisterMetrics registers a collector that reads w's snapshots whenever
// the registry is gathered. Every federation, pool, state and guard has its
// series from the start; those of a server begin with its first probe, and the
// readiness of a pool is there while it is a standby that was checked.
func RegisterMetrics(reg prometheus.Registerer, w Snapshots, build Build, now func() time.Time) error {
	if now == nil {
		now = time.Now
	}
	if err := reg.Register(newCollector(w, build, now)); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	return nil
}

type collector struct {
	w     Snapshots
	build Build
	now   func() time.Time

	buildInfo, federationState, mode, will, blocked          *prometheus.Desc
	unsure, loopLastRun, lastRound, journalSeq, historyOK    *prometheus.Desc
	paused, pauseExpiry, cooldown, cooldownExpiry            *prometheus.Desc
	held, leaseHeld, approvalExpiry, poolQuarantined         *prometheus.Desc
	poolStopped, certExpiry, views                           *prometheus.Desc
	canaries, canariesGood, canariesOK                       *prometheus.Desc
	running, lastFailover, lastSuccess, lastDuration         *prometheus.Desc
	poolActive, poolState, circuit, poolReady, poolReadyTime *prometheus.Desc
	probeSuccess, probeState, probeInfo, probeDuration       *prometheus.Desc
	witnessVerdict, witnessAsked                             *prometheus.Desc
}

func newCollector(w Snapshots, build Build, now func() time.Time) *collector {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("edgewatch_"+name, help, labels, nil)
	}
	const fed, pool, target, state = "federation", "pool", "target", "state"
	return &collector{
		w: w, build: build, now: now,
		buildInfo:       desc("build_info", "Which edgewatch this is; always 1.", "version", "revision", "goversion"),
		federationState: desc("federation_state", "Whether the federation's machine is in that state.", fed, state),
		mode:            desc("mode", "Whether the federation runs in that mode.", fed, "mode"),
		will:            desc("decision", "Whether this is what edgewatch will do now.", fed, "will"),
		blocked:         desc("failover_blocked", "Whether that guard keeps edgewatch from a failover that is due.", fed, "reason"),
		leaseHeld:       desc("lease_held", "Whether this process may act: the state file is its own.", fed),
		held:            desc("held", "Whether a person holds edgewatch back until release.", fed),
		approvalExpiry:  desc("approval_expiry_timestamp_seconds", "Until when edgewatch waits for the answer to its question; 0 when it asks nothing or waits without end.", fed),
		unsure:          desc("unsure", "Whether edgewatch has no current evidence: starting, rounds stale or canaries bad.", fed),
		loopLastRun:     desc("loop_last_run_timestamp_seconds", "When the federation's engine last turned.", fed),
		lastRound:       desc("last_round_timestamp_seconds", "When the last round of probes ended; 0 before the first.", fed),
		journalSeq:      desc("journal_last_seq", "The newest journal entry that the federation's state includes.", fed),
		historyOK:       desc("history_ok", "Whether what rounds find can be recorded; no decision depends on it.", fed),
		paused:          desc("paused", "Whether automatic failover is paused by a person.", fed),
		pauseExpiry:     desc("pause_expiry_timestamp_seconds", "When the pause ends by itself; 0 without a pause.", fed),
		cooldown:        desc("cooldown", "Whether the cool-down after a failover lasts.", fed),
		cooldownExpiry:  desc("cooldown_expiry_timestamp_seconds", "When the cool-down ends or ended; 0 if there was none.", fed),
		canaries:        desc("canaries", "How many canaries are configured.", fed),
		canariesGood:    desc("canaries_good", "How many canaries answered in the last round.", fed),
		canariesOK:      desc("canaries_ok", "Whether enough canaries answer for failed probes to mean anything.", fed),
		running:         desc("failover_running", "Whether a failover is running.", fed),
		lastFailover:    desc("last_failover_timestamp_seconds", "When the last failover ended; 0 if there was none.", fed),
		lastSuccess:     desc("last_failover_success", "Whether the last failover ended well; 1 if there was none.", fed),
		lastDuration:    desc("last_failover_duration_seconds", "How long the last failover took from its first step; 0 if there was none.", fed),
		poolActive:      desc("pool_active", "Whether the pool carries federation, as far as edgewatch knows.", fed, pool),
		poolState:       desc("pool_state", "Whether that is the pool's verdict of the last round.", fed, pool, state),
		circuit:         desc("circuit_state", "Whether the pool's circuit breaker is in that state.", fed, pool, state),
		poolReady:       desc("pool_ready", "Whether the pool could take over, when that was last checked; no sample of the active pool, nor before the first check.", fed, pool),
		poolStopped:     desc("pool_servers_stopped", "How many servers of the pool had their services stopped by a failover and were not seen running since.", fed, pool),
		poolQuarantined: desc("pool_quarantined", "Whether a failback to the pool is advised against: it did not answer when federation left it and has not for long enough since.", fed, pool),
		poolReadyTime:   desc("pool_ready_check_timestamp_seconds", "When it was last checked whether the pool could take over; no sample of the active pool, nor before the first check.", fed, pool),
		probeSuccess:    desc("probe_success", "Whether the server answered XMPP to its last probe.", fed, pool, target),
		probeState:      desc("probe_state", "Whether that is what the server's last probe means.", fed, pool, target, state),
		probeInfo:       desc("probe_info", "What the server's last probe came to, in the words of edgewatch probe --classes; always 1.", fed, pool, target, "phase", "class", "condition"),
		probeDuration:   desc("probe_duration_seconds", "How long the server's last probe took.", fed, pool, target),
		certExpiry:      desc("tls_earliest_cert_expiry_timestamp_seconds", "When the certificate that the server last presented expires.", fed, pool, target),
		witnessVerdict:  desc("witness_verdict", "Whether that is what the witness said of the active pool when it was last asked.", fed, "witness", "verdict"),
		witnessAsked:    desc("witness_asked_timestamp_seconds", "When the witness was last asked; 0 before the first time.", fed, "witness"),
		views:           desc("partner_success", "Whether a partner that looks the domain up reaches an XMPP server.", fed, "domain"),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		c.buildInfo, c.federationState, c.mode, c.will, c.blocked, c.unsure, c.loopLastRun, c.lastRound, c.journalSeq, c.historyOK,
		c.paused, c.pauseExpiry, c.cooldown, c.cooldownExpiry, c.canaries, c.canariesGood, c.canariesOK,
		c.running, c.lastFailover, c.lastSuccess, c.lastDuration, c.poolActive, c.poolState, c.circuit, c.poolReady,
		c.poolReadyTime, c.probeSuccess, c.probeState, c.probeInfo, c.probeDuration, c.certExpiry, c.views,
		c.held, c.leaseHeld, c.approvalExpiry, c.poolQuarantined, c.poolStopped, c.witnessVerdict, c.witnessAsked,
	} {
		out <- d
	}
}

// gauges sends values of one federation.
type gauges struct {
	out        chan<- prometheus.Metric
	federation string
}

func (g gauges) set(d *prometheus.Desc, v float64, labels ...string) {
	g.out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{g.federation}, labels...)...)
}

func (g gauges) is(d *prometheus.Desc, v bool, labels ...string) { g.set(d, number(v), labels...) }

func (g gauges) at(d *prometheus.Desc, t time.Time, labels ...string) {
	g.set(d, seconds(t), labels...)
}

func number(v bool) float64 {
	if v {
		return 1
	}
	return 0
}

// seconds is t since the epoch; 0 for no time.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(out chan<- prometheus.Metric) {
	out <- prometheus.MustNewConstMetric(c.buildInfo, prometheus.GaugeValue, 1, c.build.Version, c.build.Revision, runtime.Version())
	now := c.now()
	for _, s := range c.w.Snapshots() {
		if s == nil {
			continue
		}
		g := gauges{out, s.Federation}
		c.federation(g, s, now)
		c.failover(g, s)
		for _, p := range s.Pools {
			c.pool(g, s, p)
		}
		c.partner(g, s)
		c.witnesses(g, s)
	}
}

func (c *collector) federation(g gauges, s *watchdog.Snapshot, now time.Time) {
	for st := watchdog.Watching; st <= watchdog.Faulted; st++ {
		g.is(c.federationState, s.State == st, st.String())
	}
	mode := s.Mode
	if mode == "" {
		mode = watchdog.ModeObserve
	}
	for _, m := range []watchdog.Mode{watchdog.ModeObserve, watchdog.ModeApprove, watchdog.ModeAuto} {
		g.is(c.mode, mode == m, string(m))
	}
	for _, w := range watchdog.Wills() {
		g.is(c.will, s.Decision.Will == w, string(w))
	}
	for _, guard := range watchdog.Guards() {
		g.is(c.blocked, s.Decision.BlockedBy == guard, string(guard))
	}
	g.is(c.leaseHeld, s.Lease == "")
	g.is(c.held, s.Hold != nil)
	var answerBy time.Time
	if s.Approval != nil {
		answerBy = s.Approval.Until
	}
	g.at(c.approvalExpiry, answerBy)
	g.is(c.unsure, unsure(s, now) != "")
	g.at(c.loopLastRun, s.At)
	g.at(c.lastRound, s.LastRound)
	g.set(c.journalSeq, float64(s.LastSeq))
	g.is(c.historyOK, s.HistoryError == "")
	var pauseEnd time.Time
	if s.Pause != nil {
		pauseEnd = s.Pause.Until
	}
	g.is(c.paused, s.Pause != nil && pauseEnd.After(now))
	g.at(c.pauseExpiry, pauseEnd)
	g.is(c.cooldown, s.Cooldown.After(now))
	g.at(c.cooldownExpiry, s.Cooldown)
	g.set(c.canaries, float64(s.Canaries.Total))
	g.set(c.canariesGood, float64(s.Canaries.Good))
	g.is(c.canariesOK, s.Canaries.OK)
}

func (c *collector) failover(g gauges, s *watchdog.Snapshot) {
	running, ok, took := false, true, time.Duration(0)
	var ended time.Time
	if ch := s.Chain; ch != nil {
		running = ch.Outcome == nil
		if !running {
			ended, ok, took = ch.EndedAt, ch.Outcome.OK, ch.Outcome.Took
		}
	}
	g.is(c.running, running)
	g.at(c.lastFailover, ended)
	g.is(c.lastSuccess, ok)
	g.set(c.lastDuration, took.Seconds())
}

func (c *collector) pool(g gauges, s *watchdog.Snapshot, p watchdog.PoolStatus) {
	g.is(c.poolActive, p.Name == activePool(s), p.Name)
	for v := watchdog.Inconclusive; v <= watchdog.PoolDown; v++ {
		g.is(c.poolState, p.Verdict == v, p.Name, v.String())
	}
	breaker := p.Breaker.State
	if breaker == "" {
		breaker = watchdog.BreakerClosed
	}
	for _, b := range []watchdog.BreakerState{watchdog.BreakerClosed, watchdog.BreakerHalfOpen, watchdog.BreakerOpen} {
		g.is(c.circuit, breaker == b, p.Name, string(b))
	}
	if p.Name != activePool(s) && !p.Readiness.At.IsZero() { // a 0 would be alerted on, and mean nothing
		g.is(c.poolReady, p.Readiness.Ready, p.Name)
		g.at(c.poolReadyTime, p.Readiness.At, p.Name)
	}
	g.is(c.poolQuarantined, p.Quarantined != "", p.Name)
	g.set(c.poolStopped, float64(len(p.Stopped)), p.Name)
	for _, r := range worst(p.Servers) {
		target := r.Target.Addr.String()
		g.is(c.probeSuccess, r.Level.Answers(), p.Name, target)
		for l := probe.Inconclusive; l <= probe.Down; l++ {
			g.is(c.probeState, r.Level == l, p.Name, target, l.String())
		}
		if r.Class != probe.ClassUnknown { // one series that changes, where one for each class would be fifty an address
			g.set(c.probeInfo, 1, p.Name, target, r.Phase.String(), string(r.Class), r.Condition)
		}
		g.set(c.probeDuration, r.Took.Seconds(), p.Name, target)
		if r.Cert != nil {
			g.at(c.certExpiry, r.Cert.NotAfter, p.Name, target)
		}
	}
}

// worst keeps one result per address, the worst, with the certificate that
// expires first: an address asked for several domains must not make two
// series of one name, which would cost the whole scrape.
func worst(results []probe.Result) []probe.Result {
	var out []probe.Result
	index := map[string]int{}
	for _, r := range results {
		key := r.Target.Addr.String()
		i, seen := index[key]
		if !seen {
			index[key] = len(out)
			out = append(out, r)
			continue
		}
		cert := earlier(out[i].Cert, r.Cert)
		if r.Level > out[i].Level {
			out[i] = r
		}
		out[i].Cert = cert
	}
	return out
}

func earlier(a, b *probe.Certificate) *probe.Certificate {
	if a == nil || b != nil && b.NotAfter.Before(a.NotAfter) {
		return b
	}
	return a
}

func (c *collector) partner(g gauges, s *watchdog.Snapshot) {
	seen := map[string]bool{}
	for _, v := range s.Partner {
		if !seen[v.Domain] {
			seen[v.Domain] = true
			g.is(c.views, v.Level.Answers(), v.Domain)
		}
	}
}

func (c *collector) witnesses(g gauges, s *watchdog.Snapshot) {
	for _, w := range s.Witnesses {
		for _, says := range watchdog.AllSays() {
			g.is(c.witnessVerdict, w.Says == says, w.URL, string(says))
		}
		g.at(c.witnessAsked, w.At, w.URL)
	}
}
