package probe

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"time"
)

// goodbye ends the stream politely when the peer is there to hear it: our
// closing tag, its closing tag, TLS close_notify, FIN. A stream of which we
// never saw the header is closed by our tag alone.
func (r *run) goodbye(ctx context.Context, f *fault) {
	s := r.stream
	if s == nil || r.link.eof || f != nil && f.class == Reset {
		return
	}
	hung := f != nil && f.class == Timeout
	budget := closeBudget
	if hung {
		budget = finBudget
	}
	r.link.until(time.Now().Add(budget))
	var conn net.Conn = r.link
	if r.tls != nil {
		conn = r.tls
	}
	if r.send(ctx, conn, "</stream:stream>") != nil || !s.head {
		return
	}
	if isTimeout(s.drain()) {
		if !hung { // or it would say twice that nothing comes
			r.remark(CloseUnclean)
		}
		return
	}
	r.farewell(s)
}

// farewell waits a moment for the end of the connection itself, so that
// closing does not reset it.
func (r *run) farewell(s *stream) {
	r.link.until(time.Now().Add(finBudget))
	if r.tls != nil {
		_ = r.tls.CloseWrite()
	}
	for range 16 {
		s.r, s.w = 0, 0
		if s.fill() != nil {
			break
		}
	}
	class, _ := errnoClass(s.err)
	reset := class == Reset // what we said last came too late for the server to read
	switch {
	case !reset && !errors.Is(s.err, io.EOF):
	case !s.ended:
		r.res.Notes = append(r.res.Notes, "the server closed without ending its stream")
	case r.tls != nil && (reset || r.link.eof): // else EOF was the close_notify
		r.res.Notes = append(r.res.Notes, "the server ended TLS without close_notify")
	}
}

// drain reads until the stream's closing tag or the end of the connection,
// within one phase's budget of bytes. It looks at the bytes alone, because the
// decoder cannot go on after an error.
func (s *stream) drain() error {
	if isTimeout(s.err) {
		s.err = nil
	}
	var window []byte
	for room := maxPhaseBytes; !s.ended && room > 0; {
		if err := s.fill(); err != nil {
			return err
		}
		room -= s.w - s.r
		window = append(window, s.buffered()...)
		s.r = s.w
		s.ended = endsStream(window)
		if keep := 64; len(window) > keep {
			window = append(window[:0], window[len(window)-keep:]...)
		}
	}
	return nil
}

// endsStream reports whether b holds a closing tag called stream, whatever its
// prefix.
func endsStream(b []byte) bool {
	for {
		_, rest, found := bytes.Cut(b, []byte("</"))
		if !found {
			return false
		}
		name, _, closed := bytes.Cut(rest, []byte(">"))
		if !closed {
			return false
		}
		name = bytes.TrimSpace(name)
		if string(name) == "stream" || bytes.HasSuffix(name, []byte(":stream")) {
			return true
		}
		b = rest
	}
}
