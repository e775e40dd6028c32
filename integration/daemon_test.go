//go:build integration && linux

package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// daemon is a real server that can be killed, stopped, frozen and started
// again. It ends with the test. Its methods may be called from any goroutine.
type daemon struct {
	name string
	addr string // host:port that it listens on once it is up
	dir  string // its own, for configuration and data
	env  []string
	argv []string

	mu   sync.Mutex
	proc *process
}

// newDaemon makes the directory of a daemon whose argv is still to be said.
func newDaemon(t testing.TB, name, addr string) *daemon {
	t.Helper()
	dir, err := os.MkdirTemp("", "edgewatch-"+name+"-") //nolint:usetesting // t.TempDir cannot be entered by another user
	if err != nil {
		t.Fatal(err)
	}
	d := &daemon{name: name + " on " + addr, addr: addr, dir: dir}
	t.Cleanup(func() {
		if err := d.Kill(); err != nil {
			t.Errorf("clean up: %v", err)
		}
		if t.Failed() {
			t.Logf("%s wrote:\n%s", d.name, d.Log())
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	return d
}

// runAs makes the daemon and its directory another user's if we are root.
func (d *daemon) runAs(t testing.TB, name string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	u, err := user.Lookup(name)
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		t.Fatal(err)
	}
	d.argv = append([]string{program(t, "setpriv"), "--reuid", name, "--regid", u.Gid, "--clear-groups", "--pdeathsig", "KILL"}, d.argv...)
	err = filepath.WalkDir(d.dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, uid, gid)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Start starts the daemon unless it runs, and returns when it listens.
func (d *daemon) Start(ctx context.Context) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proc != nil && d.proc.running() {
		return nil
	}
	proc, err := startProcess(d.name, d.env, d.argv...)
	if err != nil {
		return err
	}
	d.proc = proc
	return proc.awaitTCP(ctx, d.addr)
}

// Stop ends the daemon as an administrator would.
func (d *daemon) Stop() error { return d.end(syscall.SIGTERM) }

// Kill ends the daemon without a chance to say good-bye.
func (d *daemon) Kill() error { return d.end(syscall.SIGKILL) }

func (d *daemon) end(sig syscall.Signal) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proc == nil {
		return nil
	}
	return d.proc.end(sig, 15*time.Second)
}

// Freeze lets the daemon hang: the kernel still accepts, nothing answers. It
// returns when the last of its threads has stopped.
func (d *daemon) Freeze() error {
	if err := d.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	d.mu.Lock()
	pid := d.proc.cmd.Process.Pid
	d.mu.Unlock()
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// Thaw ends Freeze.
func (d *daemon) Thaw() error { return d.signal(syscall.SIGCONT) }

func (d *daemon) signal(sig syscall.Signal) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proc == nil {
		return fmt.Errorf("%s was never started", d.name)
	}
	return d.proc.signal(sig)
}

// Log is the end of what the last process wrote.
func (d *daemon) Log() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.proc == nil {
		return ""
	}
	return d.proc.out.String()
}

// awaitLog returns what the daemon wrote behind before, an earlier Log, once
// text stands in it n times.
func (d *daemon) awaitLog(t *testing.T, before, text string, n int) string {
	t.Helper()
	timeout := time.NewTimer(10 * time.Second)
	defer timeout.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		log := strings.TrimPrefix(d.Log(), before)
		if strings.Count(log, text) >= n {
			return log
		}
		select {
		case <-tick.C:
		case <-timeout.C:
			t.Fatalf("%s wrote %q only %d times of %d:\n%s", d.name, text, strings.Count(log, text), n, log)
		}
	}
}
