package configs

import (
	"net/netip"

	"edgewatch/actions"
	"edgewatch/watchdog"
)

// Listen says where edgewatch answers over the network.
type Listen struct {
	// Address of the HTTP listener for livez, readyz, load balancer checks and metrics. Empty switches it off.
	Health string `yaml:"health" default:":8081" check:"hostport"`
}

// History says how long edgewatch keeps what its rounds found, for uptime and
// for "edgelab replay". The journal is kept for ever.
type History struct {
	// How long recorded rounds are kept in the state file.
	Keep Duration `yaml:"keep" default:"400d" min:"1h"`
}

// Log says how edgewatch writes its log, which goes to standard error.
type Log struct {
	// Least severe level that is written.
	Level string `yaml:"level" default:"info" enum:"trace,debug,info,warn,error"`
	// Form of a line; auto is console on a terminal and json elsewhere.
	Format string `yaml:"format" default:"auto" enum:"auto,json,console"`
}

// Slack is where people are told and may command. It works over Socket Mode,
// so nothing of edgewatch has to be reachable from the Internet.
type Slack struct {
	// File with the app-level token (xapp-…, scope connections:write). Without the token Slack is told, and takes no commands.
	AppTokenFile string `yaml:"app_token_file,omitempty" check:"file"`
	// Environment variable with the app-level token.
	AppTokenEnv string `yaml:"app_token_env,omitempty" check:"env"`
	// AppToken is the app-level token once LoadSecrets has read it.
	AppToken actions.Secret `yaml:"-" secret:"app_token" optional:"true" prefix:"xapp-"`
	// File with the bot token (xoxb-…).
	BotTokenFile string `yaml:"bot_token_file,omitempty" check:"file"`
	// Environment variable with the bot token.
	BotTokenEnv string `yaml:"bot_token_env,omitempty" check:"env"`
	// BotToken is the bot token once LoadSecrets has read it.
	BotToken actions.Secret `yaml:"-" secret:"bot_token" prefix:"xoxb-"`
	// Id of the channel that incidents are posted to. An id, since names change.
	Channel string `yaml:"channel" required:"true" check:"slack:CG"`
	// Slash command as it is named in the Slack app.
	Command string `yaml:"command" default:"/edgewatch" check:"slash"`
	// Ids of the people who may give commands; nobody else may, not even such as only read.
	Users []string `yaml:"users" check:"slack:UW"`
	// Id of the workspace. Given, requests from any other are refused.
	Team string `yaml:"team,omitempty" check:"slack:T"`
	// Base URL of the Slack API, ending in a slash. Only for tests and proxies.
	APIURL string `yaml:"api_url,omitempty" check:"url"`
}

// Federation is one organization's XMPP federation: its domains, the Edge
// pools that can host it, and what edgewatch may do about them.
type Federation struct {
	// Short name in messages, metrics and commands. It stands in the journal: do not change it later.
	Name string `yaml:"name" required:"true" check:"name"`
	// How far edgewatch goes by itself: observe says what it would do, approve asks people, auto fails over.
	Mode watchdog.Mode `yaml:"mode" default:"observe" enum:"observe,approve,auto"`
	// SIP/XMPP domains that partners federate with.
	Domains []string `yaml:"domains" required:"true" check:"fqdn"`
	// Port partners connect to. Anything but 5269 is for labs and NAT.
	Port int `yaml:"port" default:"5269" min:"1" max:"65535"`
	// How pools are probed.
	Probe Probe `yaml:"probe"`
	// When bad rounds make a pool count as down.
	Breaker Breaker `yaml:"breaker"`
	// What keeps edgewatch from acting too early or too often.
	Guards Guards `yaml:"guards"`
	// How a person is asked in mode approve.
	Approval Approval `yaml:"approval"`
	// How federation returns to a preferred pool.
	Failback Failback `yaml:"failback"`
	// Hosts that show whether edgewatch itself is online.
	Canaries Canaries `yaml:"canaries"`
	// Other edgewatches that must see the active pool down too.
	Witnesses Witnesses `yaml:"witnesses"`
	// The records partners find the pools by, and how to change them.
	DNS DNS `yaml:"dns"`
	// Where Set-CsSite runs.
	Management Management `yaml:"management"`
	// WinRM settings that hold for every host of this federation unless the host says otherwise.
	WinRM WinRM `yaml:"winrm"`
	// Accounts for WinRM by name.
	Credentials map[string]Credential `yaml:"credentials,omitempty"`
	// Edge pools, in order of preference: the first normally hosts federation.
	Pools []Pool `yaml:"pools" required:"true"`
	// Time limits of the steps of a failover, retries included.
	Timeouts Timeouts `yaml:"timeouts"`
}

