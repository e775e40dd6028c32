package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"time"

	"edgewatch/actions"
	"edgewatch/probe"
	"edgewatch/watchdog"
)

// fakeWatchdog answers as a watchdog of three federations does.
type fakeWatchdog struct {
	mu       sync.Mutex
	accepted []watchdog.Command
}

func (f *fakeWatchdog) Snapshots() []*watchdog.Snapshot {
	now := time.Now()
	return []*watchdog.Snapshot{failingOver(now), calm(now), down(now)}
}

func (f *fakeWatchdog) Submit(_ context.Context, cmd watchdog.Command) (watchdog.Answer, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case cmd.Federation == "leaving":
		return watchdog.Answer{}, watchdog.ErrStopping
	case cmd.Federation == "hanging":
		return watchdog.Answer{}, fmt.Errorf("%w: wait for the answer of hanging: %w", watchdog.ErrUnsure, context.DeadlineExceeded)
	case cmd.Federation == "", cmd.Federation == "nosuch":
		return watchdog.Answer{}, f.unknown(cmd.Federation)
	case cmd.Pool == "EdgePool1" && cmd.Federation != "northwind":
		return watchdog.Answer{Text: "EdgePool1 carries federation already"}, nil
	}
	if cmd.Dry {
		return watchdog.Answer{Accepted: true, Text: "would be accepted"}, nil
	}
	for i, c := range f.accepted {
		if c.ID == cmd.ID {
			return watchdog.Answer{Accepted: true, Text: "accepted before", Entry: uint64(i + 1)}, nil
		}
	}
	f.accepted = append(f.accepted, cmd)
	text := fmt.Sprintf("%s %s%s for %s: %q via %s", cmd.Verb, cmd.Pool, cmd.Step, cmd.For, cmd.Reason, cmd.Via)
	if cmd.Force {
		text = fmt.Sprintf("%s %s forced for %s: %q via %s", cmd.Verb, cmd.Pool, cmd.For, cmd.Reason, cmd.Via)
	}
	return watchdog.Answer{Accepted: true, Text: text, Entry: uint64(len(f.accepted))}, nil
}

func (f *fakeWatchdog) History(_ context.Context, federation string, _ int) ([]watchdog.Entry, error) {
	if federation == "" || federation == "nosuch" {
		return nil, f.unknown(federation)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	at := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	entries := []watchdog.Entry{{
		Seq: 1, At: at, Federation: federation, Incident: "contoso-7", Kind: watchdog.KindPool,
		Pool: &watchdog.PoolChange{Pool: "EdgePool1", Tripped: true, Bad: 5, Since: at.Add(-time.Minute)},
	}}
	for i, c := range f.accepted {
		entries = append(entries, watchdog.Entry{Seq: uint64(i + 2), At: at.Add(time.Minute), Federation: federation, Kind: watchdog.KindCommand, Command: &c})
	}
	return entries, nil
}

func (f *fakeWatchdog) unknown(federation string) error {
	return watchdog.NoFederationError{Name: federation, Known: federations(f.Snapshots())}
}

// namesNone answers as an edgewatch does that is too old to name the federations
// in a field.
func namesNone(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec := httptest.NewRecorder()
		if h.ServeHTTP(rec, r); rec.Code == http.StatusNotFound {
			http.Error(w, `{"error": "no such federation: known are only others"}`, rec.Code)
			return
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	})
}

// losesFirstAnswer carries commands out and breaks the first connection
// before its answer.
func losesFirstAnswer(h http.Handler) http.Handler {
	var once sync.Once
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		lose := false
		if r.Method == http.MethodPost {
			once.Do(func() { lose = true })
		}
		if !lose {
			h.ServeHTTP(w, r)
			return
		}
		h.ServeHTTP(discard{}, r)
		panic(http.ErrAbortHandler)
	})
}

// discard is an answer that never arrives.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) WriteHeader(int)             {}

