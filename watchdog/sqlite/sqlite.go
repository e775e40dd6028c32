// Package sqlite keeps edgewatch's journal, cursors and recorded rounds in one
// local SQLite file: the embedded default store. What Append or SaveCursor
// acknowledged survives a crash (WAL, synchronous=FULL). Rounds survive the
// end of the process; a power failure may cost the newest. One process at a
// time writes, held by a lock file beside the database; any number may read
// meanwhile.
//
// The journal is append-only by triggers, and every entry carries a hash over
// itself and its predecessor, so that a change made behind edgewatch's back
// shows in Verify. Open verifies it all, which takes 0.4 s for 100,000 entries,
// as long as reading them does; where it is broken the store gives no Lease.
// The store never deletes, truncates or recreates a file it
// cannot read: it says what is wrong and stops.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	_ "modernc.org/sqlite" // the database/sql driver "sqlite"

	"edgewatch/watchdog"
)

// busyTimeout is how long, in milliseconds, a statement waits for a lock
// that another program (say, a sqlite3 shell) holds on the database.
const busyTimeout = "5000"

// enoughRoom is how many bytes must fit on the disk for Ready to call it
// writable again: an entry with all its evidence is smaller.
const enoughRoom = 64 << 10

// Store is a journal that this process may write. Its methods are safe for
// concurrent use.
type Store struct {
	path   string
	own    os.FileInfo // of the file that was opened
	broken error       // how its hash chain was broken when it was opened; nil when it was whole
	lock   *lockFile
	db     *sql.DB // the only connection that writes the journal
	rounds *sql.DB // writes rounds, without waiting for the disk
	reader *Reader
	saved  atomic.Int64 // rounds writes since the write-ahead log was last moved
	moving atomic.Bool

	turn   chan struct{} // holds one token: whoever has it may write and owns the fields below
	unsure bool          // the last commit's result is unknown; settle resolves it
	failed error         // the last write's error; nil once a write succeeded
	closed bool
}

var (
	_ watchdog.Journal  = (*Store)(nil)
	_ watchdog.Cursors  = (*Store)(nil)
	_ watchdog.RoundLog = (*Store)(nil)
)

// Open opens the store in the file at path for writing, and creates it with
// mode 0600 when there is none; the folder must exist. An older schema is
// migrated in place. While the Store is open, path+".lock" keeps other
// processes out: their Open fails with watchdog.ErrLocked. Errors name the
// file, what is wrong and what to do.
func Open(ctx context.Context, path string) (*Store, error) {
	path, err := canonical(path)
	if err != nil {
		return nil, err
	}
	lock, err := acquire(path + ".lock")
	if err != nil {
		return nil, err
	}
	s := &Store{path: path, lock: lock, turn: make(chan struct{}, 1)}
	s.turn <- struct{}{}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) open(ctx context.Context) error {
	if err := create(s.path); err != nil {
		return err
	}
	db, err := sql.Open("sqlite", dsn(s.path, url.Values{
		"mode":    {"rw"},
		"_txlock": {"immediate"},
		"_pragma": {"busy_timeout(" + busyTimeout + ")", "synchronous(FULL)"},
	}))
	if err != nil {
		return explain(s.path, "open", err)
	}
	if s.own, err = os.Stat(s.path); err != nil {
		return errors.Join(err, db.Close())
	}
	s.db = db
	db.SetMaxOpenConns(1)
	db.SetMaxIdleConns(1)
	if err := prepare(ctx, db, s.path, migrations()); err != nil {
		return err
	}
	if err := s.settle(0); err != nil {
		return err
	}
	if err := s.openRounds(); err != nil {
		return err
	}
	if s.reader, err = openReadOnly(ctx, s.path); err != nil {
		return err
	}
	if _, err = s.reader.Verify(ctx); errors.Is(err, ErrChainBroken) {
		s.broken, err = err, nil // people are to be told by whoever runs on
	}
	return err
}

