package probe

import "slices"

// Class names what a probe saw: one word per thing an operator would act on
// differently. The words stand in JSON, metrics, logs and Slack alike. The
// list is closed: every Class a Result carries is a row of Classes.
type Class string

// Classes that mean the server is up and nothing is remarkable.
const (
	ClassUnknown Class = "" // nothing was learned
	OK           Class = "ok"
)

// Classes of the network and of the stream. Which phase they struck in says
// the rest: "timeout" in PhaseConnect is a dead host, in PhaseStream a hung
// process, in PhaseTLS a proxy that lost its certificate store.
const (
	Refused     Class = "refused"      // connect: the port is closed; dns: the name server answered REFUSED
	Timeout     Class = "timeout"      // no answer in time; the phase says where
	Reset       Class = "reset"        // connection reset
	Unreachable Class = "unreachable"  // no way to the host
	Closed      Class = "closed"       // closed by the server without an answer
	NotXMPP     Class = "not_xmpp"     // something else answers on the port
	BadStream   Class = "bad_stream"   // XML, but not the stream of a federation server
	BadXML      Class = "bad_xml"      // not the XML that XMPP allows
	TooLarge    Class = "too_large"    // more or deeper than any honest server sends
	StreamError Class = "stream_error" // a stream error; Condition says which
	LocalError  Class = "local_error"  // our own fault; never "down"
)

// Classes of STARTTLS, TLS and certificates. They leave the server answering.
const (
	NoStartTLS        Class = "no_starttls"
	StartTLSFailure   Class = "starttls_failure"
	StartTLSInjection Class = "starttls_injection"
	NotTLS            Class = "not_tls"
	TLSAlert          Class = "tls_alert" // Condition names the alert
	TLSFailed         Class = "tls_failed"
	CertExpired       Class = "cert_expired"
	CertNotYetValid   Class = "cert_not_yet_valid"
	CertWrongName     Class = "cert_wrong_name"
	CertSelfSigned    Class = "cert_self_signed"
	CertUnknownCA     Class = "cert_unknown_ca"
	CertWrongUsage    Class = "cert_wrong_usage"
	CertWeak          Class = "cert_weak"
	NoAuthOffered     Class = "no_auth_offered"
	AuthRequired      Class = "auth_required"
)

// Remarks: trouble that leaves the server up.
const (
	CertExpiring      Class = "cert_expiring"
	CloseUnclean      Class = "close_unclean"
	WeakProtocol      Class = "weak_protocol"
	WeakCipher        Class = "weak_cipher"
	SlowConnect       Class = "slow_connect"
	DNSNoSRV          Class = "dns_no_srv"
	SRVCNAME          Class = "srv_cname"
	NoStartTLSService Class = "no_starttls_service"
	BackupDown        Class = "backup_down"
	TooManyTargets    Class = "too_many_targets"
)

// Classes of DNS: there was nobody to ask.
const (
	NXDomain  Class = "nxdomain"
	NoData    Class = "nodata"
	NoService Class = "no_service"
	ServFail  Class = "servfail"
	Lame      Class = "lame"
	NoAddress Class = "no_address"
	BadAnswer Class = "bad_answer"
)

// ClassInfo is one row of the class table.
type ClassInfo struct {
	Class  Class   `json:"class"`
	Phases []Phase `json:"phases"` // in which it can strike, or is noticed
	Level  Level   `json:"level"`  // unless the phase, the condition or the blame of a result says otherwise
	Blame  Blame   `json:"blame"`  // likewise
	Remark bool    `json:"remark"` // may stand in Result.Remarks
	Means  string  `json:"means"`  // what happened and what to check, in full sentences
}

// Phases that classes have in common.
var (
	inDNS     = []Phase{PhaseDNS}
	inConnect = []Phase{PhaseConnect}
	inTLS     = []Phase{PhaseTLS}
	inCert    = []Phase{PhaseCert}
	atTheEnd  = []Phase{PhaseDone}
	// While bytes of the stream are awaited, in the clear and inside TLS.
	inStream = []Phase{PhaseStream, PhaseFeatures, PhaseStartTLS, PhaseTLSStream, PhaseTLSFeatures}
	// While anything of the connection is awaited.
	inTalk = []Phase{PhaseStream, PhaseFeatures, PhaseStartTLS, PhaseTLS, PhaseTLSStream, PhaseTLSFeatures}
	// While TLS is spoken.
	overTLS  = []Phase{PhaseTLS, PhaseTLSStream, PhaseTLSFeatures}
	anywhere = []Phase{PhaseNone, PhaseDNS, PhaseConnect, PhaseStream, PhaseFeatures, PhaseStartTLS, PhaseTLS, PhaseCert, PhaseTLSStream, PhaseTLSFeatures}
)

