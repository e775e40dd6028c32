package winrm

import (
	"bytes"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/bodgit/ntlmssp"
)

// session is one authenticated connection. The sealing keys belong to it: on
// any other connection its messages mean nothing.
type session struct {
	conn net.Conn
	seal *ntlmssp.SecuritySession
}

const (
	sealBoundary = "--Encrypted Boundary"
	sealProtocol = "application/HTTP-SPNEGO-session-encrypted"
	sealType     = `multipart/encrypted;protocol="` + sealProtocol + `";boundary="Encrypted Boundary"`
	octetHeader  = "\tContent-Type: application/octet-stream\r\n"
)

var (
	// ErrLogon means that the host refused the account. Asking again and again
	// may lock it.
	ErrLogon = errors.New("logon was refused (HTTP 401)")
	// errNoNTLM says that the host does not speak NTLM.
	errNoNTLM = errors.New("the host offers no Negotiate authentication")
)

// postNTLM sends message on an authenticated connection, which it makes first
// if there is none. A 401 to an authenticated message means that the host has
// dropped that connection and did not read the message: it is sent once more.
func (l *link) postNTLM(ctx context.Context, message []byte) (*reply, error) {
	for attempt := 0; ; attempt++ {
		s := l.session
		if s == nil {
			var err error
			if s, err = l.handshake(ctx); err != nil {
				return nil, err
			}
		}
		// Until an answer proves that both ends are in step, there is no session.
		l.session = nil
		r, inStep, err := l.sendOn(ctx, s, message)
		if err != nil {
			return nil, err
		}
		if r.status != http.StatusUnauthorized {
			if inStep && r.conn == s.conn {
				l.session = s
			}
			return r, nil
		}
		if attempt > 0 {
			return nil, &sendError{err: ErrLogon}
		}
	}
}

// sendOn sends message on s: sealed over http, inside TLS over https. It
// reports whether the answer was sealed with the keys of s, if it had to be.
func (l *link) sendOn(ctx context.Context, s *session, message []byte) (r *reply, inStep bool, err error) {
	if l.o.HTTPS {
		r, err = l.send(ctx, message, soapType, nil)
		return r, true, err
	}
	sealed, signature, err := s.seal.Wrap(message)
	if err != nil {
		return nil, false, &sendError{err: fmt.Errorf("seal the message: %w", err)}
	}
	r, err = l.send(ctx, sealedBody(sealed, signature, len(message)), sealType, nil)
	if err != nil || r.status == http.StatusUnauthorized {
		return r, false, err
	}
	if !strings.Contains(r.header.Get("Content-Type"), sealProtocol) {
		if r.status == http.StatusOK {
			return nil, false, &sendError{sent: true, err: fmt.Errorf("%w: it is not sealed", errMalformed)}
		}
		return r, false, nil // an error page of something on the way
	}
	if r.body, err = unseal(s.seal, r.body); err != nil {
		return nil, false, &sendError{sent: true, err: fmt.Errorf("%w: %w", errMalformed, err)}
	}
	return r, true, nil
}

