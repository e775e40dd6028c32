package actionstest

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func frame(body string) string { return frameHead + body + frameTail }

func TestScriptsAreRecognised(t *testing.T) {
	got, err := parseScript(frame("$r.module=@(EwModule 'SkypeForBusiness','Lync')\n" +
		"$null=@(Get-CsSite -Identity 'O''Brien’’s; site'|EwStill 'XmppFederationRoute' '')\n" +
		"$null=@(Set-CsSite -Identity 'x' -Force -Confirm:$false)\n" +
		"$r.p=@(Get-Command -Name 'Set-CsSite'|ForEach-Object{$_.Parameters.Keys})\n" +
		"$r.s=@(Get-CsService -EdgeServer|EwPick 'Identity','PoolFqdn')\n"))
	if err != nil {
		t.Fatal(err)
	}
	args := func(kv ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(kv); i += 2 {
			m[kv[i]] = kv[i+1]
		}
		return m
	}
	want := []statement{
		{into: "module", call: invocation{cmdlet: "EwModule", bare: []string{"SkypeForBusiness", "Lync"}, args: args(), named: args()}},
		{call: invocation{cmdlet: "Get-CsSite", args: args("identity", "O'Brien’s; site"), named: args("Identity", "O'Brien’s; site")}, stage: "still", with: []string{"XmppFederationRoute", ""}},
		{call: invocation{cmdlet: "Set-CsSite", args: args("identity", "x", "force", "true", "confirm", "false"), named: args("Identity", "x", "Force", "true", "Confirm", "false")}},
		{into: "p", call: invocation{cmdlet: "Get-Command", args: args("name", "Set-CsSite"), named: args("Name", "Set-CsSite")}, stage: "each", with: []string{"Parameters.Keys"}},
		{into: "s", call: invocation{cmdlet: "Get-CsService", args: args("edgeserver", "true"), named: args("EdgeServer", "true")}, stage: "pick", with: []string{"Identity", "PoolFqdn"}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(statement{}, invocation{})); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsNotKnownIsRefused(t *testing.T) {
	for _, text := range []string{
		"Get-CsSite",
		strings.Replace(frame(""), "'Stop'", "'Continue'", 1),
		frame("Get-CsSite\n"),
		frame("$r.x=@(Get-CsSite)"),
		frame("$r.x=@(Get-CsSite;Stop-Computer)\n"),
		frame("$r.x=@(Get-CsSite -Identity $y)\n"),
		frame("$r.x=@(Get-CsSite -Identity \"y\")\n"),
		frame("$r.x=@(Get-CsSite -Identity 'a)\n"),
		frame("$r.x=@(Get-CsSite -Identity 'a' -identity 'b')\n"),
		frame("$r.x=@(Get-CsSite|Where-Object{$_.X})\n"),
		frame("$r.=@(Get-CsSite)\n"),
	} {
		if s, err := parseScript(text); err == nil {
			t.Errorf("%.200q was taken for %+v", text, s)
		}
	}
}

func TestCommandLines(t *testing.T) {
	encoded := base64.StdEncoding.EncodeToString(utf16le("x–y"))
	for line, want := range map[string]string{
		"powershell.exe -NoProfile -NonInteractive -EncodedCommand " + encoded: "x–y",
		"PowerShell -noninteractive -noprofile -encodedcommand " + encoded:     "x–y",
		"powershell.exe -NonInteractive -EncodedCommand " + encoded:            "",
		"powershell.exe -NoProfile -NonInteractive -EncodedCommand !!":         "",
		"powershell.exe -NoProfile -NonInteractive -Command x":                 "",
		"cmd /c dir": "",
		"":           "",
	} {
		got, err := decodeCommand(line)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("decodeCommand(%q) = %q, %v", line, got, err)
		}
	}
}

func TestEstateStartsRunning(t *testing.T) {
	e := NewEstate([]Site{{ID: "1", Name: "Site1"}}, []Pool{{FQDN: "p", Site: "Site1", Servers: []string{"Edge1.contoso.com"}}}, nil, Hooks{})
	if !e.Running("edge1.CONTOSO.com") {
		t.Error("a new Edge Server does not run")
	}
	if e.Running("other") {
		t.Error("a server that is not there runs")
	}
	if err := e.SetServices("other", "Stopped"); err == nil {
		t.Error("services of no server were set")
	}
	if err := e.SetRoute("Site9", ""); err == nil {
		t.Error("the route of no site was set")
	}
}

func TestHooksAreCalledWithoutLocks(t *testing.T) {
	var e *Estate
	seen := make(chan string, 3)
	e = NewEstate([]Site{{ID: "1", Name: "Site1"}}, []Pool{{FQDN: "pool1", Site: "Site1", Servers: []string{"edge1"}}}, []string{"fe1"}, Hooks{
		OnStop:  func(s string) { seen <- "stop " + s + " " + e.Services(s)[0].Status },
		OnStart: func(s string) { seen <- "start " + s + " " + e.Services(s)[0].Status },
		OnRoute: func(site, value string) { seen <- "route " + site + " " + value + " " + e.Route(site) },
	})
	e.Set(func(k *Knobs) { k.Settle = time.Hour })
	for _, c := range []struct {
		host string
		in   invocation
	}{
		{"edge1", invocation{cmdlet: "Stop-CsWindowsService"}},
		{"edge1", invocation{cmdlet: "Start-CsWindowsService"}},
		{"fe1", invocation{cmdlet: "Set-CsSite", args: map[string]string{"identity": "Site1", "xmppfederationroute": "edge1", "force": "true", "confirm": "false"}}},
	} {
		if _, f := e.run(t.Context(), c.host, "u", c.in); f != nil {
			t.Fatalf("%s: %+v", c.in.cmdlet, f)
		}
	}
	want := []string{"stop edge1 StopPending", "start edge1 StartPending", "route Site1 EdgeServer:pool1 EdgeServer:pool1"}
	if diff := cmp.Diff(want, []string{<-seen, <-seen, <-seen}); diff != "" {
		t.Error(diff)
	}
}

// TestSealing holds both ends of the sealing together; that they are right is
// for independent clients to say.
func TestSealing(t *testing.T) {
	key := []byte("0123456789abcdef")
	var server, client acceptor
	if err := server.keys(ntlmSeal|ntlm128, key); err != nil {
		t.Fatal(err)
	}
	if err := client.keys(ntlmSeal|ntlm128, key); err != nil {
		t.Fatal(err)
	}
	client.in, client.out = client.out, client.in
	client.inKey, client.outKey = client.outKey, client.inKey
	for _, m := range []string{"", "one", strings.Repeat("two", 1000)} {
		body := client.seal([]byte(m))
		if got, err := server.unseal(body); err != nil || string(got) != m {
			t.Errorf("unsealed %q, %v", got, err)
		}
	}
	body := client.seal([]byte("three"))
	body[len(body)-len(boundary)-5] ^= 1
	if _, err := server.unseal(body); err == nil {
		t.Error("a changed message was accepted")
	}
}
