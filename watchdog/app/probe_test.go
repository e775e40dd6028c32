package app

import (
	"sync"
	"testing"
	"time"

	"edgewatch/configs"
	"edgewatch/probe"
	"edgewatch/probe/probetest"
)

// Rounds, partners' views and failovers ask through one prober, which never
// has two streams to one server at a time; whoever waited still gets a verdict
// with a whole time limit.
func TestOneStreamPerServer(t *testing.T) {
	t.Parallel()
	cfg, err := configs.Load(example)
	if err != nil {
		t.Fatal(err)
	}
	f := &cfg.Federations[0]
	f.Probe.Timeout.Duration = 300 * time.Millisecond
	b, err := newBuilder(f, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := probetest.NewServer(t, probetest.Config{Behaviour: probetest.Silent})
	var results [2]probe.Result
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			results[i] = b.probe(t.Context(), probe.Target{Addr: s.Addr(), Domain: "contoso.com", From: f.Probe.From})
		})
	}
	wg.Wait()
	for _, r := range results {
		if r.Class != probe.Timeout || r.Level != probe.Down {
			t.Errorf("got %s %s: %s", r.Class, r.Level, r.Error)
		}
	}
	if apart := results[0].Start.Sub(results[1].Start).Abs(); apart < f.Probe.Timeout.Duration {
		t.Errorf("the streams began only %s apart", apart)
	}
}
