package watchdog_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// A clock that is set back does not make the start of the process a thing of
// the future, before which nothing may be done.
func TestEngineActsAlthoughTheClockWasSetBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		s := testSettings()
		s.Rules.StartupGrace = time.Minute
		var off atomic.Int64
		e := watchdog.NewEngine(s, watchdog.Ports{
			Senses: w.senses(), Plan: w.plan, Journal: j,
			Now: func() time.Time { return time.Now().Add(time.Duration(off.Load())) },
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		time.Sleep(3 * time.Minute)
		off.Store(int64(-90 * time.Minute))
		time.Sleep(time.Minute)
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		time.Sleep(5 * time.Minute)
		if got := e.Snapshot(); got.Active != "EdgePool2" {
			t.Errorf("five minutes after its death: %s", got.Headline())
		}
		cancel()
		<-ended
	})
}
