package watchdog_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// nameServed starts an engine whose name servers answer while served says so.
func nameServed(t *testing.T, w *estate, j *watchdogtest.MemJournal, served func() bool) *process {
	t.Helper()
	s, senses := testSettings(), w.senses()
	s.Rules.PartnerAge = 15 * time.Minute
	senses.Partner = func(context.Context) []watchdog.PartnerView {
		v := watchdog.PartnerView{Domain: "contoso.com", Text: "dns/timeout"}
		if served() {
			w.with(func(w *estate) { v.Pool = w.dns })
		}
		return []watchdog.PartnerView{v}
	}
	return runEngine(t, s, watchdog.Ports{Senses: senses, Plan: w.plan, Journal: j})
}

// That nothing can be learned from DNS, for which automatic failover would wait,
// is told while all is well, once, over a restart too, and once when it is over.
// Name servers that fail now and then are no news.
func TestBlindDNSIsToldWhileAllIsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		var state atomic.Int32 // 0 served, 1 silent, 2 now and then
		var looks atomic.Int32
		served := func() bool { return state.Load() == 0 || state.Load() == 2 && looks.Add(1)%2 == 0 }
		told := func() (blind, back []string) {
			return notices(t, j, watchdog.NoticeDNSBlind), notices(t, j, watchdog.NoticeDNSBack)
		}
		p := nameServed(t, w, j, served)
		state.Store(2)
		time.Sleep(12 * time.Hour)
		if blind, back := told(); blind != nil || back != nil {
			t.Errorf("told of name servers that fail now and then: %q, %q", blind, back)
		}
		state.Store(1)
		p.until(10*time.Minute, "told that DNS tells nothing", func(*watchdog.Snapshot) bool { blind, _ := told(); return len(blind) == 1 })
		if blind, _ := told(); !strings.Contains(blind[0], "(contoso.com: dns/timeout): should EdgePool1 die, nothing moves by itself") {
			t.Errorf("told %q", blind)
		}
		if h := p.Snapshot().Headline(); !strings.Contains(h, "nothing can be learned from DNS") {
			t.Errorf("status says %q", h)
		}
		time.Sleep(time.Hour)
		p.stop()
		p = nameServed(t, w, j, served)
		time.Sleep(time.Hour)
		state.Store(2)
		time.Sleep(time.Hour)
		if blind, back := told(); len(blind) != 1 || back != nil {
			t.Errorf("told again: %q, %q", blind, back)
		}
		state.Store(0)
		p.until(15*time.Minute, "told that DNS tells again", func(*watchdog.Snapshot) bool { _, back := told(); return len(back) == 1 })
		p.stop()
	})
}

// While our own line is down no name server answers: that says nothing of them.
// And once the pool is down the guard tells it.
func TestBlindDNSIsNotToldTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		var silent atomic.Bool
		p := nameServed(t, w, j, func() bool { return !silent.Load() })
		time.Sleep(2 * time.Minute)
		silent.Store(true)
		w.with(func(w *estate) { w.cutOff = true })
		time.Sleep(2 * time.Hour)
		w.with(func(w *estate) { w.cutOff = false; w.dead["EdgePool1"] = true })
		p.until(time.Minute, "held", func(s *watchdog.Snapshot) bool {
			return s.Decision.BlockedBy == watchdog.GuardDrift && strings.Contains(s.Decision.Because, "nothing can be learned from DNS")
		})
		time.Sleep(time.Hour)
		p.stop()
		if blind := notices(t, j, watchdog.NoticeDNSBlind); blind != nil {
			t.Errorf("told %q", blind)
		}
	})
}
