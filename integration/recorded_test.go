//go:build integration && linux

package integration

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgewatch/integration/lab"
	"edgewatch/probe/probetest"
)

var record = flag.Bool("record", false, "write what real servers answer to probe/testdata/recorded, the seeds of the probe's fuzz targets")

// recordings is where the probe's fuzz targets find their seeds.
const recordings = "../probe/testdata/recorded"

// line is one thing to say and the end of what is answered to it.
type line struct{ say, until string }

// hello is an opening tag with these attributes.
func hello(attributes string) string {
	return "<?xml version='1.0'?><stream:stream " + attributes + ">"
}

const (
	namespaces = "xmlns='jabber:server' xmlns:db='jabber:server:dialback' xmlns:stream='http://etherx.jabber.org/streams'"
	greeting   = namespaces + " from='probe.test' to='contoso.test' version='1.0'"
	askTLS     = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"

	features  = `</stream:features>`
	streamEnd = `</stream:stream>`
	either    = features + `|` + streamEnd
)

// conversations are what is said, in the clear or inside TLS, to hear every
// kind of answer there is.
var conversations = []struct {
	name   string
	tls    bool
	secure bool // of a Prosody that turns partners without a certificate away
	lines  []line
}{
	{name: "starttls", lines: []line{{hello(greeting), features}, {askTLS, `<proceed[^>]*>`}}},
	{name: "goodbye", lines: []line{{hello(greeting), features}, {"</stream:stream>", streamEnd}}},
	{name: "unknown-domain", lines: []line{{hello(strings.Replace(greeting, "contoso", "fabrikam", 1)), streamEnd}}},
	{name: "no-to", lines: []line{{hello(strings.Replace(greeting, "to='contoso.test'", "", 1)), either}}},
	{name: "no-version", lines: []line{{hello(strings.Replace(greeting, "version='1.0'", "", 1)), `<stream:stream[^>]*>`}}},
	{name: "version-2", lines: []line{{hello(strings.Replace(greeting, "1.0", "2.0", 1)), either}}},
	{name: "from-itself", lines: []line{{hello(strings.Replace(greeting, "probe", "contoso", 1)), either}}},
	{name: "client-namespace", lines: []line{{hello(strings.Replace(greeting, "'jabber:server'", "'jabber:client'", 1)), either}}},
	{name: "stream-namespace", lines: []line{{hello(strings.Replace(greeting, "etherx", "other", 1)), streamEnd}}},
	{name: "doctype", lines: []line{{"<!DOCTYPE a><a>", streamEnd}}},
	{name: "http", lines: []line{{"GET / HTTP/1.1\r\n\r\n", streamEnd}}},
	{name: "tls-features", tls: true, lines: []line{{hello(greeting), features}}},
	{name: "tls-goodbye", tls: true, lines: []line{{hello(greeting), features}, {"</stream:stream>", streamEnd}}},
	{name: "tls-starttls", tls: true, lines: []line{{hello(greeting), features}, {askTLS, streamEnd}}},
	{name: "tls-other-domain", tls: true, lines: []line{{hello(strings.Replace(greeting, "contoso", "fabrikam", 1)), either}}},
	{name: "tls-goodbye-first", tls: true, lines: []line{{"</stream:stream>", streamEnd}}},
	{name: "tls-not-authorized", tls: true, secure: true, lines: []line{{hello(greeting), streamEnd}}},
}

// TestRecordedAnswers holds that real servers still answer as they did when
// the seeds of the probe's fuzz targets were recorded, but for the stream's id
// and the order of attributes and names. Run it with -record to record anew.
func TestRecordedAnswers(t *testing.T) {
	cert, key := prosodyCertificate(t)
	for _, s := range realServers {
		t.Run(s.name, func(t *testing.T) {
			for _, secure := range []bool{false, true} {
				if secure && s.name != "prosody" {
					continue
				}
				f := recordable(t, cert, key, secure)
				s.start(t, f)
				if !secure {
					holdRecording(t, s.name+"-names.der", shownNames(t, f.addr))
				}
				for _, c := range conversations {
					if c.secure == secure {
						holdRecording(t, s.name+"-"+c.name+".xml", converse(t, f.addr, c.tls, c.lines))
					}
				}
			}
		})
	}
}

