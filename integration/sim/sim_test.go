package sim

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A number of seeds also under the race detector; make test plays more.
func TestSeeds(t *testing.T) {
	report, err := Run(t, Options{Seeds: 60, From: 1, Life: 40 * time.Minute, Workers: 2, everyDisk: 5})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d seeds, %s of virtual time in %s, %d failovers, %d crashes", report.Seeds, report.Virtual, report.Took, report.Failovers, report.Crashes)
	for _, v := range report.Violations {
		t.Errorf("seed %d: %s: %s\n%s", v.Seed, v.Invariant, v.Text, strings.Join(v.Timeline, "\n"))
	}
	if report.Failovers < 20 || report.Crashes < 10 {
		t.Errorf("only %d failovers and %d crashes were played", report.Failovers, report.Crashes)
	}
}

// The same seed is the same run, byte for byte.
func TestSameSeedSameRun(t *testing.T) {
	base, err := exampleFederation()
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Life: 40 * time.Minute, keepLines: true}
	different := 0
	for seed := uint64(1); seed <= 25; seed++ {
		first, second := playSeed(t, base, seed, o), playSeed(t, base, seed, o)
		if d := cmp.Diff(first.lines, second.lines); d != "" {
			t.Errorf("seed %d played twice (-first +second):\n%s", seed, d)
		}
		if other := playSeed(t, base, seed+1000, o); !slices.Equal(first.lines, other.lines) {
			different++
		}
	}
	if different < 20 {
		t.Errorf("only %d of 25 seeds differ from others", different)
	}
}
