package winrm

import (
	"errors"
	"strings"
	"testing"

	"edgewatch/actions"
	"edgewatch/actions/actionstest"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

func TestQuote(t *testing.T) {
	for in, want := range map[string]string{
		"":                  `''`,
		"Site2":             `'Site2'`,
		"O'Brien":           `'O''Brien'`,
		`$(Stop-Computer)`:  `'$(Stop-Computer)'`,
		"a’;Stop-Computer‘": "'a’’;Stop-Computer‘‘'",
		"back`tick \"x\"":   "'back`tick \"x\"'",
	} {
		if got := quote(in); got != want {
			t.Errorf("quote(%q) = %s, want %s", in, got, want)
		}
	}
}

// hostile values must reach the cmdlet as they are, and nothing else must run.
var hostile = []string{
	"O'Brien", "'; Stop-CsWindowsService; '", "’; Stop-CsWindowsService; ’", "$(Stop-CsWindowsService)", "`'; Stop-CsWindowsService #",
	`"; Stop-CsWindowsService; "`, "a\nStop-CsWindowsService\n", "]]>", "' edgewatch>#", "}catch{", "Zürich – Süd", "日本", "\U0001f4a3", "a,b", "-Force", "@{}", "%PATH%", "&calc|more",
}

func TestHostileValuesStayData(t *testing.T) {
	e, _, c := manager(t)
	for _, v := range hostile {
		s := Script{Op: "Get-CsSite", Module: true, Calls: []Call{{Cmdlet: "Get-CsSite", Args: []Arg{Value("Identity", v)}, Into: "sites"}}}
		wantError(t, c.Run(t.Context(), s, nil), actions.Rejected, manageHost, "MissingItem")
		ran := e.Commands()
		if diff := cmp.Diff(map[string]string{"Identity": v}, ran[len(ran)-1].Args); diff != "" {
			t.Errorf("%q: %s", v, diff)
		}
	}
	if n := len(e.Commands("Stop-CsWindowsService")); n > 0 {
		t.Errorf("a value ran Stop-CsWindowsService %d times", n)
	}
}

func TestAnyValueStaysOneLiteral(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := rapid.String().Draw(t, "value")
		q := []rune(quote(v))
		if q[0] != '\'' || q[len(q)-1] != '\'' {
			t.Fatalf("%q is not quoted", string(q))
		}
		inner := string(q[1 : len(q)-1])
		for _, quote := range []string{"'", "\u2018", "\u2019", "\u201a", "\u201b"} {
			inner = strings.ReplaceAll(inner, quote+quote, "")
		}
		if strings.ContainsAny(inner, "'\u2018\u2019\u201a\u201b") {
			t.Fatalf("%q ends early", string(q))
		}
	})
}

func TestNamesAreNeverData(t *testing.T) {
	for _, c := range []Call{
		{Cmdlet: "Get-CsSite; Stop-Computer"},
		{Cmdlet: "Get-CsSite", Args: []Arg{Value("Identity 'x'; Stop-Computer", "y")}},
		{Cmdlet: "Get-CsSite", Args: []Arg{Switch("$(x)")}},
		{Cmdlet: "Get-CsSite", Into: "a b"},
		{Cmdlet: "Get-CsSite", Pick: []string{"a'b"}},
		{Cmdlet: "Get-CsSite", Each: "a}b"},
	} {
		if _, err := (Script{Calls: []Call{c}}).commandLine(ModuleAuto); err == nil {
			t.Errorf("%+v was rendered", c)
		}
	}
}

// shipped are all scripts of the product, for the longest names that DNS
// allows.
func shipped(t *testing.T) map[string]Script {
	t.Helper()
	label := strings.Repeat("w", 63) + "."
	long := strings.Repeat(label, 3) + strings.Repeat("w", 61)
	if len(long) != 253 {
		t.Fatalf("the longest name has %d characters", len(long))
	}
	r := Route{Site: strings.Repeat("S", 64), PoolFQDN: long, ServerFQDN: long}
	c, err := New(Options{Host: long, User: "u", Password: actions.NewSecret("p")})
	if err != nil {
		t.Fatal(err)
	}
	m := &management{c, r}
	set := NewSetRoute(c, r)
	rep := &replication{c: c, replicas: []string{long}}
	return map[string]Script{
		"services": getServices(),
		"stop":     (&power{c, "Stop-CsWindowsService", stopped}).script(),
		"start":    (&power{c, "Start-CsWindowsService", running}).script(),
		"local":    m.local(), "store": m.store(), "pool": m.pool(),
		"read":   set.read(),
		"check":  set.look(),
		"write":  set.write(parameterPages, "EdgeServer:"+long, "EdgeServer:"+long),
		"status": rep.status(),
		"invoke": rep.tell(long),
	}
}

