//go:build integration && linux

package integration

import (
	"strings"
	"sync"
	"testing"

	"edgewatch/integration/lab"
	"edgewatch/watchdog"
)

// TestPrimaryKilled is the product's promise with nothing of ours around it:
// the primary pool's Prosody gets SIGKILL, and a partner finds the second
// pool's by SRV, A and port 5269 through real BINDs.
func TestPrimaryKilled(t *testing.T) {
	bind := withBIND(t)
	e := newEstate(t, func(o *lab.Options) { bind(o); o.Port = 5269 })
	e.start()
	if found, err := e.Partner(e.ctx); err != nil || found.Pool != "EdgePool1" || found.Addr.Port() != 5269 {
		t.Fatalf("before all that a partner finds %+v, %v; want EdgePool1", found, err)
	}
	e.mustKill("EdgePool1")
	e.awaitRestored("EdgePool2")
	if found, err := e.Partner(e.ctx); err != nil || found.Addr.Port() != 5269 {
		t.Errorf("a partner finds %+v, %v; want port 5269", found, err)
	}
	for _, entry := range e.journal() {
		if entry.Kind == watchdog.KindStep && entry.Step.Phase == "failed" {
			t.Errorf("the journal has a failed step: %s", entry.Sentence())
		}
	}
}

// TestWatchdogKilled ends edgewatch with SIGKILL in the middle of a failover,
// while a cmdlet has had its effect and nobody heard of it: the next start
// completes the chain and does nothing twice.
func TestWatchdogKilled(t *testing.T) {
	for _, tt := range []struct {
		cmdlet string
		times  int // so many of these have had their effect when the power goes
	}{
		{"Stop-CsWindowsService", 2}, // both servers of the pool are stopped: the worst place
		{"Set-CsSite", 1},
		{"Start-CsWindowsService", 1},
	} {
		t.Run(tt.cmdlet, func(t *testing.T) {
			var (
				once sync.Once
				mu   sync.Mutex
				seen int
			)
			reached, dead := make(chan struct{}), make(chan struct{})
			e := newEstate(t, func(o *lab.Options) {
				o.ServersPerPool = 2
				o.Effect = func(cmdlet, _ string) {
					if cmdlet != tt.cmdlet {
						return
					}
					mu.Lock()
					seen++
					if seen == tt.times {
						close(reached)
					}
					mu.Unlock()
					<-dead // no answer before edgewatch is gone
				}
			})
			release := func() { once.Do(func() { close(dead) }) }
			t.Cleanup(release)
			e.start()
			e.mustKill("EdgePool1")
			select {
			case <-reached:
			case <-e.ctx.Done():
				t.Fatalf("%s was never run", tt.cmdlet)
			}
			e.kill()
			release()

			e.run()
			e.awaitRestored("EdgePool2")
			for _, s := range e.Pools[1].Servers {
				for _, cmdlet := range []string{"Stop-CsWindowsService", "Start-CsWindowsService"} {
					if n := e.runs(cmdlet, s.FQDN); n != 1 {
						t.Errorf("%s was run %d times on %s, want once", cmdlet, n, s.FQDN)
					}
				}
			}
			if n := len(e.Windows.Commands("Set-CsSite")); n != 1 {
				t.Errorf("Set-CsSite was run %d times, want once", n)
			}
			applied := effects(e.journal())
			if len(applied) < 6 { // two stops, the route, the records, two starts
				t.Errorf("the journal knows only of %v", applied)
			}
			for what, n := range applied {
				if n != 1 {
					t.Errorf("the journal says %d times that %s was applied, want once", n, what)
				}
			}
			for _, s := range e.Pools[0].Servers {
				if n := e.runs("Stop-CsWindowsService", s.FQDN); n != 0 {
					t.Errorf("Stop-CsWindowsService was run on %s of the old pool", s.FQDN)
				}
			}
		})
	}
}

// runs counts how often a cmdlet was run on a host.
func (e *estate) runs(cmdlet, host string) int {
	n := 0
	for _, c := range e.Windows.Commands(cmdlet) {
		if strings.EqualFold(c.Host, host) {
			n++
		}
	}
	return n
}

// TestOwnLineDead cuts edgewatch off, canaries and all: nothing moves, and
// everybody who asks is told why.
func TestOwnLineDead(t *testing.T) {
	e := newEstate(t, nil)
	e.start()
	if err := e.CutOff(); err != nil {
		t.Fatal(err)
	}
	e.awaitHold(watchdog.GuardCanaries)
	e.nothingMoved(4)
	for _, word := range []string{"status", "why"} {
		if out, code := e.cli(word); code != 0 || !mentions(out, "canaries") {
			t.Errorf("%s (exit code %d) does not name the canaries:\n%s", word, code, out)
		}
	}
	const metric = `edgewatch_failover_blocked{federation="contoso",reason="canaries"} 1`
	if out := e.metrics(); !strings.Contains(out, metric) {
		t.Errorf("no %s in the metrics", metric)
	}
	e.slackSays("canaries")

	if err := e.Reconnect(); err != nil {
		t.Fatal(err)
	}
	e.until("all is quiet again", lab.Settled)
	e.nothingMoved(2)
}
