package sqlite

import (
	"fmt"
	"os"
)

// Lease reports whether the state file is still this process's own: nil while
// the file and its lock file are those that Open found. Once either was
// removed, replaced or put back from a backup, another edgewatch could hold a
// lock of that name and act too, and what this one writes is read by nobody.
// Nor does it give one, ErrChainBroken, on a journal that was not what edgewatch
// wrote when it was opened: what carries federation is known from there alone.
// It does not block and takes a few microseconds.
func (s *Store) Lease() error {
	if s.broken != nil {
		return fmt.Errorf("%w – what the journal says may be wrong, so that nothing is done on it: keep the file for analysis, then put a backup in its place, or move it away, start edgewatch and adopt the pool that carries federation", s.broken)
	}
	for _, f := range []struct {
		path string
		own  os.FileInfo
	}{{s.path, s.own}, {s.path + ".lock", s.lock.own}} {
		there, err := os.Stat(f.path)
		if err != nil {
			return fmt.Errorf("%w – put it back and restart edgewatch", err)
		}
		if !os.SameFile(there, f.own) {
			return fmt.Errorf("%s was replaced while edgewatch ran – stop whatever else uses it, then restart edgewatch", f.path)
		}
	}
	return nil
}
