//go:build integration && linux

package integration

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"edgewatch/integration/lab"
	"edgewatch/probe/probetest"
)

// blackboxEnv names the binary of blackbox_exporter; the Makefile builds it.
const blackboxEnv = "EDGEWATCH_BLACKBOX"

const (
	inFlight = 8   // conversations at a time
	rounds   = 5   // each of every client in turn
	perRound = 800 // conversations of one client
)

// contender is one client in the comparison, a process of its own.
type contender struct {
	name string
	pid  int
	ask  func(n int) (allocs float64, err error) // n conversations; allocs of one of them, negative when unknown
	base bool                                    // the floor of its server

	cpu, ratio, rate, allocs []float64 // one per round
}

// BenchmarkSideBySide has the probe, the floor and, where its binary is named,
// blackbox_exporter talk to one server in turn, and prints a table. Where there
// are two cores the client has one to itself and everything else the other.
func BenchmarkSideBySide(b *testing.B) {
	client := apart(b)
	if os.Getenv(blackboxEnv) == "" {
		fmt.Println("blackbox_exporter is not compared: make bench-probe builds it and does")
	}
	dir := b.TempDir()
	binary := filepath.Join(dir, "sidebyside")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-o", binary, "edgewatch/integration/sidebyside").CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	var table strings.Builder
	fmt.Fprintf(&table, "\n| server, how | client | client CPU ms per probe | × floor | probes/s | client RSS MiB | allocations |\n|---|---|---|---|---|---|---|\n")
	for _, s := range []struct {
		name  string
		start func(b *testing.B, binary string, direct bool) (addr, ca string)
	}{{"loopback", loopbackServer}, {"Prosody", prosodyServer}} {
		for _, direct := range []bool{false, true} {
			how := s.name + ", STARTTLS"
			if direct {
				how = s.name + ", direct TLS"
			}
			b.Run(strings.ReplaceAll(how, ", ", "-"), func(b *testing.B) {
				addr, ca := s.start(b, binary, direct)
				all := contenders(b, client, binary, addr, ca, direct)
				for b.Loop() {
					compete(b, all)
				}
				for _, c := range all {
					c.print(b, &table, how)
				}
			})
		}
	}
	fmt.Printf("%s\n%d rounds in turn of %d conversations, %d at a time; medians; ratios are of the same round\n", table.String(), rounds, perRound, inFlight)
}

// contenders starts the clients of one server, the floor first.
func contenders(b *testing.B, pin []string, binary, addr, ca string, direct bool) []*contender {
	b.Helper()
	var all []*contender
	for _, role := range []struct{ role, name string }{{"floor", "floor"}, {"probe", "**edgewatch**"}, {"trusting", "floor, chain not verified"}} {
		c := ours(b, pin, binary, "-role", role.role, "-addr", addr, "-ca", ca, "-domain", servedDomain,
			"-direct="+strconv.FormatBool(direct), "-in-flight", strconv.Itoa(inFlight))
		c.name, c.base = role.name, role.role == "floor"
		all = append(all, c)
	}
	if path := os.Getenv(blackboxEnv); path != "" && direct {
		all = append(all, blackbox(b, pin, path, addr, ca, "xmpp_direct_tls", "blackbox_exporter"), blackbox(b, pin, path, addr, ca, "connect", "blackbox_exporter, TCP connect alone"))
	}
	return all
}

// compete runs the rounds.
func compete(b *testing.B, all []*contender) {
	b.Helper()
	for _, c := range all {
		if _, err := c.ask(perRound / 8); err != nil {
			b.Fatalf("%s, warming up: %v", c.name, err)
		}
	}
	for range rounds {
		var floor float64
		for _, c := range all {
			before, begin := ranFor(b, c.pid), time.Now()
			allocs, err := c.ask(perRound)
			if err != nil {
				b.Fatalf("%s: %v", c.name, err)
			}
			took, cpu := time.Since(begin), ranFor(b, c.pid)-before
			if c.base {
				floor = cpu.Seconds()
			}
			c.cpu = append(c.cpu, 1e3*cpu.Seconds()/perRound)
			c.ratio = append(c.ratio, cpu.Seconds()/floor)
			c.rate = append(c.rate, perRound/took.Seconds())
			c.allocs = append(c.allocs, allocs)
		}
	}
}

