package watchdog_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/actions"
	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// sluggishStart is a task whose Apply takes minutes, as the start of services does.
type sluggishStart struct{ actions.Task }

func (s sluggishStart) Apply(ctx context.Context) error {
	time.Sleep(5 * time.Minute)
	return s.Task.Apply(ctx)
}

// The journal of one federation can no longer be relied on, which ends all, and
// the failover of another first starts the services that it stopped. Whoever
// watches the loops must not take the one that has ended for one that stands
// still, and kill the process in the middle of that.
func TestSupervisorIsAliveUntilAllHaveEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		doubtful, w := &watchdogtest.MemJournal{}, newEstate()
		s := testSettings()
		s.Rules.Federation = "fabrikam"
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		sup := watchdog.NewSupervisor(doubtful,
			watchdog.NewEngine(testSettings(), watchdog.Ports{Senses: newEstate().senses(), Plan: newEstate().plan, Journal: doubtful}),
			watchdog.NewEngine(s, watchdog.Ports{Senses: w.senses(), Plan: slowStart(w), Journal: &watchdogtest.MemJournal{}}))
		ended := make(chan error, 1)
		began := time.Now()
		go func() { ended <- sup.Run(t.Context()) }()
		for w.count("stop edge3") == 0 {
			time.Sleep(time.Second)
		}
		doubtful.UnsureNext(true)
		if _, err := sup.Submit(t.Context(), watchdog.Command{ID: "1", Federation: "contoso", Verb: watchdog.VerbHold, Reason: "wait"}); !errors.Is(err, watchdog.ErrUnsure) {
			t.Fatalf("a journal that does not know: %v", err)
		}
		oldest := map[string]time.Duration{}
		for {
			select {
			case err := <-ended:
				if oldest["contoso"] > 30*time.Second || oldest["fabrikam"] > 30*time.Second {
					t.Errorf("nothing was told for so long: %v", oldest)
				}
				if took := time.Since(began); !errors.Is(err, watchdog.ErrJournalUnsure) || took < 5*time.Minute || w.String() != onPool1 {
					t.Errorf("ended after %s with %v: %s", took, err, w)
				}
				return
			case <-time.After(time.Second):
			}
			for _, s := range sup.Snapshots() {
				oldest[s.Federation] = max(oldest[s.Federation], time.Since(s.At))
			}
		}
	})
}

// slowStart is w's plan, whose servers take minutes to start.
func slowStart(w *estate) func(actions.PlanKind, string, string) (*actions.Plan, error) {
	return func(kind actions.PlanKind, from, to string) (*actions.Plan, error) {
		plan, err := w.plan(kind, from, to)
		for i := range plan.Steps {
			if s := &plan.Steps[i]; s.Name == actions.StartServices {
				s.Timeout = 20 * time.Minute
				for k := range s.Tasks {
					s.Tasks[k] = sluggishStart{s.Tasks[k]}
				}
			}
		}
		return plan, err
	}
}

// Whoever names no federation, or a wrong one, is told those that there are.
func TestNoFederation(t *testing.T) {
	for want, err := range map[string]watchdog.NoFederationError{
		`no such federation: "fabrikam": known are contoso, northwind`:           {Name: "fabrikam", Known: []string{"contoso", "northwind"}},
		`there are several federations: say which with -f: contoso or northwind`: {Known: []string{"contoso", "northwind"}},
		`no such federation: "fabrikam"`:                                         {Name: "fabrikam"}, // while edgewatch starts
	} {
		if err.Error() != want || !errors.Is(err, watchdog.ErrNoFederation) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
