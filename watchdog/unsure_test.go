package watchdog_test

import (
	"context"
	"errors"
	"strings"
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

// A defect in the machine, met in the middle of a failover, ends the engine in
// order: what was stopped is started, and the next life goes on.
func TestEngineEndsInOrderWhenTheMachinePanics(t *testing.T) {
	mend := watchdog.Break(watchdog.VerbHold)
	defer mend()
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		p := startEngine(t, w, j)
		p.until(time.Minute, "stopping services", func(*watchdog.Snapshot) bool { return w.count("stop edge3") == 1 })
		kept := len(kinds(t, j))
		a, err := p.Submit(t.Context(), watchdog.Command{ID: "1", Verb: watchdog.VerbHold, Reason: "wait"})
		if err != nil || a.Accepted || !strings.Contains(a.Text, "a defect in edgewatch") {
			t.Errorf("%+v, %v", a, err)
		}
		if err := <-p.ended; err == nil || !strings.Contains(err.Error(), "broken by a test") {
			t.Errorf("run ended with %v", err)
		}
		if w.String() != onPool1 || len(kinds(t, j)) > kept+1 {
			t.Errorf("after the end: %s %v", w, kinds(t, j)[kept:])
		}
		p = startEngine(t, w, j)
		p.until(5*time.Minute, "failed over", activeIs("EdgePool2"))
		p.stop()
		if w.String() != onPool2 {
			t.Errorf("the estate ended as %s", w)
		}
	})
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
