package watchdog_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/probe"
	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// surveyed starts an engine whose partners find what level says of the n-th
// look.
func surveyed(t *testing.T, w *estate, j *watchdogtest.MemJournal, level func(n int32) probe.Level) *process {
	t.Helper()
	var looks atomic.Int32
	return startEngineWith(t, w, j, func(ports *watchdog.Ports) {
		ports.Partner = func(context.Context) []watchdog.PartnerView {
			return []watchdog.PartnerView{{Domain: "contoso.com", Level: level(looks.Add(1)), Pool: "EdgePool1"}}
		}
	})
}

// A name server that fails now and then is no news, whatever its rhythm, and
// once partners were told to be lost it does not make them found.
func TestPartnersThatFlapAreNotTold(t *testing.T) {
	for name, flaky := range map[string]func(n int32) probe.Level{
		"every second look fails": func(n int32) probe.Level { return []probe.Level{probe.Up, probe.Down}[n%2] },
		"two of three fail":       func(n int32) probe.Level { return []probe.Level{probe.Up, probe.Down, probe.Down}[n%3] },
		"with looks that tell nothing": func(n int32) probe.Level {
			return []probe.Level{probe.Up, probe.Down, probe.Inconclusive, probe.Down, probe.Inconclusive}[n%5]
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, j := newEstate(), &watchdogtest.MemJournal{}
				var broken, mended atomic.Bool
				p := surveyed(t, w, j, func(n int32) probe.Level {
					switch {
					case mended.Load():
						return probe.Up
					case broken.Load():
						return probe.Down
					}
					return flaky(n)
				})
				told := func() (lost, back int) {
					return len(notices(t, j, watchdog.NoticePartnerLost)), len(notices(t, j, watchdog.NoticePartnerBack))
				}
				time.Sleep(12 * time.Hour)
				if lost, back := told(); lost != 0 || back != 0 {
					t.Errorf("told %d times that partners are lost and %d times that they are back", lost, back)
				}
				broken.Store(true)
				p.until(10*time.Minute, "told that partners are lost", func(*watchdog.Snapshot) bool { lost, _ := told(); return lost == 1 })
				broken.Store(false)
				time.Sleep(12 * time.Hour)
				if lost, back := told(); lost != 1 || back != 0 {
					t.Errorf("told %d times that partners are lost and %d times that they are back", lost, back)
				}
				mended.Store(true)
				p.until(15*time.Minute, "told that partners are back", func(*watchdog.Snapshot) bool { _, back := told(); return back == 1 })
				p.stop()
			})
		})
	}
}

// What partners do not find while the pool itself does not answer says nothing
// of DNS, and does not count once it does.
func TestPartnersOfADeadPoolDoNotCountAsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.notReady["EdgePool2"] = context.DeadlineExceeded
		var ill atomic.Bool
		p := surveyed(t, w, j, func(int32) probe.Level {
			if ill.Load() {
				return probe.Down
			}
			return probe.Up
		})
		time.Sleep(2 * time.Minute)
		ill.Store(true)
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		time.Sleep(20 * time.Minute)
		w.with(func(w *estate) { w.dead["EdgePool1"] = false })
		back := time.Now()
		p.until(10*time.Minute, "told that partners are lost", func(*watchdog.Snapshot) bool {
			return len(notices(t, j, watchdog.NoticePartnerLost)) == 1
		})
		if after := time.Since(back); after < 2*time.Minute {
			t.Errorf("told %s after the pool was back", after)
		}
		p.stop()
	})
}
