//go:build integration && linux

package integration

import (
	"encoding/base64"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"edgewatch/actions/actionstest"
	"edgewatch/integration/lab"
	"edgewatch/watchdog"
)

// ownXMPP keeps the XMPP of the pools in this process, for tests that are
// about something else.
func ownXMPP(o *lab.Options) { o.XMPP = nil }

// TestRefusesToStart holds that what edgewatch cannot work with ends its
// start with one error that names the thing and what to do, and a non-zero
// exit code.
func TestRefusesToStart(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(yaml string) string
		prep func(t *testing.T, e *estate)
		want []string
	}{
		{name: "unknown key", edit: replace("    mode:", "    mood:"),
			want: []string{"edgewatch.yaml", "mood", "mode"}},
		{name: "bad value", edit: replace("bad_rounds: 2", "bad_rounds: many"),
			want: []string{"edgewatch.yaml", "bad_rounds", "whole number"}},
		{name: "no YAML", edit: func(string) string { return "\tfederations: [" },
			want: []string{"edgewatch.yaml"}},
		{name: "secret missing",
			prep: func(t *testing.T, e *estate) { must(t, os.Remove(e.secret("tsig-key"))) },
			want: []string{"tsig-key", "secret_file"}},
		{name: "secret for everybody",
			prep: func(t *testing.T, e *estate) { must(t, os.Chmod(e.secret("slack-bot-token"), 0o666)) },
			want: []string{"slack-bot-token", "chmod"}},
		{name: "state is garbage",
			prep: func(t *testing.T, e *estate) {
				must(t, os.WriteFile(e.Files.State, []byte(strings.Repeat("no database ", 1000)), 0o600))
			},
			want: []string{"edgewatch.db", "not a database"}},
		{name: "state is a folder",
			prep: func(t *testing.T, e *estate) { must(t, os.Mkdir(e.Files.State, 0o700)) },
			want: []string{"edgewatch.db"}},
		{name: "state folder missing", edit: replace("edgewatch.db", "missing/edgewatch.db"),
			want: []string{"missing"}},
		{name: "port taken", prep: func(t *testing.T, e *estate) {
			l, err := net.Listen("tcp", strings.TrimPrefix(e.HealthURL, "http://"))
			must(t, err)
			t.Cleanup(func() { l.Close() })
		}, want: []string{"listen.health", "in use"}},
		{name: "disk full", prep: fullDisk, want: []string{"edgewatch.db", "free space"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := newEstate(t, func(o *lab.Options) { ownXMPP(o); o.Edit = tt.edit })
			if tt.prep != nil {
				tt.prep(t, e)
			}
			e.wantRefusal(e.run(), tt.want...)
		})
	}
}

// TestSecondInstance holds that a second edgewatch on the same state ends at
// once, and the first does not care.
func TestSecondInstance(t *testing.T) {
	e := newEstate(t, ownXMPP)
	e.start()
	second, err := startProcess("the second edgewatch", nil, edgewatchBinary(t), "run", "--config", e.Files.Config)
	if err != nil {
		t.Fatal(err)
	}
	e.wantRefusal(second, "another edgewatch", "edgewatch.db")
	e.mustKill("EdgePool1")
	e.awaitRestored("EdgePool2")
}

// wantRefusal waits for the end of a process that cannot start.
func (e *estate) wantRefusal(p *process, words ...string) {
	e.t.Helper()
	select {
	case <-p.done:
	case <-e.ctx.Done():
		e.t.Fatalf("edgewatch neither ends nor complains:\n%s", p.out)
	}
	out := p.out.String()
	if p.cmd.ProcessState.ExitCode() <= 0 {
		e.t.Errorf("it ended with %v, want an exit code above 0", p.cmd.ProcessState)
	}
	if !mentions(out, append(words, "nothing was started")...) {
		e.t.Errorf("the error does not name all of %q:\n%s", words, out)
	}
	if strings.Contains(out, "goroutine ") || strings.Count(out, "nothing was started") > 1 {
		e.t.Errorf("more than one clear error:\n%s", out)
	}
	for _, secret := range []string{"lab-perimeter", "lab-internal", "xoxb-", "xapp-"} {
		if strings.Contains(out, secret+"1") || strings.Contains(out, secret+"lab") {
			e.t.Errorf("a secret shows:\n%s", out)
		}
	}
}

