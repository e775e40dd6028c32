package lab

import (
	"context"
	"fmt"
	"testing"
	"time"

	"edgewatch/actions"
	"edgewatch/watchdog"
)

// TestRepair has somebody lead partners to the wrong pool: people are told,
// and a failover to the pool that carries federation brings the records back
// without stopping it.
func TestRepair(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	l, err := Start(t.Context(), Options{Dir: t.TempDir(), ServersPerPool: 1, Timing: Timing{ReadinessInterval: time.Second}, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := l.Settled(ctx); err != nil {
		t.Fatal(err)
	}
	right, wrong := l.Pools[0], l.Pools[1]
	order := watchdog.Command{Verb: watchdog.VerbFailover, Pool: right.Name, Reason: "somebody edited DNS"}
	if a, err := l.Order(ctx, order); err != nil || a.Accepted {
		t.Errorf("nothing is wrong yet: %+v, %v", a, err)
	}
	line := fmt.Sprintf("%s. 5 A %s", l.Record, wrong.Servers[0].XMPP.Addr())
	if err := l.DNS.Edit(l.Domain+".", l.Record+".", "A", line); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Await(ctx, "the notice that DNS leads elsewhere", func(e watchdog.Entry) bool {
		return e.Kind == watchdog.KindNotice && e.Notice.Kind == watchdog.NoticeDrift
	}); err != nil {
		t.Fatal(err)
	}
	if a, err := l.Order(ctx, order); err != nil || !a.Accepted {
		t.Fatalf("repair: %+v, %v", a, err)
	}
	end, err := l.Await(ctx, "the end of the repair", func(e watchdog.Entry) bool { return e.Kind == watchdog.KindChainEnd })
	if err != nil || !end.ChainEnd.Outcome.OK {
		history(t, l)
		t.Fatalf("%s, %v", end.Sentence(), err)
	}
	for _, c := range l.Windows.Commands("Stop-CsWindowsService", "Set-CsSite") {
		t.Errorf("%s was run on %s for a DNS record", c.Cmdlet, c.Host)
	}
	for _, s := range l.Snapshot(ctx).Chain.Steps {
		already := s.Step == actions.StopServices || s.Step == actions.SetRoute || s.Step == actions.StartServices
		if s.State != watchdog.StepDone || s.Already != already {
			t.Errorf("%s is %s, already %t: DNS alone was wrong", s.Step, s.State, s.Already)
		}
	}
	if found, err := l.Partner(ctx); err != nil || found.Pool != right.Name {
		t.Errorf("a partner finds %+v, %v", found, err)
	}
}
