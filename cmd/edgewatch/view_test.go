package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"

	"edgewatch/actions"
	"edgewatch/probe"
	"edgewatch/watchdog"
	"edgewatch/watchdog/web"
)

// TestStatusText holds what people read first when something is wrong.
// Rewrite it with UPDATE_SCRIPTS=1 and read the difference.
func TestStatusText(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 30, 0, time.UTC)
	failed := failingOver(now)
	failed.State, failed.Pause, failed.Cooldown, failed.Partner = watchdog.Faulted, nil, time.Time{}, nil
	failed.Decision.Because = "failover contoso-7.1 stopped at dns-records and is tried again"
	failed.Chain.EndedAt = now
	failed.Chain.Steps[2].State = watchdog.StepFailed
	failed.Chain.Steps[2].Error = "fe1: Set-CsSite was refused"
	failed.Chain.Outcome = &actions.Outcome{Step: actions.SetRoute, Error: "fe1: Set-CsSite was refused: check the account's rights", Took: 12 * time.Second, Stopped: []string{"edgeserver2.contoso.local"}}
	failed.LastRound = now.Add(-5 * time.Minute)
	failed.Pools[1].Readiness = watchdog.Readiness{At: now, Why: "edgeserver2: WinRM does not answer"}

	failed.Pools[1].States[0].Bad, failed.Pools[1].States[0].Since = 2, now.Add(-4*time.Second)

	fresh := calm(now)
	fresh.LastRound, fresh.Pools[0].Verdict = time.Time{}, watchdog.Inconclusive
	fresh.Canaries = watchdog.CanaryStatus{Total: 2, Why: "both time out"}
	fresh.Pools = append(fresh.Pools, watchdog.PoolStatus{Name: "B", Breaker: watchdog.Breaker{State: watchdog.BreakerClosed, Bad: 1, Since: now}})

	fresh.HistoryError = "state file edgewatch.db: record rounds: disk is full – free space on that disk; edgewatch goes on by itself"
	const day = 24 * time.Hour
	fresh.Pools[0].Uptime = []watchdog.Uptime{
		{Window: day, Up: day},
		{Window: 30 * day, Up: 28 * day, Degraded: day, Down: 2 * time.Second, Inconclusive: 40 * time.Minute},
		{Window: 90 * day, Up: 28 * day, Degraded: day, Down: 3 * time.Hour, Inconclusive: 40 * time.Minute},
	}
	fresh.Pools[1].Uptime = []watchdog.Uptime{{Window: day, Inconclusive: day}, {Window: 30 * day}, {Window: 90 * day, Down: time.Hour}}

	var b strings.Builder
	home := failingOver(now)
	home.Chain.Kind, home.Chain.From, home.Chain.To = actions.Failback, "EdgePool2", "EdgePool1"
	home.Chain.Steps, home.Partner, home.Pause, home.Cooldown = nil, nil, nil, time.Time{}
	endless := asked(now)
	endless.Hold, endless.Lease, endless.Approval.Until, endless.Decision.NextAt = nil, "", time.Time{}, time.Time{}

	young := well(now)
	for i := range young.Pools {
		for _, u := range []time.Duration{day, 30 * day, 90 * day} {
			young.Pools[i].Uptime = append(young.Pools[i].Uptime, watchdog.Uptime{Window: u, Up: time.Duration(i+7) * time.Minute})
		}
	}
	young.PartnerAt = now.Add(-12 * time.Second)
	moved := well(now)
	moved.PartnerAt, moved.Chain = now.Add(-2*time.Minute), halfway(now).Chain
	moved.Chain.EndedAt = now.Add(-time.Minute)
	moved.Chain.Steps[1].Already = true

	skipped := well(now)
	skipped.Chain, skipped.Unproven, skipped.Partner = halfway(now).Chain, "verify", nil
	skipped.Chain.Outcome = &actions.Outcome{OK: true, RouteMoved: true, Took: 95 * time.Second, Skipped: []actions.StepName{actions.Verify}}
	made := *skipped // up for by what partners were seen to find
	made.Unproven = ""

	for _, s := range []*watchdog.Snapshot{failingOver(now), failed, fresh, asked(now), endless, home, down(now), young, moved, skipped, &made} {
		(&tool{out: &b}).printStatus(s, now)
		b.WriteString("----\n")
		(&tool{out: &b}).printWhy(s, now)
		b.WriteString("====\n")
	}
	golden(t, "status.golden", b.String())
}

