package watchdog_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// hanging is a journal on a disk that hangs from the entry on that it is told:
// as sqlite's, it looks at no context once it began to write.
type hanging struct {
	watchdogtest.MemJournal
	t       *testing.T
	at      string // "step phase target" or kind
	hangs   atomic.Bool
	waiting atomic.Int32
	free    chan error // what the write that hangs fails with; nil: it is kept
}

func (h *hanging) Append(_ context.Context, entries []watchdog.Entry) ([]watchdog.Entry, error) {
	if h.waiting.Add(1) > 1 {
		h.t.Error("two writes at a time")
	}
	defer h.waiting.Add(-1)
	at := string(entries[0].Kind)
	if r := entries[0].Step; r != nil {
		at = strings.TrimSpace(strings.Join([]string{string(r.Step), string(r.Phase), r.Target}, " "))
	}
	if h.at != "" && at == h.at {
		h.at = ""
		h.hangs.Store(true)
	}
	if h.hangs.Load() {
		if err := <-h.free; err != nil {
			return nil, err
		}
	}
	return h.MemJournal.Append(context.Background(), entries)
}

// hangs begins a failover whose journal hangs from that entry on.
func hangs(t *testing.T, at string) (*estate, *hanging, *process) {
	t.Helper()
	w, h := newEstate(), &hanging{t: t, at: at, free: make(chan error)}
	w.with(func(w *estate) { w.dead["EdgePool1"] = true })
	p := startEngineWith(t, w, nil, func(ports *watchdog.Ports) { ports.Journal = h })
	p.until(2*time.Minute, "hanging", func(*watchdog.Snapshot) bool { return h.hangs.Load() })
	return w, h, p
}

// places is where the journal of a failover hangs in tests.
var places = []string{
	"preflight already", "stop-services started edge3", "stop-services finished edge3", "stop-services finished", "set-route started",
	"set-route started route", "set-route finished route", "dns-records started dns", "start-services started", "start-services started edge4",
	"start-services finished edge3", "start-services finished", "verify already", "chain_end",
}

// The disk of the state file hangs in the middle of a failover: what was
// stopped is started again, status says why nothing is decided, and a stop ends
// the process although the disk still hangs.
func TestEngineStartsServicesWhileTheJournalHangs(t *testing.T) {
	for _, at := range places {
		t.Run(at, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, h, p := hangs(t, at)
				time.Sleep(2 * time.Minute)
				if got := w.String(); strings.Contains(got, "false") {
					t.Errorf("two minutes later: %s", got)
				}
				for range 3 {
					time.Sleep(time.Hour)
					s := p.Snapshot()
					if !strings.Contains(s.Headline(), "hangs") || time.Since(s.At) > time.Minute {
						t.Errorf("%s old: %s", time.Since(s.At), s.Headline())
					}
					if a, err := p.Submit(t.Context(), watchdog.Command{ID: "1", Verb: watchdog.VerbHold, Reason: "wait"}); err == nil || a.Accepted {
						t.Errorf("accepted without being durable: %+v, %v", a, err)
					}
				}
				stopsWithin(t, p, time.Minute)
				if got := w.String(); strings.Contains(got, "false") {
					t.Errorf("after the end: %s", got)
				}
				h.free <- errors.New("input/output error")
			})
		})
	}
}

// stopsWithin wants the process to end in an orderly way within limit.
func stopsWithin(t *testing.T, p *process, limit time.Duration) {
	t.Helper()
	p.cancel()
	select {
	case err := <-p.ended:
		if err != nil {
			t.Errorf("run: %v", err)
		}
	case <-time.After(limit):
		t.Fatalf("%s after the stop it still runs", limit)
	}
}