// Probe says how a pool's addresses are probed.
type Probe struct {
	// Domain the probe presents as its own ("from" of the stream). A stable name of yours that is none of the domains.
	From string `yaml:"from" required:"true" check:"fqdn"`
	// Time from one round to the next while all is well. The XMPP gateway limits the connections of a partner, so more often is not better; what looks bad is looked at sooner anyway.
	Interval Duration `yaml:"interval" default:"10s" min:"100ms"`
	// Time from one round to the next while a pool looks bad: it is known sooner, and bad_rounds fit into min_bad_time. It ends when the pool has answered for a while.
	SuspectInterval Duration `yaml:"suspect_interval" default:"2s" min:"100ms"`
	// Time limit of one probe. 5s: a stream to another continent opens within 2s, and a pool that takes longer is no use to its partners.
	Timeout Duration `yaml:"timeout" default:"5s" min:"100ms"`
	// CA certificates that the pools' certificates must chain to, as PEM. Empty: those of the system.
	CAFile string `yaml:"ca_file,omitempty" check:"file" pem:"ca"`
	// Client certificate as PEM, for pools that want one.
	ClientCertFile string `yaml:"client_cert_file,omitempty" check:"file" pem:"cert"`
	// Key of the client certificate as PEM.
	ClientKeyFile string `yaml:"client_key_file,omitempty" check:"file" pem:"key"`
	// Whether TLS and certificate trouble counts as down. A changed certificate would then move federation.
	TLSCountsAsDown bool `yaml:"tls_counts_as_down" default:"false"`
	// Whether a server that answers and turns the domain away (host-unknown, host-gone, see-other-host, system-shutdown) counts as down. A domain missing in one pool's configuration would then move federation.
	TurnedAwayCountsAsDown bool `yaml:"turned_away_counts_as_down" default:"false"`
	// How long before a certificate expires people are told.
	ExpiryWarning Duration `yaml:"expiry_warning" default:"14d"`
}

// Breaker says when a pool counts as down, and when as up again. A round
// counts as bad when no server of the pool answers, the fault is theirs and
// the canaries answer.
type Breaker struct {
	// Bad rounds in a row that trip the breaker. 5: one lost packet or one refused connection more or less decides nothing.
	BadRounds int `yaml:"bad_rounds" default:"5" min:"2" max:"1000"`
	// Shortest time over which they must be spread. 20s: a restart of the services or a reboot of a firewall is over by then, and a failover takes longer than it saves.
	MinBadTime Duration `yaml:"min_bad_time" default:"20s"`
	// Window of the cumulative rule, which catches a pool that answers now and then. 5m: long enough that one short outage fills no large share of it. When nothing could be said for so long, what was seen before is forgotten.
	Window Duration `yaml:"window" default:"5m" min:"1s"`
	// Share of bad rounds in the window that trips the breaker; 0 switches the cumulative rule off. 0.5: partners that fail every other time are better served by another pool.
	Ratio float64 `yaml:"ratio" default:"0.5" min:"0" max:"1"`
	// Good rounds in a row after which the pool counts as up again. One bad one begins anew, retry_after included.
	GoodRounds int `yaml:"good_rounds" default:"3" min:"1" max:"1000"`
	// Shortest time over which they must be spread. 30s: Edge services start one after the other, and a pool that is trusted too early trips again.
	MinGoodTime Duration `yaml:"min_good_time" default:"30s"`
	// Time after a trip before good rounds count: a pool that flaps stays down meanwhile.
	RetryAfter Duration `yaml:"retry_after" default:"30s" min:"100ms"`
}

