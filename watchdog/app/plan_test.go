package app

import (
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"edgewatch/actions"
	"edgewatch/actions/actionstest"
	"edgewatch/configs"
)

var update = flag.Bool("update", false, "rewrite the golden plans")

const example = "../../configs/edgewatch.example.yaml"

func outline(t *testing.T, p *actions.Plan) string {
	t.Helper()
	var b strings.Builder
	for i, s := range p.Outline() {
		fmt.Fprintf(&b, "%d %s\n", i+1, s.Step)
		for _, task := range s.Tasks {
			fmt.Fprintf(&b, "  %s\n", task.Target)
			for _, c := range task.Commands {
				for line := range strings.Lines(c) {
					fmt.Fprintf(&b, "    %s\n", strings.TrimRight(line, "\n"))
				}
			}
		}
	}
	return b.String()
}

// The plans of the example are the documented procedures with its facts, in
// documented order, and need neither secrets nor a network.
func TestPlanOfExample(t *testing.T) {
	cfg, err := configs.Load(example)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		kind             actions.PlanKind
		from, to, golden string
	}{
		{"", "EdgePool1", "EdgePool2", "plan.golden"},
		{actions.Failover, "EdgePool1", "EdgePool2", "plan.golden"},
		{actions.Switchover, "EdgePool1", "EdgePool2", "plan.golden"}, // the same steps
		{actions.Failback, "EdgePool2", "EdgePool1", "failback.golden"},
	} {
		t.Run(tt.kind.String(), func(t *testing.T) {
			p, err := Plan(cfg, tt.kind, "", "")
			if err != nil {
				t.Fatal(err)
			}
			if p.Kind != tt.kind || p.From != tt.from || p.To != tt.to {
				t.Errorf("%s from %s to %s, want %s from %s to %s", p.Kind, p.From, p.To, tt.kind, tt.from, tt.to)
			}
			var order []actions.StepName
			for _, s := range p.Steps {
				order = append(order, s.Name)
			}
			if d := cmp.Diff(tt.kind.Steps(), order); d != "" {
				t.Errorf("steps (-documented +planned):\n%s", d)
			}
			golden(t, "testdata/"+tt.golden, outline(t, p))
		})
	}
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("%s (-want +got; -update rewrites):\n%s", file, d)
	}
}

// "Every published copy has an erratum: its A-record step says EdgeServer2
// where EdgeServer1 is meant." All of a failback leads to the restored pool,
// nothing of it touches the servers of the other one, and nothing is stopped.
func TestFailbackLeadsToTheRestoredPool(t *testing.T) {
	cfg, err := configs.Load(example)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Plan(cfg, actions.Failback, "", "")
	if err != nil {
		t.Fatal(err)
	}
	home, away := cfg.Federations[0].Pools[0], cfg.Federations[0].Pools[1]
	for _, step := range p.Outline() {
		for _, task := range step.Tasks {
			text := task.Target + "\n" + strings.Join(task.Commands, "\n")
			if strings.Contains(text, "Stop-Cs") {
				t.Errorf("%s stops something:\n%s", step.Step, text)
			}
			for _, s := range away.Servers {
				if strings.Contains(text, s.FQDN) {
					t.Errorf("%s touches %s of the pool that federation leaves:\n%s", step.Step, s.FQDN, text)
				}
			}
			for _, a := range away.Addresses {
				for line := range strings.Lines(text) {
					if strings.Contains(line, a.String()) && !strings.HasPrefix(line, "prereq") {
						t.Errorf("%s leads to %s of the pool that federation leaves: %s", step.Step, a, line)
					}
				}
			}
			if step.Step != actions.DNSRecords {
				continue
			}
			for _, a := range home.Addresses {
				if !strings.Contains(text, " IN A "+a.String()) {
					t.Errorf("DNS does not lead to %s:\n%s", a, text)
				}
			}
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	cfg, err := configs.Load(example)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		kind                 actions.PlanKind
		federation, to, says string
	}{
		{"", "fabrikam", "", "no such federation"},
		{"", "", "EdgePool9", "known are"},
		{"sideways", "", "", "no procedure"},
	} {
		if _, err := Plan(cfg, tt.kind, tt.federation, tt.to); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s of %q to %q: %v, want an error that says %q", tt.kind, tt.federation, tt.to, err, tt.says)
		}
	}
	for _, kind := range actions.PlanKinds() {
		for i, pool := range cfg.Federations[0].Pools {
			if kind == actions.Failback && i > 0 {
				continue // see TestFailbackIsToAPreferredPool
			}
			p, err := Plan(cfg, kind, "", pool.Name)
			if err != nil || p.To != pool.Name || p.From != cfg.Federations[0].Pools[1-min(i, 1)].Name {
				t.Errorf("%s to %s: %+v, %v", kind, pool.Name, p, err)
			}
		}
	}
	cfg.Federations[0].Pools = cfg.Federations[0].Pools[:1]
	for _, kind := range actions.PlanKinds() {
		if _, err := Plan(cfg, kind, "", ""); err == nil || !strings.Contains(err.Error(), "no second pool") {
			t.Errorf("%s with one pool: %v", kind, err)
		}
	}
}

