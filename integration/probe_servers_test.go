//go:build integration && linux

package integration

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"edgewatch/integration/lab"
	"edgewatch/probe"
	"edgewatch/probe/probetest"
)

const (
	servedDomain = "contoso.test"
	proberDomain = "probe.test"
	politeDomain = "polite.test" // asks where the log is read
)

// realServer is one way to run a real XMPP server, and what is its own.
type realServer struct {
	name     string
	start    func(t *testing.T, f serverFiles) *daemon
	features []string // that it offers inside TLS to whoever shows no certificate
	notes    []string // odd habits that are no trouble
	goodbye  string   // what it logs about a polite end of politeDomain's
	grumble  string   // the one warning that a healthy probe without a certificate leaves
}

// serverFiles are a server's addresses and files.
type serverFiles struct {
	addr, direct netip.AddrPort
	cert, key    string
	ca           string
	secure       bool // turn partners without a certificate away
}

var realServers = []realServer{
	{
		name: "prosody", features: []string{"dialback"},
		goodbye: politeDomain + "->" + servedDomain + " closed: stream closed", grumble: "No certificate provided by " + politeDomain,
		start: func(t *testing.T, f serverFiles) *daemon {
			return startProsody(t, prosodyOptions{
				Addr: f.addr.String(), DirectTLS: f.direct.String(), Domain: servedDomain,
				CertFile: f.cert, KeyFile: f.key, CAFile: f.ca, SecureAuth: f.secure,
			}).daemon
		},
	},
	{
		name: "ejabberd", features: []string{"dialback", "sasl:EXTERNAL"},
		notes:   []string{"the server ended TLS without close_notify"},
		goodbye: politeDomain + " -> " + servedDomain + ": Stream reset by peer",
		start: func(t *testing.T, f serverFiles) *daemon {
			return startEjabberd(t, ejabberdOptions{
				Addr: f.addr.String(), DirectTLS: f.direct.String(), Domain: servedDomain,
				CertFile: f.cert, KeyFile: f.key, CAFile: f.ca,
			})
		},
	}}

// serverUnderProbe is a running server with a certificate of its own CA.
type serverUnderProbe struct {
	*daemon
	serverFiles
	authority *probetest.CA
}

// newServerUnderProbe starts a server whose certificate is as leaf says.
func newServerUnderProbe(t *testing.T, s realServer, leaf probetest.Leaf, secure bool) *serverUnderProbe {
	t.Helper()
	addrs, port, err := lab.FreeLoopback(t.Context(), 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, direct, err := lab.FreeLoopback(t.Context(), 1, 0)
	if err != nil {
		t.Fatal(err)
	}
	return serverAt(t, s, netip.AddrPortFrom(addrs[0], port), netip.AddrPortFrom(addrs[0], direct), leaf, secure)
}

func serverAt(t *testing.T, s realServer, addr, direct netip.AddrPort, leaf probetest.Leaf, secure bool) *serverUnderProbe {
	t.Helper()
	dir, ca := t.TempDir(), probetest.NewCA()
	leaf.Names = []string{servedDomain}
	f := serverFiles{addr: addr, direct: direct, cert: dir + "/xmpp.pem", key: dir + "/xmpp-key.pem", ca: dir + "/ca.pem", secure: secure}
	if err := lab.WriteCertificate(f.cert, f.key, ca.IssueLeaf(leaf)); err != nil {
		t.Fatal(err)
	}
	if err := lab.WriteRoot(f.ca, ca.Root()); err != nil {
		t.Fatal(err)
	}
	return &serverUnderProbe{daemon: s.start(t, f), serverFiles: f, authority: ca}
}

// ask probes the server; edit changes the question.
func (s *serverUnderProbe) ask(t *testing.T, edit func(*probe.Options, *probe.Target)) probe.Result {
	t.Helper()
	o := probe.Options{RootCAs: s.authority.Pool(), SlowConnect: -1}
	target := probe.Target{Addr: s.serverFiles.addr, Domain: servedDomain, From: proberDomain}
	if edit != nil {
		edit(&o, &target)
	}
	return probe.New(o).Probe(t.Context(), target)
}

// impatient is for servers that will not answer.
func impatient(o *probe.Options, _ *probe.Target) { o.Timeout = 400 * time.Millisecond }

// outcome is what a probe concluded.
type outcome struct {
	Phase     probe.Phase
	Class     probe.Class
	Condition string
	Level     probe.Level
	Blame     probe.Blame
	Remarks   []probe.Class
	Features  []string
	Notes     []string
}

func wantOutcome(t *testing.T, r probe.Result, want outcome) {
	t.Helper()
	got := outcome{r.Phase, r.Class, r.Condition, r.Level, r.Blame, r.Remarks, slices.Sorted(slices.Values(r.Features)), r.Notes}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s%s", diff, r.Error)
	}
}

// healthy is the outcome for a server that is well.
func (s realServer) healthy() outcome {
	return outcome{Phase: probe.PhaseDone, Class: probe.OK, Level: probe.Up, Features: s.features, Notes: s.notes}
}