// classTable is the catalogue: every class there is, in the order people read
// it. A level of Down holds only before the server has answered with a stream
// header; afterwards the same class is Degraded.
var classTable = []ClassInfo{
	{OK, atTheEnd, Up, Unclear, false, "The server answered as a federation peer should. Nothing to do."},
	{AuthRequired, []Phase{PhaseTLSFeatures}, Up, Remote, true, "The server answers and wants a client certificate before it talks on, which is the default of Prosody. It is up; give the probe a client certificate to see further."},

	{Refused, []Phase{PhaseDNS, PhaseConnect}, Down, Remote, false, "The port is closed (or, in phase dns, the name server refused the question). Check that the service runs and listens, and that no firewall rejects."},
	{Timeout, slices.Concat(inDNS, inConnect, inTalk), Down, Remote, false, "No answer in time; the phase says to what. In connect check the host, its address and firewalls that drop; later check a hung or overloaded process."},
	{Reset, slices.Concat(inConnect, inTalk), Down, Remote, false, "The connection was reset. Check for a crashing service, a load balancer without a healthy member or a firewall that resets."},
	{Unreachable, slices.Concat(inDNS, inConnect, inTalk), Down, Remote, false, "A router or the last hop says there is no way to the host. Check the host, its network and the routing on the way."},
	{Closed, inTalk, Down, Remote, false, "The server closed the connection without the answer that was due. Check its log; on a direct TLS port set the target to direct TLS."},
	{NotXMPP, []Phase{PhaseStream, PhaseTLSStream}, Down, Remote, false, "Something other than XMPP answers on this port. Check the port, the address and any proxy in front."},
	{BadStream, inStream, Down, Remote, false, "XML came back, but not the stream header of a federation server. Check that the port is the server-to-server one, not the client one."},
	{BadXML, inStream, Down, Remote, false, "The answer is not XML that XMPP allows (malformed, a DTD, comments or a wrong encoding). Check what answers on this port."},
	{TooLarge, inStream, Down, Remote, false, "The answer is larger or more deeply nested than any honest server sends. Check what answers on this port."},
	{StreamError, []Phase{PhaseFeatures, PhaseStartTLS, PhaseTLSFeatures}, Degraded, Remote, false, "The server answered with an XMPP stream error; the condition says which. It is alive; host-unknown, system-shutdown and see-other-host for your own domain mean that it does not serve it now."},

	{NoStartTLS, []Phase{PhaseStartTLS}, Degraded, Remote, false, "The server answers but offers no STARTTLS, so partners that insist on encryption cannot federate. Check that its certificate is assigned and readable."},
	{StartTLSFailure, []Phase{PhaseStartTLS}, Degraded, Remote, false, "The server offered STARTTLS and then refused it. Check its certificate and private key."},
	{StartTLSInjection, []Phase{PhaseStartTLS}, Degraded, Remote, false, "Plain text followed the STARTTLS go-ahead in the same packet: a broken server or somebody on the way. Check for middleboxes and for tampering."},
	{NotTLS, overTLS, Degraded, Remote, false, "What answered the TLS handshake is not TLS. Check whether the port speaks direct TLS and whether a proxy stands in between."},
	{TLSAlert, overTLS, Degraded, Remote, false, "The server ended TLS with an alert; the condition names it. Check the protocol versions, cipher suites and certificates that it allows."},
	{TLSFailed, []Phase{PhaseTLS, PhaseCert, PhaseTLSStream, PhaseTLSFeatures}, Degraded, Remote, false, "The TLS handshake failed on something the server sent. Check the versions and suites it offers and that its certificate is well formed."},
	{CertExpired, inCert, Degraded, Remote, true, "The certificate, or one above it, has expired. Renew it and assign it to the Edge's external interface."},
	{CertNotYetValid, inCert, Degraded, Remote, true, "The certificate is not valid yet. Check the server's clock, this machine's clock and the certificate's first day."},
	{CertWrongName, inCert, Degraded, Remote, true, "The certificate does not cover the XMPP domain. Reissue it with the domain itself as a subject alternative name; a wildcard does not cover the bare domain."},
	{CertSelfSigned, inCert, Degraded, Remote, true, "The certificate signed itself, so partners do not trust it. Install one from a public CA."},
	{CertUnknownCA, inCert, Degraded, Remote, true, "The certificate does not lead to a trusted CA. Check that the intermediate certificates are installed and that this machine knows the CA; one of your own is named with --ca, in the configuration with probe.ca_file."},
	{CertWrongUsage, inCert, Degraded, Remote, true, "The certificate is not meant for servers. Reissue it with the extended key usage for server authentication."},
	{CertWeak, inCert, Degraded, Remote, true, "The certificate has a key or a signature that partners reject (RSA below 2048 bits, SHA-1 or MD5). Reissue it."},
	{NoAuthOffered, []Phase{PhaseTLSFeatures}, Degraded, Remote, true, "Inside TLS the server offers neither SASL EXTERNAL nor dialback, so no partner can authenticate. Check the federation settings for partner domains."},

	{CertExpiring, inCert, Up, Remote, true, "The certificate expires soon. Renew it before partners turn away."},
	{CloseUnclean, atTheEnd, Up, Remote, true, "The server did not answer the end of the stream within a second. Harmless alone; with other trouble a sign of overload."},
	{WeakProtocol, inTLS, Up, Remote, true, "The server chose a TLS version below 1.2. Partners may refuse it; enable TLS 1.2."},
	{WeakCipher, inTLS, Up, Remote, true, "The server chose a cipher suite without forward secrecy or with a broken cipher. Partners may refuse it; change the suite order."},
	{SlowConnect, inConnect, Up, Remote, true, "Connecting took as long as a lost first packet does. Check for packet loss or a full listen backlog."},
	{BackupDown, atTheEnd, Up, Remote, true, "Every target of the best SRV priority is up but one of a lower priority is not. Expected for a standby that listens only while it is active."},

	{NXDomain, inDNS, Inconclusive, Remote, true, "The name does not exist in DNS. Check the spelling, the zone and its delegation."},
	{NoData, inDNS, Inconclusive, Remote, true, "The name exists in DNS but has no record of the type asked for. Check the zone."},
	{NoService, inDNS, Inconclusive, Remote, true, "The SRV record has the target \".\", which says that the domain offers no XMPP federation. Check the zone."},
	{ServFail, inDNS, Inconclusive, Unclear, true, "The name server could not answer (SERVFAIL). Check the zone's name servers and its DNSSEC signatures."},
	{Lame, inDNS, Inconclusive, Unclear, true, "The name server neither knows the zone nor asks others for it. Check the list of resolvers and the delegation."},
	{NoAddress, inDNS, Inconclusive, Remote, true, "The SRV target has no address. Add its A or AAAA record, or take the SRV record away."},
	{BadAnswer, inDNS, Inconclusive, Unclear, true, "The name server's answer makes no sense (another rcode, a malformed message, an SRV record with port 0). Check the resolver and the zone."},
	{DNSNoSRV, inDNS, Up, Remote, true, "The domain has no SRV record for XMPP federation, so partners fall back to the domain itself on port 5269. Add _xmpp-server._tcp."},
	{SRVCNAME, inDNS, Up, Remote, true, "An SRV target is an alias (CNAME), which RFC 2782 forbids and some partners refuse. Point the SRV record at the real name."},
	{NoStartTLSService, inDNS, Up, Remote, true, "Only direct TLS (_xmpps-server) is published; partners without it cannot connect. Add _xmpp-server._tcp too."},
	{TooManyTargets, inDNS, Up, Remote, true, "DNS names more addresses than are probed in one go; the rest was left out. Check the SRV records."},

	{LocalError, anywhere, Inconclusive, Local, true, "The probe itself failed on this machine: no route, no free file descriptor or port, a cancelled run or a client certificate that was turned down. It says nothing about the server."},
}

