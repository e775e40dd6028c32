package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"edgewatch/actions"
	"edgewatch/configs"
	"edgewatch/integration/lab"
	"edgewatch/probe"
	"edgewatch/watchdog"
	"edgewatch/watchdog/app"
	"edgewatch/watchdog/sqlite"
	"edgewatch/watchdog/watchdogtest"
)

func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == watchdogWord { // the edgewatch of a lab, as a process of its own
		main()
	}
	testscript.Main(m, map[string]func(){"edgelab": main})
}

// TestReplayScripts runs the program as its users do, on a state file that
// the shipped engine wrote in virtual time.
func TestReplayScripts(t *testing.T) {
	made := filepath.Join(t.TempDir(), "made.db")
	record(t, made)
	open := openState(t, made) // as a running edgewatch has it
	defer open()
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			env.Setenv("RECORDED", made)
			shipped, err := filepath.Abs("../../configs")
			if err != nil {
				return err
			}
			env.Setenv("CONFIGS", shipped)
			empty := filepath.Join(env.WorkDir, "empty.db")
			s, err := sqlite.Open(context.Background(), empty)
			if err != nil {
				return err
			}
			if err := s.Close(); err != nil {
				return err
			}
			old := filepath.Join(env.WorkDir, "old.db")
			b, err := os.ReadFile(empty)
			if err != nil {
				return err
			}
			if err := os.WriteFile(old, b, 0o600); err != nil {
				return err
			}
			db, err := sql.Open("sqlite", old)
			if err != nil {
				return err
			}
			if _, err := db.ExecContext(context.Background(), "PRAGMA user_version = 1"); err != nil {
				return err
			}
			return db.Close()
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
	})
}

// exits runs a program and wants that exit code: exits CODE PROGRAM ARG…
func exits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	code := "0"
	if err != nil {
		code = err.Error()
	}
	if want := args[0]; code != want && code != "exit status "+want {
		ts.Fatalf("%s, want exit status %s", code, want)
	}
}

func openState(t *testing.T, path string) func() {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

// record writes a state file as an edgewatch with the configuration that the
// scripts call old.yaml does: four outages of ten minutes, and one of 18 s
// that its thresholds overlook.
func record(t *testing.T, path string) {
	t.Helper()
	cfg, err := configs.Parse("old.yaml", []byte(oldConfig), configs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	journal, rounds := &watchdogtest.MemJournal{}, &watchdogtest.MemRounds{}
	synctest.Test(t, func(t *testing.T) {
		var dead atomic.Bool
		e := watchdog.NewEngine(app.Settings(&cfg.Federations[0]), watchdog.Ports{
			Senses: watchdog.Senses{
				Probe: func(_ context.Context, target probe.Target) probe.Result {
					time.Sleep(30 * time.Millisecond)
					if dead.Load() && target.Addr.Addr().String() == "192.0.2.10" {
						return probe.Result{Target: target, Level: probe.Down, Class: probe.Timeout, Phase: probe.PhaseConnect, Blame: probe.Remote}
					}
					return probe.Result{Target: target, Level: probe.Up, Class: probe.OK, Phase: probe.PhaseDone}
				},
				Canary: func(context.Context, string) error { return nil },
				Ready:  func(context.Context, string) error { return nil },
			},
			Plan: func(actions.PlanKind, string, string) (*actions.Plan, error) {
				return nil, fmt.Errorf("none in mode observe")
			},
			Journal: journal,
			Rounds:  watchdog.NewRecorder(watchdog.RecorderOptions{Federation: "contoso", Store: rounds}),
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- e.Run(ctx) }()
		for i, outage := range []time.Duration{10 * time.Minute, 10 * time.Minute, 18 * time.Second, 10 * time.Minute, 10 * time.Minute} {
			time.Sleep(3*time.Hour + time.Duration(i)*time.Minute)
			dead.Store(true)
			time.Sleep(outage)
			dead.Store(false)
		}
		time.Sleep(time.Hour)
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	store, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	entries, err := journal.Read(t.Context(), "", 0, 10_000)
	if err == nil {
		_, err = store.Append(t.Context(), entries)
	}
	if err != nil {
		t.Fatal(err)
	}
	segments, _, err := rounds.LoadRounds(t.Context(), "contoso", time.Time{}, 0, 10_000)
	for i := 0; i < len(segments) && err == nil; i++ {
		_, err = store.SaveRounds(t.Context(), 0, segments[i])
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
}

const oldConfig = `
federations:
  - name: contoso
    domains: [contoso.com]
    probe: {from: probe.contoso.com}
    canaries: {targets: ["198.51.100.1:443"]}
    pools:
      - {name: EdgePool1, addresses: [192.0.2.10]}
      - {name: EdgePool2, addresses: [192.0.2.20]}
`

// TestReplayOfTheSameThresholds: they trip when they did, to the millisecond.
func TestReplayOfTheSameThresholds(t *testing.T) {
	dir := t.TempDir()
	state, config := filepath.Join(dir, "state.db"), filepath.Join(dir, "old.yaml")
	record(t, state)
	if err := os.WriteFile(config, []byte(oldConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	in := func(f func()) { synctest.Test(t, func(*testing.T) { f() }) }
	r, err := lab.Replay(t.Context(), in, lab.ReplayOptions{State: state, Config: config})
	if err != nil {
		t.Fatal(err)
	}
	if l := r.Total.Later; r.Total.Recorded != 4 || r.Total.Caught != 4 || r.Total.False != 0 || l == nil || *l != (lab.Spread{Incidents: 4}) {
		b, err := json.MarshalIndent(r, "", "  ")
		t.Errorf("not what was lived (%v):\n%s", err, b)
	}
}

// TestReplayLeavesDamageOut: one stretch of rounds that cannot be read costs
// what it holds, and the notes say so.
func TestReplayLeavesDamageOut(t *testing.T) {
	dir := t.TempDir()
	state, config := filepath.Join(dir, "state.db"), filepath.Join(dir, "old.yaml")
	record(t, state)
	if err := os.WriteFile(config, []byte(oldConfig), 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", state)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	// The second outage begins 6 h 11 min after the start.
	const second = "UPDATE rounds SET body = substr(body, 1, length(body) / 2) WHERE id = (SELECT id FROM rounds WHERE first <= ? ORDER BY first DESC LIMIT 1)"
	begin := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	if _, err := db.ExecContext(t.Context(), second, begin.Add(6*time.Hour+11*time.Minute).UnixMilli()); err != nil {
		t.Fatal(err)
	}
	in := func(f func()) { synctest.Test(t, func(*testing.T) { f() }) }
	r, err := lab.Replay(t.Context(), in, lab.ReplayOptions{State: state, Config: config})
	if err != nil {
		t.Fatal(err)
	}
	f := r.Federations[0]
	if r.Total.Caught != 3 || r.Total.Missed != 0 || r.Total.False != 0 || f.Unrecorded != 1 || len(f.Damaged) != 1 {
		t.Errorf("%s; unrecorded %d, damaged %v", r.Summary, f.Unrecorded, f.Damaged)
	}
	if note := r.Notes[len(r.Notes)-1]; !strings.Contains(note, "1 stretch of recorded rounds cannot be read") {
		t.Errorf("the last note is %q", note)
	}
}
