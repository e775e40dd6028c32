package app

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"edgewatch/actions"
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

// The plan of the example is the documented procedure with its facts, in
// documented order, and needs neither secrets nor a network.
func TestPlanOfExample(t *testing.T) {
	cfg, err := configs.Load(example)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Plan(cfg, "", "")
	if err != nil {
		t.Fatal(err)
	}
	var order []actions.StepName
	for _, s := range p.Steps {
		order = append(order, s.Name)
	}
	if d := cmp.Diff(actions.Steps(), order); d != "" {
		t.Errorf("steps (-documented +planned):\n%s", d)
	}
	got := outline(t, p)
	const golden = "testdata/plan.golden"
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), got); d != "" {
		t.Errorf("plan (-want +got; -update rewrites):\n%s", d)
	}
}

func TestPlanRefuses(t *testing.T) {
	cfg, err := configs.Load(example)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ federation, to, says string }{
		{"fabrikam", "", "no federation"},
		{"", "EdgePool9", "known are"},
	} {
		if _, err := Plan(cfg, tt.federation, tt.to); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("plan of %q to %q: %v, want an error that says %q", tt.federation, tt.to, err, tt.says)
		}
	}
	back, err := Plan(cfg, "", cfg.Federations[0].Pools[0].Name)
	if err != nil || back.From == back.To {
		t.Errorf("plan back to the first pool: %+v, %v", back, err)
	}
}