// handshake logs on with empty messages, so that nothing is told to a host
// before it has answered a challenge for this account.
func (l *link) handshake(ctx context.Context) (*session, error) {
	user, domain := l.o.User, ""
	if d, u, ok := strings.Cut(user, `\`); ok {
		user, domain = u, d
	}
	client, err := ntlmssp.NewClient(ntlmssp.SetUserInfo(user, l.o.Password.Reveal()), ntlmssp.SetDomain(domain))
	if err != nil {
		return nil, &sendError{err: fmt.Errorf("prepare NTLM: %w", err)}
	}
	first, err := client.Authenticate(nil, nil)
	if err != nil {
		return nil, &sendError{err: fmt.Errorf("prepare NTLM: %w", err)}
	}
	r, err := l.negotiate(ctx, first)
	if err != nil {
		return nil, err
	}
	challenge, err := challengeIn(r)
	if err != nil {
		return nil, &sendError{err: err}
	}
	second, err := authenticate(client, challenge, bindings(r))
	if err != nil {
		return nil, &sendError{err: fmt.Errorf("answer the NTLM challenge: %w", err)}
	}
	done, err := l.negotiate(ctx, second)
	switch {
	case err != nil:
		return nil, err
	case done.conn != r.conn:
		return nil, &sendError{err: errors.New("the host closed the connection during logon")}
	case done.status == http.StatusUnauthorized:
		return nil, &sendError{err: ErrLogon}
	case done.status/100 != 2:
		return nil, &sendError{err: &Fault{HTTP: done.status, Reason: clip(string(done.body), 120)}}
	case !l.o.HTTPS && client.SecuritySession() == nil:
		return nil, &sendError{err: errors.New("the host agreed to no message sealing")}
	}
	return &session{conn: done.conn, seal: client.SecuritySession()}, nil
}

// authenticate answers a challenge. The library indexes into what the host
// sent: a panic there is the host's malformed message.
func authenticate(c *ntlmssp.Client, challenge []byte, cb *ntlmssp.ChannelBindings) (token []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: NTLM challenge: %v", errMalformed, p)
		}
	}()
	return c.Authenticate(challenge, cb)
}

// negotiate sends one token. Nothing a handshake sends makes the host act.
func (l *link) negotiate(ctx context.Context, token []byte) (*reply, error) {
	r, err := l.send(ctx, nil, soapType, func(req *http.Request) {
		req.Header.Set("Authorization", "Negotiate "+base64.StdEncoding.EncodeToString(token))
	})
	if e, ok := errors.AsType[*sendError](err); ok {
		return nil, &sendError{stale: e.stale, err: fmt.Errorf("log on: %w", e.err)}
	}
	return r, err
}

func challengeIn(r *reply) ([]byte, error) {
	if r.status != http.StatusUnauthorized {
		return nil, &Fault{HTTP: r.status, Reason: clip(string(r.body), 120)}
	}
	for _, h := range r.header.Values("WWW-Authenticate") {
		if token, ok := strings.CutPrefix(h, "Negotiate "); ok {
			challenge, err := base64.StdEncoding.DecodeString(strings.TrimSpace(token))
			if err != nil {
				return nil, fmt.Errorf("%w: NTLM challenge: %w", errMalformed, err)
			}
			return challenge, nil
		}
	}
	return nil, errNoNTLM
}

// bindings ties the logon to the TLS certificate (RFC 5929, tls-server-end-point).
func bindings(r *reply) *ntlmssp.ChannelBindings {
	if r.tls == nil || len(r.tls.PeerCertificates) == 0 {
		return nil
	}
	cert := r.tls.PeerCertificates[0]
	hash := crypto.SHA256
	switch cert.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		hash = crypto.SHA384
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		hash = crypto.SHA512
	default:
	}
	h := hash.New()
	h.Write(cert.Raw)
	return &ntlmssp.ChannelBindings{ApplicationData: h.Sum([]byte(ntlmssp.TLSServerEndPoint + ":"))}
}

func sealedBody(sealed, signature []byte, length int) []byte {
	var b bytes.Buffer
	b.WriteString(sealBoundary + "\r\n\tContent-Type: " + sealProtocol + "\r\n")
	fmt.Fprintf(&b, "\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length=%d\r\n", length)
	b.WriteString(sealBoundary + "\r\n" + octetHeader)
	b.Write(binary.LittleEndian.AppendUint32(nil, uint32(len(signature))))
	b.Write(signature)
	b.Write(sealed)
	b.WriteString(sealBoundary + "--\r\n")
	return b.Bytes()
}

// signatureLen is the length of an NTLM signature.
const signatureLen = 16

// unseal opens a sealed answer ([MS-WSMV] 2.2.9.1): one part, whose length and
// signature must be right.
func unseal(s *ntlmssp.SecuritySession, body []byte) ([]byte, error) {
	head, rest, ok := bytes.Cut(body, []byte(octetHeader))
	if !ok {
		return nil, errors.New("sealed answer without payload")
	}
	_, after, ok := bytes.Cut(head, []byte("Length="))
	if !ok {
		return nil, errors.New("sealed answer without length")
	}
	digits, _, _ := bytes.Cut(after, []byte("\r\n"))
	want, err := strconv.Atoi(string(bytes.TrimSpace(digits)))
	if err != nil {
		return nil, fmt.Errorf("length of the sealed answer: %w", err)
	}
	rest = bytes.TrimSuffix(rest, []byte(sealBoundary+"--\r\n"))
	if want < 0 || len(rest) != want+4+signatureLen || binary.LittleEndian.Uint32(rest) != signatureLen {
		return nil, fmt.Errorf("sealed answer of %d bytes, %d announced", len(rest)-4-signatureLen, want)
	}
	return s.Unwrap(rest[4+signatureLen:], rest[4:4+signatureLen])
}