// failingOver is a federation in the middle of a failover.
func failingOver(now time.Time) *watchdog.Snapshot {
	down := probe.Result{
		Target: probe.Target{Addr: netip.MustParseAddrPort("203.0.113.10:5269"), Domain: "contoso.com"},
		Class:  probe.Refused, Phase: probe.PhaseConnect, Level: probe.Down, Blame: probe.Remote, Took: 1200 * time.Microsecond,
		Error: "connection \x1b[31mrefused",
	}
	up := probe.Result{
		Target: probe.Target{Addr: netip.MustParseAddrPort("203.0.113.138:5269"), Domain: "contoso.com"},
		Class:  probe.OK, Phase: probe.PhaseDone, Level: probe.Up, Took: 18 * time.Millisecond,
		Cert: &probe.Certificate{NotAfter: now.Add(60*24*time.Hour + time.Hour)},
	}
	because := "failing over from EdgePool1 to EdgePool2: set-route is running"
	return &watchdog.Snapshot{
		Federation: "contoso", At: now, Mode: watchdog.ModeAuto, State: watchdog.FailingOver, Active: "EdgePool1",
		Decision: watchdog.Decision{State: watchdog.FailingOver, Will: watchdog.WillFinish, To: "EdgePool2", Because: because},
		Pools: []watchdog.PoolStatus{
			{
				Name: "EdgePool1", Active: true, Verdict: watchdog.PoolDown, Why: "no server answers", Servers: []probe.Result{down},
				Breaker: watchdog.Breaker{State: watchdog.BreakerOpen, Bad: 5, Since: now.Add(-40 * time.Second)},
				States:  []watchdog.ServerState{{Addr: down.Target.Addr, Down: true, Bad: 5, Since: now.Add(-40 * time.Second)}},
			},
			{
				Name: "EdgePool2", Verdict: watchdog.PoolUp, Servers: []probe.Result{up}, Breaker: watchdog.Breaker{State: watchdog.BreakerClosed},
				Readiness: watchdog.Readiness{At: now.Add(-3 * time.Minute), Ready: true},
				States:    []watchdog.ServerState{{Addr: up.Target.Addr}},
			},
		},
		Canaries: watchdog.CanaryStatus{Good: 2, Total: 2, OK: true},
		Pause:    &watchdog.Pause{Until: now.Add(2 * time.Hour), Actor: "anna@host", Via: "cli", Reason: "patch day"},
		Cooldown: now.Add(30 * time.Minute),
		Incident: "contoso-7", Interval: 10 * time.Second, LastRound: now.Add(-4 * time.Second), LastSeq: 12,
		Chain: &watchdog.ChainStatus{
			ChainStart: watchdog.ChainStart{ID: "contoso-7.1", From: "EdgePool1", To: "EdgePool2", Trigger: "auto", Reason: "EdgePool1 is down"},
			StartedAt:  now.Add(-12 * time.Second),
			Steps:      steps(now),
		},
		Partner: []watchdog.PartnerView{{Domain: "contoso.com", Level: probe.Down, Pool: "EdgePool1", Text: "203.0.113.10 does not answer"}},
	}
}

func steps(now time.Time) []watchdog.StepStatus {
	var out []watchdog.StepStatus
	for i, name := range actions.Steps() {
		s := watchdog.StepStatus{Step: name, State: watchdog.StepWaiting}
		switch {
		case i < 2:
			s.State, s.StartedAt, s.Took = watchdog.StepDone, now.Add(-12*time.Second), 5*time.Second
		case i == 2:
			s.State, s.StartedAt = watchdog.StepRunning, now.Add(-2*time.Second)
		}
		out = append(out, s)
	}
	return out
}

// asked is a federation about which a person is asked, with everything else
// that a status can tell of persons.
func asked(now time.Time) *watchdog.Snapshot {
	s := failingOver(now)
	s.Mode, s.State, s.Chain, s.Pause, s.Cooldown, s.Partner = watchdog.ModeApprove, watchdog.AwaitingApproval, nil, nil, time.Time{}, nil
	until := now.Add(14 * time.Minute)
	s.Decision = watchdog.Decision{
		State: watchdog.AwaitingApproval, Will: watchdog.WillAsk, To: "EdgePool2", BlockedBy: watchdog.GuardApproval, NextAt: until,
		Because: "EdgePool1 is down and EdgePool2 is ready: approve EdgePool2 REASON, or deny REASON; without an answer edgewatch fails over at 2026-11-22 12:14:30 UTC",
	}
	s.Approval = &watchdog.Approval{To: "EdgePool2", Since: now.Add(-time.Minute), Until: until, Then: watchdog.ApprovalActs}
	s.Hold = &watchdog.Hold{Since: now.Add(-26 * time.Hour), Actor: "bert@host", Via: "cli", Reason: "the network is rebuilt"}
	s.Lease = "the lock file was replaced"
	s.Witnesses = []watchdog.WitnessStatus{
		{URL: "https://ew2.example:8081", Vantage: "host2", At: now.Add(-4 * time.Second), Says: watchdog.SaysDown, Why: "203.0.113.10:5269 connect/refused"},
		{URL: "https://ew3.example:8081", Says: watchdog.SaysNothing, Why: "it has not been asked yet"},
	}
	s.Pools[1].Stopped = []string{"edgeserver2.contoso.local"}
	s.Pools[1].Quarantined = "EdgePool2 answers again since 2026-11-22 11:50:00 UTC only and counts as stable from 2026-11-22 12:20:00 UTC on"
	return s
}

// down is a federation whose active pool is the second of three and does not
// answer; nothing is under way.
func down(now time.Time) *watchdog.Snapshot {
	s := failingOver(now)
	s.Federation, s.Mode, s.Active, s.State, s.Chain, s.Pause, s.Partner = "northwind", watchdog.ModeObserve, "EdgePool2", watchdog.Held, nil, nil, nil
	s.Decision = watchdog.Decision{State: watchdog.Held, Will: watchdog.WillHold, BlockedBy: watchdog.GuardMode, Because: "would fail over now, but mode is observe"}
	first, second := s.Pools[1], s.Pools[0]
	first.Name, second.Name = "EdgePool1", "EdgePool2"
	s.Pools = []watchdog.PoolStatus{first, second, {Name: "EdgePool3"}}
	return s
}

// calm is a federation of which nothing is to be told.
func calm(now time.Time) *watchdog.Snapshot {
	return &watchdog.Snapshot{
		Federation: "fabrikam", At: now, Mode: watchdog.ModeObserve, Active: "A",
		Decision: watchdog.Decision{Will: watchdog.WillWatch, Because: "all is well"},
		Pools:    []watchdog.PoolStatus{{Name: "A", Active: true, Verdict: watchdog.PoolUp, Breaker: watchdog.Breaker{State: watchdog.BreakerClosed}}},
		Interval: 10 * time.Second, LastRound: now,
	}
}
