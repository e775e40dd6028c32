package probe

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
)

// Namespaces of RFC 6120 and of the features a federation server offers.
const (
	nsStream   = "http://etherx.jabber.org/streams"
	nsServer   = "jabber:server"
	nsErrors   = "urn:ietf:params:xml:ns:xmpp-streams"
	nsTLS      = "urn:ietf:params:xml:ns:xmpp-tls"
	nsSASL     = "urn:ietf:params:xml:ns:xmpp-sasl"
	nsDialback = "urn:xmpp:features:dialback"
)

// Limits of what a peer may make us read and keep.
const (
	maxPhaseBytes = 64 << 10 // of one phase
	maxDepth      = 12       // of elements
	maxElements   = 512      // below one top-level element
	maxEvidence   = 200      // bytes of a peer's text that are kept
	bufferSize    = 1 << 10
)

// Reasons why a stream cannot be read on, beside the transport's own errors.
var (
	errTooLarge  = errors.New("more than 64 KiB in one phase")
	errTooDeep   = fmt.Errorf("elements nested more than %d deep", maxDepth)
	errTooMany   = fmt.Errorf("more than %d elements in one", maxElements)
	errStreamEnd = errors.New("the server ended the stream")
)

// xmlError is a violation of what XMPP allows that encoding/xml lets pass.
type xmlError string

func (e xmlError) Error() string { return string(e) }

// element is one complete child of the stream, or below one.
type element struct {
	name     xml.Name
	children []element
	text     string
}

func (e *element) child(space, local string) *element {
	for i := range e.children {
		if c := &e.children[i]; c.name.Space == space && c.name.Local == local {
			return c
		}
	}
	return nil
}

// header is the server's opening tag.
type header struct {
	name                  xml.Name
	content               string // the default namespace
	version, id, from, to string
}

// stream reads one XML stream of a peer that is not trusted: bounded in bytes
// per phase, in depth and in elements; without DTD, comments or entities. It
// is its own io.ByteReader, so that the decoder keeps nothing back and what
// follows a token is still in the buffer. Not safe for concurrent use.
type stream struct {
	src   io.Reader
	trace func(Direction, []byte)
	dec   *xml.Decoder
	buf   []byte
	r, w  int
	left  int   // bytes that the current phase may still take
	seen  int   // bytes that ever arrived
	err   error // sticky: why no byte can be had any more
	proc  bool  // the XML declaration was seen
	head  bool  // the opening tag was seen
	ended bool  // the closing tag was seen
}

func newStream(src io.Reader, trace func(Direction, []byte)) *stream {
	s := &stream{src: src, trace: trace, buf: make([]byte, bufferSize), left: maxPhaseBytes}
	s.dec = xml.NewDecoder(s)
	return s
}

// phase gives the next phase its own budget of bytes.
func (s *stream) phase() { s.left = maxPhaseBytes }

// retry forgets a deadline that struck, so that reading may go on under
// another one.
func (s *stream) retry() { s.err = nil }

// buffered is what arrived behind the last token.
func (s *stream) buffered() []byte { return s.buf[s.r:s.w] }

