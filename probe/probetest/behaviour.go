package probetest

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"time"
)

// Behaviour is what one connection gets. It returns when it is done; the
// server then closes the connection.
type Behaviour func(c *Conn) error

// Healthy serves as a good server does: header, STARTTLS, TLS, header,
// dialback (and EXTERNAL for a client certificate), and a polite end.
func Healthy(c *Conn) error {
	if c.tls == nil {
		if err := c.ToTLS(); err != nil {
			return err
		}
	}
	if err := c.Greet(c.authFeatures()); err != nil {
		return err
	}
	return c.Bye()
}

// Features in the words of a server.
const (
	featureTLS      = "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'><required/></starttls>"
	featureDialback = "<dialback xmlns='urn:xmpp:features:dialback'/>"
	featureExternal = "<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>EXTERNAL</mechanism></mechanisms>"
	proceed         = "<proceed xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"
)

func (c *Conn) authFeatures() string {
	if c.HasClientCert() {
		return featureExternal + featureDialback
	}
	return featureDialback
}

// Greet reads the client's header and answers with ours and these features.
func (c *Conn) Greet(features string) error {
	if err := c.ReadHeader(); err != nil {
		return err
	}
	if !c.serves(c.Header.To) {
		if err := c.StreamError("host-unknown", "This host does not serve "+c.Header.To); err != nil {
			return err
		}
		return c.Bye()
	}
	return c.Write(c.header() + "<stream:features>" + features + "</stream:features>")
}

// ToTLS goes from connect to a finished handshake.
func (c *Conn) ToTLS() error {
	if err := c.ToProceed(); err != nil {
		return err
	}
	if err := c.Write(proceed); err != nil {
		return err
	}
	return c.TLS()
}

// ToProceed goes from connect to the client's <starttls/>.
func (c *Conn) ToProceed() error {
	if err := c.Greet(featureTLS); err != nil {
		return err
	}
	name, err := c.ReadElement()
	if err != nil {
		_ = c.end()
		return err
	}
	if name.Local != "starttls" {
		return c.StreamError("unsupported-stanza-type", "")
	}
	return nil
}

// Silent accepts and never says a word.
func Silent(c *Conn) error { return c.Hang() }

// Hang waits until the client goes away.
func (c *Conn) Hang() error {
	for {
		if _, err := c.buf.Discard(1); err != nil {
			return err
		}
	}
}

// CloseAtOnce accepts and closes, politely for TCP.
func CloseAtOnce(c *Conn) error {
	_, err := c.buf.Peek(1) // or closing resets
	return err
}

// Reset accepts and resets.
func Reset(c *Conn) error { return c.Reset() }

// Reset breaks the connection.
func (c *Conn) Reset() error {
	if tcp, ok := c.raw.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	err := c.raw.Close()
	return err
}

// Against treats clients that say they come from that domain to b, and serves
// all others.
func Against(from string, b Behaviour) Behaviour {
	return func(c *Conn) error {
		if err := c.ReadHeader(); err != nil {
			return err
		}
		c.held = true
		if c.Header.From == from {
			return b(c)
		}
		return Healthy(c)
	}
}

// Banner sends text at once and waits: what another protocol does.
func Banner(text string) Behaviour {
	return func(c *Conn) error {
		if err := c.Write(text); err != nil {
			return err
		}
		return c.Hang()
	}
}

// HTTP answers as a web server answers XMPP.
func HTTP(c *Conn) error {
	if _, err := c.buf.Peek(1); err != nil {
		return err
	}
	return c.Write("HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html>400</html>")
}

// Drip sends text a byte at a time.
func Drip(text string, every time.Duration) Behaviour {
	return func(c *Conn) error {
		if err := c.ReadHeader(); err != nil {
			return err
		}
		for _, b := range []byte(text) {
			if err := c.Write(string(b)); err != nil {
				return err
			}
			time.Sleep(every)
		}
		return c.Hang()
	}
}

// Reply reads the client's header and answers with text as it is, with %H
// standing for a good header; then it waits for the client.
func Reply(text string) Behaviour {
	return func(c *Conn) error {
		if err := c.ReadHeader(); err != nil {
			return err
		}
		if err := c.Write(c.fill(text)); err != nil {
			return err
		}
		return c.Bye()
	}
}

