package sqlite

import (
	"errors"
	"fmt"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// explain wraps an error of SQLite for an operator: the file, what was being
// done, and the next thing to do.
func explain(path, doing string, err error) error {
	next := ""
	switch primary(err) {
	case sqlite3.SQLITE_FULL:
		next = "free space on that disk; edgewatch goes on by itself"
	case sqlite3.SQLITE_IOERR:
		next = "check that disk and its file system (dmesg, event log)"
	case sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
		next = "nothing was changed; keep the file for analysis and restore it, or move it away to begin an empty journal"
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_AUTH:
		next = "check owner and permissions of the file, its -wal and -shm files and their folder"
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_PROTOCOL:
		next = "another program holds it open for writing (a sqlite3 shell, a backup); end that program"
	}
	if next == "" {
		return fmt.Errorf("state file %s: %s: %w", path, doing, err)
	}
	return fmt.Errorf("state file %s: %s: %w – %s", path, doing, err, next)
}

// primary is the primary result code of an error of SQLite, without the bits
// that refine it; -1 for any other error.
func primary(err error) int {
	if e, ok := errors.AsType[*sqlite.Error](err); ok {
		return e.Code() & 0xff
	}
	return -1
}

// certain reports whether a failed COMMIT is known to have kept nothing. A
// full disk refused the commit frame itself, and a lock was never had.
// Everything else (a failed fsync most of all) may have left a valid commit
// frame that the recovery after a crash would find.
func certain(err error) bool {
	switch primary(err) {
	case sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_READONLY:
		return true
	}
	return false
}