// A command whose write hangs, or of which the journal does not know, may have
// been accepted, and its error says so. One that was not begun was not.
func TestCommandThatMayBeDurableIsUnsure(t *testing.T) {
	hold := watchdog.Command{ID: "1", Verb: watchdog.VerbHold, Reason: "wait"}
	for _, patience := range []time.Duration{20 * time.Second, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			h := &hanging{t: t, free: make(chan error)}
			p := startEngineWith(t, newEstate(), nil, func(ports *watchdog.Ports) { ports.Journal = h })
			time.Sleep(time.Minute)
			h.hangs.Store(true)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			if _, err := p.Submit(ctx, hold); !errors.Is(err, watchdog.ErrUnsure) {
				t.Errorf("a write that hangs, waited for %s: %v", patience, err)
			}
			time.Sleep(time.Minute)
			if _, err := p.Submit(t.Context(), hold); err == nil || errors.Is(err, watchdog.ErrUnsure) {
				t.Errorf("a command that is held up by an earlier write: %v", err)
			}
			stopsWithin(t, p, time.Minute)
			h.free <- nil
		})
	}
	synctest.Test(t, func(t *testing.T) {
		j := &watchdogtest.MemJournal{}
		p := startEngine(t, newEstate(), j)
		time.Sleep(time.Minute)
		j.UnsureNext(true)
		if _, err := p.Submit(t.Context(), hold); !errors.Is(err, watchdog.ErrUnsure) {
			t.Errorf("a journal that does not know: %v", err)
		}
		<-p.ended
	})
}

// Stopped while the disk hangs, the process first starts what it stopped.
func TestEngineStopsWhileTheJournalHangs(t *testing.T) {
	for _, at := range places {
		t.Run(at, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, h, p := hangs(t, at)
				stopsWithin(t, p, 3*time.Minute)
				if got := w.String(); strings.Contains(got, "false") {
					t.Errorf("after the end: %s", got)
				}
				h.free <- nil
			})
		})
	}
}

// What a write that had been given up kept in the end nobody went by: the
// engine ends, and its next life reads what is so.
func TestEngineEndsWhenAWriteWasKeptLate(t *testing.T) {
	for _, at := range places {
		t.Run(at, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, h, p := hangs(t, at)
				time.Sleep(10 * time.Minute)
				h.hangs.Store(false)
				h.free <- nil
				if err := <-p.ended; !errors.Is(err, watchdog.ErrJournalUnsure) {
					t.Errorf("run ended with %v", err)
				}
				p = startEngineWith(t, w, nil, func(ports *watchdog.Ports) { ports.Journal = h })
				p.until(10*time.Minute, "failed over", activeIs("EdgePool2"))
				p.stop()
				if got := w.String(); got != onPool2 {
					t.Errorf("the estate ended as %s", got)
				}
			})
		})
	}
}

// A write that had been given up fails in the end: nothing was kept, and the
// engine goes on.
func TestEngineGoesOnWhenAWriteFailedLate(t *testing.T) {
	for _, at := range places {
		t.Run(at, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, h, p := hangs(t, at)
				time.Sleep(10 * time.Minute)
				h.hangs.Store(false)
				h.free <- errors.New("input/output error")
				p.until(30*time.Minute, "failed over", func(s *watchdog.Snapshot) bool { return s.Chain.Outcome != nil && s.Chain.Outcome.OK })
				if s := p.Snapshot(); s.JournalError != "" || w.String() != onPool2 {
					t.Errorf("%s; %s", s.Headline(), w)
				}
				p.stop()
			})
		})
	}
}

// Rounds that cannot be recorded, because the disk hangs, do not keep the
// process.
func TestEngineStopsWhileRoundsHang(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		log := &hangingRounds{free: make(chan struct{})}
		p := startEngineWith(t, w, j, func(ports *watchdog.Ports) {
			ports.Rounds = watchdog.NewRecorder(watchdog.RecorderOptions{Federation: "contoso", Store: log})
		})
		time.Sleep(time.Hour)
		stopsWithin(t, p, time.Minute)
		close(log.free)
	})
}

type hangingRounds struct {
	watchdogtest.MemRounds
	free chan struct{}
}

func (h *hangingRounds) SaveRounds(ctx context.Context, id int64, s watchdog.Segment) (int64, error) {
	<-h.free
	return h.MemRounds.SaveRounds(ctx, id, s)
}
