package watchdog_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// doubtful is a journal that cannot keep the end of a failover at first, then
// keeps it and does not know that it did.
type doubtful struct {
	watchdogtest.MemJournal
	tries int
}

func (d *doubtful) Append(ctx context.Context, entries []watchdog.Entry) ([]watchdog.Entry, error) {
	if entries[0].Kind != watchdog.KindChainEnd {
		return d.MemJournal.Append(ctx, entries)
	}
	switch d.tries++; d.tries {
	case 1:
		return nil, errors.New("no space left on device")
	case 2:
		d.UnsureNext(true)
	}
	return d.MemJournal.Append(ctx, entries)
}

// Once it is not known what the journal holds, nothing more is written into
// it: not even the end of a failover that could not be kept a moment before.
func TestEngineWritesNoMoreOnceTheJournalIsUnsure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &doubtful{}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		e := watchdog.NewEngine(testSettings(), watchdog.Ports{Senses: w.senses(), Plan: w.plan, Journal: j})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		if err := e.Run(ctx); !errors.Is(err, watchdog.ErrJournalUnsure) {
			t.Fatalf("run ended with %v", err)
		}
		if j.tries != 2 {
			t.Errorf("the end of the failover was written %d times", j.tries)
		}
	})
}
