package sqlite

import (
	"fmt"
	"os"
)

// Lease reports whether the state file is still this process's own: nil while
// the file and its lock file are those that Open found. Once either was
// removed, replaced or put back from a backup, another edgewatch could hold a
// lock of that name and act too, and what this one writes is read by nobody.
// It does not block and takes a few microseconds.
func (s *Store) Lease() error {
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
