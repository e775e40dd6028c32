package web

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"
)

// ListenUnix listens on a unix socket at path with that mode, e.g. 0660. The
// socket never exists with another mode. One that a dead process left behind
// is replaced; one on which somebody answers, and anything that is no socket,
// is left alone and is an error. Close removes the socket.
func ListenUnix(ctx context.Context, path string, mode fs.FileMode) (net.Listener, error) {
	if err := vacant(ctx, path); err != nil {
		return nil, err
	}
	bind := path
	if runtime.GOOS != "windows" {
		// Bound in a folder that nobody else may enter, then moved: the umask
		// belongs to the whole process and cannot be changed for one call.
		dir, err := os.MkdirTemp(filepath.Dir(path), ".s")
		if err != nil {
			return nil, fmt.Errorf("listen on %s: %w – create the folder, owned by the user that edgewatch runs as", path, err)
		}
		defer os.RemoveAll(dir) //nolint:errcheck // an empty folder left behind harms nobody
		bind = filepath.Join(dir, "s")
	} else if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("remove stale socket: %w", err)
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", bind)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	u := &unixListener{UnixListener: l.(*net.UnixListener), path: path}
	u.SetUnlinkOnClose(false)
	if err := u.publish(bind, mode); err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), u.Close())
	}
	return u, nil
}

// unixListener removes its own socket on Close, and no other.
type unixListener struct {
	*net.UnixListener
	path  string
	self  fs.FileInfo
	close sync.Once
}

func (l *unixListener) publish(bind string, mode fs.FileMode) error {
	if err := os.Chmod(bind, mode); err != nil {
		return err
	}
	if bind != l.path {
		if err := os.Rename(bind, l.path); err != nil {
			return err
		}
	}
	self, err := os.Lstat(l.path)
	l.self = self
	return err
}

// Close stops listening and removes the socket. Closing twice is fine.
func (l *unixListener) Close() (err error) {
	l.close.Do(func() {
		if now, statErr := os.Lstat(l.path); statErr == nil && l.self != nil && os.SameFile(now, l.self) {
			err = os.Remove(l.path)
		}
		err = errors.Join(err, l.UnixListener.Close())
	})
	return err
}

// vacant makes sure that nobody uses path.
func vacant(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listen on %s: %w", path, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("listen on %s: there is something that is no socket – remove it, or name another path", path)
	}
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "unix", path)
	if err == nil {
		c.Close()
		return fmt.Errorf("listen on %s: another process answers there – stop it first, or name another path", path)
	}
	if !errors.Is(err, errRefused) && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("listen on %s: cannot tell whether somebody answers there: %w – remove it if nobody does", path, err)
	}
	return nil
}