func TestEveryShippedScriptFitsTheCommandLine(t *testing.T) {
	for name, s := range shipped(t) {
		line, err := s.commandLine(strings.Repeat("M", 64))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		t.Logf("%s: %d characters", name, len(line))
		if !strings.HasPrefix(line, "powershell.exe -NoProfile -NonInteractive -EncodedCommand ") {
			t.Errorf("%s starts %.60q", name, line)
		}
		if strings.ContainsAny(line, "]\"%&|<>^") {
			t.Errorf("%s: cmd.exe or CDATA would change %q", name, line)
		}
	}
}

func TestTooLongACommandIsRejectedBeforeAnythingIsSent(t *testing.T) {
	_, w, c := manager(t)
	s := Script{Op: "Get-CsSite", Calls: []Call{{Cmdlet: "Get-CsSite", Args: []Arg{Value("Identity", strings.Repeat("x", 4000))}}}}
	err := c.Run(t.Context(), s, nil)
	wantError(t, err, actions.Rejected, manageHost, "too long", "shorten")
	if !errors.Is(err, errTooLong) {
		t.Errorf("error is %v", err)
	}
	if _, ever := w.Conns(); ever > 0 {
		t.Error("a connection was made")
	}
}

func TestPreviewsAreWhatAnOperatorTypes(t *testing.T) {
	c, err := New(Options{Host: edgeHost, User: "u", Password: actions.NewSecret("p")})
	if err != nil {
		t.Fatal(err)
	}
	r := Route{Site: "Site:Site2", PoolFQDN: "edgepool2.contoso.com", ServerFQDN: "edge2.contoso.com"}
	with := func(parameter, value string) Route { r := r; r.Parameter, r.Value = parameter, value; return r }
	for _, tc := range []struct {
		name string
		task actions.Task
		want []string
	}{
		{"stop", NewStopServices(c), []string{`Stop-CsWindowsService`}},
		{"start", NewStartServices(c), []string{`Start-CsWindowsService`}},
		{"ready", NewReady(c, ""), []string{`Get-CsWindowsService`}},
		{"route", NewSetRoute(c, r), []string{
			`Set-CsSite -Identity "Site2" -XmppExternalFederationRoute "edge2.contoso.com" -Force -Confirm:$false`,
			`# or, where that is the parameter that Set-CsSite has:`,
			`Set-CsSite -Identity "Site2" -XmppFederationRoute "EdgeServer:edgepool2.contoso.com" -Force -Confirm:$false`,
		}},
		{"route by the reference", NewSetRoute(c, with(parameterReference, "")), []string{`Set-CsSite -Identity "Site2" -XmppFederationRoute "EdgeServer:edgepool2.contoso.com" -Force -Confirm:$false`}},
		{"route with pinned value", NewSetRoute(c, with("", "it's $x")), []string{`Set-CsSite -Identity "Site2" -XmppExternalFederationRoute 'it''s $x' -Force -Confirm:$false`}},
		{"replication", NewReplication(c, []string{"edge2.contoso.com"}, 0, nil), []string{`Get-CsManagementStoreReplicationStatus`, `Invoke-CsManagementStoreReplication -ReplicaFqdn "edge2.contoso.com"`}},
		{"management", NewManagement(c, r), []string{`Get-Command -Name "Set-CsSite"`, `Get-CsManagementStoreReplicationStatus -CentralManagementStoreStatus`, `Get-CsSite`, `Get-CsService -EdgeServer`, `Get-CsPool -Identity "edgepool2.contoso.com"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tc.task.Preview()); diff != "" {
				t.Error(diff)
			}
			if tc.task.Target() != edgeHost {
				t.Errorf("target is %s", tc.task.Target())
			}
		})
	}
}

func TestAnswerSurvivesAnyChunking(t *testing.T) {
	e := newEstate()
	if err := e.SetRoute("Site2", "EdgeServer:zürich–süd.contoso.com"); err != nil {
		t.Fatal(err)
	}
	c := dial(t, listen(t, manageHost, e, actionstest.WinRMOptions{Chunk: 7}), nil)
	var have topology
	if err := c.Run(t.Context(), NewSetRoute(c, Route{}).look(), &have); err != nil {
		t.Fatal(err)
	}
	want := []site{{"Site:Site1", "EdgeServer:edgepool1.contoso.com"}, {"Site:Site2", "EdgeServer:zürich–süd.contoso.com"}}
	if diff := cmp.Diff(want, have.Sites); diff != "" {
		t.Error(diff)
	}
}

// TestWhatPowerShellMayPrint runs the answer's reader over what a host prints
// that is not the plain answer.
func TestWhatPowerShellMayPrint(t *testing.T) {
	const good = `#<edgewatch {"now":"2026-11-22T12:00:00.0000000Z"} edgewatch>#`
	for _, tc := range []struct {
		name string
		out  actionstest.Output
		want actions.Kind
		says string // "" is success
	}{
		{"banner, BOM and progress around it", actionstest.Output{Stdout: "\ufeffWelcome!\r\nWARNUNG: x\r\n" + good + "\r\nbye"}, 0, ""},
		{"died with CLIXML", actionstest.Output{Stderr: actionstest.CLIXML("Zugriff verweigert"), Exit: 1}, actions.Indeterminate, `exit code 1: "Zugriff verweigert"`},
		{"no PowerShell", actionstest.Output{Stderr: "'powershell.exe' is not recognized\r\n", Exit: 9009}, actions.Indeterminate, "exit code 9009"},
		{"nothing and success", actionstest.Output{}, actions.Indeterminate, "exit code 0"},
		{"answer breaks off", actionstest.Output{Stdout: good[:30]}, actions.Indeterminate, "without an answer"},
		{"answer is no JSON", actionstest.Output{Stdout: "#<edgewatch {x} edgewatch>#"}, actions.Indeterminate, "not what the script prints"},
		{"answer and a bad exit code", actionstest.Output{Stdout: good, Exit: -1073741510}, actions.Indeterminate, "exit code -1073741510"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := listen(t, edgeHost, newEstate(), actionstest.WinRMOptions{Command: func(string) (actionstest.Output, bool) { return tc.out, true }})
			err := dial(t, w, nil).Run(t.Context(), stop, nil)
			if tc.says == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantError(t, err, tc.want, edgeHost, tc.says)
		})
	}
}

func TestCLIXML(t *testing.T) {
	for _, tc := range []struct{ in, want string }{
		{actionstest.CLIXML("Zugriff verweigert <x>"), "Zugriff verweigert <x>\r\n"},
		{"plain text", "plain text"},
		{"", ""},
		{"before" + "#< CLIXML\r\n<Objs><S S=\"Error\">a_x000D__x000A_b</S><S S=\"verbose\">no</S></Objs>", "beforea\r\nb"},
		{"#< CLIXML\r\n<Objs><S S=\"Error\">emoji _xD83D__xDCA3_</S></Objs>", "emoji \U0001f4a3"},
		{"#< CLIXML\r\n<Objs><S S=\"Error\">cut of", ""},
		{"#< CLIXML\r\n", "#< CLIXML\r\n"},
	} {
		if got := plainError(tc.in); got != tc.want {
			t.Errorf("plainError(%q) = %q, want %q", tc.in, got, tc.want)
		}
	}
}

func FuzzParseEnvelope(f *testing.F) {
	f.Add([]byte(`<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body/></s:Envelope>`))
	f.Add([]byte(strings.Repeat("<a>", 100)))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		env, err := parseEnvelope(raw)
		if err != nil {
			return
		}
		_ = env.fault(500)
		for _, a := range []string{actionCreate, actionCommand, actionReceive} {
			_, _ = env.answer(a)
		}
	})
}
