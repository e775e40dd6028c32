package probetest

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"time"
)

// Floor is the least that a client can do to have the conversation of a probe:
// fixed strings, crypto/tls, and no judgement of what comes back. It is what
// benchmarks compare the probe with. Not safe for concurrent use.
type Floor struct {
	Addr      string // host:port
	Domain    string
	From      string
	DirectTLS bool
	TLS       *tls.Config
	Sent      func(net.Conn) // called when the header inside TLS is out; nil = nothing

	header string
	buf    [4096]byte
}

// Ask has one conversation, from connect to close, within ten seconds.
func (f *Floor) Ask(ctx context.Context) error {
	if f.header == "" {
		f.header = "<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' from='" +
			f.From + "' to='" + f.Domain + "' version='1.0'>"
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", f.Addr)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		return err
	}
	if !f.DirectTLS {
		if err := f.say(c, f.header, "</stream:features>"); err != nil {
			return err
		}
		if err := f.say(c, "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>", "<proceed"); err != nil {
			return err
		}
	}
	t := tls.Client(c, f.TLS)
	if _, err := io.WriteString(t, f.header); err != nil {
		return err
	}
	if f.Sent != nil {
		f.Sent(c)
	}
	if err := f.hear(t, "</stream:features>"); err != nil {
		return err
	}
	return f.say(t, "</stream:stream>", "</stream:stream>")
}

// say sends a question and reads the answer.
func (f *Floor) say(c net.Conn, question, end string) error {
	if _, err := io.WriteString(c, question); err != nil {
		return err
	}
	return f.hear(c, end)
}

// hear reads until end stands in what came.
func (f *Floor) hear(c net.Conn, end string) error {
	for n := 0; n < len(f.buf); {
		m, err := c.Read(f.buf[n:])
		if n += m; bytes.Contains(f.buf[:n], []byte(end)) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return io.ErrShortBuffer
}
