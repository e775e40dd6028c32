//go:build integration

package integration

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// zoneConfig is a zone for startBIND and startKnot.
type zoneConfig struct {
	Name    string   // e.g. "contoso.com"
	Records []string // zone-file lines, default TTL 300; SOA (serial 100) and NS are added
	Keys    []zoneKey
}

// zoneKey is an hmac-sha256 TSIG key of a zone.
type zoneKey struct {
	Name   string
	Secret string   // base64
	Names  []string // what it may change; nil means everything
}

// nameServers are a primary and a secondary of one zone, host:port.
type nameServers struct {
	Primary, Secondary string
}

// startBIND runs two named, a primary that takes updates and a secondary
// that follows it by NOTIFY and IXFR, until the test ends. On return both
// answer for the zone. A missing named skips the test, unless CI=true.
func startBIND(t *testing.T, z zoneConfig) nameServers {
	t.Helper()
	named := program(t, "named")
	ns := nameServers{Primary: freeAddr(t), Secondary: freeAddr(t)}

	var keys, grants strings.Builder
	for _, k := range z.Keys {
		fmt.Fprintf(&keys, "key \"%s\" { algorithm hmac-sha256; secret \"%s\"; };\n", k.Name, k.Secret)
		if k.Names == nil {
			fmt.Fprintf(&grants, "grant %s zonesub ANY; ", k.Name)
		}
		for _, name := range k.Names {
			fmt.Fprintf(&grants, "grant %s name %s. ANY; ", k.Name, strings.TrimSuffix(name, "."))
		}
	}
	primary := fmt.Sprintf(`zone "%s" { type primary; file "zone.db"; update-policy { %s};
	notify explicit; notify-delay 0; also-notify { %s; }; allow-transfer { 127.0.0.1; }; };`, z.Name, grants.String(), bindAddr(ns.Secondary))
	secondary := fmt.Sprintf(`zone "%s" { type secondary; file "zone.db"; masterfile-format text; primaries { %s; };
	notify no; allow-notify { 127.0.0.1; }; };`, z.Name, bindAddr(ns.Primary))
	for _, addr := range []string{ns.Primary, ns.Secondary} {
		zone := secondary
		if addr == ns.Primary {
			zone = primary
		}
		dir := t.TempDir()
		_, port, _ := net.SplitHostPort(addr)
		conf := fmt.Sprintf(`options { directory "%s"; listen-on port %s { 127.0.0.1; }; listen-on-v6 { none; };
	recursion no; dnssec-validation no; pid-file none; session-keyfile none; };
controls { };
%s%s
`, dir, port, keys.String(), zone)
		write(t, dir, "named.conf", conf)
		if addr == ns.Primary {
			write(t, dir, "zone.db", zoneFile(z))
		}
		runServer(t, addr, z.Name, named, "-g", "-n", "1", "-c", filepath.Join(dir, "named.conf"))
	}
	return ns
}

// startKnot is startBIND with two knotd.
func startKnot(t *testing.T, z zoneConfig) nameServers {
	t.Helper()
	knotd := program(t, "knotd")
	ns := nameServers{Primary: freeAddr(t), Secondary: freeAddr(t)}

	var keys, acls, names strings.Builder
	for _, k := range z.Keys {
		fmt.Fprintf(&keys, "  - id: %s\n    algorithm: hmac-sha256\n    secret: %s\n", k.Name, k.Secret)
		fmt.Fprintf(&acls, "  - id: %s\n    key: %s\n    action: update\n", k.Name, k.Name)
		if k.Names != nil {
			fmt.Fprintf(&acls, "    update-owner: name\n    update-owner-match: equal\n    update-owner-name: [%s]\n", strings.Join(k.Names, ", "))
		}
		fmt.Fprintf(&names, "%s, ", k.Name)
	}
	primary := fmt.Sprintf("    acl: [%stransfer]\n    notify: peer\n    zonefile-sync: -1\n", names.String())
	secondary := "    acl: [notify]\n    master: peer\n    zonefile-sync: -1\n"
	for _, addr := range []string{ns.Primary, ns.Secondary} {
		zone, peer := secondary, ns.Primary
		if addr == ns.Primary {
			zone, peer = primary, ns.Secondary
		}
		dir := t.TempDir()
		conf := fmt.Sprintf(`server:
  rundir: %[1]s
  listen: %[2]s
log:
  - target: stderr
    any: info
database:
  storage: %[1]s
key:
%[3]sremote:
  - id: peer
    address: %[4]s
acl:
%[5]s  - id: transfer
    address: 127.0.0.1
    action: transfer
  - id: notify
    address: 127.0.0.1
    action: notify
zone:
  - domain: %[6]s
    storage: %[1]s
    file: zone.db
%[7]s`, dir, knotAddr(addr), keys.String(), knotAddr(peer), acls.String(), z.Name, zone)
		write(t, dir, "knot.conf", conf)
		if addr == ns.Primary {
			write(t, dir, "zone.db", zoneFile(z))
		}
		runServer(t, addr, z.Name, knotd, "-c", filepath.Join(dir, "knot.conf"))
	}
	return ns
}

func zoneFile(z zoneConfig) string {
	return fmt.Sprintf("$ORIGIN %s.\n$TTL 300\n@ 3600 SOA ns1 hostmaster 100 3600 600 86400 60\n@ 3600 NS ns1\nns1 A 127.0.0.1\n%s\n",
		strings.TrimSuffix(z.Name, "."), strings.Join(z.Records, "\n"))
}

// program finds an installed server.
func program(t testing.TB, name string) string {
	t.Helper()
	for _, dir := range []string{"", "/usr/sbin/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path
		}
	}
	cannot(t, name, "is not installed")
	return ""
}

// freeAddr is an address of 127.0.0.1 that is free for TCP and UDP.
func freeAddr(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	for range 20 {
		l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p, err := lc.ListenPacket(t.Context(), "udp", l.Addr().String())
		_ = l.Close()
		if err == nil {
			_ = p.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no port is free for TCP and UDP")
	return ""
}

func bindAddr(addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	return host + " port " + port
}

func knotAddr(addr string) string { return strings.Replace(addr, ":", "@", 1) }

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// output collects what a server prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// runServer starts a name server and ends it with the test. Its output is
// shown when the test fails.
func runServer(t *testing.T, addr, zone, path string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), path, args...)
	var out output
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }() // ends by our signal
	t.Cleanup(func() {
		<-ended
		if t.Failed() {
			t.Logf("%s %s printed:\n%s", filepath.Base(path), addr, out.String())
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	client := &dns.Client{Net: "tcp", Timeout: time.Second}
	poll(ctx, t, addr+" answers for "+zone, func() bool {
		select {
		case <-ended:
			t.Fatalf("%s ended:\n%s", path, out.String())
		default:
		}
		r, _, err := client.ExchangeContext(ctx, new(dns.Msg).SetQuestion(dns.Fqdn(zone), dns.TypeSOA), addr)
		return err == nil && r.Authoritative && len(r.Answer) == 1
	})
}

// poll asks until ok says yes, and fails the test when ctx ends first.
func poll(ctx context.Context, t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain: %s", what)
		}
	}
}
