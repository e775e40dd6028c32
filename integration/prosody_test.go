//go:build integration && linux

package integration

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"text/template"
	"time"
)

// prosodyOptions say what a real Prosody serves. Files are copied, so that
// they may belong to whoever runs the tests.
type prosodyOptions struct {
	Addr       string // host:port for streams with STARTTLS
	DirectTLS  string // host:port for XEP-0368; empty for none. The host is Addr's
	Domain     string
	CertFile   string
	KeyFile    string
	CAFile     string // what partners' certificates must chain to
	SecureAuth bool   // refuse partners without a valid certificate, as Debian's default does
	NoTLS      bool   // offer no STARTTLS
}

// prosody is a real Prosody (0.12 and later) that can be killed, stopped,
// frozen and started again. Its methods may be called from any goroutine.
type prosody struct {
	opts prosodyOptions
	dir  string
	argv []string

	mu   sync.Mutex
	proc *process
}

var prosodyConfig = template.Must(template.New("prosody").Parse(`-- written by the test
daemonize = false
data_path = "{{.Dir}}/data"
pidfile = "{{.Dir}}/prosody.pid"
log = { { levels = { min = "info" }, to = "console" } }
modules_enabled = { {{if not .NoTLS}}"tls", {{end}}"saslauth", "dialback", "s2s", "disco" }
modules_disabled = { "c2s", "posix", "http", "offline" }
interfaces = { "{{.Host}}" }
s2s_ports = { {{.Port}} }
s2s_direct_tls_ports = { {{.DirectPort}} }
s2s_require_encryption = {{not .NoTLS}}
s2s_secure_auth = {{.SecureAuth}}
{{if not .NoTLS}}ssl = { key = "{{.Dir}}/key.pem", certificate = "{{.Dir}}/cert.pem", cafile = "{{.Dir}}/ca.pem" }
{{end}}VirtualHost "{{.Domain}}"
`))

// startProsody starts a Prosody and returns when it listens. It ends with
// the test.
func startProsody(t *testing.T, opts prosodyOptions) *prosody {
	t.Helper()
	p := newProsody(t, opts)
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

// newProsody lays a Prosody out without starting it.
func newProsody(t *testing.T, opts prosodyOptions) *prosody {
	t.Helper()
	binary := program(t, "prosody")
	dir, err := os.MkdirTemp("", "edgewatch-prosody-") //nolint:usetesting // t.TempDir cannot be entered by another user
	if err != nil {
		t.Fatal(err)
	}
	p := &prosody{opts: opts, dir: dir, argv: []string{binary, "-F", "--config", filepath.Join(dir, "prosody.cfg.lua")}}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Errorf("clean up: %v", err)
		}
		if t.Failed() {
			t.Logf("prosody on %s wrote:\n%s", opts.Addr, p.Log())
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("clean up: %v", err)
		}
	})
	p.write(t)
	if os.Geteuid() == 0 {
		// Prosody refuses to run as root.
		p.argv = append([]string{program(t, "setpriv"), "--reuid", "prosody", "--regid", "prosody", "--clear-groups", "--pdeathsig", "KILL"}, p.argv...)
		p.giveTo(t, "prosody")
	}
	return p
}

func (p *prosody) write(t *testing.T) {
	t.Helper()
	host, port, err := net.SplitHostPort(p.opts.Addr)
	if err != nil {
		t.Fatal(err)
	}
	directPort := ""
	if p.opts.DirectTLS != "" {
		if _, directPort, err = net.SplitHostPort(p.opts.DirectTLS); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.OpenFile(filepath.Join(p.dir, "prosody.cfg.lua"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	err = prosodyConfig.Execute(f, struct {
		prosodyOptions
		Dir, Host, Port, DirectPort string
	}{p.opts, p.dir, host, port, directPort})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(p.dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	for to, from := range map[string]string{"cert.pem": p.opts.CertFile, "key.pem": p.opts.KeyFile, "ca.pem": p.opts.CAFile} {
		if from == "" {
			continue
		}
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(p.dir, to), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// giveTo makes another user the owner of everything in the directory.
func (p *prosody) giveTo(t *testing.T, name string) {
	t.Helper()
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
	err = filepath.WalkDir(p.dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Chown(path, uid, gid)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Start starts Prosody unless it runs, and returns when it listens.
func (p *prosody) Start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc != nil && p.proc.running() {
		return nil
	}
	proc, err := startProcess("prosody on "+p.opts.Addr, nil, p.argv...)
	if err != nil {
		return err
	}
	p.proc = proc
	return proc.awaitTCP(ctx, p.opts.Addr)
}

// Stop ends Prosody as an administrator would.
func (p *prosody) Stop() error { return p.end(syscall.SIGTERM) }

// Kill ends Prosody without a chance to say good-bye.
func (p *prosody) Kill() error { return p.end(syscall.SIGKILL) }

func (p *prosody) end(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc == nil {
		return nil
	}
	return p.proc.end(sig, 15*time.Second)
}

// Freeze lets Prosody hang: the kernel still accepts, nothing answers.
func (p *prosody) Freeze() error { return p.signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (p *prosody) Thaw() error { return p.signal(syscall.SIGCONT) }

func (p *prosody) signal(sig syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc == nil {
		return fmt.Errorf("prosody on %s was never started", p.opts.Addr)
	}
	return p.proc.signal(sig)
}

// Log is the end of what the last process wrote.
func (p *prosody) Log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.proc == nil {
		return ""
	}
	return p.proc.out.String()
}
