package winrm

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"
	"time"
)

const (
	dialTimeout = 10 * time.Second
	idleTimeout = 30 * time.Second // well below the two minutes after which HTTP.sys drops a connection
	maxAnswer   = 1 << 20          // WinRM's envelopes are at most 150 KiB unless configured otherwise
	soapType    = "application/soap+xml;charset=UTF-8"
	mutualAuth  = "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual"
)

// link is the one connection of a Client: requests on it are serialised.
type link struct {
	o   *Options
	url string
	tr  *http.Transport

	mu      sync.Mutex
	session *session // nil until the connection is authenticated with NTLM
}

func newLink(o *Options) *link {
	scheme := "http"
	if o.HTTPS {
		scheme = "https"
	}
	_, port, _ := net.SplitHostPort(o.Addr) // checked by validate
	u := url.URL{Scheme: scheme, Host: net.JoinHostPort(o.Host, port), Path: "/wsman"}
	cfg := &tls.Config{RootCAs: o.RootCAs, ServerName: cmp.Or(o.ServerName, o.Host), MinVersion: tls.VersionTLS12}
	if o.ClientCert != nil {
		cfg.Certificates = []tls.Certificate{*o.ClientCert}
	}
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, o.Addr)
	}
	return &link{o: o, url: u.String(), tr: &http.Transport{
		// No proxy: an environment variable must not send credentials elsewhere.
		DialContext: dial,
		DialTLSContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return handshake(ctx, conn, cfg)
		},
		MaxConnsPerHost:     1, // and HTTP/1.1, as a dialler of our own implies: NTLM belongs to a connection
		MaxIdleConnsPerHost: 1,
		IdleConnTimeout:     idleTimeout,
		DisableCompression:  true,
	}}
}

func (l *link) close() { l.tr.CloseIdleConnections() }

// reply is what came back for one POST.
type reply struct {
	status int
	header http.Header
	body   []byte
	conn   net.Conn
	tls    *tls.ConnectionState
}

// sendError is a POST without an answer.
type sendError struct {
	sent  bool // the request may have reached the host
	stale bool // it went over a connection that had been idle
	err   error
}

func (e *sendError) Error() string { return e.err.Error() }
func (e *sendError) Unwrap() error { return e.err }

// post sends one SOAP message with the authentication of the options.
func (l *link) post(ctx context.Context, message []byte) (*reply, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch l.o.Auth {
	case NTLM:
		return l.postNTLM(ctx, message)
	case Basic:
		return l.send(ctx, message, soapType, func(r *http.Request) {
			r.SetBasicAuth(l.o.User, l.o.Password.Reveal())
		})
	default:
		return l.send(ctx, message, soapType, func(r *http.Request) {
			r.Header.Set("Authorization", mutualAuth)
		})
	}
}

// send makes one POST and reads the whole answer. The body is always drained
// within bounds and closed, so the connection is either reused or gone.
func (l *link) send(ctx context.Context, body []byte, contentType string, edit func(*http.Request)) (*reply, error) {
	out, reused := new(reply), false
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) { out.conn, reused = i.Conn, i.Reused },
	})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url, bytes.NewReader(body))
	if err != nil {
		return nil, &sendError{err: err}
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("User-Agent", "edgewatch")
	if edit != nil {
		edit(req)
	}
	resp, err := l.tr.RoundTrip(req) // no redirects: credentials go to this host or nowhere
	if err != nil {
		return nil, &sendError{sent: out.conn != nil, stale: reused, err: because(ctx, err)}
	}
	defer resp.Body.Close()
	out.status, out.header = resp.StatusCode, resp.Header
	if c, ok := out.conn.(*tlsConn); ok {
		state := c.ConnectionState()
		out.tls = &state
	}
	out.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, &sendError{sent: true, err: fmt.Errorf("read the answer: %w", because(ctx, err))}
	}
	if len(out.body) > maxAnswer {
		return nil, &sendError{sent: true, err: errors.New("the answer is larger than any of WinRM's")}
	}
	return out, nil
}

// because adds why ctx ended, when that is why err came.
func because(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w (%w)", err, cause)
	}
	return err
}