func (c *contender) print(b *testing.B, w io.Writer, how string) {
	b.Helper()
	spread := func(v []float64) string {
		return fmt.Sprintf("%.2f (%.2f–%.2f)", median(v), slices.Min(v), slices.Max(v))
	}
	allocs := "–"
	if a := median(c.allocs); a >= 0 {
		allocs = fmt.Sprintf("%.0f", a)
	}
	fmt.Fprintf(w, "| %s | %s | %s | %s | %.0f | %.0f | %s |\n", how, c.name, spread(c.cpu), spread(c.ratio), median(c.rate), float64(peakOf(b, c.pid))/(1<<20), allocs)
	if strings.Contains(c.name, "edgewatch") {
		b.ReportMetric(median(c.ratio), "x-floor")
		b.ReportMetric(median(c.cpu), "client-cpu-ms/probe")
		b.ReportMetric(median(c.allocs), "allocs/probe")
	}
}

func median(v []float64) float64 {
	s := slices.Sorted(slices.Values(v))
	return s[len(s)/2]
}

// ours starts a client of our own, which takes a number a line.
func ours(b *testing.B, pin []string, argv ...string) *contender {
	b.Helper()
	pid, in, out := piped(b, slices.Concat(pin, argv)...)
	return &contender{pid: pid, ask: func(n int) (float64, error) {
		if _, err := fmt.Fprintln(in, n); err != nil {
			return 0, err
		}
		line, err := out.ReadString('\n')
		if err != nil {
			return 0, err
		}
		return strconv.ParseFloat(strings.TrimSpace(line), 64)
	}}
}

// piped starts a process that is told what to do and ends with its input.
func piped(b *testing.B, argv ...string) (pid int, in io.Writer, out *bufio.Reader) {
	b.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	w, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	r, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = w.Close(); _ = cmd.Wait() })
	return cmd.Process.Pid, w, bufio.NewReader(r)
}

// blackboxConfig asks as much as blackbox_exporter can be made to: it reads
// lines and XMPP has none, so header and end are sent together and the end of
// the connection ends the line.
const blackboxConfig = `modules:
  connect: {prober: tcp, timeout: 5s, tcp: {preferred_ip_protocol: ip4}}
  xmpp_direct_tls:
    prober: tcp
    timeout: 5s
    tcp:
      preferred_ip_protocol: ip4
      tls: true
      tls_config: {ca_file: %q, server_name: %q}
      query_response:
        - send: "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' from='probe.test' to='%s' version='1.0'></stream:stream>"
        - expect: "<stream:features>.*dialback"
`

// blackbox starts a blackbox_exporter, which is asked over HTTP.
func blackbox(b *testing.B, pin []string, path, target, ca, module, name string) *contender {
	b.Helper()
	addrs, port, err := lab.FreeLoopback(b.Context(), 1, 0)
	if err != nil {
		b.Fatal(err)
	}
	at := netip.AddrPortFrom(addrs[0], port).String()
	config := filepath.Join(b.TempDir(), "blackbox.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, blackboxConfig, ca, servedDomain, servedDomain), 0o600); err != nil {
		b.Fatal(err)
	}
	p, err := startProcess("blackbox_exporter", nil, slices.Concat(pin, []string{path, "--config.file=" + config, "--web.listen-address=" + at, "--log.level=error"})...)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = p.end(syscall.SIGTERM, 5*time.Second) })
	if err := p.awaitTCP(b.Context(), at); err != nil {
		b.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: inFlight}, Timeout: 10 * time.Second}
	b.Cleanup(client.CloseIdleConnections)
	ask := "http://" + at + "/probe?" + url.Values{"module": {module}, "target": {target}}.Encode()
	return &contender{name: name, pid: p.cmd.Process.Pid, ask: func(n int) (float64, error) {
		return -1, inParallel(n, func() error { return scrape(b.Context(), client, ask) })
	}}
}