// TestProbeRealServers holds what the probe says of real servers, well and in
// trouble of every kind that ends without leaving this machine.
func TestProbeRealServers(t *testing.T) {
	for _, s := range realServers {
		t.Run(s.name, func(t *testing.T) {
			up := newServerUnderProbe(t, s, probetest.Leaf{}, false)
			t.Run("healthy", func(t *testing.T) { healthyServer(t, s, up) })
			t.Run("polite", func(t *testing.T) { politeProbes(t, s, up) })
			t.Run("wrong domain", func(t *testing.T) {
				r := up.ask(t, func(_ *probe.Options, to *probe.Target) { to.Domain = "fabrikam.test" })
				wantOutcome(t, r, outcome{Phase: probe.PhaseFeatures, Class: probe.StreamError, Condition: "host-unknown", Level: probe.Degraded, Blame: probe.Remote})
			})
			t.Run("log", func(t *testing.T) { quietLog(t, s, up) })
			t.Run("frozen", func(t *testing.T) { frozenServer(t, s, up) })
			t.Run("stopped", func(t *testing.T) {
				if err := up.Stop(); err != nil {
					t.Fatal(err)
				}
				wantOutcome(t, up.ask(t, nil), outcome{Phase: probe.PhaseConnect, Class: probe.Refused, Level: probe.Down, Blame: probe.Remote})
			})
			t.Run("expired", func(t *testing.T) { expiredServer(t, s) })
		})
	}
}

func healthyServer(t *testing.T, s realServer, up *serverUnderProbe) {
	for _, direct := range []bool{false, true} {
		r := up.ask(t, func(_ *probe.Options, to *probe.Target) {
			if to.DirectTLS = direct; direct {
				to.Addr = up.direct
			}
		})
		wantOutcome(t, r, s.healthy())
		if r.TLS == nil || r.TLS.Version != "TLS 1.3" {
			t.Errorf("TLS is %+v, want TLS 1.3", r.TLS)
		}
		if r.Cert == nil || !slices.Equal(r.Cert.Names, []string{servedDomain}) || r.Cert.Days(time.Now()) != 89 || len(r.Cert.Problems) > 0 {
			t.Errorf("certificate %+v, want one of %s for 89 whole days", r.Cert, servedDomain)
		}
	}
}

// politeProbes holds that probes leave no trouble in the server's log.
func politeProbes(t *testing.T, s realServer, up *serverUnderProbe) {
	const probes = 20
	before := up.Log()
	for range probes {
		r := up.ask(t, func(_ *probe.Options, to *probe.Target) { to.From = politeDomain })
		wantOutcome(t, r, s.healthy())
	}
	for line := range strings.Lines(up.awaitLog(t, before, s.goodbye, probes)) {
		if complains(line) && (s.grumble == "" || !strings.Contains(line, s.grumble)) {
			t.Errorf("a healthy probe left: %s", line)
		}
	}
}

// quietLog holds that no probe so far, of whatever kind, left an error in the
// server's log. What it has to say of them all is in it by now: it is written
// in order, and the end of a polite stream of the last one is awaited.
func quietLog(t *testing.T, s realServer, up *serverUnderProbe) {
	before := up.Log()
	wantOutcome(t, up.ask(t, func(_ *probe.Options, to *probe.Target) { to.From = politeDomain }), s.healthy())
	up.awaitLog(t, before, s.goodbye, 1)
	for line := range strings.Lines(up.Log()) {
		if complains(line) && !strings.Contains(line, "No certificate provided by ") {
			t.Errorf("probes left: %s", line)
		}
	}
}

// TestProbeAwaitsNoAcknowledgement holds that the probe does not wait for
// acknowledgements of its own: Prosody's session ticket and then its features
// would be held back by Nagle's algorithm until the client's delayed
// acknowledgement, 40 ms later. Beside it, in turns, asks a probe that the
// socket option is hidden from.
func TestProbeAwaitsNoAcknowledgement(t *testing.T) {
	prosody := realServers[0]
	up := newServerUnderProbe(t, prosody, probetest.Leaf{}, false)
	const rounds = 15
	inTLS := func(edit func(*probe.Options, *probe.Target)) time.Duration {
		r := up.ask(t, edit)
		wantOutcome(t, r, prosody.healthy())
		n := len(r.Phases)
		if n < 2 || r.Phases[n-1].Phase != probe.PhaseTLSFeatures {
			t.Fatalf("no features inside TLS: %+v", r)
		}
		return r.Phases[n-2].Took + r.Phases[n-1].Took // often in one segment
	}
	hidden := func(o *probe.Options, _ *probe.Target) {
		o.Dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			var d net.Dialer
			c, err := d.DialContext(ctx, network, addr)
			return struct{ net.Conn }{c}, err
		}
	}
	var ours, theirs []time.Duration
	for range rounds {
		ours, theirs = append(ours, inTLS(nil)), append(theirs, inTLS(hidden))
	}
	slices.Sort(ours)
	slices.Sort(theirs)
	t.Logf("header and features inside TLS came after %s, without quick acknowledgement %s (medians of %d)", ours[rounds/2], theirs[rounds/2], rounds)
	if theirs[rounds/2] < 30*time.Millisecond {
		cannot(t, "this Prosody does not hold its features back: there is nothing to compare with")
	}
	if ours[rounds/2] > theirs[rounds/2]/3 {
		t.Error("the probe waits for its own delayed acknowledgement")
	}
}