// Guards keep edgewatch from acting too early or too often.
type Guards struct {
	// Time after a failover in which no automatic one starts. 30m: partners follow the records with their TTL, and the new pool has to be given the chance to prove itself.
	Cooldown Duration `yaml:"cooldown" default:"30m"`
	// Automatic failovers allowed per budget_window. 2: there and back; when that did not help, a third is not the cure.
	Budget int `yaml:"budget" default:"2" min:"1" max:"1000"`
	// Window of the budget.
	BudgetWindow Duration `yaml:"budget_window" default:"24h" min:"1m"`
	// How often it is checked that the other pools could take over, and sooner when one may be needed. 5m: each check logs on to every server.
	ReadinessInterval Duration `yaml:"readiness_interval" default:"5m" min:"1s"`
	// What makes a standby ready. preflight: its servers, the management host and DNS take the commands of a failover. preflight_and_ports: also every port of standby_ports is open on every address; not for 5269 when an Edge listens there only while it holds the route, which nobody documents.
	StandbyReady string `yaml:"standby_ready" default:"preflight" enum:"preflight,preflight_and_ports"`
	// Ports that preflight_and_ports wants open. Empty: 5061, 443 and the port of the federation.
	StandbyPorts []int `yaml:"standby_ports,omitempty"`
	// What follows when a failover moved the route and the pool that took over is down by all evidence: retry tries the same again and then wants a person, next goes on to the next ready pool after one more try. Going on is not the default, since two dead pools in a row look like a fault that no third one cures.
	Unproven watchdog.Unproven `yaml:"unproven" default:"retry" enum:"retry,next"`
	// Time after the start of edgewatch, and after a time in which it could see nothing, in which no automatic failover starts: it may have been started by the same trouble.
	StartupGrace Duration `yaml:"startup_grace" default:"1m"`
}

// Approval says how a person is asked in mode approve.
type Approval struct {
	// How long an answer is waited for; 0s waits without end. A quarter of an hour is time to be woken and to look. It begins anew when the question is about another pool, and after a pause or a hold.
	Timeout Duration `yaml:"timeout" default:"15m"`
	// What happens without an answer: hold does nothing until somebody comes, failover acts. Holding is the default, since a mode that asks should not act unasked.
	Then watchdog.LateApproval `yaml:"then" default:"hold" enum:"hold,failover"`
}

// Failback says how federation returns to a preferred pool that it was moved
// off when that died.
type Failback struct {
	// Whether it returns by itself, in the window, in mode auto. Off by default: whoever repaired a pool should be there when it carries federation again.
	Auto bool `yaml:"auto" default:"false"`
	// How long the pool must have answered before it counts as stable. A pool that is being repaired comes and goes.
	StableFor Duration `yaml:"stable_for" default:"30m"`
	// Window of automatic failback in UTC, like "02:00-04:30"; it may go over midnight.
	Window string `yaml:"window,omitempty" check:"window"`
}

// Canaries are hosts beside the pools that answer as long as edgewatch's own
// network works. While too few of them answer, nothing is concluded from
// failed probes.
type Canaries struct {
	// Hosts that answer as long as the way to the Internet works, by address: 198.51.100.1:443 (a TCP port that opens), dns://198.51.100.53?name=example.com (a name server that knows the name) or xmpp://198.51.100.7?domain=example.net (a federation server of the domain). Choose networks that fail independently.
	Targets []Canary `yaml:"targets"`
	// How many must answer for a failed probe to count. A wrong answer is none.
	MinGood int `yaml:"min_good" default:"1" min:"1"`
	// Time limit of one canary.
	Timeout Duration `yaml:"timeout" default:"3s" min:"100ms"`
}

// Witnesses are other edgewatches, each in another network and best in mode
// observe, that watch a federation of the same name with pools of the same
// names. From one place, a way to the active pool that is cut for that place
// alone looks exactly like a dead pool: before edgewatch acts by itself it asks
// them. One that sees the pool answering holds it back.
type Witnesses struct {
	// Where each answers: the URL of its listen.health, like https://ew2.example:8081, or of a proxy before it. Empty: edgewatch goes by what it sees alone.
	URLs []string `yaml:"urls,omitempty" check:"witness"`
	// How many of them must see the active pool down too. While fewer can be asked, there is no automatic failover; with 0 a witness that cannot be asked holds nothing back, and only one that sees the pool answering does.
	MinDown int `yaml:"min_down" default:"1" min:"0"`
	// Time limit of one question.
	Timeout Duration `yaml:"timeout" default:"3s" min:"100ms"`
	// CA certificates that the witnesses' certificates must chain to, as PEM. Empty: those of the system.
	CAFile string `yaml:"ca_file,omitempty" check:"file" pem:"ca"`
}

