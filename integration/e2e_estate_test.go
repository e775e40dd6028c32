//go:build integration && linux

package integration

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"edgewatch/actions"
	"edgewatch/integration/lab"
	"edgewatch/watchdog"
	"edgewatch/watchdog/web"
)

// estate is a lab whose pools are real Prosody processes, whose name servers
// are real BINDs where asked for, and whose edgewatch is a process of its own.
type estate struct {
	*lab.Lab
	t   *testing.T
	ctx context.Context // ends a test that waits in vain
	api *web.Client

	prosody map[string]*prosody // by server name; empty when the lab's own XMPP is used

	mu    sync.Mutex
	watch *process // guarded by mu
}

// estateLimit is how long a test may take.
const estateLimit = 60 * time.Second

// newEstate starts everything but edgewatch.
func newEstate(t *testing.T, change func(*lab.Options)) *estate {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), estateLimit)
	t.Cleanup(cancel)
	prosodies := map[string]*prosody{}
	o := lab.Options{
		Dir: t.TempDir(), ServersPerPool: 1, NoProduct: true,
		XMPP: func(s lab.Server, domain string, f lab.Files) (lab.XMPP, error) {
			p := newProsody(t, prosodyOptions{Addr: s.XMPP.String(), Domain: domain, CertFile: f.Cert, KeyFile: f.Key, CAFile: f.CA})
			prosodies[s.Name] = p
			return p, nil
		},
	}
	if change != nil {
		change(&o)
	}
	l, err := lab.Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	e := &estate{Lab: l, t: t, ctx: ctx, api: web.NewClient(l.Files.Socket), prosody: prosodies}
	t.Cleanup(func() {
		e.kill()
		if t.Failed() {
			e.dump()
		}
		if err := l.Close(); err != nil {
			t.Errorf("close the lab: %v", err)
		}
	})
	return e
}

// withBIND gives the lab a real primary and a real secondary.
func withBIND(t *testing.T) func(*lab.Options) {
	return func(o *lab.Options) {
		o.DNS = func(_ context.Context, z lab.Zone) (lab.NameServers, error) {
			records := make([]string, len(z.Records))
			copy(records, z.Records)
			ns := startBIND(t, zoneConfig{Name: z.Name, Records: records, Keys: []zoneKey{{Name: z.Key.Name, Secret: z.Key.Secret}}})
			primary, secondary := netip.MustParseAddrPort(ns.Primary), netip.MustParseAddrPort(ns.Secondary)
			return lab.NameServers{Primary: primary, Authoritative: []netip.AddrPort{primary, secondary}, Key: z.Key}, nil
		}
	}
}

// run starts edgewatch and returns at once.
func (e *estate) run() *process {
	e.t.Helper()
	p, err := startProcess("edgewatch", nil, edgewatchBinary(e.t), "run", "--config", e.Files.Config)
	if err != nil {
		e.t.Fatal(err)
	}
	e.mu.Lock()
	e.watch = p
	e.mu.Unlock()
	return p
}

// start runs edgewatch and returns when all is quiet.
func (e *estate) start() {
	e.t.Helper()
	p := e.run()
	e.until("all is quiet", func(s *watchdog.Snapshot) bool {
		if !p.running() {
			e.t.Fatalf("edgewatch ended: %v\n%s", p.err, p.out)
		}
		return lab.Settled(s)
	})
}

// stop ends edgewatch as systemd does and returns its exit code.
func (e *estate) stop() int {
	e.t.Helper()
	e.mu.Lock()
	p := e.watch
	e.mu.Unlock()
	if err := p.end(syscall.SIGTERM, 30*time.Second); err != nil {
		e.t.Error(err)
	}
	return p.cmd.ProcessState.ExitCode()
}

// kill ends edgewatch as a power cut would. It may be called from any
// goroutine.
func (e *estate) kill() {
	e.mu.Lock()
	p := e.watch
	e.mu.Unlock()
	if p == nil {
		return
	}
	if err := p.end(syscall.SIGKILL, 10*time.Second); err != nil {
		e.t.Error(err)
	}
}

// until returns when edgewatch's snapshot is as ok wants it.
func (e *estate) until(what string, ok func(*watchdog.Snapshot) bool) {
	e.t.Helper()
	poll(e.ctx, e.t, what, func() bool {
		all, err := e.api.Status(e.ctx, e.Federation)
		return err == nil && len(all) == 1 && ok(all[0])
	})
}

// journal is the whole journal.
func (e *estate) journal() []watchdog.Entry {
	entries, err := e.api.History(e.ctx, e.Federation, 1000)
	if err != nil {
		return nil
	}
	return entries
}

// await returns the first entry that ok accepts.
func (e *estate) await(what string, ok func(watchdog.Entry) bool) watchdog.Entry {
	e.t.Helper()
	var found watchdog.Entry
	poll(e.ctx, e.t, what, func() bool {
		for _, entry := range e.journal() {
			if ok(entry) {
				found = entry
				return true
			}
		}
		return false
	})
	return found
}