// Classes returns the class table. The caller owns the copy.
func Classes() []ClassInfo {
	out := slices.Clone(classTable)
	for i := range out {
		out[i].Phases = slices.Clone(out[i].Phases)
	}
	return out
}

// Info returns the class's row of the table; an unknown class gets a zero row
// under its own name, which is Inconclusive.
func (c Class) Info() ClassInfo {
	for i := range classTable {
		if classTable[i].Class == c {
			return classTable[i]
		}
	}
	return ClassInfo{Class: c}
}

// Meaning says in full sentences what the class means and what to check. It
// is empty for a class that is not in the table.
func (c Class) Meaning() string { return c.Info().Means }

// conditionLevels says which stream errors speak of the server itself rather
// than of us. A stream error always proves that the proxy answers; those that
// tell what it thinks of our request leave it Up, the rest is Degraded: the
// server does not serve the domain now (host-unknown, host-gone,
// see-other-host), is going away (system-shutdown), is in trouble, or does not
// say what is wrong. Anything that is not in the list is Degraded too.
var conditionLevels = map[string]Level{
	"bad-format":               Up,
	"bad-namespace-prefix":     Up,
	"conflict":                 Up,
	"connection-timeout":       Degraded,
	"host-gone":                Degraded,
	"host-unknown":             Degraded,
	"improper-addressing":      Up,
	"internal-server-error":    Degraded,
	"invalid-from":             Up,
	"invalid-id":               Up,
	"invalid-namespace":        Up,
	"invalid-xml":              Up,
	"not-authorized":           Up,
	"not-well-formed":          Up,
	"policy-violation":         Up,
	"remote-connection-failed": Degraded,
	"reset":                    Degraded,
	"resource-constraint":      Degraded,
	"restricted-xml":           Up,
	"see-other-host":           Degraded,
	"system-shutdown":          Degraded,
	"undefined-condition":      Degraded,
	"unsupported-encoding":     Up,
	"unsupported-feature":      Up,
	"unsupported-stanza-type":  Up,
	"unsupported-version":      Up,
	"xml-not-well-formed":      Up,
}
