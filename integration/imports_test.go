package integration

import (
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// allowed is the import graph: a package may import those named here and
// nothing else of this module. A new package or arrow changes this map, with
// its reason in the commit.
var allowed = map[string][]string{
	"probe":                    nil,
	"probe/probetest":          {"probe"},
	"actions":                  {"probe"},
	"actions/actionstest":      {"actions"},
	"actions/winrm":            {"actions"},
	"actions/rfc2136":          {"actions"},
	"watchdog":                 {"actions", "probe"},
	"watchdog/watchdogtest":    {"watchdog", "actions", "probe"},
	"watchdog/sqlite":          {"watchdog"},
	"watchdog/slack":           {"watchdog", "actions", "probe"},
	"watchdog/slack/slacktest": nil,
	"watchdog/web":             {"watchdog", "actions", "probe"},
	"configs":                  {"actions", "watchdog"},
	"watchdog/app":             {"configs", "probe", "actions", "actions/winrm", "actions/rfc2136", "watchdog", "watchdog/sqlite", "watchdog/slack", "watchdog/web"},
	"cmd/edgewatch":            {"watchdog/app", "watchdog/web", "watchdog", "configs", "probe", "actions"},
	"integration":              nil,
	"integration/sidebyside":   {"probe", "probe/probetest"},
	"integration/lab":          {"probe", "probe/probetest", "actions", "actions/actionstest", "watchdog/slack/slacktest", "configs", "watchdog", "watchdog/app", "watchdog/sqlite", "watchdog/web"},
	// The simulator runs all of the product but its sockets; from app it takes how a configuration becomes settings and plans.
	"integration/sim": {"probe", "actions", "actions/actionstest", "actions/rfc2136", "watchdog", "watchdog/watchdogtest", "watchdog/sqlite", "watchdog/slack", "watchdog/slack/slacktest", "watchdog/app", "configs"},
	"cmd/edgelab":     {"integration/lab", "integration/sim", "watchdog/app", "watchdog", "configs", "actions", "probe"},
}

// TestImportGraph holds the architecture: imports go one way only.
func TestImportGraph(t *testing.T) {
	const module = "edgewatch"
	cmd := exec.CommandContext(t.Context(), "go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"/...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	seen := 0
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		pkg := strings.TrimPrefix(fields[0], module+"/")
		may, known := allowed[pkg]
		if !known {
			t.Errorf("package %s is not in the import graph; the graph knows %v", pkg, slices.Sorted(maps.Keys(allowed)))
			continue
		}
		seen++
		for _, imp := range fields[1:] {
			rel, ours := strings.CutPrefix(imp, module+"/")
			if ours && !slices.Contains(may, rel) {
				t.Errorf("%s imports %s: not in the import graph", pkg, rel)
			}
		}
	}
	if seen == 0 {
		t.Fatal("go list named no package of this module")
	}
}
