package configs

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"edgewatch/watchdog"
)

// parseExample parses a shipped file with its secrets and certificates in a
// directory of the test.
func parseExample(t *testing.T, data []byte) *Config {
	t.Helper()
	dir := t.TempDir()
	certFile, keyFile := writePair(t, dir)
	for name, content := range map[string]string{
		"secrets/slack-app-token":    "xapp-1\n",
		"secrets/slack-bot-token":    "xoxb-1\n",
		"secrets/tsig-key":           "c2VjcmV0\n",
		"secrets/perimeter-password": "hunter2\n",
		"secrets/internal-password":  "hunter3\n",
		"ca/winrm.pem":               read(t, certFile),
		"ca/probe.pem":               read(t, certFile),
		"secrets/probe-key.pem":      read(t, keyFile),
	} {
		write(t, filepath.Join(dir, name), content)
	}
	c, err := Parse("example.yaml", data, Options{BaseDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.LoadSecrets(); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestExample: the long example works, in every mode, without a warning.
func TestExample(t *testing.T) {
	for _, mode := range []string{"observe", "approve", "auto"} {
		c := parseExample(t, []byte(strings.Replace(string(Example()), "mode: observe", "mode: "+mode, 1)))
		f := c.Federation("contoso")
		if f.Mode != watchdog.Mode(mode) || len(c.Warnings) > 0 || !f.CanAct() {
			t.Errorf("mode %s, CanAct %v, warnings %v", f.Mode, f.CanAct(), c.Warnings)
		}
		if got := f.Credentials["perimeter"].Password.Reveal(); got != "hunter2" {
			t.Errorf("password = %q", got)
		}
	}
}

// TestInstalledFolders: every folder whose files the long example names is made
// by the README's installation, which fills it too.
func TestInstalledFolders(t *testing.T) {
	readme := read(t, "../README.md")
	folders := regexp.MustCompile(`_file: ([a-z]+)/`).FindAllStringSubmatch(string(Example()), -1)
	if len(folders) == 0 {
		t.Fatal("the example names no files in folders")
	}
	for _, f := range folders {
		folder := regexp.MustCompile(`\n# install -d -m 07[05]0 -[og] edgewatch /etc/edgewatch/` + f[1] + ` `)
		files := regexp.MustCompile(`\n# install -m 0[46][04]0 -[og] edgewatch ` + f[1] + `/\* /etc/edgewatch/` + f[1] + `/ `)
		if !folder.MatchString(readme) || !files.MatchString(readme) {
			t.Errorf("the README installs no %s/, which the example names", f[1])
		}
	}
}

// TestMinimalExample: the short example works, and is told only what a
// failover would lack.
func TestMinimalExample(t *testing.T) {
	data, err := os.ReadFile("minimal.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(data), "\n"); n > 25 {
		t.Errorf("minimal.example.yaml has %d lines", n)
	}
	c := parseExample(t, data)
	if f := c.Federations[0]; f.Mode != watchdog.ModeObserve || f.CanAct() {
		t.Errorf("mode %s, CanAct %v", f.Mode, f.CanAct())
	}
	if len(c.Warnings) != 2 || !strings.Contains(c.Warnings[0].Message, "nobody is told") || !strings.Contains(c.Warnings[1].Message, "nothing can be failed over") {
		t.Errorf("warnings = %v", c.Warnings)
	}
}

// TestAggressiveExample: the aggressive profile works in every mode, detects a
// dead pool within ten seconds in the middle of what may be, closed or silent,
// and is told the one risk that it takes.
func TestAggressiveExample(t *testing.T) {
	text := read(t, "aggressive.example.yaml")
	for _, mode := range []string{"observe", "approve", "auto"} {
		c := parseExample(t, []byte(strings.Replace(text, "mode: observe", "mode: "+mode, 1)))
		f := c.Federation("contoso")
		if f.Mode != watchdog.Mode(mode) || !f.CanAct() {
			t.Errorf("mode %s, CanAct %v", f.Mode, f.CanAct())
		}
		if len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0].String(), "breaker.min_bad_time: 5s is short: a restart of the services takes longer") {
			t.Errorf("warnings = %v", c.Warnings)
		}
		closed, silent := f.detect()
		for _, d := range []watchdog.Detection{closed, silent} {
			if middle := (d.DeadMin + d.DeadMax) / 2; middle > 10*time.Second || d.Zombie == 0 || d.Zombie > 2*time.Minute {
				t.Errorf("detection %+v", d)
			}
		}
		if n := len(f.Canaries.Targets); n < 3 || f.Canaries.MinGood < 2 || f.Canaries.MinGood >= n {
			t.Errorf("%d of %d canaries", f.Canaries.MinGood, n)
		}
	}
}

// TestDetection: what config check says of the default settings, which are to
// detect a dead pool within 35 s in the middle of what may be.
func TestDetection(t *testing.T) {
	f := parseExample(t, Example()).Federation("contoso")
	closed, silent := f.detect()
	for _, d := range []watchdog.Detection{closed, silent} {
		if middle := (d.DeadMin + d.DeadMax) / 2; middle > 35*time.Second {
			t.Errorf("detection %+v", d)
		}
	}
	const want = "a dead pool counts as down after 20s to 33s when its port is closed, after 29s to 40s when it is silent; one that answers one time in three after at most "
	if got := f.Detection(); !strings.HasPrefix(got, want) {
		t.Errorf("%q, want %q…", got, want)
	}
	f.Breaker.Ratio = 0
	if got := f.Detection(); !strings.HasSuffix(got, "; one that answers one time in three may never") {
		t.Errorf("without the cumulative rule: %q", got)
	}
}

// TestExampleHasEveryKey: the long example shows every key, and for a key
// with a default and no reason to differ, the default.
func TestExampleHasEveryKey(t *testing.T) {
	text := string(Example())
	seen := map[reflect.Type]bool{}
	var check func(typ reflect.Type)
	check = func(typ reflect.Type) {
		for typ.Kind() == reflect.Pointer || typ.Kind() == reflect.Slice || typ.Kind() == reflect.Map {
			typ = typ.Elem()
		}
		if typ.Kind() != reflect.Struct || seen[typ] || typ.PkgPath() != reflect.TypeFor[Config]().PkgPath() {
			return
		}
		seen[typ] = true
		for field := range typ.Fields() {
			key := keyOf(field)
			if key == "" {
				continue
			}
			if !regexp.MustCompile(`(?m)^[ #-]*` + key + `:`).MatchString(text) {
				t.Errorf("%s (%s.%s) is not in edgewatch.example.yaml", key, typ.Name(), field.Name)
			}
			check(field.Type)
		}
	}
	check(reflect.TypeFor[Config]())

	shown := parseExample(t, Example())
	bare := &Config{src: shown.src}
	shown.src.defaults(reflect.ValueOf(bare).Elem())
	f := Federation{}
	shown.src.defaults(reflect.ValueOf(&f).Elem())
	got := shown.Federations[0]
	for _, pair := range [][2]any{
		{shown.State, bare.State}, {shown.Socket, bare.Socket}, {shown.Listen, bare.Listen}, {shown.Log, bare.Log},
		{got.Breaker, f.Breaker}, {got.Guards, f.Guards}, {got.Timeouts, f.Timeouts}, {got.DNS.SRV, f.DNS.SRV}, {got.DNS.TTL, f.DNS.TTL},
		{got.Probe.Interval, f.Probe.Interval}, {got.Probe.Timeout, f.Probe.Timeout}, {got.Probe.ExpiryWarning, f.Probe.ExpiryWarning},
	} {
		if diff := cmp.Diff(pair[1], pair[0]); diff != "" {
			t.Errorf("the example does not show the default (-default +example):\n%s", diff)
		}
	}
}

// TestShow: what Show prints holds no secret and means the same.
func TestShow(t *testing.T) {
	minimal := []byte(read(t, "minimal.example.yaml"))
	for name, data := range map[string][]byte{"example": Example(), "minimal": minimal} {
		t.Run(name, func(t *testing.T) {
			c := parseExample(t, data)
			shown, err := c.Show()
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range []string{"hunter", "c2VjcmV0", "xapp-1", "xoxb-1"} {
				if strings.Contains(string(shown), secret) {
					t.Errorf("%q shows in\n%s", secret, shown)
				}
			}
			if name == "example" && strings.Count(string(shown), "# <secret>") != 5 {
				t.Errorf("five secrets are not marked in\n%s", shown)
			}
			again, err := Parse("shown.yaml", shown, Options{})
			if err != nil {
				t.Fatalf("what Show printed is refused: %v\n%s", err, shown)
			}
			if err := again.LoadSecrets(); err != nil {
				t.Fatal(err)
			}
			opts := cmp.Options{cmpopts.IgnoreUnexported(Config{}), cmpopts.IgnoreFields(Config{}, "Warnings"), opaque(), cmpopts.EquateEmpty()}
			if diff := cmp.Diff(c, again, opts); diff != "" {
				t.Errorf("what Show printed means something else (-was +is):\n%s", diff)
			}
		})
	}
}

// TestUnit: the unit file goes with the configuration, and systemd, where
// there is one, finds it well closed.
func TestUnit(t *testing.T) {
	unit := read(t, "edgewatch.service")
	for _, line := range []string{"Type=notify", "WatchdogSec=30s", "Restart=always", "StateDirectory=edgewatch", "RuntimeDirectory=edgewatch"} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("there is no %s", line)
		}
	}
	if strings.Contains(unit, "\nPrivateUsers=") {
		t.Error("in a user namespace of its own edgewatch journals every order as nobody's")
	}
	var f Federation
	new(source).defaults(reflect.ValueOf(&f).Elem())
	stop := regexp.MustCompile(`\nTimeoutStopSec=([0-9]+m)in\n`).FindStringSubmatch(unit)
	if stop == nil {
		t.Fatal("there is no TimeoutStopSec in minutes")
	}
	d, err := ParseDuration(stop[1])
	if err != nil || d.Duration <= f.Timeouts.StartServices.Duration {
		t.Errorf("TimeoutStopSec %s, %v; services take %s to start", d, err, f.Timeouts.StartServices)
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		cannot(t, "no systemd-analyze here")
	}
	out, err := exec.CommandContext(t.Context(), analyze, "security", "--no-pager", "--offline=true", "--threshold=20", "./edgewatch.service").CombinedOutput()
	if err != nil {
		t.Errorf("systemd-analyze security: %v\n%s", err, out)
	}
}

