package probe

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// link is the TCP connection of one probe. It keeps one absolute deadline that
// a cancelled caller can only bring forward, remembers how the connection
// ended, and hands bytes that were read too early to whoever reads next. Its
// methods are for one goroutine, but for cut.
type link struct {
	net.Conn
	early []byte // read before TLS began, to be read by TLS
	eof   bool   // the peer's FIN was seen
	seen  int    // bytes received
	sent  error  // why writing failed, if it did

	mu   sync.Mutex
	done bool // cut was called
}

// cut ends every read and write, now and later.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = true
	_ = l.SetDeadline(time.Unix(1, 0))
}

// until sets the deadline unless the link was cut.
func (l *link) until(t time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.done {
		_ = l.SetDeadline(t)
	}
}

// Read implements net.Conn.
func (l *link) Read(p []byte) (int, error) {
	if len(l.early) > 0 {
		n := copy(p, l.early)
		l.early = l.early[n:]
		return n, nil
	}
	n, err := l.Conn.Read(p)
	l.seen += n
	if errors.Is(err, io.EOF) {
		l.eof = true
		// The reset was told to Write, once; Read then says EOF.
		if c, ok := errnoClass(l.sent); ok && c == Reset {
			err = l.sent
		}
	}
	return n, err
}

// Write implements net.Conn. A peer that is gone makes writing fail while its
// last words still wait to be read: such an error is kept for Read to tell.
func (l *link) Write(p []byte) (int, error) {
	n, err := l.Conn.Write(p)
	if err == nil {
		return n, nil
	}
	l.sent = err
	if c, ok := errnoClass(err); ok && c == Reset || errors.Is(err, io.ErrClosedPipe) {
		return len(p), nil
	}
	return n, err
}
