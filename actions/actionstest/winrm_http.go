package actionstest

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
)

const mutualAuth = "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual"

// ServeHTTP implements http.Handler: authentication, then one SOAP request.
func (w *WinRM) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	if r.URL.Path != "/wsman" || r.Method != http.MethodPost {
		http.NotFound(rw, r)
		return
	}
	a, _ := r.Context().Value(acceptorKey{}).(*acceptor)
	user, ok := w.authenticate(rw, r, a, body)
	if !ok {
		return
	}
	sealed := strings.Contains(r.Header.Get("Content-Type"), sealedProto)
	switch {
	case sealed && a.sealed:
		if body, err = a.unseal(body); err != nil {
			w.challenge(rw, a) // a message under other keys: log on again
			return
		}
	case len(body) == 0:
		rw.WriteHeader(http.StatusOK)
		return
	case sealed || w.o.TLS == nil && !w.o.Unencrypted:
		rw.WriteHeader(http.StatusInternalServerError) // AllowUnencrypted is false
		return
	}
	w.serveSOAP(rw, r, a, user, body, sealed)
}

// authenticate says who asks. When it has answered itself, ok is false.
func (w *WinRM) authenticate(rw http.ResponseWriter, r *http.Request, a *acceptor, body []byte) (user string, ok bool) {
	w.mu.Lock()
	password := w.password
	w.mu.Unlock()
	auth := r.Header.Get("Authorization")
	if auth == mutualAuth && r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		return r.TLS.PeerCertificates[0].Subject.CommonName, true
	}
	if u, p, basic := r.BasicAuth(); basic {
		if w.o.Basic && u == w.o.User && subtle.ConstantTimeCompare([]byte(p), []byte(password)) == 1 {
			return u, true
		}
		w.challenge(rw, a)
		return "", false
	}
	scheme, token, _ := strings.Cut(auth, " ")
	if auth == "" {
		if a.logged && len(body) > 0 {
			return a.user, true
		}
		w.challenge(rw, a)
		return "", false
	}
	raw, err := base64.StdEncoding.DecodeString(token)
	if err != nil || scheme != "Negotiate" && scheme != "NTLM" {
		w.challenge(rw, a)
		return "", false
	}
	switch messageType(raw) {
	case 1:
		if !w.mistreat(rw, r, w.fault("Handshake")) {
			return "", false
		}
		challenge, err := a.begin(raw, w.host)
		if err != nil {
			w.challenge(rw, a)
			return "", false
		}
		rw.Header().Set("WWW-Authenticate", scheme+" "+base64.StdEncoding.EncodeToString(challenge))
		rw.WriteHeader(http.StatusUnauthorized)
		return "", false
	case 3:
		var bindings []byte
		if w.o.RequireBindings && r.TLS != nil {
			bindings = channelBindings(w.o.TLS)
		}
		if err := a.finish(raw, w.o.User, password, bindings); err != nil {
			w.challenge(rw, a)
			return "", false
		}
		return a.user, true
	}
	w.challenge(rw, a)
	return "", false
}

// challenge answers 401 and forgets who the connection belonged to.
func (w *WinRM) challenge(rw http.ResponseWriter, a *acceptor) {
	*a = acceptor{}
	rw.Header().Add("WWW-Authenticate", "Negotiate")
	if w.o.Basic {
		rw.Header().Add("WWW-Authenticate", `Basic realm="WSMAN"`)
	}
	rw.WriteHeader(http.StatusUnauthorized)
}

// channelBindings is what RFC 5929 tls-server-end-point makes of the host's
// certificate, as NTLM carries it: the MD5 of a gss_channel_bindings_struct.
func channelBindings(cfg *tls.Config) []byte {
	if cfg == nil || len(cfg.Certificates) == 0 {
		return nil
	}
	cert, err := x509.ParseCertificate(cfg.Certificates[0].Certificate[0])
	if err != nil {
		return nil
	}
	sum := sha256.Sum256(cert.Raw)
	data := append([]byte("tls-server-end-point:"), sum[:]...)
	head := make([]byte, 16)
	return md5Of(head, binary.LittleEndian.AppendUint32(nil, uint32(len(data))), data)
}

// mistreat does what a fault says before anything is done. It reports whether
// the request shall go on.
func (w *WinRM) mistreat(rw http.ResponseWriter, r *http.Request, f Fault) bool {
	soapOK := func(body string) {
		rw.Header().Set("Content-Type", "application/soap+xml;charset=UTF-8")
		_, _ = io.WriteString(rw, body)
	}
	switch f.Kind {
	case Hang:
		w.hang(r)
		panic(http.ErrAbortHandler)
	case Reset:
		reset(rw)
	case HTML503:
		rw.Header().Set("Content-Type", "text/html")
		rw.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(rw, "<html><body><h1>503 Service Unavailable</h1>No server is available</body></html>")
	case EmptyBody:
		soapOK("")
	case BadXML:
		soapOK(`<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><rsp:Rec`)
	case PlainText:
		rw.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(rw, "welcome to the internet access portal")
	case Logout:
		a, _ := r.Context().Value(acceptorKey{}).(*acceptor)
		w.challenge(rw, a)
	default:
		return true
	}
	return false
}

// hang waits until the client has gone or the host ends.
func (w *WinRM) hang(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-w.ctx.Done():
	}
}

// reset cuts the connection with an RST.
func reset(rw http.ResponseWriter) {
	hijacker, ok := rw.(http.Hijacker)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	conn, _, err := hijacker.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	under := conn
	if t, ok := conn.(*tls.Conn); ok {
		under = t.NetConn()
	}
	if t, ok := under.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = under.Close()
}
