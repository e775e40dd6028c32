package app

import (
	"context"
	"encoding/pem"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgewatch/configs"
	"edgewatch/probe/probetest"
	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// firstRound runs a federation, whose first pool is s and whose second is
// closed, until it has seen both, and returns what it made of them.
func firstRound(t *testing.T, s *probetest.Server, edit func(*configs.Federation)) *watchdog.Snapshot {
	t.Helper()
	cfg, err := configs.Load(example)
	if err != nil {
		t.Fatal(err)
	}
	f := &cfg.Federations[0]
	canary, _ := listener(t)
	f.Canaries.Targets = []configs.Canary{{Kind: configs.CanaryTCP, Addr: canary}}
	f.Domains, f.Port = []string{"contoso.com", "fabrikam.com"}, int(s.Addr().Port())
	f.Pools[0].Addresses = []netip.Addr{s.Addr().Addr()}
	f.Pools[1].Addresses = []netip.Addr{netip.MustParseAddr("127.9.9.9")}
	f.Probe.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.CA().Root().Raw})
	if err := os.WriteFile(f.Probe.CAFile, root, 0o600); err != nil {
		t.Fatal(err)
	}
	edit(f)
	b, err := newBuilder(f, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.offline = false // it reads the CA; nothing else is asked for
	if err := b.buildProber(); err != nil {
		t.Fatal(err)
	}
	senses := b.senses()
	senses.Partner, senses.Ready = nil, func(context.Context, string) error { return errors.New("not asked here") }
	e := watchdog.NewEngine(settings(f), watchdog.Ports{Senses: senses, Plan: b.plan, Journal: &watchdogtest.MemJournal{}})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if s := e.Snapshot(); s != nil && !s.LastRound.IsZero() {
			return s
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("no round came about")
		}
	}
}

// What a server's trouble makes of its pool in a real round, with the settings
// that may let it count as down and without them.
func TestTroubleInRounds(t *testing.T) {
	t.Parallel()
	ca := probetest.NewCA()
	names := []string{"contoso.com", "fabrikam.com"}
	good := ca.Issue(names...)
	expired := ca.IssueLeaf(probetest.Leaf{Names: names, NotBefore: time.Now().AddDate(-1, 0, 0), NotAfter: time.Now().AddDate(0, 0, -1)})
	half := ca.Issue("contoso.com")
	const plain, withTLS, turned, both = 0, 1, 2, 3
	all := [4]watchdog.Verdict{}
	verdicts := func(none, onTLS, onTurned, onBoth watchdog.Verdict) [4]watchdog.Verdict {
		all[plain], all[withTLS], all[turned], all[both] = none, onTLS, onTurned, onBoth
		return all
	}
	const up, degraded, down = watchdog.PoolUp, watchdog.PoolDegraded, watchdog.PoolDown
	for _, c := range []struct {
		name string
		cfg  probetest.Config
		want [4]watchdog.Verdict
		why  string
	}{
		{"healthy", probetest.Config{}, verdicts(up, up, up, up), "1 of 1 answer"},
		{"wants a certificate", probetest.Config{Behaviour: probetest.AuthRequired}, verdicts(up, up, up, up), "1 of 1 answer"},
		{"expired", probetest.Config{Cert: &expired}, verdicts(degraded, down, degraded, down), "cert/cert_expired"},
		{"lacks a domain", probetest.Config{Cert: &half}, verdicts(degraded, down, degraded, down), "cert/cert_wrong_name"},
		{"no STARTTLS", probetest.Config{Behaviour: probetest.NoStartTLS}, verdicts(degraded, down, degraded, down), "starttls/no_starttls"},
		{"hangs up in TLS", probetest.Config{Behaviour: probetest.AfterProceed("", probetest.Finish)}, verdicts(degraded, down, degraded, down), "tls/closed"},
		{"host-unknown", probetest.Config{Domain: "other.test"}, verdicts(degraded, degraded, down, down), "features/stream_error:host-unknown"},
		{"host-unknown in TLS", probetest.Config{Behaviour: probetest.InTLS(probetest.StreamError("host-unknown", ""))}, verdicts(degraded, degraded, down, down), "tls_features/stream_error:host-unknown"},
		{"shuts down", probetest.Config{Behaviour: probetest.StreamError("system-shutdown", "")}, verdicts(degraded, degraded, down, down), "system-shutdown"},
		{"short of something", probetest.Config{Behaviour: probetest.StreamError("resource-constraint", "")}, verdicts(degraded, degraded, degraded, degraded), "resource-constraint"},
		{"short of something in TLS", probetest.Config{Behaviour: probetest.InTLS(probetest.StreamError("resource-constraint", ""))}, verdicts(degraded, degraded, degraded, degraded), "resource-constraint"},
		{"hangs up", probetest.Config{Behaviour: probetest.CloseAtOnce}, verdicts(down, down, down, down), "stream/closed"},
	} {
		for setting, want := range c.want {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				cfg := c.cfg
				cfg.CA = ca
				if cfg.Cert == nil {
					cfg.Cert = &good
				}
				snap := firstRound(t, probetest.NewServer(t, cfg), func(f *configs.Federation) {
					f.Probe.TLSCountsAsDown, f.Probe.TurnedAwayCountsAsDown = setting&withTLS != 0, setting&turned != 0
				})
				if p := snap.Pools[0]; p.Verdict != want || !strings.Contains(p.Why, c.why) {
					t.Errorf("setting %d: %s, %s; want %s, %s", setting, p.Verdict, p.Why, want, c.why)
				}
				if p := snap.Pools[1]; p.Verdict != watchdog.PoolDown {
					t.Errorf("the closed pool is %s: %s", p.Verdict, p.Why)
				}
			})
		}
	}
}
