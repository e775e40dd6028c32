//go:build integration && linux

package integration

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"text/template"
)

// ejabberdOptions say what a real ejabberd serves. Files are copied.
type ejabberdOptions struct {
	Addr      string // host:port for streams with STARTTLS
	DirectTLS string // host:port for XEP-0368. The host is Addr's
	Domain    string
	CertFile  string
	KeyFile   string
	CAFile    string // what partners' certificates must chain to
}

var ejabberdConfig = template.Must(template.New("ejabberd").Parse(`# written by the test
hosts: ["{{.Domain}}"]
loglevel: info
certfiles: ["{{.Dir}}/server.pem"]
ca_file: "{{.Dir}}/ca.pem"
acme: {auto: false}
s2s_use_starttls: required
listen:
  - {ip: "{{.Host}}", port: {{.Port}}, module: ejabberd_s2s_in}
  - {ip: "{{.Host}}", port: {{.DirectPort}}, module: ejabberd_s2s_in, tls: true}
modules: {mod_s2s_dialback: {}, mod_disco: {}}
`))

// startEjabberd starts an ejabberd and returns when it listens. It ends with
// the test. Its Erlang runs without distribution, so there is no epmd that
// would outlive it and no node name that could be taken.
func startEjabberd(t *testing.T, opts ejabberdOptions) *daemon {
	t.Helper()
	program(t, "ejabberdctl") // which would leave the Erlang it starts behind, killed itself
	d := newDaemon(t, "ejabberd", opts.Addr)
	writeEjabberd(t, d.dir, opts)
	libs, err := filepath.Glob("/usr/lib/*/ejabberd-*")
	if err != nil || len(libs) == 0 {
		t.Fatalf("ejabberd is installed but its code is not in /usr/lib: %v", err)
	}
	d.env = []string{
		"HOME=" + d.dir, "ERL_LIBS=" + filepath.Dir(libs[0]), "ERL_CRASH_DUMP_BYTES=0",
		"EJABBERD_CONFIG_PATH=" + filepath.Join(d.dir, "ejabberd.yml"), "EJABBERD_LOG_PATH=" + filepath.Join(d.dir, "ejabberd.log"),
	}
	d.argv = []string{
		program(t, "env"), "-C", d.dir, // its user may not be allowed to be here
		program(t, "erl"), "+sbwt", "none",
		"-noinput", "-mnesia", "dir", `"` + filepath.Join(d.dir, "spool") + `"`, "-s", "ejabberd",
	}
	d.runAs(t, "ejabberd")
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

func writeEjabberd(t *testing.T, dir string, opts ejabberdOptions) {
	t.Helper()
	host, port, err := net.SplitHostPort(opts.Addr)
	if err != nil {
		t.Fatal(err)
	}
	_, directPort, err := net.SplitHostPort(opts.DirectTLS)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "ejabberd.yml"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	err = ejabberdConfig.Execute(f, struct {
		ejabberdOptions
		Dir, Host, Port, DirectPort string
	}{opts, dir, host, port, directPort})
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	for to, from := range map[string][]string{"server.pem": {opts.CertFile, opts.KeyFile}, "ca.pem": {opts.CAFile}} {
		var all []byte
		for _, name := range from {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all = slices.Concat(all, b)
		}
		if err := os.WriteFile(filepath.Join(dir, to), all, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
