//go:build integration

package integration

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"edgewatch/actions/actionstest"
)

// pywinrmProgram drives a host with an implementation of WinRM, NTLM and
// sealing that shares no code with ours.
const pywinrmProgram = `
import json, sys
import winrm
from winrm.exceptions import InvalidCredentialsError, WinRMError, WinRMTransportError
q = json.load(sys.stdin)
try:
    s = winrm.Session(q["url"], auth=(q["user"], q["password"]), transport=q["transport"],
        message_encryption=q["encryption"], operation_timeout_sec=1, read_timeout_sec=10,
        ca_trust_path=q.get("ca") or "legacy_requests")
    r = s.run_cmd(q["command"])
    json.dump({"out": r.std_out.decode("utf-8"), "err": r.std_err.decode("utf-8"), "exit": r.status_code}, sys.stdout)
except InvalidCredentialsError:
    json.dump({"raised": "credentials"}, sys.stdout)
except (WinRMTransportError, WinRMError) as e:
    json.dump({"raised": type(e).__name__ + ": " + str(e)}, sys.stdout)
`

// Debian's python: another one in PATH does not have its packages.
const debianPython = "/usr/bin/python3"

type pywinrmAnswer struct {
	Out, Err, Raised string
	Exit             int
}

// needPywinrm skips without pywinrm; with CI=true its absence is a failure.
func needPywinrm(t *testing.T) {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), debianPython, "-c", "import winrm, requests_ntlm").CombinedOutput()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatalf("pywinrm is missing (apt-get install python3-winrm): %v: %s", err, out)
	default:
		t.Skipf("pywinrm is missing (apt-get install python3-winrm): %v", err)
	}
}

// runPywinrm runs one command. NTLM needs MD4, which OpenSSL 3 has in its
// legacy provider only.
func runPywinrm(t *testing.T, question map[string]string) pywinrmAnswer {
	t.Helper()
	conf := filepath.Join(t.TempDir(), "openssl.cnf")
	text := "openssl_conf = init\n[init]\nproviders = providers\n[providers]\ndefault = default_provider\nlegacy = legacy_provider\n[default_provider]\nactivate = 1\n[legacy_provider]\nactivate = 1\n"
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	asked, err := json.Marshal(question)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), debianPython, "-W", "ignore", "-c", pywinrmProgram)
	cmd.Env = append(os.Environ(), "OPENSSL_CONF="+conf, "no_proxy=*", "PYTHONPATH=")
	cmd.Stdin = bytes.NewReader(asked)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("pywinrm: %v\n%s", err, stderr.String())
	}
	var a pywinrmAnswer
	if err := json.Unmarshal(out, &a); err != nil {
		t.Fatalf("pywinrm said %q: %v\n%s", out, err, stderr.String())
	}
	return a
}

// loopbackTLS makes a certificate for 127.0.0.1 and the file that vouches for it.
func loopbackTLS(t *testing.T) (*tls.Config, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{raw}, PrivateKey: key}}}, ca
}

// TestPywinrmAgreesWithTheFake holds the fake WinRM host to what an
// independent client expects of one.
func TestPywinrmAgreesWithTheFake(t *testing.T) {
	needPywinrm(t)
	long := strings.Repeat("zürich–日本 ", 4000)
	commands := func(line string) (actionstest.Output, bool) {
		switch line {
		case "hello":
			return actionstest.Output{Stdout: "grüezi\r\n", Stderr: "warnung\r\n"}, true
		case "chunks":
			return actionstest.Output{Stdout: long}, true
		case "fails":
			return actionstest.Output{Exit: 42}, true
		case "slow":
			return actionstest.Output{Stdout: "done", Take: 2500 * time.Millisecond}, true
		}
		return actionstest.Output{}, false
	}
	const user, password = "svc-edgewatch", "pässword'1"
	for _, tc := range []struct {
		name, command, encryption, password string
		unencrypted, tls                    bool
		want                                pywinrmAnswer
		raised                              string
	}{
		{name: "sealed", command: "hello", encryption: "always", want: pywinrmAnswer{Out: "grüezi\r\n", Err: "warnung\r\n"}},
		{name: "auto seals over http", command: "hello", encryption: "auto", want: pywinrmAnswer{Out: "grüezi\r\n", Err: "warnung\r\n"}},
		{name: "many chunks, cut inside characters", command: "chunks", encryption: "always", want: pywinrmAnswer{Out: long}},
		{name: "exit code", command: "fails", encryption: "always", want: pywinrmAnswer{Exit: 42}},
		{name: "operation timeout", command: "slow", encryption: "always", want: pywinrmAnswer{Out: "done"}},
		{name: "wrong password", command: "hello", encryption: "always", password: "wrong", raised: "credentials"},
		{name: "plaintext is refused", command: "hello", encryption: "never", raised: "Code 500"},
		{name: "https with strict channel bindings", command: "hello", encryption: "auto", tls: true, want: pywinrmAnswer{Out: "grüezi\r\n", Err: "warnung\r\n"}},
		{name: "plaintext where it is allowed", command: "hello", encryption: "never", unencrypted: true, want: pywinrmAnswer{Out: "grüezi\r\n", Err: "warnung\r\n"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			options := actionstest.WinRMOptions{User: user, Password: password, Chunk: 1001, Unencrypted: tc.unencrypted, Command: commands}
			scheme, ca := "http", ""
			if tc.tls {
				scheme = "https"
				options.TLS, ca = loopbackTLS(t)
				options.RequireBindings = true
			}
			w, err := actionstest.ListenWinRM("127.0.0.1:0", "edge1.contoso.com", actionstest.NewEstate(nil, nil, nil, actionstest.Hooks{}), options)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = w.Close() })
			if tc.password == "" {
				tc.password = password
			}
			got := runPywinrm(t, map[string]string{"url": scheme + "://" + w.Addr() + "/wsman", "ca": ca, "user": user, "password": tc.password,
				"transport": "ntlm", "encryption": tc.encryption, "command": tc.command})
			if tc.raised != "" {
				if !strings.Contains(got.Raised, tc.raised) {
					t.Errorf("pywinrm raised %q, want %q", got.Raised, tc.raised)
				}
				return
			}
			if got != tc.want {
				t.Errorf("pywinrm got %.300s, want %.300s", fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", tc.want))
			}
			if n := w.Shells(); n > 0 {
				t.Errorf("%d shells are open", n)
			}
		})
	}
}