func scrape(ctx context.Context, client *http.Client, ask string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, ask, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if !strings.Contains(string(text), "\nprobe_success 1\n") {
		return fmt.Errorf("blackbox_exporter saw no success:\n%s", text)
	}
	return nil
}

// inParallel calls f n times from as many goroutines as may talk at a time.
func inParallel(n int, f func() error) error {
	var begun atomic.Int64
	errs := make([]error, inFlight)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for errs[i] == nil && begun.Add(1) <= int64(n) {
				errs[i] = f()
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// loopbackServer is our own server in a process of its own.
func loopbackServer(b *testing.B, binary string, direct bool) (addr, ca string) {
	b.Helper()
	ca = filepath.Join(b.TempDir(), "ca.pem")
	_, _, out := piped(b, binary, "-role", "server", "-domain", servedDomain, "-ca", ca, "-direct="+strconv.FormatBool(direct))
	line, err := out.ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return strings.TrimSpace(line), ca
}

func prosodyServer(b *testing.B, _ string, direct bool) (addr, ca string) {
	b.Helper()
	addrs, port, err := lab.FreeLoopback(b.Context(), 1, 0)
	if err != nil {
		b.Fatal(err)
	}
	o := prosodyOptions{
		Addr: netip.AddrPortFrom(addrs[0], port).String(), DirectTLS: netip.AddrPortFrom(addrs[0], port+1).String(), Domain: servedDomain,
	}
	dir, authority := b.TempDir(), probetest.NewCA()
	o.CertFile, o.KeyFile, o.CAFile = dir+"/xmpp.pem", dir+"/xmpp-key.pem", dir+"/ca.pem"
	if err := lab.WriteCertificate(o.CertFile, o.KeyFile, authority.Issue(servedDomain)); err != nil {
		b.Fatal(err)
	}
	if err := lab.WriteRoot(o.CAFile, authority.Root()); err != nil {
		b.Fatal(err)
	}
	startProsody(b, o)
	if direct {
		return o.DirectTLS, o.CAFile
	}
	return o.Addr, o.CAFile
}

// apart keeps this process and its later children on the second core and
// returns how to start a client on the first; nothing where there is no second
// or no way.
func apart(b *testing.B) (client []string) {
	b.Helper()
	taskset, err := exec.LookPath("taskset")
	var had unix.CPUSet
	if err != nil || unix.SchedGetaffinity(0, &had) != nil || had.Count() < 2 {
		fmt.Println("client and server share their cores")
		return nil
	}
	var cores []int
	for i := range len(had) * 64 {
		if had.IsSet(i) {
			cores = append(cores, i)
		}
	}
	var mine unix.CPUSet
	mine.Set(cores[1])
	b.Cleanup(func() { confine(b, had) })
	confine(b, mine)
	return []string{taskset, "-c", strconv.Itoa(cores[0])}
}

// confine puts every thread of this process on these cores.
func confine(b *testing.B, to unix.CPUSet) {
	b.Helper()
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		b.Fatal(err)
	}
	for _, t := range tasks {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			b.Fatal(err)
		}
		if err := unix.SchedSetaffinity(id, &to); err != nil && !errors.Is(err, unix.ESRCH) {
			b.Fatal(err)
		}
	}
}

// ranFor is the processor time of the process's threads, to the nanosecond.
func ranFor(b *testing.B, pid int) time.Duration {
	b.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(threads) == 0 {
		b.Fatalf("no threads of process %d: %v", pid, err)
	}
	var sum time.Duration
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		ns, err := strconv.ParseInt(strings.Fields(string(text))[0], 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(ns)
	}
	return sum
}

// peakOf is the most memory that the process had resident, in bytes.
func peakOf(b *testing.B, pid int) int64 {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(rest, &kib); !found || err != nil {
		b.Fatalf("no peak of memory in /proc/%d/status: %v", pid, err)
	}
	return kib << 10
}