// recordable are the files of a server that shows this certificate.
func recordable(t *testing.T, cert, key string, secure bool) serverFiles {
	t.Helper()
	addrs, port, err := lab.FreeLoopback(t.Context(), 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := serverFiles{
		addr: netip.AddrPortFrom(addrs[0], port), direct: netip.AddrPortFrom(addrs[0], port+1),
		cert: cert, key: key, ca: t.TempDir() + "/ca.pem", secure: secure,
	}
	if err := lab.WriteRoot(f.ca, probetest.NewCA().Root()); err != nil {
		t.Fatal(err)
	}
	return f
}

// holdRecording compares an answer with the recorded one, or records it.
func holdRecording(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join(recordings, name)
	if *record {
		if err := os.WriteFile(path, got, 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	split := words
	if filepath.Ext(name) == ".der" {
		split = generalNames
	}
	if diff := cmp.Diff(split(want), split(got)); diff != "" {
		t.Errorf("%s: the server answers otherwise than recorded (-recorded +now); with a new version of it, run this with -record:\n%s", name, diff)
	}
}

// words are the names, values and words of an answer, sorted: Prosody writes
// attributes and features in another order every time it starts.
func words(answer []byte) []string {
	return slices.Sorted(slices.Values(strings.FieldsFunc(string(answer), func(r rune) bool { return strings.ContainsRune(" <>/", r) })))
}

// generalNames are the names of a subject alternative name, sorted likewise;
// nil when it cannot be read.
func generalNames(san []byte) []string {
	var seq []asn1.RawValue
	if _, err := asn1.Unmarshal(san, &seq); err != nil {
		return nil
	}
	var names []string
	for _, name := range seq {
		names = append(names, string(name.FullBytes))
	}
	slices.Sort(names)
	return names
}

var streamID = regexp.MustCompile(` id=(['"])[^'"]+['"]`)

// converse says the lines and returns what came, the ids made equal.
func converse(t *testing.T, addr netip.AddrPort, inside bool, lines []line) []byte {
	t.Helper()
	conn := dialServer(t, addr, inside)
	defer conn.Close()
	var all bytes.Buffer
	for _, l := range lines {
		if _, err := io.WriteString(conn, l.say); err != nil {
			t.Fatalf("say %q: %v", l.say, err)
		}
		all.Write(until(t, conn, l.until))
	}
	return streamID.ReplaceAll(all.Bytes(), []byte(" id=${1}1${1}"))
}

// until reads until the pattern stands in what came, or the server ends.
func until(t *testing.T, conn net.Conn, pattern string) []byte {
	t.Helper()
	end := regexp.MustCompile(pattern)
	var got []byte
	buf := make([]byte, 4096)
	for !end.Match(got) {
		n, err := conn.Read(buf)
		got = append(got, buf[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("waiting for %s behind %q: %v", pattern, got, err)
		}
	}
	return got
}

// dialServer connects and, if told to, goes as far as TLS.
func dialServer(t *testing.T, addr netip.AddrPort, inside bool) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if !inside {
		return conn
	}
	for _, l := range conversations[0].lines {
		if _, err := io.WriteString(conn, l.say); err != nil {
			t.Fatal(err)
		}
		until(t, conn, l.until)
	}
	secured := tls.Client(conn, &tls.Config{InsecureSkipVerify: true, ServerName: servedDomain})
	if err := secured.HandshakeContext(ctx); err != nil {
		t.Fatal(err)
	}
	return secured
}

// shownNames is the subject alternative name that the server shows.
func shownNames(t *testing.T, addr netip.AddrPort) []byte {
	t.Helper()
	conn := dialServer(t, addr, true)
	defer conn.Close()
	secured, ok := conn.(*tls.Conn)
	if !ok {
		t.Fatal("no TLS")
	}
	for _, e := range secured.ConnectionState().PeerCertificates[0].Extensions {
		if e.Id.String() == "2.5.29.17" {
			if generalNames(e.Value) == nil {
				t.Fatalf("unreadable subject alternative names: %x", e.Value)
			}
			return e.Value
		}
	}
	t.Fatal("the server shows a certificate without subject alternative names")
	return nil
}

// prosodyCertificate has Prosody's own tool make a certificate of servedDomain,
// which names it in every way that RFC 6120 knows.
func prosodyCertificate(t *testing.T) (cert, key string) {
	t.Helper()
	d := newDaemon(t, "prosodyctl", "")
	data := filepath.Join(d.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(d.dir, "prosody.cfg.lua")
	text := fmt.Sprintf("data_path = %q\nlog = { { levels = { min = 'info' }, to = 'console' } }\nmodules_disabled = { 'posix' }\nVirtualHost %q\n", data, servedDomain)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d.argv = []string{program(t, "prosodyctl"), "--config", config, "cert", "generate", servedDomain}
	d.runAs(t, "prosody")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, d.argv[0], d.argv[1:]...)
	cmd.Stdin = strings.NewReader(strings.Repeat("\n", 12)) // it asks for the rest of the subject
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("prosodyctl cert generate: %v\n%s", err, out)
	}
	cert, key = filepath.Join(data, servedDomain+".crt"), filepath.Join(data, servedDomain+".key")
	for _, path := range []string{cert, key} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if block, _ := pem.Decode(b); block == nil {
			t.Fatalf("no PEM in %s", path)
		}
	}
	return cert, key
}
