package sim

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"edgewatch/watchdog/sqlite"
)

// onDisk lets the run keep its journal in a file, as the product does: every
// life opens it anew. It takes real time, so that only some seeds do; the
// others keep it in a journal in memory that passes the same contract suite
// (package watchdogtest).
func (r *run) onDisk() {
	dir, err := os.MkdirTemp(fastDir(), "edgelab-sim-")
	if err != nil {
		r.violate("start", err.Error())
		return
	}
	r.t.Cleanup(func() { os.RemoveAll(dir) })
	file := filepath.Join(dir, "edgewatch.db")
	open := func() (memory, error) { return sqlite.Open(context.Background(), file) }
	first, err := open()
	if err != nil {
		r.violate("start", err.Error())
		return
	}
	r.memory = first
	r.reopen = func(m memory) (memory, error) {
		if err := m.(*sqlite.Store).Close(); err != nil {
			return nil, fmt.Errorf("close the journal: %w", err)
		}
		return open()
	}
	r.close = func() {
		if _, err := r.memory.(*sqlite.Store).Verify(context.Background()); err != nil {
			r.violate("I8", "the journal's file: "+err.Error())
		}
		r.memory.(*sqlite.Store).Close()
	}
}

// fastDir is where files live in memory, where the system has such a place.
func fastDir() string {
	const shm = "/dev/shm"
	if info, err := os.Stat(shm); err == nil && info.IsDir() {
		return shm
	}
	return ""
}