// fill puts a good header for %H.
func (c *Conn) fill(text string) string {
	if !strings.Contains(text, "%H") {
		return text
	}
	return strings.ReplaceAll(text, "%H", c.header())
}

// ReplyThen is Reply followed by end instead of waiting.
func ReplyThen(text string, end Behaviour) Behaviour {
	return func(c *Conn) error {
		if err := c.ReadHeader(); err != nil {
			return err
		}
		if err := c.Write(c.fill(text)); err != nil {
			return err
		}
		return end(c)
	}
}

// Finish closes.
func Finish(*Conn) error { return nil }

// StreamError answers every stream with this condition of RFC 6120.
func StreamError(condition, text string) Behaviour {
	return func(c *Conn) error {
		if err := c.ReadHeader(); err != nil {
			return err
		}
		if err := c.StreamError(condition, text); err != nil {
			return err
		}
		return c.Bye()
	}
}

// NoStartTLS offers dialback alone, in the clear.
func NoStartTLS(c *Conn) error {
	if err := c.Greet(featureDialback); err != nil {
		return err
	}
	return c.Bye()
}

// AfterStartTLS goes on with b where <proceed/> would be due.
func AfterStartTLS(b Behaviour) Behaviour {
	return func(c *Conn) error {
		if err := c.ToProceed(); err != nil {
			return err
		}
		return b(c)
	}
}

// AfterProceed sends <proceed/> with text in the same packet and goes on with
// b where TLS would begin.
func AfterProceed(text string, b Behaviour) Behaviour {
	return AfterStartTLS(func(c *Conn) error {
		if err := c.Write(proceed + text); err != nil {
			return err
		}
		return b(c)
	})
}

// StartTLSFailure offers STARTTLS and then refuses it.
func StartTLSFailure(c *Conn) error {
	return AfterStartTLS(func(c *Conn) error {
		c.open = false
		if err := c.Write("<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/></stream:stream>"); err != nil {
			return err
		}
		return c.Bye()
	})(c)
}

// InTLS goes on with b inside TLS.
func InTLS(b Behaviour) Behaviour {
	return func(c *Conn) error {
		if c.tls == nil {
			if err := c.ToTLS(); err != nil {
				return err
			}
		}
		return b(c)
	}
}

// AuthRequired ends the stream inside TLS for want of a client certificate, as
// Prosody does by default; with one it is Healthy.
func AuthRequired(c *Conn) error {
	return InTLS(func(c *Conn) error {
		if c.HasClientCert() {
			return Healthy(c)
		}
		return StreamError("not-authorized", "Your server's certificate could not be validated")(c)
	})(c)
}

// DeafEnd is Healthy but never answers the closing tag, nor closes.
func DeafEnd(c *Conn) error {
	return InTLS(func(c *Conn) error {
		if err := c.Greet(c.authFeatures()); err != nil {
			return err
		}
		return c.Hang()
	})(c)
}

// named are the behaviours that can be asked for by a word.
func named() map[string]Behaviour {
	return map[string]Behaviour{
		"healthy":          Healthy,
		"silent":           Silent,
		"closed":           CloseAtOnce,
		"reset":            Reset,
		"http":             HTTP,
		"ssh":              Banner("SSH-2.0-OpenSSH_9.2\r\n"),
		"no_starttls":      NoStartTLS,
		"starttls_failure": StartTLSFailure,
		"auth_required":    AuthRequired,
		"deaf_end":         DeafEnd,
	}
}

// Named returns the behaviour with this word: one of Names, or
// "stream_error:<condition>".
func Named(word string) (Behaviour, error) {
	if condition, ok := strings.CutPrefix(word, "stream_error:"); ok && condition != "" && escape(condition) == condition {
		return StreamError(condition, ""), nil
	}
	if b, ok := named()[word]; ok {
		return b, nil
	}
	return nil, fmt.Errorf("unknown behaviour %q: choose one of %s or stream_error:<condition>", word, strings.Join(Names(), ", "))
}

// Names are the words that Named knows, beside stream errors.
func Names() []string { return slices.Sorted(maps.Keys(named())) }