// complains reports whether a server's log line is a warning or worse.
func complains(line string) bool {
	for _, word := range []string{"\twarn\t", "\terror\t", "[warning]", "[error]", "[critical]", "[alert]", "[emergency]"} {
		if strings.Contains(line, word) {
			return true
		}
	}
	return false
}

func frozenServer(t *testing.T, s realServer, up *serverUnderProbe) {
	if err := up.Freeze(); err != nil {
		t.Fatal(err)
	}
	silent := outcome{Phase: probe.PhaseStream, Class: probe.Timeout, Level: probe.Down, Blame: probe.Remote}
	wantOutcome(t, up.ask(t, impatient), silent)
	if err := up.Thaw(); err != nil {
		t.Fatal(err)
	}
	wantOutcome(t, up.ask(t, nil), s.healthy())
}

func expiredServer(t *testing.T, s realServer) {
	now := time.Now()
	up := newServerUnderProbe(t, s, probetest.Leaf{NotBefore: now.AddDate(0, 0, -30), NotAfter: now.Add(-time.Hour)}, false)
	want := s.healthy()
	want.Phase, want.Class, want.Level, want.Blame = probe.PhaseCert, probe.CertExpired, probe.Degraded, probe.Remote
	r := up.ask(t, nil)
	wantOutcome(t, r, want)
	if r.Cert == nil || r.Cert.Days(now) != -1 {
		t.Errorf("certificate %+v, want one with -1 days left", r.Cert)
	}
}

// TestProbeSecureProsody holds what the probe says of a Prosody as Debian
// configures it, which talks on only to partners with a certificate.
func TestProbeSecureProsody(t *testing.T) {
	up := newServerUnderProbe(t, realServers[0], probetest.Leaf{}, true)
	wantOutcome(t, up.ask(t, nil), outcome{
		Phase: probe.PhaseTLSFeatures, Class: probe.AuthRequired, Condition: "not-authorized", Level: probe.Up, Blame: probe.Remote,
	})
	with := func(cert tls.Certificate) func(*probe.Options, *probe.Target) {
		return func(o *probe.Options, _ *probe.Target) { o.ClientCert = &cert }
	}
	wantOutcome(t, up.ask(t, with(up.authority.Issue(proberDomain))), outcome{
		Phase: probe.PhaseDone, Class: probe.OK, Level: probe.Up, Features: []string{"dialback", "sasl:EXTERNAL"},
	})
	wantOutcome(t, up.ask(t, with(probetest.NewCA().Issue(proberDomain))), outcome{
		Phase: probe.PhaseTLSFeatures, Class: probe.StreamError, Condition: "not-authorized", Level: probe.Up, Blame: probe.Remote,
	})
}

// inNamespace marks the test binary that runs in a network namespace.
const inNamespace = "EDGEWATCH_TEST_NAMESPACE"

// TestProbeFilteredPort puts a filter that drops what it does not like in
// front of the real servers, in a network namespace of its own: there the
// server's answers to connection requests find no route.
func TestProbeFilteredPort(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		if os.Geteuid() != 0 {
			cannot(t, "only root can make a network namespace with a server in it")
		}
		program(t, "prosody")
		program(t, "ejabberdctl")
		again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProbeFilteredPort$", "-test.v")
		again.Env = append(os.Environ(), inNamespace+"=1")
		again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
		out, err := again.CombinedOutput()
		if again.ProcessState == nil {
			cannot(t, "no network namespace can be made here:", err)
		}
		if err != nil {
			t.Errorf("in a network namespace: %v\n%s", err, out)
		}
		return
	}
	ip := program(t, "ip")
	run := func(args string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), ip, strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	run("link set lo up")
	run("rule add pref 20 lookup local") // below the filter, which the first rule would go before
	run("rule del pref 0")
	at := func(port uint16) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port)
	}
	for _, s := range realServers {
		t.Run(s.name, func(t *testing.T) {
			up := serverAt(t, s, at(5269), at(5270), probetest.Leaf{}, false)
			wantOutcome(t, up.ask(t, nil), s.healthy())
			run("rule add pref 10 ipproto tcp sport 5269 blackhole")
			wantOutcome(t, up.ask(t, impatient), outcome{Phase: probe.PhaseConnect, Class: probe.Timeout, Level: probe.Down, Blame: probe.Remote})
			run("rule del pref 10")
			wantOutcome(t, up.ask(t, nil), s.healthy())
		})
	}
}