// TestStatusJSON holds what scripts read: fields may be added, and none may go.
func TestStatusJSON(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 30, 0, time.UTC)
	var b strings.Builder
	if err := (&tool{out: &b}).printJSON(statusJSON{[]*watchdog.Snapshot{failingOver(now), asked(now)}}); err != nil {
		t.Fatal(err)
	}
	golden(t, "status-json.golden", b.String())
	for _, of := range []any{watchdog.Snapshot{}, watchdog.Decision{}, watchdog.PoolStatus{}, watchdog.Approval{}, watchdog.WitnessStatus{}, watchdog.StepStatus{}} {
		for field := range reflect.TypeOf(of).Fields() {
			key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if key == "-" {
				continue // stays in the process
			}
			if !regexp.MustCompile(`\b` + key + `\b`).MatchString(statusHelp) {
				t.Errorf("the help of status does not tell of %q, which is in %T", key, of)
			}
		}
	}
}

// TestEveryVerbIsACommand: the table of verbs is what the help and the README
// show, and the examples are orders that are understood.
func TestEveryVerbIsACommand(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	root := (&tool{}).root()
	for _, v := range watchdog.Verbs() {
		cmd, _, err := root.Find([]string{string(v.Verb)})
		if err != nil || cmd.Use != v.Form() {
			t.Errorf("%s: %v, %v", v.Verb, cmd, err)
			continue
		}
		for flag, want := range map[string]bool{
			"to": v.Object == watchdog.ObjectPool, "for": v.Object == watchdog.ObjectDuration, "step": v.Object == watchdog.ObjectStep,
			"force": v.Force, "yes": v.Asks, "reason": true,
		} {
			if got := cmd.Flags().Lookup(flag) != nil; got != want {
				t.Errorf("%s --%s: %t, want %t", v.Verb, flag, got, want)
			}
		}
		if !strings.Contains(string(readme), "`"+v.Form()+"`") {
			t.Errorf("the README does not show %q", v.Form())
		}
		if len(examples[v.Verb]) == 0 {
			t.Errorf("%s has no example", v.Verb)
		}
		for _, e := range examples[v.Verb] {
			if _, err := watchdog.ParseRequest(strings.Fields(string(v.Verb) + " " + e)); err != nil {
				t.Errorf("the example %q is not understood: %v", e, err)
			}
			if !strings.Contains(cmd.Example, "edgewatch "+strings.TrimSpace(string(v.Verb)+" "+e)) {
				t.Errorf("the help of %s does not show the example %q", v.Verb, e)
			}
		}
	}
}