// DNS says which records lead partners to the active pool and where they are
// changed (steps 4 and 5 of the documented procedure).
type DNS struct {
	// Name of the A/AAAA record of XMPP federation that step 4 changes. Empty when the SRV records point to a name of each pool (pools[].dns_name).
	Record string `yaml:"record,omitempty" check:"fqdn"`
	// Acknowledges that the record is also the name SIP clients use, which move with it.
	SharedWithSIP bool `yaml:"shared_with_sip" default:"false"`
	// TTL of the A/AAAA records that step 4 writes.
	TTL Duration `yaml:"ttl" default:"60s" min:"1s" max:"1d"`
	// The SRV record that step 5 adds when none leads to the pool.
	SRV SRV `yaml:"srv"`
	// Zones that hold the record and the domains.
	Zones []Zone `yaml:"zones,omitempty"`
	// Resolvers asked for what a partner would see. Empty: the authoritative servers of the zones.
	Resolvers []netip.AddrPort `yaml:"resolvers,omitempty" port:"53"`
}

// SRV is what the SRV record of step 5 holds beside its port, target and
// priority (pools[].srv_priority).
type SRV struct {
	// Weight among records of the same priority.
	Weight int `yaml:"weight" default:"0" min:"0" max:"65535"`
	// TTL of the record.
	TTL Duration `yaml:"ttl" default:"1h" min:"1s" max:"7d"`
}

// Zone is a DNS zone that edgewatch may update (RFC 2136).
type Zone struct {
	// Name of the zone.
	Name string `yaml:"name" required:"true" check:"dnsname"`
	// Address of the primary server, which takes the updates.
	Server netip.AddrPort `yaml:"server" required:"true" port:"53"`
	// Key that signs the updates (RFC 8945). Without it nothing is changed in the zone.
	TSIG *TSIG `yaml:"tsig,omitempty"`
	// Every authoritative server partners may ask. A change counts when all of them serve it. Wanted with tsig.
	Authoritative []netip.AddrPort `yaml:"authoritative,omitempty" port:"53"`
	// How many of them may give no answer at all without holding a failover up: those that die with a site. One that answers must always agree.
	MaySilent int `yaml:"may_be_silent" default:"0" min:"0"`
	// Time limit of one query or update.
	Timeout Duration `yaml:"timeout" default:"5s" min:"100ms"`
}

// TSIG is the key that signs updates of a zone.
type TSIG struct {
	// Name of the key as the server knows it.
	Name string `yaml:"name" required:"true" check:"dnsname"`
	// Algorithm of the key.
	Algorithm string `yaml:"algorithm" default:"hmac-sha256" enum:"hmac-sha224,hmac-sha256,hmac-sha384,hmac-sha512"`
	// File with the key in base64.
	SecretFile string `yaml:"secret_file,omitempty" check:"file"`
	// Environment variable with the key in base64.
	SecretEnv string `yaml:"secret_env,omitempty" check:"env"`
	// Secret is the key in base64 once LoadSecrets has read it.
	Secret actions.Secret `yaml:"-" secret:"secret" form:"base64"`
}

// Management is a host in the internal domain that has the Management Shell:
// a Front End, best the one that holds the CMS.
type Management struct {
	// FQDN of the host.
	Host string `yaml:"host,omitempty" check:"fqdn"`
	// How it is reached; what is not given here comes from the federation's winrm.
	WinRM WinRM `yaml:"winrm"`
}

// WinRM says how commands are run on one Windows host. After Parse every
// field of a host is filled: from the host, else from the federation, else
// from the default.
type WinRM struct {
	// Address and port. Default: the host's FQDN and 5986, or 5985 without HTTPS. Only for a single host.
	Addr string `yaml:"addr,omitempty" check:"hostport"`
	// Whether the connection is HTTPS.
	HTTPS bool `yaml:"https" default:"true"`
	// How edgewatch proves who it is.
	Auth string `yaml:"auth" default:"ntlm" enum:"ntlm,basic,certificate"`
	// Name of the account in credentials, for ntlm and basic.
	Credential string `yaml:"credential,omitempty"`
	// CA certificates that the host's certificate must chain to, as PEM. Empty: those of the system.
	CAFile string `yaml:"ca_file,omitempty" check:"file" pem:"ca"`
	// Name that the host's certificate must carry. Default: the host's FQDN. Only for a single host.
	ServerName string `yaml:"server_name,omitempty" check:"fqdn"`
	// Client certificate as PEM, for auth certificate.
	CertFile string `yaml:"cert_file,omitempty" check:"file" pem:"cert"`
	// Key of the client certificate as PEM.
	KeyFile string `yaml:"key_file,omitempty" check:"file" pem:"key"`
	// Time limit of one request, not of a command, which lasts as long as its step may.
	Timeout Duration `yaml:"timeout" default:"30s" min:"1s" max:"10m"`
}

