package web

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/watchdog"
)

// replaying has the snapshots that were put in, as a supervisor that reads its
// journal has.
type replaying struct {
	now atomic.Pointer[[]*watchdog.Snapshot]
}

func (r *replaying) Snapshots() []*watchdog.Snapshot {
	if s := r.now.Load(); s != nil {
		return *s
	}
	return nil
}

// TestLoadBalancerWaitsForTheJournal: a restart must not take all pools away
// for as long as the journal is read.
func TestLoadBalancerWaitsForTheJournal(t *testing.T) {
	begun := func(s *watchdog.Snapshot) { s.LastRound = time.Time{} }
	other := with(begun).Snapshots()
	other[0].Federation = "fabrikam"
	for name, early := range map[string][]*watchdog.Snapshot{"first of all": nil, "after another federation": other} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := &replaying{}
				w.now.Store(&early)
				h := Health(HealthConfig{Watchdog: w, Now: clock})
				got := make(chan *httptest.ResponseRecorder, 2)
				for _, path := range []string{"/lb/contoso/EdgePool1", "/lb/contoso"} {
					go func() { got <- ask(h, http.MethodGet, path) }()
				}
				time.Sleep(time.Second)
				read := with(begun).Snapshots()
				w.now.Store(&read)
				for range 2 {
					if r := <-got; r.Code != http.StatusOK || r.Header().Get("X-Edgewatch-State") != "unsure" {
						t.Errorf("answered %d %q", r.Code, bodyOf(r))
					}
				}
			})
		})
	}
	t.Run("not for ever", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			r := ask(Health(HealthConfig{Watchdog: &replaying{}, Now: clock}), http.MethodGet, "/lb/contoso/EdgePool1")
			if took := time.Since(start); took > 10*time.Second || r.Code != http.StatusServiceUnavailable || r.Header().Get("X-Edgewatch-State") != "unsure" {
				t.Errorf("answered %d %q after %v", r.Code, bodyOf(r), took)
			}
		})
	})
	if r := ask(Health(HealthConfig{Watchdog: with(func(*watchdog.Snapshot) {}), Now: clock}), http.MethodGet, "/lb/nobody/EdgePool1"); r.Code != http.StatusNotFound {
		t.Errorf("no such federation, once running = %d", r.Code)
	}
}

func TestNotReadyBeforeTheJournalIsRead(t *testing.T) {
	h := Health(HealthConfig{Watchdog: &replaying{}, Now: clock})
	if r := ask(h, http.MethodGet, "/readyz"); r.Code != http.StatusServiceUnavailable {
		t.Errorf("/readyz = %d %q", r.Code, bodyOf(r))
	}
	if r := ask(h, http.MethodGet, "/livez"); r.Code != http.StatusOK {
		t.Errorf("/livez = %d %q", r.Code, bodyOf(r))
	}
}
