//go:build integration && linux

package integration

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"text/template"
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

// prosody is a real Prosody (0.12 and later).
type prosody struct {
	*daemon
	opts prosodyOptions
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
func startProsody(t testing.TB, opts prosodyOptions) *prosody {
	t.Helper()
	p := newProsody(t, opts)
	if err := p.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return p
}

// newProsody lays a Prosody out without starting it.
func newProsody(t testing.TB, opts prosodyOptions) *prosody {
	t.Helper()
	p := &prosody{opts: opts, daemon: newDaemon(t, "prosody", opts.Addr)}
	p.argv = []string{program(t, "prosody"), "-F", "--config", filepath.Join(p.dir, "prosody.cfg.lua")}
	p.write(t)
	p.runAs(t, "prosody") // Prosody refuses to run as root
	return p
}

func (p *prosody) write(t testing.TB) {
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
