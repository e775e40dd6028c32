package configs

import (
	"errors"
	"io/fs"
	"net/netip"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgewatch/watchdog"
)

const small = `federations:
  - name: contoso
    domains: [Contoso.COM., fabrikam.com]
    mode: approve
    probe: {from: probe.contoso.com, interval: 30s, ca_file: ca.pem, timeout: 2500ms}
    canaries: {targets: ["192.0.2.1:443", "[2001:db8::1]:53", "dns://192.0.2.53?name=Example.com.", "xmpp://192.0.2.7?domain=example.net"]}
    breaker: {ratio: 1, bad_rounds: 3}
    dns:
      record: XMPP.contoso.com.
      zones:
        - {name: contoso.com, server: 192.0.2.53, authoritative: ["2001:db8::53", "192.0.2.54:5353"], tsig: {name: key, secret_env: TSIG}}
        - {name: com., server: 192.0.2.53, authoritative: [192.0.2.53], tsig: {name: key, secret_env: TSIG}}
      resolvers: []
    management: {host: FE1.contoso.local, winrm: {credential: internal, https: false}}
    winrm: {credential: edge, timeout: 10s, auth: ntlm, ca_file: /ca.pem, cert_file: cert.pem, key_file: key.pem}
    credentials:
      edge: {user: 007, password_env: EDGE}
      internal: {user: 'CONTOSO\svc', password_env: INTERNAL}
    pools:
      - name: EdgePool1
        site: "site:Site 1"
        fqdn: edgepool1.contoso.local
        route: {server: edge1.contoso.local}
        addresses: ["::ffff:192.0.2.10", 2001:db8::10]
        servers:
          - {fqdn: edge1.contoso.local, winrm: {addr: "10.0.0.1:15986", timeout: 1m}}
          - {fqdn: edge2.contoso.local, winrm: {auth: certificate, server_name: other.contoso.local}}
      - name: EdgePool2
        site: Site2
        fqdn: edgepool2.contoso.local
        route: {value: "EdgeServer:edgepool2.contoso.local"}
        addresses: [192.0.2.20]
        servers: [{fqdn: edge3.contoso.local, winrm: {https: false}}]
        management: {host: fe2.contoso.local}
`

