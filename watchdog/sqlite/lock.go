package sqlite

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"edgewatch/watchdog"
)

// lockFile is a file that at most one process holds locked. The lock belongs
// to the open file and ends with the process, however that ends. The file
// stays behind: removing it would let two processes lock two files of one
// name.
type lockFile struct {
	f   *os.File
	own os.FileInfo // of f
}

// errHeld is what tryLock returns when another process holds the lock.
var errHeld = errors.New("held by another process")

// acquire locks the file at path, creating it with mode 0600, and writes this
// process's id into it.
func acquire(path string) (*lockFile, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w – check owner and permissions of that file and its folder", err)
	}
	if err := tryLock(f); err != nil {
		defer f.Close()
		if errors.Is(err, errHeld) {
			return nil, fmt.Errorf("%w: %s holds %s – stop it first, or give this one a state file of its own", watchdog.ErrLocked, holder(f), path)
		}
		return nil, fmt.Errorf("lock %s: %w – put the state file on a local disk", path, err)
	}
	l := &lockFile{f: f}
	if l.own, err = f.Stat(); err != nil {
		return nil, errors.Join(fmt.Errorf("lock file: %w", err), l.release())
	}
	if err := l.sign(); err != nil {
		return nil, errors.Join(fmt.Errorf("write lock file: %w – free space on that disk, or check it", err), l.release())
	}
	return l, nil
}

// sign writes the process id for whoever finds the file locked.
func (l *lockFile) sign() error {
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	_, err := l.f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	return err
}

// release unlocks the file.
func (l *lockFile) release() error { return l.f.Close() }

// holder names the process that signed f.
func holder(f *os.File) string {
	b, err := io.ReadAll(io.NewSectionReader(f, 0, 32))
	pid, convErr := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || convErr != nil {
		return "another process"
	}
	return fmt.Sprintf("process %d", pid)
}