// TestFailbackIsToAPreferredPool: of three pools the last is none to return to,
// and federation returns to the second from the third.
func TestFailbackIsToAPreferredPool(t *testing.T) {
	cfg, err := configs.Load(example)
	if err != nil {
		t.Fatal(err)
	}
	f := &cfg.Federations[0]
	third := f.Pools[1]
	third.Name = "EdgePool3"
	f.Pools = append(f.Pools, third)
	for to, from := range map[string]string{"": "EdgePool2", "EdgePool1": "EdgePool2", "EdgePool2": "EdgePool3"} {
		if p, err := Plan(cfg, actions.Failback, "", to); err != nil || p.From != from {
			t.Errorf("to %q: %+v, %v; want one from %s", to, p, err, from)
		}
	}
	_, err = Plan(cfg, actions.Failback, "", "EdgePool3")
	if _, ok := errors.AsType[NotPlannedError](err); !ok || err.Error() != "EdgePool3 is not preferred to EdgePool1, so that there is nothing to fail back: switchover EdgePool3 REASON" {
		t.Errorf("to the last: %v", err)
	}
	if p, err := Plan(cfg, actions.Failover, "", "EdgePool3"); err != nil || p.From != "EdgePool1" {
		t.Errorf("a failover to the last: %+v, %v", p, err)
	}
}

// Where the pool that federation left is gone, all that can be done is to start
// the services of the other, on every server.
func TestPlanThatOnlyStartsServices(t *testing.T) {
	cfg, err := configs.Load(example)
	if err != nil {
		t.Fatal(err)
	}
	b, err := newBuilder(&cfg.Federations[0], true, nil)
	if err != nil {
		t.Fatal(err)
	}
	whole, err := b.plan(actions.Failover, "EdgePool1", "EdgePool2")
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.plan(actions.Failover, "", "EdgePool2")
	if err != nil {
		t.Fatal(err)
	}
	start, _ := whole.Step(actions.StartServices)
	got, _ := p.Step(actions.StartServices)
	if len(p.Steps) != 1 || len(got.Tasks) != len(start.Tasks) || got.Timeout != start.Timeout || got.Need != start.Need || p.Timeout != whole.Timeout {
		t.Errorf("%+v, want the start of services of %+v", p, whole)
	}
	for _, pools := range [][2]string{{"EdgePool9", "EdgePool2"}, {"", "EdgePool9"}, {"", ""}} {
		if p, err := b.plan(actions.Failover, pools[0], pools[1]); err == nil {
			t.Errorf("from %q to %q: %+v", pools[0], pools[1], p)
		}
	}
}

// The rules know servers by the names that failovers stop and start them by.
func TestServersOfRules(t *testing.T) {
	cfg, err := configs.Load(example)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Plan(cfg, actions.Failover, "", "")
	if err != nil {
		t.Fatal(err)
	}
	step, _ := p.Step(actions.StartServices)
	var started []string
	for _, task := range step.Tasks {
		started = append(started, task.Target())
	}
	if d := cmp.Diff(started, settings(&cfg.Federations[0]).Rules.Servers[p.To]); d != "" || len(started) == 0 {
		t.Errorf("started by the plan and known to the rules (-plan +rules):\n%s", d)
	}
}

// Two domains with a zone each, the record in the first, and one name server that
// holds both: the SRV record of the second is right before the move and after it,
// and no reason to ask a person.
func TestZonesThatShareARecordAndAServer(t *testing.T) {
	s, err := actionstest.ListenDNS("127.0.0.1:0", actionstest.DNSConfig{Zones: []actionstest.DNSZone{
		{Name: "contoso.com", Records: []string{"xmpp 60 A 203.0.113.11", "_xmpp-server._tcp 300 SRV 0 0 5269 xmpp"}},
		{Name: "fabrikam.com", Records: []string{"_xmpp-server._tcp 300 SRV 0 0 5269 xmpp.contoso.com."}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	cfg, err := configs.Load(example)
	if err != nil {
		t.Fatal(err)
	}
	f := &cfg.Federations[0]
	f.Domains, f.DNS.Record = []string{"contoso.com", "fabrikam.com"}, "xmpp.contoso.com"
	at := addrs([]string{s.Addr()})
	z := f.DNS.Zones[0]
	z.Server, z.Authoritative = at[0], at
	f.DNS.Zones = []configs.Zone{z, z}
	f.DNS.Zones[1].Name = "fabrikam.com"
	f.Pools[0].Addresses = []netip.Addr{netip.MustParseAddr("203.0.113.11")}
	f.Pools[1].Addresses = []netip.Addr{netip.MustParseAddr("203.0.113.21")}
	b := &builder{f: f, offline: true}
	if err := b.buildZones(); err != nil {
		t.Fatal(err)
	}
	tasks := b.records(&f.Pools[0], &f.Pools[1])
	if len(tasks) != 2 {
		t.Fatalf("%d zones change, want both to be looked at", len(tasks))
	}
	for i, want := range []actions.Status{actions.Pending, actions.Done} {
		if o, err := tasks[i].Check(t.Context()); err != nil || o.Status != want {
			t.Errorf("%s: %+v, %v; want %s", tasks[i].Target(), o, err, want)
		}
	}
}