// Credential is an account for WinRM.
type Credential struct {
	// Name of the account, e.g. EDGE1\edgewatch or edgewatch@contoso.local.
	User string `yaml:"user" required:"true"`
	// File with the password.
	PasswordFile string `yaml:"password_file,omitempty" check:"file"`
	// Environment variable with the password.
	PasswordEnv string `yaml:"password_env,omitempty" check:"env"`
	// Password is the password once LoadSecrets has read it.
	Password actions.Secret `yaml:"-" secret:"password"`
}

// Pool is an Edge pool that can host federation. Its names are three
// different things: fqdn is internal and names the pool, servers[].fqdn names
// its servers, dns_name and addresses are what the Internet sees.
type Pool struct {
	// Name in messages and commands. It stands in the journal: do not change it later.
	Name string `yaml:"name" required:"true" check:"name"`
	// Name of the site the pool is in, as Get-CsSite prints it, without "Site:".
	Site string `yaml:"site,omitempty"`
	// Internal FQDN of the pool, as Get-CsService prints it (PoolFqdn).
	FQDN string `yaml:"fqdn,omitempty" check:"fqdn"`
	// What Set-CsSite is given to make this pool host federation.
	Route Route `yaml:"route"`
	// External name of the pool that its SRV record points to, when there is one name per pool instead of dns.record.
	DNSName string `yaml:"dns_name,omitempty" check:"fqdn"`
	// External addresses, IPv4 and IPv6: one per server behind DNS load balancing, one for all behind a hardware load balancer.
	Addresses []netip.Addr `yaml:"addresses" required:"true"`
	// Priority of the SRV record that leads to the pool; the lowest number is preferred. Default: 0 for the first pool, 10 for the second, and so on.
	SRVPriority int `yaml:"srv_priority" min:"0" max:"65535"`
	// How many of the addresses must answer for the pool to count as up without trouble.
	MinUp int `yaml:"min_up" default:"1" min:"1"`
	// The pool's Edge Servers.
	Servers []Server `yaml:"servers,omitempty"`
	// Where Set-CsSite runs for this pool, when it is not the federation's management host.
	Management *Management `yaml:"management,omitempty"`
}

// Route is what Set-CsSite is given. Microsoft's pages disagree about the
// parameter, so it is asked of the management host unless it is pinned.
type Route struct {
	// Internal FQDN of one of the pool's servers, the value of XmppExternalFederationRoute.
	Server string `yaml:"server,omitempty" check:"fqdn"`
	// Parameter of Set-CsSite; auto takes the one that the management host knows.
	Parameter string `yaml:"parameter" default:"auto" enum:"auto,XmppExternalFederationRoute,XmppFederationRoute"`
	// Pins the parameter's value, e.g. EdgeServer:edgepool1.contoso.local. Empty: worked out from server or fqdn.
	Value string `yaml:"value,omitempty"`
}

// Server is one Edge Server of a pool.
type Server struct {
	// Internal FQDN of the server.
	FQDN string `yaml:"fqdn" required:"true" check:"fqdn"`
	// How it is reached; what is not given here comes from the federation's winrm.
	WinRM WinRM `yaml:"winrm"`
}

// Timeouts limit the steps of a failover, retries included.
type Timeouts struct {
	// Everything that is checked before anything is touched.
	Preflight Duration `yaml:"preflight" default:"2m" min:"1s"`
	// Step 2, Stop-CsWindowsService on every server of the target pool.
	StopServices Duration `yaml:"stop_services" default:"5m" min:"1s"`
	// Step 3, Set-CsSite.
	SetRoute Duration `yaml:"set_route" default:"2m" min:"1s"`
	// Steps 4 and 5, the DNS records on every authoritative server.
	DNSRecords Duration `yaml:"dns_records" default:"2m" min:"1s"`
	// Step 6, port 5269 from outside.
	CheckPort Duration `yaml:"check_port" default:"30s" min:"100ms"`
	// Step 7, Start-CsWindowsService on every server of the target pool.
	StartServices Duration `yaml:"start_services" default:"10m" min:"1s"`
	// Proof from a partner's point of view.
	Verify Duration `yaml:"verify" default:"5m" min:"1s"`
	// The failover as a whole.
	Failover Duration `yaml:"failover" default:"30m" min:"1s"`
}
