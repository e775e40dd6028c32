package main

import (
	"bytes"
	"strings"
	"testing"

	"edgewatch/integration/lab"
	"edgewatch/watchdog"
)

// TestHelpFollowsTheTable: what the machine takes is what the prompt says.
func TestHelpFollowsTheTable(t *testing.T) {
	var out, bare bytes.Buffer
	if err := command(t.Context(), newConsole(&out), nil, "help"); err != nil {
		t.Fatal(err)
	}
	err := command(t.Context(), newConsole(&bare), &lab.Lab{Federation: "contoso"}, "-f contoso")
	if err != nil || bare.String() != out.String() {
		t.Errorf("a federation and no word: %v\n%s", err, bare.String())
	}
	for _, v := range watchdog.Verbs() {
		if !strings.Contains(out.String(), v.Form()) || !strings.Contains(out.String(), v.Means) {
			t.Errorf("help does not tell %s: %s\n%s", v.Form(), v.Means, out.String())
		}
	}
}