// TestSlackManifest: the app that the manifest makes is the one the defaults
// expect, with no scope beyond those that are used.
func TestSlackManifest(t *testing.T) {
	var m struct {
		Features struct {
			SlashCommands []struct{ Command string } `yaml:"slash_commands"`
		}
		OAuth struct {
			Scopes struct{ Bot, User []string }
		} `yaml:"oauth_config"`
		Settings struct {
			SocketMode    bool `yaml:"socket_mode_enabled"`
			Interactivity struct {
				Enabled bool `yaml:"is_enabled"`
			}
		}
	}
	if err := yaml.Unmarshal([]byte(read(t, "slack-manifest.yaml")), &m); err != nil {
		t.Fatal(err)
	}
	var s Slack
	new(source).defaults(reflect.ValueOf(&s).Elem())
	if c := m.Features.SlashCommands; len(c) != 1 || c[0].Command != s.Command {
		t.Errorf("slash commands = %v, want %s", c, s.Command)
	}
	if !m.Settings.SocketMode || !m.Settings.Interactivity.Enabled {
		t.Errorf("settings = %+v", m.Settings)
	}
	slices.Sort(m.OAuth.Scopes.Bot)
	want := []string{"channels:history", "chat:write", "commands", "groups:history"}
	if diff := cmp.Diff(want, m.OAuth.Scopes.Bot); diff != "" || m.OAuth.Scopes.User != nil {
		t.Errorf("scopes (-want +got):\n%s user %v", diff, m.OAuth.Scopes.User)
	}
}

// cannot skips a test whose means are missing here; with CI=true it fails.
func cannot(t *testing.T, why ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why...)
	}
	t.Skip(why...)
}

// TestWitnessed: what config check says of witnesses, and of none.
func TestWitnessed(t *testing.T) {
	f := parseExample(t, Example()).Federation("contoso")
	for _, tt := range []struct {
		urls []string
		min  int
		want string
	}{
		{nil, 1, "no witness: a way to the active pool that is cut for this edgewatch alone looks like a dead pool (witnesses.urls names others to be asked)"},
		{[]string{"https://ew2.example"}, 1, "1 witness: 1 must see the active pool down too, and none may see it answering, for an automatic failover"},
		{[]string{"https://ew2.example", "https://ew3.example"}, 0, "2 witnesses: one that sees the active pool answering holds an automatic failover back"},
	} {
		f.Witnesses.URLs, f.Witnesses.MinDown = tt.urls, tt.min
		if got := f.Witnessed(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
