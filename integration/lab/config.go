package lab

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"text/template"
	"time"

	"edgewatch/watchdog"
)

// Timing is the part of the configuration that makes a lab fast or slow. A
// zero field is that of Fast.
type Timing struct {
	Interval          time.Duration // between rounds
	SuspectInterval   time.Duration // between rounds while a pool looks bad
	ProbeTimeout      time.Duration
	BadRounds         int
	MinBadTime        time.Duration
	StartupGrace      time.Duration
	Cooldown          time.Duration
	ReadinessInterval time.Duration
	Step              time.Duration // limit of every step
	Window            time.Duration // of the share of bad rounds
	Approval          time.Duration // how long a person is waited for in mode approve
	StableFor         time.Duration // how long a pool must have been back before a failback
}

// Fast is as fast as a configuration may be.
func Fast() Timing {
	return Timing{
		Interval: time.Second, SuspectInterval: 500 * time.Millisecond, ProbeTimeout: 500 * time.Millisecond,
		BadRounds: 2, MinBadTime: 500 * time.Millisecond, StartupGrace: 500 * time.Millisecond,
		Cooldown: 30 * time.Minute, ReadinessInterval: 10 * time.Second, Step: 30 * time.Second,
		Window: 5 * time.Minute, Approval: 15 * time.Minute, StableFor: 4 * time.Second,
	}
}

func (t *Timing) setDefaults() {
	fast := Fast()
	for p, d := range map[*time.Duration]time.Duration{
		&t.Interval: fast.Interval, &t.SuspectInterval: fast.SuspectInterval, &t.ProbeTimeout: fast.ProbeTimeout,
		&t.MinBadTime: fast.MinBadTime, &t.StartupGrace: fast.StartupGrace, &t.Cooldown: fast.Cooldown,
		&t.ReadinessInterval: fast.ReadinessInterval, &t.Step: fast.Step,
		&t.Window: fast.Window, &t.Approval: fast.Approval, &t.StableFor: fast.StableFor,
	} {
		if *p == 0 {
			*p = d
		}
	}
	if t.BadRounds == 0 {
		t.BadRounds = fast.BadRounds
	}
}

// Files are the files of a lab, all below its directory.
type Files struct {
	Config string
	State  string
	Socket string

	Witness string // configuration of the witness; there is none without Options.Witness
	CA      string // of all certificates, as PEM
	Cert    string // of the XMPP servers, for every domain
	Key     string
}

func filesIn(dir string) Files {
	return Files{
		Witness: filepath.Join(dir, "witness.yaml"),
		Config:  filepath.Join(dir, "edgewatch.yaml"), State: filepath.Join(dir, "edgewatch.db"), Socket: filepath.Join(dir, "api.sock"),
		CA: filepath.Join(dir, "ca.pem"), Cert: filepath.Join(dir, "xmpp.pem"), Key: filepath.Join(dir, "xmpp-key.pem"),
	}
}

// account is a WinRM account, and slackApp a Slack app, of the lab.
const (
	perimeterUser     = "edgewatch"
	internalUser      = `CONTOSO\svc-edgewatch`
	perimeterPassword = "lab-perimeter-1"
	internalPassword  = "lab-internal-1"
	botToken          = "xoxb-lab"
	appToken          = "xapp-lab"
)

// The Slack workspace of every lab.
const (
	Channel  = "C0EDGE"
	Operator = "U0ANNA" // may give commands
)

// settings is what the configuration file is made of.
type settings struct {
	Files
	Timing
	Mode       watchdog.Mode
	Federation string
	Domain     string
	Record     string
	Port       uint16
	Health     string
	WitnessAt  string // where the witness answers; empty without one
	SlackURL   string
	Pools      []poolSettings
	Canaries   []netip.AddrPort
	DNS        NameServers
	Management hostSettings
	Perimeter  string
	Internal   string
}

type poolSettings struct {
	Pool
	Hosts []hostSettings
}

type hostSettings struct {
	FQDN string
	Addr string
}

var inMS = template.FuncMap{
	"ms": func(d time.Duration) string { return fmt.Sprintf("%dms", d.Milliseconds()) },
}

