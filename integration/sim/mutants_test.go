package sim

import (
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"
)

// Every defect that the soak puts into the product can still be put there.
// Whether the simulator finds it, make soak shows.
func TestMutantsMatch(t *testing.T) {
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, m := range Mutants() {
		if _, err := m.apply(root); err != nil {
			t.Error(err)
		}
		if names[m.Name] || m.Old == m.New || len(m.Breaks) == 0 {
			t.Errorf("%+v is no defect of its own", m)
		}
		names[m.Name] = true
		for _, b := range m.Breaks {
			if !strings.Contains("I1 I2 I3 I4 I5 I6 I7 I8 I9", b) {
				t.Errorf("%s: there is no invariant %s", m.Name, b)
			}
		}
	}
	if len(names) < 12 {
		t.Errorf("only %d defects are tried", len(names))
	}
}

// A name that no defect has is a mistake of whoever gave it.
func TestNoSuchMutant(t *testing.T) {
	var out bytes.Buffer
	err := FindMutants(t.Context(), "../..", "no such thing", 1, &out)
	if _, ok := errors.AsType[usageError](err); !ok || out.Len() > 0 {
		t.Errorf("%v, %q", err, &out)
	}
}

// Whoever says no more than --mutants gives every defect the stories that it may
// take to find it.
func TestMutantsHaveStoriesEnough(t *testing.T) {
	for args, want := range map[string]int{"--mutants": mutantSeeds, "--mutants --seeds 5": 5, "": 200} {
		c, err := parse(strings.Fields(args), io.Discard)
		if err != nil || c.Seeds != want {
			t.Errorf("%s: %+v, %v", args, c, err)
		}
	}
}
