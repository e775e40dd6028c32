package configs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgewatch/actions"
)

func read(tb testing.TB, name string) string {
	tb.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		tb.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// writePair writes a certificate and its key.
func writePair(t *testing.T, dir string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	write(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})))
	write(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})))
	return certFile, keyFile
}

// opaque lets go-cmp compare values it cannot look into.
func opaque() cmp.Options {
	return cmp.Options{
		cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
		cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }),
		cmp.Comparer(func(a, b actions.Secret) bool { return a == b }),
	}
}

// withCredential is a configuration with one account, whose other keys are
// given, and more keys of the probe.
func withCredential(keys, probe string) string {
	return `federations:
  - name: contoso
    domains: [contoso.com]
    probe: {from: probe.contoso.com` + probe + `}
    credentials:
      admin:
        user: admin
        ` + keys + `
    pools:
      - {name: EdgePool1, addresses: [203.0.113.10]}
`
}

func TestLoadSecrets(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "good"), "hun ter2 \r\n")
	t.Setenv("EDGEWATCH_TEST_PASSWORD", "hunter2")
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	for keys, want := range map[string]string{
		"password_file: good":                          "hun ter2 ",
		"password_file: " + filepath.Join(dir, "good"): "hun ter2 ",
		"password_file: $CREDENTIALS_DIRECTORY/good":   "hun ter2 ",
		"password_env: EDGEWATCH_TEST_PASSWORD":        "hunter2",
	} {
		c, err := Parse("c.yaml", []byte(withCredential(keys, "")), Options{BaseDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if before := c.Federations[0].Credentials["admin"].Password; !before.IsZero() {
			t.Errorf("%s: there is a secret before LoadSecrets", keys)
		}
		for range 2 {
			if err := c.LoadSecrets(); err != nil {
				t.Fatal(err)
			}
		}
		if got := c.Federations[0].Credentials["admin"].Password.Reveal(); got != want {
			t.Errorf("%s: password = %q, want %q", keys, got, want)
		}
	}
}

// TestLoadSecretsProblems: every problem points into the file and never holds
// the secret.
func TestLoadSecretsProblems(t *testing.T) {
	dir := t.TempDir()
	_, keyFile := writePair(t, dir)
	writePair(t, filepath.Join(dir, "other"))
	for name, content := range map[string]string{
		"empty": "\n", "lines": "hunter2\nhunter2\n", "long": strings.Repeat("hunter2", maxSecret/7+1), "token": "hunter2",
		"open": "hunter2", "open-key.pem": read(t, keyFile), "no.pem": "hunter2",
	} {
		write(t, filepath.Join(dir, name), content)
	}
	for _, name := range []string{"open", "open-key.pem"} {
		if err := os.Chmod(filepath.Join(dir, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("CREDENTIALS_DIRECTORY", "")
	for _, tt := range []struct{ keys, probe, want string }{
		{"password_file: absent", "", "8:24: federations[0].credentials.admin.password_file: the file DIR/absent cannot be read: no such file or directory"},
		{"password_file: .", "", "8:24: federations[0].credentials.admin.password_file: DIR is not a regular file"},
		{"password_file: empty", "", "8:24: federations[0].credentials.admin.password_file: holds no secret: it is empty"},
		{"password_file: lines", "", "8:24: federations[0].credentials.admin.password_file: holds more than one line"},
		{"password_file: long", "", "8:24: federations[0].credentials.admin.password_file: the file DIR/long is larger than 1 MiB"},
		{"password_file: open", "", "8:24: federations[0].credentials.admin.password_file: the file DIR/open is open to everybody (mode 0644): chmod o= DIR/open"},
		{"password_file: $CREDENTIALS_DIRECTORY/x", "", "8:24: federations[0].credentials.admin.password_file: CREDENTIALS_DIRECTORY is not set: it is where systemd puts what LoadCredential= names"},
		{"password_env: EDGEWATCH_TEST_ABSENT", "", "8:23: federations[0].credentials.admin.password_env: the environment variable EDGEWATCH_TEST_ABSENT is not set"},
		{"password_file: token", ", ca_file: absent", "4:47: federations[0].probe.ca_file: the file DIR/absent cannot be read: no such file or directory"},
		{"password_file: token", ", ca_file: no.pem", "4:47: federations[0].probe.ca_file: the file DIR/no.pem holds no certificate in PEM form"},
		{"password_file: token", ", client_cert_file: cert.pem, client_key_file: open-key.pem", "4:83: federations[0].probe.client_key_file: the file DIR/open-key.pem is open to everybody (mode 0644): chmod o= DIR/open-key.pem"},
		{"password_file: token", ", client_cert_file: cert.pem, client_key_file: other/key.pem", "4:83: federations[0].probe.client_key_file: the certificate and its key do not fit together: private key does not match public key"},
		{"password_file: token", ", ca_file: cert.pem, client_cert_file: cert.pem, client_key_file: key.pem", ""},
		{"password_file: empty", ", ca_file: absent", "4:47: federations[0].probe.ca_file: the file DIR/absent cannot be read: no such file or directory\n" +
			"8:24: federations[0].credentials.admin.password_file: holds no secret: it is empty"},
	} {
		if runtime.GOOS == "windows" && strings.Contains(tt.want, "open to everybody") {
			continue
		}
		c, err := Parse("c.yaml", []byte(withCredential(tt.keys, tt.probe)), Options{BaseDir: dir})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := c.LoadSecrets(); err != nil {
			if _, ok := errors.AsType[Errors](err); !ok {
				t.Errorf("the error is a %T", err)
			}
			got = strings.ReplaceAll(strings.ReplaceAll(err.Error(), dir, "DIR"), "c.yaml:", "")
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s%s (-want +got):\n%s", tt.keys, tt.probe, diff)
		}
	}
}

// TestSecretForms: tokens and keys are known by their form.
func TestSecretForms(t *testing.T) {
	t.Setenv("EDGEWATCH_TEST", "hunter2")
	base := withCredential("password_env: EDGEWATCH_TEST", "")
	c, err := Parse("c.yaml", []byte(`slack: {app_token_env: EDGEWATCH_TEST, bot_token_env: EDGEWATCH_TEST, channel: C1, users: [U1]}
`+strings.Replace(base, "    pools:", `    dns:
      zones: [{name: contoso.com, server: 192.0.2.53, authoritative: [192.0.2.53], tsig: {name: Key., secret_env: EDGEWATCH_TEST}}]
    pools:`, 1)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Federations[0].DNS.Zones[0].TSIG.Name; got != "key" {
		t.Errorf("name of the key = %q: servers want it in lower case", got)
	}
	want := `c.yaml:1:24: slack.app_token_env: holds something else: what is wanted begins with xapp-
c.yaml:1:55: slack.bot_token_env: holds something else: what is wanted begins with xoxb-
c.yaml:11:115: federations[0].dns.zones[0].tsig.secret_env: holds no base64`
	err = c.LoadSecrets()
	if err == nil {
		t.Fatal("all is well")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestNoAppToken: without the app-level token Slack is told and takes no
// commands.
func TestNoAppToken(t *testing.T) {
	t.Setenv("EDGEWATCH_TEST", "xoxb-1")
	c, err := Parse("c.yaml", []byte("slack: {bot_token_env: EDGEWATCH_TEST, channel: C1}\n"+withCredential("password_env: EDGEWATCH_TEST", "")), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.LoadSecrets(); err != nil {
		t.Fatal(err)
	}
	if !c.Slack.AppToken.IsZero() || c.Slack.BotToken.Reveal() != "xoxb-1" {
		t.Errorf("app token %v, bot token %q", !c.Slack.AppToken.IsZero(), c.Slack.BotToken.Reveal())
	}
	if shown, err := c.Show(); err != nil || strings.Contains(string(shown), "xoxb-1") {
		t.Errorf("Show: %v\n%s", err, shown)
	}
}