func parseSmall(t *testing.T) *Config {
	t.Helper()
	c, err := Parse("small.yaml", []byte(small), Options{BaseDir: "/etc/edgewatch"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestParse(t *testing.T) {
	c := parseSmall(t)
	f := c.Federation("contoso")
	for _, tt := range []struct {
		name      string
		got, want any
	}{
		{"default", c.State, "/var/lib/edgewatch/edgewatch.db"},
		{"no slack", c.Slack, (*Slack)(nil)},
		{"mode", f.Mode, watchdog.ModeApprove},
		{"domains", f.Domains, []string{"contoso.com", "fabrikam.com"}},
		{"record", f.DNS.Record, "xmpp.contoso.com"},
		{"default inside a section", f.Probe.SuspectInterval.Duration, 2 * time.Second},
		{"given beside a default", f.Probe.Interval.Duration, 30 * time.Second},
		{"fraction", f.Probe.Timeout.Duration, 2500 * time.Millisecond},
		{"relative file", f.Probe.CAFile, "/etc/edgewatch/ca.pem"},
		{"whole number where a fraction may be", f.Breaker.Ratio, 1.0},
		{"address of a canary", f.Canaries.Targets[1], Canary{Kind: CanaryTCP, Addr: netip.MustParseAddrPort("[2001:db8::1]:53")}},
		{"DNS canary", f.Canaries.Targets[2], Canary{Kind: CanaryDNS, Addr: netip.MustParseAddrPort("192.0.2.53:53"), Name: "example.com", Type: "A"}},
		{"XMPP canary", f.Canaries.Targets[3], Canary{Kind: CanaryXMPP, Addr: netip.MustParseAddrPort("192.0.2.7:5269"), Domain: "example.net"}},
		{"port of a server", f.DNS.Zones[0].Server, netip.MustParseAddrPort("192.0.2.53:53")},
		{"port of an IPv6 server", f.DNS.Zones[0].Authoritative[0], netip.MustParseAddrPort("[2001:db8::53]:53")},
		{"other port of a server", f.DNS.Zones[0].Authoritative[1], netip.MustParseAddrPort("192.0.2.54:5353")},
		{"default in a list", f.DNS.Zones[1].Timeout.Duration, 5 * time.Second},
		{"digits as text", f.Credentials["edge"].User, "007"},
		{"single quotes", f.Credentials["internal"].User, `CONTOSO\svc`},
		{"site", f.Pools[0].Site, "Site 1"},
		{"IPv4 in IPv6", f.Pools[0].Addresses[0], netip.MustParseAddr("192.0.2.10")},
		{"route parameter", f.Pools[0].Route.Parameter, "auto"},
		{"priority of the first pool", f.Pools[0].SRVPriority, 0},
		{"priority of the second pool", f.Pools[1].SRVPriority, 10},
		{"minimum", f.Pools[1].MinUp, 1},
		{"zone of a name", f.DNS.ZoneOf("_xmpp-server._tcp.Contoso.com.").Name, "contoso.com"},
		{"zone of another name", f.DNS.ZoneOf("fabrikam.com").Name, "com"},
		{"no zone", f.DNS.ZoneOf("contoso.net"), (*Zone)(nil)},
		{"no federation", c.Federation("fabrikam"), (*Federation)(nil)},
		{"no pool", f.Pool("EdgePool3"), (*Pool)(nil)},
	} {
		if diff := cmp.Diff(tt.want, tt.got, opaque()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestInherit: a host has what it says, else what its federation says; an
// address or a certificate's name is never handed on.
func TestInherit(t *testing.T) {
	f := parseSmall(t).Federation("contoso")
	ten, minute := Duration{10 * time.Second}, Duration{time.Minute}
	for _, tt := range []struct {
		name      string
		got, want WinRM
	}{
		{"own address", f.Pools[0].Servers[0].WinRM,
			WinRM{Addr: "10.0.0.1:15986", HTTPS: true, Auth: "ntlm", Credential: "edge", CAFile: "/ca.pem", ServerName: "edge1.contoso.local", Timeout: minute}},
		{"certificate instead of an account", f.Pools[0].Servers[1].WinRM,
			WinRM{Addr: "edge2.contoso.local:5986", HTTPS: true, Auth: "certificate", CAFile: "/ca.pem", ServerName: "other.contoso.local",
				CertFile: "/etc/edgewatch/cert.pem", KeyFile: "/etc/edgewatch/key.pem", Timeout: ten}},
		{"without https", f.Pool("EdgePool2").Servers[0].WinRM,
			WinRM{Addr: "edge3.contoso.local:5985", Auth: "ntlm", Credential: "edge", Timeout: ten}},
		{"management", f.ManagementOf(f.Pool("EdgePool1")).WinRM,
			WinRM{Addr: "fe1.contoso.local:5985", Auth: "ntlm", Credential: "internal", Timeout: ten}},
		{"management of a pool", f.ManagementOf(f.Pool("EdgePool2")).WinRM,
			WinRM{Addr: "fe2.contoso.local:5985", Auth: "ntlm", Credential: "internal", Timeout: ten}},
	} {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestStandbyPorts: none by default, the usual three when ports are asked for,
// and those that are named.
func TestStandbyPorts(t *testing.T) {
	for guards, want := range map[string][]int{
		"":                                   nil,
		"standby_ready: preflight":           nil,
		"standby_ready: preflight_and_ports": {5061, 443, 15269},
		"standby_ready: preflight_and_ports, standby_ports: [443]": {443},
	} {
		c, err := Parse("small.yaml", []byte(strings.Replace(small, "    mode: approve\n", "    mode: approve\n    port: 15269\n    guards: {"+guards+"}\n", 1)), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, c.Federations[0].StandbyPorts()); diff != "" {
			t.Errorf("guards {%s} (-want +got):\n%s", guards, diff)
		}
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "edgewatch.yaml")
	if _, err := Load(name); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
	write(t, name, small)
	c, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Federations[0].Probe.CAFile, filepath.Join(dir, "ca.pem"); got != want {
		t.Errorf("ca_file = %s, want %s", got, want)
	}
	write(t, name, strings.Repeat("#", maxSize+1))
	if _, err := Load(name); err == nil || !strings.Contains(err.Error(), "larger than 256 KiB") {
		t.Errorf("a large file: %v", err)
	}
}

// TestHostile: a file made to hurt gets a short answer.
func TestHostile(t *testing.T) {
	for name, data := range map[string]string{
		"many keys":    strings.Repeat("a:\n", 5_000),
		"deep lists":   "federations: " + strings.Repeat("[", 10_000),
		"deep maps":    "federations: " + strings.Repeat("{a: ", 10_000),
		"deep indents": strings.Repeat("- ", 10_000),
	} {
		start := time.Now()
		_, err := Parse("hostile.yaml", []byte(data), Options{})
		list, ok := errors.AsType[Errors](err)
		if !ok || len(list) > maxProblems+1 {
			t.Errorf("%s: %d problems, a %T", name, len(list), err)
		}
		t.Logf("%s: %d problems after %s", name, len(list), time.Since(start))
	}
}

func TestNearest(t *testing.T) {
	words := []string{"targets", "min_good", "timeout"}
	for in, want := range map[string]string{
		"targts": "targets", "tragets": "targets", "Targets": "targets", "mingood": "min_good", "timeouts": "timeout",
		"colour": "", "x": "", "": "",
	} {
		if got := nearest(in, words); got != want {
			t.Errorf("nearest(%q) = %q, want %q", in, got, want)
		}
	}
}

// TestTags: every tag is one the decoder knows how to hold.
func TestTags(t *testing.T) {
	c := parseExample(t, Example())
	c.eachSection(func(path string, v reflect.Value) {
		for i := range v.NumField() {
			f := v.Type().Field(i)
			kind, _, _ := strings.Cut(f.Tag.Get("check"), ":")
			if _, ok := forms[kind]; !ok && kind != "" && kind != "file" && kind != "path" {
				t.Errorf("%s.%s: unknown form %q", path, f.Name, kind)
			}
			for _, end := range []string{"min", "max"} {
				if word := f.Tag.Get(end); word != "" {
					if err := setText(reflect.New(f.Type).Elem(), word); err != nil {
						t.Errorf("%s.%s: %s: %v", path, f.Name, end, err)
					}
				}
			}
		}
	})
}

// FuzzParse: whatever the file holds, there is an answer, with a place for
// every problem; what is accepted can be shown and read again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(small))
	f.Add(Example())
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		f.Add([]byte(read(f, file)))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("fuzz.yaml", data, Options{BaseDir: "/etc/edgewatch"})
		if err != nil {
			list, ok := errors.AsType[Errors](err)
			if !ok || len(list) == 0 {
				t.Fatalf("the error is a %T: %[1]v", err)
			}
			for _, p := range list {
				if p.Line < 1 || p.Column < 1 || p.Message == "" {
					t.Errorf("no place or no message: %+v", p)
				}
			}
			return
		}
		shown, err := c.Show()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse("shown.yaml", shown, Options{}); err != nil {
			t.Errorf("what Show printed is refused: %v\n%s", err, shown)
		}
	})
}
