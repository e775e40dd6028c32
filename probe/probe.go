// Package probe asks one XMPP server one question over server-to-server
// (RFC 6120, TCP 5269) and says how far it got, what went wrong and whose
// fault it was. It never decides whether a pool is down: that is the
// watchdog's, which weighs many results.
package probe

import (
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Phase is how far a probe got: the last phase it entered.
type Phase uint8

// The phases in the order a probe passes them.
const (
	PhaseNone Phase = iota // nothing was tried
	PhaseDNS
	PhaseConnect
	PhaseStream      // our stream header sent, theirs awaited
	PhaseFeatures    // their header seen, <stream:features/> awaited
	PhaseStartTLS    // <starttls/> sent, <proceed/> awaited
	PhaseTLS         // TLS handshake
	PhaseCert        // certificate judged
	PhaseTLSStream   // header inside TLS sent, theirs awaited
	PhaseTLSFeatures // features inside TLS awaited
	PhaseDone
)

var phaseWords = []string{"none", "dns", "connect", "stream", "features", "starttls", "tls", "cert", "tls_stream", "tls_features", "done"}

// String is the word used in JSON, metrics, logs and Slack.
func (p Phase) String() string { return word(phaseWords, int(p)) }

// MarshalText implements encoding.TextMarshaler.
func (p Phase) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Phase) UnmarshalText(b []byte) error {
	i, err := index(phaseWords, "phase", b)
	*p = Phase(i)
	return err
}

// Blame says on whose side the fault lies, as far as the probe can tell.
type Blame uint8

// Unclear is the harmless zero: it never counts against a server.
const (
	Unclear Blame = iota
	Local         // the prober's own machine or network
	Remote        // the probed server
)

var blameWords = []string{"unclear", "local", "remote"}

// String is the word used in JSON, metrics, logs and Slack.
func (b Blame) String() string { return word(blameWords, int(b)) }

// MarshalText implements encoding.TextMarshaler.
func (b Blame) MarshalText() ([]byte, error) { return []byte(b.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (b *Blame) UnmarshalText(t []byte) error {
	i, err := index(blameWords, "blame", t)
	*b = Blame(i)
	return err
}

// Level is what one result means for the server that was asked.
type Level uint8

// Inconclusive is the harmless zero: it never counts as down.
const (
	Inconclusive Level = iota
	Up                 // answered as a federation peer should
	Degraded           // answers, with trouble that federation may feel (TLS, certificate)
	Down               // does not answer XMPP on its port, and it is the server's fault
)

var levelWords = []string{"inconclusive", "up", "degraded", "down"}

// String is the word used in JSON, metrics, logs and Slack.
func (l Level) String() string { return word(levelWords, int(l)) }

// MarshalText implements encoding.TextMarshaler.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (l *Level) UnmarshalText(t []byte) error {
	i, err := index(levelWords, "level", t)
	*l = Level(i)
	return err
}

// Answers reports whether the server answered XMPP at all (Up or Degraded).
func (l Level) Answers() bool { return l == Up || l == Degraded }

// Target is one question: is this address a server-to-server endpoint of
// this domain?
type Target struct {
	Addr      netip.AddrPort `json:"addr"`                 // where to connect
	Domain    string         `json:"domain"`               // the XMPP domain asked for: the stream's "to"
	From      string         `json:"from"`                 // the stream's "from": a stable domain of ours, never equal to Domain
	DirectTLS bool           `json:"direct_tls,omitempty"` // XEP-0368: TLS before the stream
}

// String names the target as "domain@addr".
func (t Target) String() string { return fmt.Sprintf("%s@%s", t.Domain, t.Addr) }

// Result is everything one probe learned. The zero Result is Inconclusive.
type Result struct {
	Target    Target        `json:"target"`
	Start     time.Time     `json:"start"`
	Took      time.Duration `json:"took"`                // until the verdict, without the polite close
	Phases    []PhaseTime   `json:"phases"`              // in the order they were entered
	Phase     Phase         `json:"phase"`               // the phase the class speaks of; PhaseDone when all were passed. After a certificate problem the probe goes on: Phases says how far
	Class     Class         `json:"class"`               // what happened, from the closed list; the worst thing when there were several
	Condition string        `json:"condition,omitempty"` // RFC 6120 stream error condition, or the TLS alert's name
	Remarks   []Class       `json:"remarks,omitempty"`   // trouble beside the class that leaves the server up
	Blame     Blame         `json:"blame"`
	Level     Level         `json:"level"`
	Error     string        `json:"error,omitempty"` // evidence in words; empty when the class is ok
	TLS       *TLS          `json:"tls,omitempty"`
	Cert      *Certificate  `json:"cert,omitempty"`
	Features  []string      `json:"features,omitempty"` // offered inside TLS, e.g. "dialback", "sasl:EXTERNAL"
	Notes     []string      `json:"notes,omitempty"`    // evidence that is no trouble, e.g. that TLS ended without close_notify
}

// PhaseTime is how long one phase took.
type PhaseTime struct {
	Phase Phase         `json:"phase"`
	Took  time.Duration `json:"took"`
}

// TLS is what was negotiated.
type TLS struct {
	Version string `json:"version"` // "TLS 1.3"
	Suite   string `json:"suite"`
}

// Certificate is what the server presented and what is wrong with it.
type Certificate struct {
	NotBefore time.Time `json:"not_before"`
	NotAfter  time.Time `json:"not_after"`
	Names     []string  `json:"names"`
	Issuer    string    `json:"issuer"`
	Problems  []Class   `json:"problems,omitempty"` // every problem found, not only the first
}

// Days is the whole days left at now, counted down: negative from the moment
// of expiry.
func (c *Certificate) Days(now time.Time) int {
	const day = 24 * time.Hour
	left := c.NotAfter.Sub(now)
	days := int(left / day)
	if left < 0 && left%day != 0 {
		days--
	}
	return days
}

func word(words []string, i int) string {
	if i < len(words) {
		return words[i]
	}
	return fmt.Sprintf("invalid(%d)", i)
}

func index(words []string, what string, b []byte) (int, error) {
	if i := slices.Index(words, string(b)); i >= 0 {
		return i, nil
	}
	return 0, fmt.Errorf("unknown %s %q", what, b)
}
