package sim

import (
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestSeeds(t *testing.T) {
	n, from := 20, 1
	if s := os.Getenv("SEEDS"); s != "" {
		n, _ = strconv.Atoi(s)
	}
	if s := os.Getenv("FROM"); s != "" {
		from, _ = strconv.Atoi(s)
	}
	rep, err := Run(t, Options{Seeds: n, From: uint64(from), Life: 40 * time.Minute, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d seeds, %s virtual in %s, %d failovers, %d crashes", rep.Seeds, rep.Virtual, rep.Took, rep.Failovers, rep.Crashes)
	for _, v := range rep.Violations {
		t.Errorf("seed %d: %s: %s\n%s", v.Seed, v.Invariant, v.Text, strings.Join(v.Timeline, "\n"))
	}
}
