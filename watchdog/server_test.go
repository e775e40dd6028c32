package watchdog_test

import (
	"context"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/probe"
	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

var secondAddr = netip.MustParseAddrPort("203.0.113.11:5269")

// twoServers gives EdgePool1 a second address, which is as down says, and
// counts the probes of the first.
func twoServers(w *estate, down *atomic.Bool, asked *atomic.Int64) func(*watchdog.Settings, *watchdog.Senses) {
	return func(s *watchdog.Settings, senses *watchdog.Senses) {
		s.Watch.Vantage = "watch1"
		s.Rules.Addresses = append(s.Rules.Addresses, secondAddr.String())
		s.Watch.Pools[0].Targets = append(s.Watch.Pools[0].Targets, probe.Target{Addr: secondAddr, Domain: "contoso.com"})
		inner := senses.Probe
		senses.Probe = func(ctx context.Context, t probe.Target) probe.Result {
			if t.Addr == poolAddrs["EdgePool1"] {
				asked.Add(1)
			}
			r := inner(ctx, t)
			w.with(func(w *estate) {
				if t.Addr == secondAddr && (down.Load() || w.cutOff) {
					r.Level, r.Class, r.Phase, r.Blame = probe.Down, probe.Refused, probe.PhaseConnect, probe.Remote
				}
			})
			return r
		}
	}
}

func startTwoServers(t *testing.T, w *estate, j *watchdogtest.MemJournal, down *atomic.Bool, asked *atomic.Int64) *process {
	t.Helper()
	s, senses := testSettings(), w.senses()
	s.Breaker.Every, s.Breaker.Window = s.Watch.Interval, 5*time.Minute
	twoServers(w, down, asked)(&s, &senses)
	e := watchdog.NewEngine(s, watchdog.Ports{Senses: senses, Plan: w.plan, Journal: j})
	if err := e.Replay(t.Context()); err != nil {
		t.Fatalf("replay: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	p := &process{Engine: e, t: t, cancel: cancel, ended: make(chan error, 1)}
	go func() { p.ended <- e.Run(ctx) }()
	return p
}

func notices(t *testing.T, j *watchdogtest.MemJournal, kind watchdog.NoticeKind) []string {
	t.Helper()
	entries, err := j.Read(t.Context(), "contoso", 0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		if e.Kind == watchdog.KindNotice && e.Notice.Kind == kind {
			out = append(out, e.Notice.Server+" "+e.Notice.Text)
		}
	}
	return out
}

// "A server is down" and "the pool is down" are different states: one of two
// is told once, over a restart too, shown with its since, and moves nothing.
func TestOneServerDownIsAStateOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		var down atomic.Bool
		var asked atomic.Int64
		p := startTwoServers(t, w, j, &down, &asked)
		time.Sleep(time.Minute)
		down.Store(true)
		died := time.Now()
		p.until(time.Minute, "one server down", func(s *watchdog.Snapshot) bool { return s.Pools[0].States[1].Down })
		time.Sleep(time.Hour)
		s := p.Snapshot()
		if got := s.Pools[0].States; got[0].Down || !got[1].Down || got[1].Addr != secondAddr || got[1].Since.Sub(died).Abs() > 11*time.Second {
			t.Errorf("states %+v, it died at %v", got, died)
		}
		if s.Pools[0].Breaker.Tripped() || s.Pools[0].Verdict != watchdog.PoolDegraded || s.Vantage != "watch1" {
			t.Errorf("pool %+v, vantage %q", s.Pools[0], s.Vantage)
		}
		p.stop()
		p = startTwoServers(t, w, j, &down, &asked)
		time.Sleep(time.Hour)
		told := notices(t, j, watchdog.NoticeServerDown)
		if len(told) != 1 || !strings.Contains(told[0], secondAddr.String()+" of EdgePool1 is down since") {
			t.Errorf("told %q", told)
		}
		down.Store(false)
		time.Sleep(4 * time.Minute)
		for range 5 { // it flaps: no news
			down.Store(true)
			time.Sleep(time.Minute)
			down.Store(false)
			time.Sleep(3 * time.Minute)
		}
		if down, back := notices(t, j, watchdog.NoticeServerDown), notices(t, j, watchdog.NoticeServerBack); len(down) != 1 || back != nil {
			t.Errorf("told of a server that flaps: %q, %q", down, back)
		}
		p.until(6*time.Minute, "the server back", func(*watchdog.Snapshot) bool { return len(notices(t, j, watchdog.NoticeServerBack)) == 1 })
		p.stop()
		if has(kinds(t, j), "chain") {
			t.Error("a failover because of one server")
		}
	})
}

// A round that is no evidence against a pool is none against a server.
func TestServersDoNotCountAsDownWhileWeAreCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		var down atomic.Bool
		var asked atomic.Int64
		p := startTwoServers(t, w, j, &down, &asked)
		time.Sleep(time.Minute)
		w.with(func(w *estate) { w.cutOff = true })
		time.Sleep(time.Hour)
		for _, pool := range p.Snapshot().Pools {
			for _, s := range pool.States {
				if s.Down || s.Bad > 0 {
					t.Errorf("%s: %+v", pool.Name, s)
				}
			}
		}
		p.stop()
	})
}

