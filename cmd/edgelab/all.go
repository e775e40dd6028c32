package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime/debug"
	"sync"

	"edgewatch/integration/lab"
)

// allScenarios stands for every scenario there is.
const allScenarios = "all"

// atOnce is how many labs run at the same time. Each has loopback addresses
// of its own, and waits more than it works.
const atOnce = 4

// playAll plays every scenario and prints a line of JSON for each as it ends.
// It returns the exit code.
func playAll(ctx context.Context, o options, out, errOut io.Writer) int {
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		code int
		turn = make(chan struct{}, atOnce)
	)
	for _, s := range lab.Scenarios() {
		turn <- struct{}{}
		wg.Go(func() {
			defer func() { <-turn }()
			of := o
			if o.dir != "" {
				of.dir = filepath.Join(o.dir, s.Name)
			}
			r := headless(ctx, of, s)
			mu.Lock()
			defer mu.Unlock()
			code = max(code, tellReport(r, out, errOut))
		})
	}
	wg.Wait()
	return code
}

// watchdogWord as the first argument makes this program the edgewatch of a
// lab, for scenarios that kill it. It is not for people.
const watchdogWord = "watchdog"

// child runs edgewatch as a process of its own until the lab ends it.
func child(ctx context.Context, config string, in io.Reader, errOut io.Writer) int {
	if err := lab.Watchdog(ctx, config, in, errOut); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintf(errOut, "edgelab: edgewatch: %v\n", err)
		return 1
	}
	return 0
}

// version is set by the linker in release builds.
var version string

// build says what this program was made from.
func build() string {
	name, revision := version, "unknown"
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = &debug.BuildInfo{}
	}
	if name == "" {
		name = info.Main.Version
	}
	if name == "" || name == "(devel)" {
		name = "devel"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			revision = s.Value
		}
	}
	return fmt.Sprintf("edgelab %s (revision %s)", name, revision)
}
