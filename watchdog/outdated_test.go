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

// A pool that was away for some seconds: what partners found meanwhile is no
// news once it answers again, and they are looked at anew soon.
func TestPartnersAreNotLostByAnOldLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		var looks atomic.Int32
		p := startEngineWith(t, w, j, func(ports *watchdog.Ports) {
			ports.Partner = func(context.Context) []watchdog.PartnerView {
				looks.Add(1)
				level := probe.Up
				w.with(func(w *estate) {
					if w.dead["EdgePool1"] {
						level = probe.Down
					}
				})
				return []watchdog.PartnerView{{Domain: "contoso.com", Level: level, Pool: "EdgePool1"}}
			}
		})
		time.Sleep(2 * time.Minute)
		before := looks.Load()
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		p.until(30*time.Second, "looked at while it is away", func(*watchdog.Snapshot) bool { return looks.Load() > before })
		w.with(func(w *estate) { w.dead["EdgePool1"] = false })
		p.until(2*time.Minute, "looked at again", func(s *watchdog.Snapshot) bool {
			return len(s.Partner) == 1 && s.Partner[0].Level == probe.Up && !s.PartnerAt.IsZero()
		})
		time.Sleep(time.Minute)
		p.stop()
		entries, err := j.Read(t.Context(), "contoso", 0, 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.Kind == watchdog.KindNotice && e.Notice.Kind == watchdog.NoticePartnerLost {
				t.Errorf("told: %s", e.Sentence())
			}
		}
	})
}
