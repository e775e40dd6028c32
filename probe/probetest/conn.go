package probetest

import (
	"bufio"
	"crypto/tls"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
)

// Conn is one client's connection, for a Behaviour to talk on.
type Conn struct {
	*Server
	Header ClientHeader // the last one read

	raw  net.Conn
	conn net.Conn // raw or TLS over it
	tls  *tls.Conn
	buf  *bufio.Reader
	dec  *xml.Decoder
	open bool // we sent a header in the current stream
	held bool // Header was read ahead, and is what ReadHeader returns next
	gone bool // the client ended its stream
}

// ClientHeader is what a client's opening tag said.
type ClientHeader struct {
	Content, From, To, Version string
}

// errClosing says that the client ended its stream.
var errClosing = errors.New("the client ended its stream")

func (c *Conn) reset() {
	c.buf = bufio.NewReaderSize(c.conn, 2048)
	c.dec = xml.NewDecoder(c.buf)
	c.open = false
}

// Raw is the TCP connection.
func (c *Conn) Raw() net.Conn { return c.raw }

// Write sends bytes as they are.
func (c *Conn) Write(s string) error {
	_, err := io.WriteString(c.conn, s)
	return err
}

// ReadHeader reads the client's opening tag.
func (c *Conn) ReadHeader() error {
	if c.held {
		c.held = false
		return nil
	}
	for {
		tok, err := c.dec.Token()
		if err != nil {
			return err
		}
		start, ok := tok.(xml.StartElement)
		if !ok {
			continue
		}
		h := ClientHeader{}
		for _, a := range start.Attr {
			switch a.Name.Local {
			case "xmlns":
				h.Content = a.Value
			case "from":
				h.From = a.Value
			case "to":
				h.To = a.Value
			case "version":
				h.Version = a.Value
			}
		}
		c.Header = h
		return nil
	}
}

// SendHeader answers the client's opening tag.
func (c *Conn) SendHeader() error { return c.Write(c.header()) }

// header is our opening tag.
func (c *Conn) header() string {
	c.open = true
	return fmt.Sprintf("<?xml version='1.0'?><stream:stream xmlns='jabber:server' xmlns:db='jabber:server:dialback' "+
		"xmlns:stream='http://etherx.jabber.org/streams' id='%d' from='%s' to='%s' version='1.0'>",
		c.accepted.Load(), escape(c.Header.To), escape(c.Header.From))
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s))
	return b.String()
}

// ReadElement reads one whole element from the client and returns its name;
// an error when the client ends its stream instead.
func (c *Conn) ReadElement() (xml.Name, error) {
	for {
		tok, err := c.dec.Token()
		if err != nil {
			return xml.Name{}, err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			return t.Name, c.dec.Skip()
		case xml.EndElement:
			c.gone = true
			c.polite.Add(1)
			return xml.Name{}, errClosing
		}
	}
}

// TLS does the handshake; the stream starts anew.
func (c *Conn) TLS() error {
	t := tls.Server(c.conn, c.Server.tls)
	if err := t.Handshake(); err != nil {
		return err
	}
	c.conn, c.tls = t, t
	c.reset()
	return nil
}

// StreamError ends the stream with a condition of RFC 6120.
func (c *Conn) StreamError(condition, text string) error {
	var head string
	if !c.open {
		head = c.header()
	}
	if text != "" {
		text = "<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>" + escape(text) + "</text>"
	}
	err := c.Write(fmt.Sprintf("%s<stream:error><%s xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>%s</stream:error></stream:stream>", head, condition, text))
	c.open = false
	return err
}

// HasClientCert reports whether the client proved itself with a certificate.
func (c *Conn) HasClientCert() bool {
	return c.tls != nil && len(c.tls.ConnectionState().VerifiedChains) > 0
}

// Bye waits for the client's closing tag, answers it and ends TLS.
func (c *Conn) Bye() error {
	for {
		_, err := c.ReadElement()
		if err == nil {
			continue
		}
		if errors.Is(err, errClosing) {
			return c.end()
		}
		return err
	}
}

func (c *Conn) end() error {
	if c.open {
		if err := c.Write("</stream:stream>"); err != nil {
			return err
		}
		c.open = false
	}
	if c.tls != nil {
		return c.tls.CloseWrite()
	}
	return nil
}

// bye cleans up after a behaviour that returned: it hears the client out, so
// that closing does not reset the connection.
func (c *Conn) bye() {
	if c.raw == nil {
		return
	}
	if tcp, ok := c.raw.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	if c.gone {
		return
	}
	var tail []byte
	chunk := make([]byte, 1024)
	for {
		n, err := c.buf.Read(chunk)
		tail = append(tail, chunk[:n]...)
		if len(tail) > 1024 {
			tail = tail[len(tail)-64:]
		}
		if err != nil {
			break
		}
	}
	if strings.Contains(string(tail), "</stream:stream>") {
		c.polite.Add(1)
	}
}
