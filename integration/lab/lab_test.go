package lab

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"edgewatch/watchdog"
)

// watchdogWord makes the test binary the edgewatch of a lab: see
// Options.Watchdog.
const watchdogWord = "watchdog"

// TestMain holds that nothing of a lab runs after its end. Labs wait more
// than they work, so that more of them run at once than there are processors.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == watchdogWord {
		if err := Watchdog(context.Background(), os.Args[2], os.Stdin, os.Stderr); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		if err := f.Value.Set("6"); err != nil {
			panic(err)
		}
	}
	goleak.VerifyTestMain(m)
}

// TestScenarios plays every scenario with the real product.
func TestScenarios(t *testing.T) {
	for _, s := range Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
			defer cancel()
			o := Options{Dir: t.TempDir(), Log: testLog(t)}
			if s.Setup != nil {
				s.Setup(&o)
			}
			if s.Process {
				o.Watchdog = []string{executable(t), watchdogWord}
			}
			l, err := Start(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			r := l.Play(ctx, s)
			t.Logf("%+v", r)
			if !r.OK {
				t.Errorf("the scenario failed: %s", r.Error)
				history(t, l)
			}
			if err := l.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		})
	}
}

// executable is this test binary.
func executable(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestNoFalseDrift holds that what partners found before a failover is not
// told as DNS having gone astray after it.
func TestNoFalseDrift(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	l, err := Start(t.Context(), Options{Dir: t.TempDir(), ServersPerPool: 1, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	primary, err := Find("primary-down")
	if err != nil {
		t.Fatal(err)
	}
	if r := l.Play(ctx, primary); !r.OK {
		t.Fatal(r.Error)
	}
	looked := func(s *watchdog.Snapshot) bool {
		return len(s.Partner) == 1 && s.Partner[0].Pool == "EdgePool2"
	}
	if err := l.Until(ctx, "a look at what partners find now", looked); err != nil {
		t.Fatal(err)
	}
	_ = l.Follow(ctx, func(e watchdog.Entry) bool {
		if e.Kind == watchdog.KindNotice && e.Notice.Kind == watchdog.NoticeDrift {
			t.Errorf("people are told: %s", e.Sentence())
		}
		return e.Seq < l.Snapshot(ctx).LastSeq
	})
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// history shows a failed test's journal. It is read as long as the product
// runs.
func history(t *testing.T, l *Lab) {
	t.Helper()
	entries, err := l.History(t.Context(), 200)
	if err != nil {
		t.Logf("no journal: %v", err)
	}
	for _, e := range entries {
		t.Logf("%s %s", e.At.Format("15:04:05.000"), e.Sentence())
	}
	for _, m := range l.Slack.Messages() {
		t.Logf("slack: %s", m.Text)
	}
}

// testLog writes the product's log into the test's, errors only.
func testLog(t *testing.T) zerolog.Logger {
	t.Helper()
	level := zerolog.WarnLevel
	if os.Getenv("LAB_DEBUG") != "" {
		level = zerolog.DebugLevel
	}
	return zerolog.New(zerolog.NewTestWriter(t)).Level(level)
}

// TestStartFails holds that a lab that cannot start leaves nothing behind.
func TestStartFails(t *testing.T) {
	before := goleak.IgnoreCurrent()
	_, err := Start(t.Context(), Options{Dir: t.TempDir(), Edit: func(string) string { return "nonsense: true\n" }})
	if err == nil {
		t.Fatal("a lab with a broken configuration started")
	}
	t.Log(err)
	if err := goleak.Find(before); err != nil {
		t.Errorf("something still runs: %v", err)
	}
}

// TestWithoutProduct holds what a lab can be asked that does not run
// edgewatch.
func TestWithoutProduct(t *testing.T) {
	l, err := Start(t.Context(), Options{Dir: t.TempDir(), NoProduct: true, ServersPerPool: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	found, err := l.Partner(t.Context())
	if err != nil || found.Pool != "EdgePool1" {
		t.Errorf("a partner finds %+v, %v; want EdgePool1", found, err)
	}
	if err := l.Kill("edgepool1"); err != nil {
		t.Fatal(err)
	}
	if found, err := l.Partner(t.Context()); err == nil {
		t.Errorf("a partner finds %+v without power", found)
	}
	if l.Host("edgeserver1.contoso.local") != nil {
		t.Error("a host without power answers WinRM")
	}
	if err := l.Restore("EdgeServer1"); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Partner(t.Context()); err != nil {
		t.Errorf("after the power is back: %v", err)
	}
	if _, err := l.Order(t.Context(), watchdog.Command{Verb: watchdog.VerbAck}); err == nil {
		t.Error("a command was taken without a product")
	}
	if err := l.Kill("EdgePool9"); err == nil {
		t.Error("an unknown pool was killed")
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// begun returns when edgewatch has replayed its journal.
func begun(t *testing.T, l *Lab) {
	t.Helper()
	if err := l.Until(t.Context(), "the first round", func(s *watchdog.Snapshot) bool { return !s.LastRound.IsZero() }); err != nil {
		t.Fatal(err)
	}
}

// TestProcessFails holds that an edgewatch in a process of its own which ends
// by itself is noticed at once, with what it wrote.
func TestProcessFails(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var log bytes.Buffer
	l, err := Start(ctx, Options{
		Dir: t.TempDir(), Watchdog: []string{executable(t), watchdogWord}, Stderr: &log,
		Edit: func(string) string { return "nonsense: true\n" },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Settled(ctx); err == nil || ctx.Err() != nil || !strings.Contains(err.Error(), "edgewatch has ended") {
		t.Errorf("a watchdog that cannot start: %v", err)
	}
	if err := l.Close(); err == nil {
		t.Error("the end of the lab does not tell of it")
	}
	if !strings.Contains(log.String(), "nonsense") {
		t.Errorf("it wrote %q", log.String())
	}
}

// TestKillInside holds that an edgewatch that shares the lab's process is not
// taken for one that can be killed.
func TestKillInside(t *testing.T) {
	l, err := Start(t.Context(), Options{Dir: t.TempDir(), ServersPerPool: 1, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	begun(t, l)
	if err := l.KillWatchdog(); !errors.Is(err, ErrInside) {
		t.Errorf("kill: %v", err)
	}
	if err := l.StartWatchdog(); !errors.Is(err, ErrInside) {
		t.Errorf("start: %v", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

// TestUsedDirectory holds that a lab does not begin on the journal of another.
func TestUsedDirectory(t *testing.T) {
	dir := t.TempDir()
	l, err := Start(t.Context(), Options{Dir: dir, ServersPerPool: 1, Log: testLog(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	begun(t, l)
	before, err := os.ReadFile(l.Files.Config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Start(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), l.Files.State) {
		t.Errorf("a second lab beside a running one: %v", err)
	}
	if after, err := os.ReadFile(l.Files.Config); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the refused lab changed the configuration of the running one (%v)", err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