// TestREADMEQuotesTheMachine: the words in which the README says that orders
// are refused are those of the golden transcripts.
func TestREADMEQuotesTheMachine(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("../../watchdog/testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		said.Write(b)
	}
	_, table, _ := strings.Cut(string(readme), "| command | what it is for |")
	table, _, _ = strings.Cut(table, "\n\n")
	quotes := 0
	for i, quote := range strings.Split(table, `"`) {
		if i%2 == 0 {
			continue // between two quotes
		}
		quotes++
		for part := range strings.SplitSeq(quote, " … ") {
			if !strings.Contains(said.String(), part) {
				t.Errorf("no transcript says %q", part)
			}
		}
	}
	if quotes < len(watchdog.Verbs()) {
		t.Errorf("the table has %d quotes, fewer than verbs", quotes)
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if os.Getenv("UPDATE_SCRIPTS") != "" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

// TestColourOnlyPaints: what colours say, words say too.
func TestColourOnlyPaints(t *testing.T) {
	t.Parallel()
	now := time.Now()
	var plainText, coloured strings.Builder
	(&tool{out: &plainText}).printStatus(failingOver(now), now)
	(&tool{out: &coloured, style: style{colour: true}}).printStatus(failingOver(now), now)
	stripped := coloured.String()
	for _, code := range append(toneCodes[1:], "0") {
		stripped = strings.ReplaceAll(stripped, "\x1b["+code+"m", "")
	}
	if diff := cmp.Diff(plainText.String(), stripped); diff != "" {
		t.Errorf("(-plain +coloured):\n%s", diff)
	}
	if coloured.String() == stripped {
		t.Error("nothing was coloured")
	}
}

func TestPrintable(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"plain ✓ text":       "plain ✓ text",
		"\x1b[2Jgone":        `\x1b[2Jgone`,
		"two\nlines\r":       `two lines\r`,
		"bad \xff byte":      `bad \xff byte`,
		"right\u202eto left": `right\u202eto left`,
	} {
		if got := printable(in); got != want {
			t.Errorf("printable(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestOverall(t *testing.T) {
	t.Parallel()
	tests := []struct {
		levels []probe.Level
		want   probe.Level
	}{
		{nil, probe.Inconclusive},
		{[]probe.Level{probe.Up, probe.Inconclusive}, probe.Up},
		{[]probe.Level{probe.Inconclusive, probe.Degraded, probe.Up}, probe.Degraded},
		{[]probe.Level{probe.Up, probe.Down}, probe.Down},
	}
	for _, tt := range tests {
		var results []probe.Result
		for _, l := range tt.levels {
			results = append(results, probe.Result{Level: l})
		}
		if got := overall(results); got != tt.want {
			t.Errorf("overall(%v) = %v, want %v", tt.levels, got, tt.want)
		}
	}
}

// script answers one call after the other.
type script struct {
	ids  []string
	errs []error
}

func (s *script) Submit(_ context.Context, cmd watchdog.Command) (watchdog.Answer, error) {
	s.ids = append(s.ids, cmd.ID)
	err := s.errs[len(s.ids)-1]
	return watchdog.Answer{Accepted: err == nil}, err
}

// TestSubmitAsksAgainOnce: an answer that was lost is asked for once more
// under the same id, and what is still unknown then is called unknown.
func TestSubmitAsksAgainOnce(t *testing.T) {
	t.Parallel()
	refused := errors.New("the journal cannot be written")
	tests := []struct {
		name  string
		errs  []error
		calls int
		code  int
	}{
		{"answered", []error{nil}, 1, exitDone},
		{"answered the second time", []error{web.ErrUnsure, nil}, 2, exitDone},
		{"lost twice", []error{web.ErrUnsure, web.ErrUnsure}, 2, exitUnsure},
		{"gone the second time", []error{web.ErrUnsure, web.ErrNoDaemon}, 2, exitUnsure},
		{"there and silent", []error{web.ErrNoAnswer}, 1, exitUnsure},
		{"not there", []error{web.ErrNoDaemon}, 1, exitUnreachable},
		{"not allowed", []error{os.ErrPermission}, 1, exitDenied},
		{"stopping", []error{watchdog.ErrStopping}, 1, exitLater},
		{"failed", []error{refused}, 1, exitFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := &script{errs: tt.errs}
			told := 0
			_, err := submit(t.Context(), s, watchdog.Command{ID: "cli-1"}, func() { told++ })
			if told != tt.calls-1 {
				t.Errorf("told %d times that it is given once more, with %d calls", told, tt.calls)
			}
			if err != nil && strings.Count(err.Error(), web.ErrUnsure.Error()) > 1 {
				t.Errorf("it says it twice: %v", err)
			}
			code := exitDone
			if f, ok := errors.AsType[*failure](overSocket(err)); ok {
				code = f.code
			}
			if code != tt.code || len(s.ids) != tt.calls {
				t.Errorf("code %d after %d calls, want %d after %d: %v", code, len(s.ids), tt.code, tt.calls, err)
			}
			for _, id := range s.ids {
				if id != "cli-1" {
					t.Errorf("asked again under another id: %s", id)
				}
			}
		})
	}
}

// What is suggested can be pasted: it reaches the same edgewatch.
func TestSuggestionsReachTheSameEdgewatch(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 22, 12, 0, 30, 0, time.UTC)
	for given, want := range map[string]string{
		"":                            "edgewatch deny REASON… -f contoso\n",
		"--socket /tmp/it.sock":       "edgewatch deny REASON… -f contoso --socket /tmp/it.sock\n",
		"-c my.yaml":                  "edgewatch deny REASON… -f contoso -c my.yaml\n",
		"-c my.yaml --socket it.sock": "edgewatch deny REASON… -f contoso --socket it.sock -c my.yaml\n",
		"-c=it's(here).yaml":          `edgewatch deny REASON… -f contoso -c 'it'\''s(here).yaml'` + "\n",
	} {
		var b strings.Builder
		tool := &tool{out: &b}
		cmd := &cobra.Command{}
		r := remoteFlags(cmd)
		if err := cmd.ParseFlags(strings.Fields(given)); err != nil {
			t.Fatal(err)
		}
		tool.reach = r.reach()
		tool.printStatus(asked(now), now)
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q: no %q in\n%s", given, want, b.String())
		}
	}
}

// TestUptimeAddsUp: what was watched is no less than what was found then.
func TestUptimeAddsUp(t *testing.T) {
	u := watchdog.Uptime{Window: 24 * time.Hour, Up: 29 * time.Second, Down: 90 * time.Second}
	if got, want := uptimeCell(u).text, "24.36 %, 1m30s down, 1m59s watched"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