// Close waits for a running write, closes the file and lets go of the lock.
// Closing twice is fine.
func (s *Store) Close() error {
	<-s.turn
	defer func() { s.turn <- struct{}{} }()
	if s.closed {
		return nil
	}
	s.closed = true
	var errs []error
	if s.reader != nil {
		errs = append(errs, s.reader.Close())
	}
	if s.rounds != nil {
		if err := s.rounds.Close(); err != nil {
			errs = append(errs, explain(s.path, "close", err))
		}
	}
	if s.db != nil {
		// The last connection to close moves the write-ahead log into the file.
		if err := s.db.Close(); err != nil {
			errs = append(errs, explain(s.path, "close", err))
		}
	}
	errs = append(errs, s.lock.release())
	return errors.Join(errs...)
}

// Ready reports whether the store can be written, as far as is known: it is
// nil while the last write succeeded. After a failed one it tries a write of
// the size of a large entry, so that it turns nil by itself once, say, the
// disk has room again.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer s.give()
	if s.failed == nil {
		return nil
	}
	return s.settle(enoughRoom)
}

// take waits for the right to write.
func (s *Store) take(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-s.turn:
	case <-ctx.Done():
		return fmt.Errorf("state file %s: wait for a write that has not ended: %w", s.path, context.Cause(ctx))
	}
	if s.closed {
		s.give()
		return fmt.Errorf("%s: %w", s.path, errClosed)
	}
	return nil
}

func (s *Store) give() { s.turn <- struct{}{} }

var errClosed = errors.New("the store is closed")

// canonical resolves symbolic links, so that two names of one file share one
// lock.
func canonical(path string) (string, error) {
	if path == "" {
		return "", errors.New("state file: no path given")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("state file %s: %w", path, err)
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		return real, nil
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return "", fmt.Errorf("state file %s: %w – create the folder, owned by the user that edgewatch runs as", abs, err)
	}
	return filepath.Join(dir, filepath.Base(abs)), nil
}

func notRegular(path string) error {
	return fmt.Errorf("state file %s: not a regular file – name a file", path)
}

// create makes the file if there is none. SQLite would create it too, with
// whatever mode the umask leaves. An existing file is opened only where a crash
// left a log: closing it drops locks that SQLite holds on it elsewhere in this
// process.
func create(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return notRegular(path)
	}
	if err := orphaned(path); err != nil {
		return err
	}
	if err == nil {
		return anothers(path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("create state file: %w – check owner and permissions of the folder", err)
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("create state file: %w", err)
	}
	return syncFolder(filepath.Dir(path))
}

// orphaned says that a write-ahead log stands without what it belongs to: the
// state file is gone or empty. SQLite, even where it only reads, would delete the
// log then, and with it the newest entries of the journal.
func orphaned(path string) error {
	if info, err := os.Stat(path); err == nil && info.Size() > 0 || !logged(path) {
		return nil
	}
	return fmt.Errorf("state file %s: gone or empty, and %[1]s-wal, which holds the newest of its journal, is still there; nothing was changed – put the file back beside it; or move %[1]s-wal and %[1]s-shm away, and put a backup in its place or begin an empty journal", path)
}

// logged reports whether there is anything in the write-ahead log. Whoever only
// reads leaves an empty one.
func logged(path string) bool {
	info, err := os.Stat(path + "-wal")
	return err == nil && info.Size() > 0
}

// anothers says that the write-ahead log beside the state file is another file's:
// a backup, which has had none yet, was put in that one's place. SQLite would lay
// the log over it.
func anothers(path string) error {
	if !logged(path) {
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("state file: %w – check owner and permissions of that file", err)
	}
	defer f.Close()
	version := make([]byte, 1) // of the file format, for writing; 1: without a log
	if _, err := f.ReadAt(version, 18); err != nil || version[0] != 1 {
		return nil //nolint:nilerr // SQLite says what is wrong with it
	}
	return fmt.Errorf("state file %s: %[1]s-wal is not its own, but of the file that it was put in place of; nothing was changed – move %[1]s-wal and %[1]s-shm away", path)
}

// dsn names the file to the driver as a URI: a path may hold any character.
func dsn(path string, query url.Values) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") {
		path = "/" + path // C:/… on Windows
	}
	u := url.URL{Scheme: "file", Path: path, RawQuery: query.Encode()}
	return u.String()
}
