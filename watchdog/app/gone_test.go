package app

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"edgewatch/actions"
	"edgewatch/configs"
	"edgewatch/watchdog"
	"edgewatch/watchdog/sqlite"
)

// stoppedServices puts a journal in the state file whose last word is that a
// failover of the federation stops services.
func stoppedServices(t *testing.T, path, federation string) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	chain := federation + "-1.1"
	_, err = s.Append(t.Context(), []watchdog.Entry{
		{At: time.Now(), Federation: federation, Kind: watchdog.KindNotice, Notice: &watchdog.Notice{Kind: watchdog.NoticeStarted, Pool: "EdgePool1"}},
		{At: time.Now(), Federation: federation, Kind: watchdog.KindChain, Incident: federation + "-1", Chain: &watchdog.ChainStart{ID: chain, From: "EdgePool1", To: "EdgePool2", Trigger: watchdog.TriggerAuto}},
		{At: time.Now(), Federation: federation, Kind: watchdog.KindStep, Incident: federation + "-1", Step: &actions.Record{Chain: chain, Step: actions.StopServices, Target: "edge3.contoso.local", Phase: actions.Started}},
	})
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A process whose configuration calls the federation otherwise says in its log,
// in the journal, which Slack tells, and in its status that services may be
// stopped, and takes word that they are started again.
func TestGoneFederationIsTold(t *testing.T) {
	t.Parallel()
	state := filepath.Join(t.TempDir(), "state.db")
	stoppedServices(t, state, "contoso")
	cfg, err := configs.Parse("renamed", []byte(`
state: `+state+`
socket: ""
listen: {health: ""}
federations:
  - name: contoso-com
    domains: [contoso.com]
    probe: {from: probe.contoso.com}
    pools:
      - {name: EdgePool1, addresses: [127.9.9.9]}
      - {name: EdgePool2, addresses: [127.9.9.8]}
`), configs.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	a, err := New(t.Context(), cfg, Options{Log: zerolog.New(zerolog.SyncWriter(&log)).Level(zerolog.ErrorLevel)})
	if err != nil {
		t.Fatal(err)
	}
	const stopped = "services may be STOPPED on edge3.contoso.local of EdgePool2"
	if !strings.Contains(log.String(), stopped) {
		t.Errorf("the log does not say %q: %s", stopped, log.String())
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for told := false; !told; {
		<-tick.C
		entries, err := a.Supervisor().History(ctx, "contoso", 1)
		if err != nil {
			t.Fatal(err)
		}
		n := entries[0].Notice
		told = n != nil && n.Kind == watchdog.NoticeFederationGone && strings.Contains(n.Text, stopped)
	}
	if left := a.gone.Left(); len(left) != 1 || !strings.Contains(left[0], stopped) {
		t.Errorf("status says %q", left)
	}
	answer, err := a.Supervisor().Submit(ctx, watchdog.Command{ID: "1", Federation: "contoso", Verb: watchdog.VerbAck, Actor: "anna", Via: "cli"})
	if err != nil || !answer.Accepted || len(a.gone.Left()) > 0 {
		t.Errorf("%+v, %v, and status says %q", answer, err, a.gone.Left())
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