// awaitRestored returns when a failover to the pool is through and partners
// find it. One that edgewatch itself could not go on with is followed by another.
func (e *estate) awaitRestored(pool string) {
	e.t.Helper()
	end := e.await("the end of the failover to "+pool, func(entry watchdog.Entry) bool {
		return entry.Kind == watchdog.KindChainEnd && !entry.ChainEnd.Outcome.Interrupted && !entry.ChainEnd.Outcome.Unrecorded && e.chain(entry.ChainEnd.ID).To == pool
	})
	if !end.ChainEnd.Outcome.OK {
		e.t.Fatalf("the failover ended badly: %s", end.Sentence())
	}
	found, err := e.Partner(e.ctx)
	if err != nil || found.Pool != pool {
		e.t.Fatalf("a partner finds %+v, %v; want %s", found, err, pool)
	}
}

// chain is how the journal says that a failover began.
func (e *estate) chain(id string) watchdog.ChainStart {
	for _, entry := range e.journal() {
		if entry.Kind == watchdog.KindChain && entry.Chain.ID == id {
			return *entry.Chain
		}
	}
	return watchdog.ChainStart{}
}

// awaitHold waits for the decision not to act.
func (e *estate) awaitHold(g watchdog.Guard) watchdog.Entry {
	e.t.Helper()
	return e.await("the decision not to act: "+string(g), func(entry watchdog.Entry) bool {
		return entry.Kind == watchdog.KindDecision && entry.Decision.Will == watchdog.WillHold && entry.Decision.BlockedBy == g
	})
}

// nothingMoved holds that no cmdlet changed anything for n more rounds.
func (e *estate) nothingMoved(rounds int) {
	e.t.Helper()
	var last time.Time
	e.until(fmt.Sprintf("%d more rounds", rounds), func(s *watchdog.Snapshot) bool {
		if s.LastRound.After(last) {
			last = s.LastRound
			rounds--
		}
		return rounds < 0
	})
	for _, c := range e.Windows.Commands("Stop-CsWindowsService", "Set-CsSite", "Start-CsWindowsService") {
		e.t.Errorf("%s was run on %s", c.Cmdlet, c.Host)
	}
}

// mustKill takes the power of a pool or server: its Prosody gets SIGKILL.
func (e *estate) mustKill(name string) {
	e.t.Helper()
	if err := e.Kill(name); err != nil {
		e.t.Fatal(err)
	}
}

// cli runs edgewatch's command line against the running one.
func (e *estate) cli(args ...string) (out string, code int) {
	e.t.Helper()
	cmd := exec.CommandContext(e.ctx, edgewatchBinary(e.t), append(args, "--socket", e.Files.Socket)...)
	b, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		e.t.Fatal(err)
	}
	return string(b), cmd.ProcessState.ExitCode()
}

// metrics is what Prometheus would scrape.
func (e *estate) metrics() string {
	e.t.Helper()
	req, err := http.NewRequestWithContext(e.ctx, http.MethodGet, e.HealthURL+"/metrics", http.NoBody)
	if err != nil {
		e.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	return string(b)
}

// dump shows what a failed test left.
func (e *estate) dump() {
	e.mu.Lock()
	p := e.watch
	e.mu.Unlock()
	if p != nil {
		e.t.Logf("edgewatch wrote:\n%s", p.out)
	}
	for _, m := range e.Slack.Messages() {
		e.t.Logf("slack %s>%s: %s %s", m.ThreadTS, m.TS, m.Text, m.Blocks)
	}
	for _, c := range e.Windows.Commands("Stop-CsWindowsService", "Set-CsSite", "Start-CsWindowsService") {
		e.t.Logf("%s on %s at %s %s", c.Cmdlet, c.Host, c.At.Format("15:04:05.000"), c.Err)
	}
}

// effects counts, per step and target, how often a step was seen to have
// been applied.
func effects(entries []watchdog.Entry) map[string]int {
	out := map[string]int{}
	for _, e := range entries {
		if e.Kind == watchdog.KindStep && e.Step.Target != "" && e.Step.Phase == actions.Finished {
			out[string(e.Step.Step)+" on "+e.Step.Target]++
		}
	}
	return out
}

// binaries is where TestMain keeps what it had built for the tests.
var binaries = struct {
	dir   string
	build func() (string, error)
}{}

// TestMain builds edgewatch at most once per run and removes it.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "edgewatch-integration-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binaries.dir = dir
	binaries.build = sync.OnceValues(func() (string, error) {
		path := filepath.Join(dir, "edgewatch")
		out, err := exec.Command("go", "build", "-o", path, "edgewatch/cmd/edgewatch").CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("build edgewatch: %w\n%s", err, out)
		}
		return path, nil
	})
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

// edgewatchBinary is the product as it is shipped.
func edgewatchBinary(t *testing.T) string {
	t.Helper()
	path, err := binaries.build()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// mentions reports whether text holds all the words, without case.
func mentions(text string, words ...string) bool {
	text = strings.ToLower(text)
	for _, w := range words {
		if !strings.Contains(text, strings.ToLower(w)) {
			return false
		}
	}
	return true
}