var configFile = template.Must(template.New("config").Funcs(inMS).Parse(`# written by the lab
state: {{.State}}
socket: {{.Socket}}
listen:
  health: "{{.Health}}"
log:
  level: debug
  format: json
slack:
  api_url: {{.SlackURL}}
  app_token_file: secrets/slack-app-token
  bot_token_file: secrets/slack-bot-token
  channel: ` + Channel + `
  users: [` + Operator + `]
federations:
  - name: {{.Federation}}
    mode: {{.Mode}}
    domains: [{{.Domain}}]
    port: {{.Port}}
    probe:
      from: probe.{{.Domain}}
      interval: {{ms .Interval}}
      suspect_interval: {{ms .SuspectInterval}}
      timeout: {{ms .ProbeTimeout}}
      ca_file: {{.CA}}
    breaker:
      bad_rounds: {{.BadRounds}}
      min_bad_time: {{ms .MinBadTime}}
      window: {{ms .Window}}
      good_rounds: 2
      min_good_time: {{ms .MinBadTime}}
      retry_after: 1s
    guards:
      cooldown: {{ms .Cooldown}}
      readiness_interval: {{ms .ReadinessInterval}}
      startup_grace: {{ms .StartupGrace}}
      budget: 10
    approval:
      timeout: {{ms .Approval}}
      then: hold
    failback:
      stable_for: {{ms .StableFor}}
    canaries:
      targets: [{{range $i, $c := .Canaries}}{{if $i}}, {{end}}"{{$c}}"{{end}}]
      timeout: {{ms .ProbeTimeout}}
{{- if .WitnessAt}}
    witnesses:
      urls: ["http://{{.WitnessAt}}"]
      timeout: {{ms .ProbeTimeout}}
{{- end}}
    dns:
      record: {{.Record}}
      ttl: 5s
      zones:
        - name: {{.Domain}}
          server: "{{.DNS.Primary}}"
          authoritative: [{{range $i, $a := .DNS.Authoritative}}{{if $i}}, {{end}}"{{$a}}"{{end}}]
          tsig:
            name: {{.DNS.Key.Name}}
            algorithm: {{.DNS.Key.Algorithm}}
            secret_file: secrets/tsig-key
          timeout: 2s
    management:
      host: {{.Management.FQDN}}
      winrm:
        addr: "{{.Management.Addr}}"
        credential: internal
    winrm:
      auth: ntlm
      credential: perimeter
      ca_file: {{.CA}}
      timeout: 5s
    credentials:
      perimeter:
        user: {{.Perimeter}}
        password_file: secrets/perimeter-password
      internal:
        user: {{.Internal}}
        password_file: secrets/internal-password
    pools:
{{- range .Pools}}
      - name: {{.Name}}
        site: {{.Site}}
        fqdn: {{.FQDN}}
        route:
          server: {{(index .Servers 0).FQDN}}
        addresses: [{{range $i, $s := .Servers}}{{if $i}}, {{end}}{{$s.XMPP.Addr}}{{end}}]
        servers:
{{- range .Hosts}}
          - fqdn: {{.FQDN}}
            winrm:
              addr: "{{.Addr}}"
{{- end}}
{{- end}}
    timeouts:
      preflight: {{ms .Step}}
      stop_services: {{ms .Step}}
      set_route: {{ms .Step}}
      dns_records: {{ms .Step}}
      check_port: {{ms .Step}}
      start_services: {{ms .Step}}
      verify: {{ms .Step}}
      failover: 5m
`))

// witnessFile is the configuration of another edgewatch that only watches.
var witnessFile = template.Must(template.New("witness").Funcs(inMS).Parse(`# written by the lab
state: {{.Files.Witness}}.db
socket: ""
listen:
  health: "{{.WitnessAt}}"
log:
  format: json
federations:
  - name: {{.Federation}}
    mode: observe
    domains: [{{.Domain}}]
    port: {{.Port}}
    probe:
      from: witness.{{.Domain}}
      interval: {{ms .Interval}}
      suspect_interval: {{ms .SuspectInterval}}
      timeout: {{ms .ProbeTimeout}}
      ca_file: {{.CA}}
    canaries:
      targets: [{{range $i, $c := .Canaries}}{{if $i}}, {{end}}"{{$c}}"{{end}}]
      timeout: {{ms .ProbeTimeout}}
    pools:
{{- range .Pools}}
      - name: {{.Name}}
        addresses: [{{range $i, $s := .Servers}}{{if $i}}, {{end}}{{$s.XMPP.Addr}}{{end}}]
{{- end}}
`))

// write puts the configuration and the secrets it names into dir.
func (s *settings) write(dir string) error {
	secrets := filepath.Join(dir, "secrets")
	if err := os.MkdirAll(secrets, 0o700); err != nil {
		return fmt.Errorf("make the secrets' directory: %w", err)
	}
	for name, value := range map[string]string{
		"slack-app-token": appToken, "slack-bot-token": botToken, "tsig-key": s.DNS.Key.Secret,
		"perimeter-password": perimeterPassword, "internal-password": internalPassword,
	} {
		if err := os.WriteFile(filepath.Join(secrets, name), []byte(value+"\n"), 0o600); err != nil {
			return fmt.Errorf("write a secret: %w", err)
		}
	}
	if s.WitnessAt != "" {
		if err := s.render(witnessFile, s.Witness); err != nil {
			return err
		}
	}
	return s.render(configFile, s.Config)
}

// render writes one configuration.
func (s *settings) render(text *template.Template, file string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	if err := text.Execute(f, s); err != nil {
		f.Close()
		return fmt.Errorf("write the configuration: %w", err)
	}
	return f.Close()
}
