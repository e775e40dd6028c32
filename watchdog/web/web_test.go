package web

import (
	"context"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"edgewatch/actions"
	"edgewatch/probe"
	"edgewatch/watchdog"
)

var at = time.Date(2026, 11, 22, 12, 54, 2, 0, time.UTC)

func clock() time.Time { return at }

// fake is a Watchdog with fixed snapshots that accepts each command id once.
type fake struct {
	snapshots []*watchdog.Snapshot
	err       error // of Submit and History

	mu       sync.Mutex
	commands []watchdog.Command
}

var _ Watchdog = (*fake)(nil)

func (f *fake) Snapshots() []*watchdog.Snapshot { return f.snapshots }

func (f *fake) Submit(ctx context.Context, cmd watchdog.Command) (watchdog.Answer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return watchdog.Answer{}, f.err
	}
	if _, ok := ctx.Deadline(); !ok {
		return watchdog.Answer{}, context.DeadlineExceeded
	}
	if cmd.Federation != "contoso" {
		return watchdog.Answer{}, watchdog.ErrNoFederation
	}
	if slices.ContainsFunc(f.commands, func(c watchdog.Command) bool { return c.ID == cmd.ID }) {
		return watchdog.Answer{Text: "given already"}, nil
	}
	f.commands = append(f.commands, cmd)
	return watchdog.Answer{Accepted: true, Text: "paused", Entry: 7}, nil
}

func (f *fake) History(_ context.Context, federation string, n int) ([]watchdog.Entry, error) {
	if f.err != nil {
		return nil, f.err
	}
	var out []watchdog.Entry
	for i := range n {
		out = append(out, watchdog.Entry{
			Seq: uint64(i + 1), At: at, Federation: federation, Kind: watchdog.KindNotice,
			Notice: &watchdog.Notice{Kind: watchdog.NoticeStarted, Text: "started"},
		})
	}
	return out, nil
}

// healthy is a federation of two pools with nothing wrong.
func healthy() *watchdog.Snapshot {
	server := func(addr string) probe.Result {
		return probe.Result{
			Target: probe.Target{Addr: netip.MustParseAddrPort(addr), Domain: "contoso.com"},
			Start:  at, Took: 12 * time.Millisecond, Phase: probe.PhaseDone, Class: probe.OK, Level: probe.Up,
			Cert: &probe.Certificate{NotAfter: at.Add(240 * time.Hour)},
		}
	}
	return &watchdog.Snapshot{
		Federation: "contoso", At: at, Mode: watchdog.ModeAuto, Active: "EdgePool1",
		Decision: watchdog.Decision{Will: watchdog.WillWatch, Because: "all is well"},
		Pools: []watchdog.PoolStatus{
			{
				Name: "EdgePool1", Active: true, Verdict: watchdog.PoolUp, Breaker: watchdog.Breaker{State: watchdog.BreakerClosed},
				Servers: []probe.Result{server("10.0.1.10:5269"), server("10.0.1.11:5269")},
			},
			{
				Name: "EdgePool2", Verdict: watchdog.PoolUp, Breaker: watchdog.Breaker{State: watchdog.BreakerClosed},
				Servers: []probe.Result{server("10.0.2.10:5269")}, Readiness: watchdog.Readiness{At: at, Ready: true},
			},
		},
		Canaries:  watchdog.CanaryStatus{Good: 3, Total: 3, OK: true},
		Witnesses: []watchdog.WitnessStatus{{URL: "https://ew2.example:8081", Says: watchdog.SaysNothing}},
		LastRound: at, Interval: 10 * time.Second, LastSeq: 41,
	}
}

// failed is the same federation after a failover with everything in use.
func failed() *watchdog.Snapshot {
	s := healthy()
	s.Federation, s.Active, s.State = "fabrikam", "EdgePool2", watchdog.Held
	s.Decision = watchdog.Decision{Will: watchdog.WillHold, BlockedBy: watchdog.GuardPause}
	s.Pools[0].Active, s.Pools[1].Active = false, true
	s.Pools[0].Verdict = watchdog.PoolDown
	s.Pools[0].Breaker = watchdog.Breaker{State: watchdog.BreakerOpen, Bad: 9, Since: at.Add(-time.Minute)}
	s.Pools[0].Servers[0].Level = probe.Down
	twice := s.Pools[1].Servers[0]
	twice.Target.Domain, twice.Level, twice.Cert = "fabrikam.com", probe.Degraded, nil
	s.Pools[1].Servers = append(s.Pools[1].Servers, twice)
	s.Pause = &watchdog.Pause{Until: at.Add(time.Hour), Actor: "anna"}
	s.Cooldown = at.Add(time.Minute)
	s.Chain = &watchdog.ChainStatus{StartedAt: at.Add(-2 * time.Minute), EndedAt: at.Add(-time.Minute), Outcome: &actions.Outcome{Took: time.Minute}}
	s.Witnesses[0].At, s.Witnesses[0].Says = at, watchdog.SaysDown
	s.Lease, s.Hold = "the lock file was replaced", &watchdog.Hold{Since: at, Actor: "anna"}
	s.Approval = &watchdog.Approval{To: "EdgePool1", Since: at, Until: at.Add(15 * time.Minute)}
	s.Pools[0].Stopped = []string{"edge1", "edge2"}
	s.Pools[0].Quarantined = "EdgePool1 was not seen answering when federation left it, nor since"
	s.Partner = []watchdog.PartnerView{{Domain: "fabrikam.com", Level: probe.Up, Pool: "EdgePool2"}, {Domain: "fabrikam.com"}}
	return s
}

func with(change func(*watchdog.Snapshot)) *fake {
	s := healthy()
	change(s)
	return &fake{snapshots: []*watchdog.Snapshot{s}}
}

func TestLimitsOfTheServer(t *testing.T) {
	s := NewServer(nil, testLogger(t))
	if s.ReadHeaderTimeout <= 0 || s.ReadTimeout <= 0 || s.WriteTimeout <= commandTimeout || s.IdleTimeout <= 0 || s.MaxHeaderBytes <= 0 {
		t.Errorf("a limit is missing, or answers of commands may be cut off: %+v", s)
	}
}
