package web

import (
	"flag"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"edgewatch/probe"
	"edgewatch/watchdog"
)

var update = flag.Bool("update", false, "rewrite the files in testdata")

func registry(t *testing.T, snapshots ...*watchdog.Snapshot) *prometheus.Registry {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	if err := RegisterMetrics(reg, &fake{snapshots: snapshots}, Build{Version: "1.2.3", Revision: "abc"}, clock); err != nil {
		t.Fatal(err)
	}
	return reg
}

func TestMetricsAreClean(t *testing.T) {
	problems, err := testutil.GatherAndLint(registry(t, healthy(), failed(), nil, &watchdog.Snapshot{Federation: "new"}))
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
}

// TestMetricsTellTheSnapshot compares with a file; "go test -update" rewrites
// it.
func TestMetricsTellTheSnapshot(t *testing.T) {
	w := &fake{snapshots: []*watchdog.Snapshot{healthy(), failed()}}
	body := bodyOf(ask(Health(HealthConfig{Watchdog: w, Metrics: registry(t, w.snapshots...)}), http.MethodGet, "/metrics"))
	got := strings.ReplaceAll(body, runtime.Version(), "GOVERSION") + "\n"
	golden := filepath.Join("testdata", "metrics.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("metrics (-want +got):\n%s", diff)
	}
}

// TestSeriesExistFromTheStart: an alert on a series that appears only when
// things go wrong never fires the first time.
func TestSeriesExistFromTheStart(t *testing.T) {
	series := func(s *watchdog.Snapshot) map[string]bool {
		families, err := registry(t, s).Gather()
		if err != nil {
			t.Fatal(err)
		}
		out := map[string]bool{}
		for _, f := range families {
			if f.GetName() == "edgewatch_probe_info" {
				continue // names what is so now; an alert on it fires when it appears
			}
			if strings.HasPrefix(f.GetName(), "edgewatch_pool_ready") {
				continue // of standbys alone, and who is one differs
			}
			for _, m := range f.GetMetric() {
				key := f.GetName()
				for _, l := range m.GetLabel() {
					key += " " + l.GetName() + "=" + l.GetValue()
				}
				out[key] = true
			}
		}
		return out
	}
	before, after := healthy(), failed()
	after.Federation, after.Partner = before.Federation, nil
	if diff := cmp.Diff(series(before), series(after)); diff != "" {
		t.Errorf("series differ (-healthy +failed):\n%s", diff)
	}
}

func TestPausedEndsByItself(t *testing.T) {
	s := healthy()
	s.Pause, s.Cooldown = &watchdog.Pause{Until: at.Add(-1)}, at.Add(-1)
	want := `
# HELP edgewatch_paused Whether automatic failover is paused by a person.
# TYPE edgewatch_paused gauge
edgewatch_paused{federation="contoso"} 0
# HELP edgewatch_cooldown Whether the cool-down after a failover lasts.
# TYPE edgewatch_cooldown gauge
edgewatch_cooldown{federation="contoso"} 0
`
	if err := testutil.GatherAndCompare(registry(t, s), strings.NewReader(want), "edgewatch_paused", "edgewatch_cooldown"); err != nil {
		t.Error(err)
	}
}

// TestProbeInfo: the words of a probe's outcome are labels, one series an
// address, and there is none before the first probe.
func TestProbeInfo(t *testing.T) {
	s := healthy()
	s.Pools = s.Pools[:1]
	addr := netip.MustParseAddrPort("10.0.1.10:5269")
	for name, c := range map[string]struct {
		results []probe.Result
		want    string
	}{
		"not probed yet": {[]probe.Result{{Target: probe.Target{Addr: addr}}}, ""},
		"healthy":        {[]probe.Result{{Target: probe.Target{Addr: addr}, Class: probe.OK, Level: probe.Up, Phase: probe.PhaseDone}}, `class="ok",condition="",federation="contoso",phase="done"`},
		"the worst": {[]probe.Result{
			{Target: probe.Target{Addr: addr}, Class: probe.OK, Level: probe.Up, Phase: probe.PhaseDone},
			{Target: probe.Target{Addr: addr}, Class: probe.StreamError, Condition: "host-unknown", Level: probe.Degraded, Phase: probe.PhaseFeatures},
		}, `class="stream_error",condition="host-unknown",federation="contoso",phase="features"`},
	} {
		s.Pools[0].Servers = c.results
		want := ""
		if c.want != "" {
			want = "# HELP edgewatch_probe_info What the server's last probe came to, in the words of edgewatch probe --classes; always 1.\n" +
				"# TYPE edgewatch_probe_info gauge\n" +
				"edgewatch_probe_info{" + c.want + `,pool="` + s.Pools[0].Name + `",target="10.0.1.10:5269"} 1` + "\n"
		}
		if err := testutil.GatherAndCompare(registry(t, s), strings.NewReader(want), "edgewatch_probe_info"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPoolReadyIsOfStandbys: "edgewatch_pool_ready == 0" is an alert that
// everybody writes; what is no standby, or was not checked yet, must not fire it.
func TestPoolReadyIsOfStandbys(t *testing.T) {
	s := healthy()
	s.Pools[0].Readiness = watchdog.Readiness{At: at, Why: "it carried nothing when it was checked"}
	s.Pools = append(s.Pools, watchdog.PoolStatus{Name: "EdgePool3"}, watchdog.PoolStatus{Name: "EdgePool4", Readiness: watchdog.Readiness{At: at, Why: "no WinRM"}})
	families, err := registry(t, s).Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string][]string{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if name := f.GetName(); strings.HasPrefix(name, "edgewatch_pool_ready") {
				got[name] = append(got[name], m.GetLabel()[1].GetValue())
			}
		}
	}
	standbys := []string{"EdgePool2", "EdgePool4"}
	want := map[string][]string{"edgewatch_pool_ready": standbys, "edgewatch_pool_ready_check_timestamp_seconds": standbys}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