// fill makes sure that the buffer holds a byte.
func (s *stream) fill() error {
	if s.r < s.w {
		return nil
	}
	if s.err != nil {
		return s.err
	}
	for range 8 { // a Read may return nothing a few times
		n, err := s.src.Read(s.buf)
		s.r, s.w = 0, n
		s.seen += n
		if n > 0 && s.trace != nil {
			s.trace(Received, s.buf[:n])
		}
		s.err = err
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	s.err = io.ErrNoProgress
	return s.err
}

// ReadByte implements io.ByteReader for the decoder.
func (s *stream) ReadByte() (byte, error) {
	if err := s.fill(); err != nil {
		return 0, err
	}
	if s.left <= 0 {
		return 0, errTooLarge
	}
	s.left--
	b := s.buf[s.r]
	s.r++
	return b, nil
}

// Read is there because the decoder asks for an io.Reader; it uses ReadByte.
func (s *stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	b, err := s.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = b
	return 1, nil
}

// sniff waits for the first byte that says anything and returns a description
// of what talks there when that is not XML: the decoder would wait for a "<"
// for ever.
func (s *stream) sniff() (string, error) {
	bom := "" // what came of a byte order mark, which may stand at the very beginning
	for {
		if err := s.fill(); err != nil {
			return "", err
		}
		have := s.buffered()
		switch {
		case len(bom) < len(byteOrderMark) && s.seen-len(have) == len(bom) && have[0] == byteOrderMark[len(bom)]:
			bom += string(have[:1])
		case len(bom)%len(byteOrderMark) != 0:
			return speaks([]byte(bom + string(have))), nil
		case have[0] == '<':
			return "", nil
		case strings.IndexByte(" \t\r\n", have[0]) < 0:
			return speaks(have), nil
		}
		if _, err := s.ReadByte(); err != nil {
			return "", err
		}
	}
}

const byteOrderMark = "\xef\xbb\xbf"

// speaks guesses the protocol from a banner.
func speaks(b []byte) string {
	kind := "no XMPP"
	switch {
	case bytes.HasPrefix(b, []byte("HTTP/")):
		kind = "HTTP"
	case bytes.HasPrefix(b, []byte("SSH-")):
		kind = "SSH"
	case looksLikeTLS(b):
		kind = "TLS"
	case len(b) > 3 && b[0] >= '1' && b[0] <= '5' && (b[3] == ' ' || b[3] == '-'):
		kind = "a line protocol like SMTP or FTP"
	}
	return fmt.Sprintf("%s: it began with %s", kind, evidence(b))
}

// looksLikeTLS reports whether b starts like an alert or handshake record.
func looksLikeTLS(b []byte) bool {
	return len(b) > 0 && (b[0] == 0x15 || b[0] == 0x16) && (len(b) == 1 || b[1] == 3)
}

// evidence quotes the beginning of a peer's bytes for people to read.
func evidence[T ~string | ~[]byte](b T) string {
	if len(b) > maxEvidence {
		return fmt.Sprintf("%+q…", b[:maxEvidence])
	}
	return fmt.Sprintf("%+q", b)
}

// printable makes a peer's short text safe to show: nothing in it ends a line,
// colours a terminal or goes on for ever.
func printable(s string) string {
	if len(s) > maxEvidence {
		s = s[:maxEvidence] + "…"
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}

// token is the next token of the stream that is not blank, with what XMPP
// forbids turned into an error.
func (s *stream) token() (xml.Token, error) {
	for {
		tok, err := s.dec.Token()
		if err != nil {
			return nil, s.why(err)
		}
		switch t := tok.(type) {
		case xml.StartElement, xml.EndElement:
			return tok, nil
		case xml.CharData:
			if len(bytes.TrimSpace(t)) > 0 {
				return tok, nil
			}
		case xml.ProcInst:
			if s.proc || s.head || t.Target != "xml" {
				return nil, xmlError("a processing instruction " + evidence(t.Target))
			}
			s.proc = true
		case xml.Comment:
			return nil, xmlError("a comment")
		case xml.Directive:
			return nil, xmlError("a DTD or other directive " + evidence(t))
		default:
			return nil, xmlError("an unknown token")
		}
	}
}

// why prefers the reason that bytes stopped over the decoder's complaint about
// the stump: a stream cut short is not a malformed one.
func (s *stream) why(err error) error {
	switch {
	case s.left <= 0:
		return errTooLarge
	case s.err != nil && s.r == s.w:
		return s.err
	}
	if _, ok := errors.AsType[*xml.SyntaxError](err); ok {
		return err
	}
	return xmlError(err.Error())
}

// header reads the opening tag.
func (s *stream) header() (header, error) {
	tok, err := s.token()
	if err != nil {
		return header{}, err
	}
	start, ok := tok.(xml.StartElement)
	if !ok {
		return header{}, xmlError("text before the opening tag")
	}
	s.head = true
	h := header{name: start.Name}
	for _, a := range start.Attr {
		switch {
		case a.Name.Space == "" && a.Name.Local == "xmlns":
			h.content = a.Value
		case a.Name.Space != "":
		case a.Name.Local == "version":
			h.version = a.Value
		case a.Name.Local == "id":
			h.id = a.Value
		case a.Name.Local == "from":
			h.from = a.Value
		case a.Name.Local == "to":
			h.to = a.Value
		}
	}
	return h, nil
}

// next reads one complete child of the stream; errStreamEnd when the stream
// ended instead.
func (s *stream) next() (element, error) {
	tok, err := s.token()
	if err != nil {
		return element{}, err
	}
	switch t := tok.(type) {
	case xml.StartElement:
		count := 0
		return s.subtree(t, 2, &count)
	case xml.EndElement:
		s.ended = true
		return element{}, errStreamEnd
	default:
		return element{}, xmlError("text between the elements of the stream")
	}
}

func (s *stream) subtree(start xml.StartElement, depth int, count *int) (element, error) {
	if depth > maxDepth {
		return element{}, errTooDeep
	}
	if *count++; *count > maxElements {
		return element{}, errTooMany
	}
	e := element{name: start.Name}
	for {
		tok, err := s.token()
		if err != nil {
			return element{}, err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			c, err := s.subtree(t, depth+1, count)
			if err != nil {
				return element{}, err
			}
			e.children = append(e.children, c)
		case xml.EndElement:
			return e, nil
		case xml.CharData:
			if room := maxEvidence - len(e.text); room > 0 {
				e.text += string(t[:min(room, len(t))])
			}
		}
	}
}

// condition reads a stream error: its RFC 6120 condition, "unknown" when it
// names none of them, and what the server said about it.
func (e *element) condition() (condition, text string) {
	condition = "unknown"
	for i := range e.children {
		c := &e.children[i]
		if c.name.Space != nsErrors {
			continue
		}
		if c.name.Local == "text" {
			text = strings.TrimSpace(c.text)
			continue
		}
		if _, known := conditionLevels[c.name.Local]; known && condition == "unknown" {
			condition = c.name.Local
			if condition == "see-other-host" && c.text != "" {
				text = "the server points at " + strings.TrimSpace(c.text)
			}
		}
	}
	return condition, text
}

// features lists what was offered, in words: "starttls", "dialback",
// "sasl:EXTERNAL", else the feature's namespace.
func (e *element) features() []string {
	var out []string
	add := func(s string) {
		if s = printable(s); len(out) < 32 && !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	for i := range e.children {
		c := &e.children[i]
		switch c.name {
		case xml.Name{Space: nsTLS, Local: "starttls"}:
			add("starttls")
		case xml.Name{Space: nsDialback, Local: "dialback"}:
			add("dialback")
		case xml.Name{Space: nsSASL, Local: "mechanisms"}:
			for _, m := range c.children {
				if m.name.Local == "mechanism" {
					add("sasl:" + strings.TrimSpace(m.text))
				}
			}
		default:
			add(c.name.Space)
		}
	}
	return out
}