// TestCannotTakeOver breaks what a failover needs. Edgewatch finds out before
// it is needed, and when it is, it holds, touches nothing and names the host
// and the trouble.
func TestCannotTakeOver(t *testing.T) {
	for _, tt := range []struct {
		name  string
		wreck func(t *testing.T, e *estate)
		want  []string
	}{
		{"Windows host off", func(t *testing.T, e *estate) { e.mustKill("EdgeServer2") },
			[]string{"edgeserver2.contoso.local", "refused"}},
		{"Windows host resets", func(_ *testing.T, e *estate) {
			e.Host("edgeserver2.contoso.local").Inject(actionstest.Fault{Kind: actionstest.Reset, On: "Create"})
		}, []string{"edgeserver2.contoso.local"}},
		{"wrong password", func(_ *testing.T, e *estate) { e.Host("edgeserver2.contoso.local").SetPassword("changed yesterday") },
			[]string{"edgeserver2.contoso.local", "password"}},
		{"management host off", func(t *testing.T, e *estate) { must(t, e.Host("fe1.contoso.local").Close()) },
			[]string{"fe1.contoso.local", "refused"}},
		{"wrong password of the management host", func(_ *testing.T, e *estate) { e.Host("fe1.contoso.local").SetPassword("changed yesterday") },
			[]string{"fe1.contoso.local", "password"}},
		{"store down", func(_ *testing.T, e *estate) {
			e.Windows.Set(func(k *actionstest.Knobs) { k.StoreDown = true })
		}, []string{"fe1.contoso.local", "Central Management"}},
		{"double hop", func(_ *testing.T, e *estate) {
			e.Windows.Set(func(k *actionstest.Knobs) { k.DoubleHop = true })
		}, []string{"fe1.contoso.local", "double hop"}},
		{"wrong key", func(t *testing.T, e *estate) {
			must(t, os.WriteFile(e.secret("tsig-key"), []byte(base64.StdEncoding.EncodeToString([]byte("some other key of 32 characters.."))), 0o600))
		}, []string{"contoso.test", "edgewatch-key"}},
		{"update refused", func(_ *testing.T, e *estate) { e.DNS.FailUpdates(actionstest.DNSRefuse) },
			[]string{"contoso.test", "REFUSED"}},
		{"update unsigned", func(_ *testing.T, e *estate) { e.DNS.FailUpdates(actionstest.DNSUnsigned) },
			[]string{"contoso.test", "sign"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel() // they wait more than they work
			e := newEstate(t, ownXMPP)
			tt.wreck(t, e)
			p := e.run()
			var why string
			e.until("the other pool is found unable", func(s *watchdog.Snapshot) bool {
				if !p.running() {
					t.Fatalf("edgewatch ended: %v\n%s", p.err, p.out)
				}
				for _, pool := range s.Pools {
					if pool.Name == "EdgePool2" {
						why = pool.Readiness.Why
					}
				}
				return why != ""
			})
			if !mentions(why, tt.want...) {
				t.Errorf("the readiness does not name all of %q: %s", tt.want, why)
			}
			e.mustKill("EdgePool1")
			hold := e.awaitHold(watchdog.GuardCandidate)
			if !mentions(hold.Sentence(), tt.want...) {
				t.Errorf("the decision does not name all of %q: %s", tt.want, hold.Sentence())
			}
			e.nothingMoved(2)
			if out, code := e.cli("why"); code != 0 || !mentions(out, tt.want[0]) {
				t.Errorf("why (exit code %d) does not name %s:\n%s", code, tt.want[0], out)
			}
		})
	}
}

func (e *estate) secret(name string) string {
	return filepath.Join(filepath.Dir(e.Files.Config), "secrets", name)
}

func replace(old, with string) func(string) string {
	return func(yaml string) string { return strings.Replace(yaml, old, with, 1) }
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fullDisk gives the state a disk with no room left.
func fullDisk(t *testing.T, e *estate) {
	fill(t, filepath.Join(smallDisk(t, e, "64k"), "filler"))
}
