//go:build integration && linux

package integration

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"edgewatch/integration/lab"
	"edgewatch/watchdog"
	"edgewatch/watchdog/web"
)

// BenchmarkIdle runs edgewatch as a process over one federation whose pools
// are well, at the default interval, and prints what that costs.
func BenchmarkIdle(b *testing.B) {
	path, err := binaries.build()
	if err != nil {
		b.Fatal(err)
	}
	l, err := lab.Start(b.Context(), lab.Options{
		Dir: b.TempDir(), NoProduct: true,
		Timing: lab.Timing{
			Interval: 10 * time.Second, SuspectInterval: 2 * time.Second,
			ProbeTimeout: 5 * time.Second, ReadinessInterval: 5 * time.Minute,
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	p, err := startProcess("edgewatch", nil, path, "run", "--config", l.Files.Config)
	if err != nil {
		b.Fatal(err)
	}
	defer p.cmd.Process.Kill()
	rounds := roundsOf(web.NewClient(l.Files.Socket), l.Federation)
	rounds(b, 2)
	for range b.N {
		begin, before := time.Now(), cpuOf(b, p.cmd.Process.Pid)
		rounds(b, 3)
		spent := cpuOf(b, p.cmd.Process.Pid) - before
		b.ReportMetric(100*spent.Seconds()/time.Since(begin).Seconds(), "%cpu")
		b.ReportMetric(float64(rssOf(b, p.cmd.Process.Pid))/(1<<20), "MiB-rss")
	}
}

// roundsOf returns a function that waits for n more rounds. It asks seldom:
// being asked costs too.
func roundsOf(api *web.Client, federation string) func(b *testing.B, n int) {
	var last time.Time
	return func(b *testing.B, n int) {
		b.Helper()
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for n > 0 {
			select {
			case <-tick.C:
			case <-b.Context().Done():
				b.Fatal(b.Context().Err())
			}
			all, err := api.Status(b.Context(), federation)
			if err == nil && len(all) == 1 && newer(all[0], &last) {
				n--
			}
		}
	}
}

func newer(s *watchdog.Snapshot, last *time.Time) bool {
	if !s.LastRound.After(*last) {
		return false
	}
	*last = s.LastRound
	return true
}

// cpuOf is the processor time that the process has spent.
func cpuOf(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	user, errUser := strconv.ParseInt(fields[11], 10, 64)
	system, errSystem := strconv.ParseInt(fields[12], 10, 64)
	if errUser != nil || errSystem != nil {
		b.Fatalf("read %s: %v, %v", stat, errUser, errSystem)
	}
	const ticks = 100 // USER_HZ, the same on every Linux
	return time.Duration(user+system) * time.Second / ticks
}

// rssOf is the process's resident memory in bytes.
func rssOf(b *testing.B, pid int) int64 {
	b.Helper()
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}
