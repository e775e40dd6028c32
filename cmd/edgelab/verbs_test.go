package main

import (
	"bytes"
	"strings"
	"testing"

	"edgewatch/watchdog"
)

// TestHelpFollowsTheTable: what the machine takes is what the prompt says.
func TestHelpFollowsTheTable(t *testing.T) {
	var out bytes.Buffer
	if err := command(t.Context(), newConsole(&out), nil, "help"); err != nil {
		t.Fatal(err)
	}
	for _, v := range watchdog.Verbs() {
		if !strings.Contains(out.String(), v.Form()) || !strings.Contains(out.String(), v.Means) {
			t.Errorf("help does not tell %s: %s\n%s", v.Form(), v.Means, out.String())
		}
	}
}