// Suspicion asks more often and ends: with the trip of the one server that is
// down, and after a window in which nothing could be said.
func TestSuspicionBeginsAndEnds(t *testing.T) {
	rounds := func(asked *atomic.Int64, d time.Duration) int64 {
		before := asked.Load()
		time.Sleep(d)
		return asked.Load() - before
	}
	for _, cutOff := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w, j := newEstate(), &watchdogtest.MemJournal{}
			var down atomic.Bool
			var asked atomic.Int64
			p := startTwoServers(t, w, j, &down, &asked)
			time.Sleep(time.Minute)
			if n := rounds(&asked, time.Minute); n < 5 || n > 7 {
				t.Errorf("%d rounds a minute while all is well", n)
			}
			confirm := 8 * time.Second
			if cutOff {
				w.with(func(w *estate) { w.cutOff = true })
				confirm = time.Minute
			} else {
				down.Store(true)
			}
			want := int64(confirm/(2*time.Second)) + 1 // 2 s apart once it is seen, which takes up to 10 s
			if n := rounds(&asked, confirm+11*time.Second); n < want {
				t.Errorf("cut off %v: %d rounds while suspected, want at least %d", cutOff, n, want)
			}
			time.Sleep(6 * time.Minute)
			if n := rounds(&asked, 10*time.Minute); n > 70 {
				t.Errorf("cut off %v: %d rounds in ten minutes long after: suspicion does not end", cutOff, n)
			}
			p.stop()
		})
	}
}

// A process that stood still for long, or could not see for long, has watched
// nothing lately, as one that was just started: its grace begins anew.
func TestGraceBeginsAnewAfterBlindness(t *testing.T) {
	for _, why := range []string{"asleep", "cut off"} {
		synctest.Test(t, func(t *testing.T) {
			w, j := newEstate(), &watchdogtest.MemJournal{}
			s := testSettings()
			s.Rules.StartupGrace, s.Breaker.Window = 2*time.Minute, 5*time.Minute
			var slept atomic.Int64
			now := func() time.Time { return time.Now().Add(time.Duration(slept.Load())) }
			e := watchdog.NewEngine(s, watchdog.Ports{Senses: w.senses(), Plan: w.plan, Journal: j, Now: now})
			ctx, cancel := context.WithCancel(t.Context())
			p := &process{Engine: e, t: t, cancel: cancel, ended: make(chan error, 1)}
			go func() { p.ended <- e.Run(ctx) }()
			time.Sleep(10 * time.Minute)
			if why == "asleep" {
				slept.Store(int64(8 * time.Hour))
			} else {
				w.with(func(w *estate) { w.cutOff = true })
				time.Sleep(10 * time.Minute)
				w.with(func(w *estate) { w.cutOff = false })
			}
			w.with(func(w *estate) { w.dead["EdgePool1"] = true })
			sees := time.Now()
			s2 := p.until(time.Minute, "held by the grace", func(s *watchdog.Snapshot) bool {
				return s.Pools[0].Breaker.Tripped() && s.Decision.BlockedBy == watchdog.GuardEvidence
			})
			if s2.Decision.NextAt.IsZero() {
				t.Errorf("%s: %+v", why, s2.Decision)
			}
			p.until(5*time.Minute, "failed over", activeIs("EdgePool2"))
			if took := time.Since(sees); took < s.Rules.StartupGrace {
				t.Errorf("%s: failed over %v after it could see again", why, took)
			}
			p.stop()
		})
	}
}

// The engine detects a dead pool within the times that Detect names, whenever
// it dies.
func TestEngineDetectsWithinTheTimesNamed(t *testing.T) {
	for i := range 20 {
		synctest.Test(t, func(t *testing.T) {
			s := testSettings()
			s.Rules.Mode = watchdog.ModeObserve
			s.Breaker.Every, s.Breaker.Window, s.Breaker.BadRatio, s.Breaker.MinRounds = s.Watch.Interval, 5*time.Minute, 0.5, watchdog.MinRounds
			const took = 20 * time.Millisecond // of the estate's probes
			want := watchdog.Detect(s.Breaker, s.Watch.SuspectInterval, took)
			w, j := newEstate(), &watchdogtest.MemJournal{}
			p := startEngine(t, w, j, func(to *watchdog.Settings) { *to = s })
			time.Sleep(10*time.Minute + time.Duration(i)*577*time.Millisecond)
			w.with(func(w *estate) { w.dead["EdgePool1"] = true })
			died := time.Now()
			p.until(2*want.DeadMax, "down", func(s *watchdog.Snapshot) bool { return s.Pools[0].Breaker.Tripped() })
			const step = 100 * time.Millisecond // of until
			if at := time.Since(died); at < want.DeadMin-took || at > want.DeadMax+step {
				t.Errorf("counts as down after %v, named were %v to %v", at, want.DeadMin, want.DeadMax)
			}
			p.stop()
		})
	}
}

// A standby may not answer before it holds the route: what its servers were
// like then is no news once it does.
func TestServersOfANewActivePoolStartAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.dead["EdgePool2"] = true
		p := startEngine(t, w, j)
		p.until(time.Minute, "standby seen down", func(s *watchdog.Snapshot) bool { return s.Pools[1].States != nil && s.Pools[1].States[0].Down })
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		p.until(2*time.Minute, "failing over", func(s *watchdog.Snapshot) bool { return s.Chain != nil })
		w.with(func(w *estate) { delete(w.dead, "EdgePool2") })
		p.until(2*time.Minute, "failed over", activeIs("EdgePool2"))
		if s := p.until(time.Minute, "seen", func(s *watchdog.Snapshot) bool { return len(s.Pools[1].States) > 0 }); s.Pools[1].States[0].Down {
			t.Errorf("right after: %+v", s.Pools[1].States[0])
		}
		time.Sleep(10 * time.Minute)
		for _, kind := range []watchdog.NoticeKind{watchdog.NoticeServerDown, watchdog.NoticeServerBack} {
			if told := notices(t, j, kind); told != nil {
				t.Errorf("told %q", told)
			}
		}
		if s := p.Snapshot().Pools[1].States[0]; s.Down {
			t.Errorf("%+v", s)
		}
		p.stop()
	})
}
