package winrm

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"edgewatch/actions"
)

// script answers each operation over https with Basic, as nothing sound would.
type script struct {
	receive  func(w http.ResponseWriter, n int64)
	deletes  func(w http.ResponseWriter)
	received atomic.Int64
	ended    atomic.Int64 // Signal and Delete
}

var actionElement = regexp.MustCompile(`/([A-Z][a-z]+)</a:Action>`)

func (s *script) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	m := actionElement.FindSubmatch(body)
	if m == nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	switch op := string(m[1]); op {
	case "Create":
		soapAnswer(w, actionCreate, `<rsp:Shell><rsp:ShellId>1</rsp:ShellId></rsp:Shell>`)
	case "Command":
		soapAnswer(w, actionCommand, `<rsp:CommandResponse><rsp:CommandId>2</rsp:CommandId></rsp:CommandResponse>`)
	case "Receive":
		s.receive(w, s.received.Add(1))
	default:
		s.ended.Add(1)
		if s.deletes != nil {
			s.deletes(w)
			return
		}
		soapAnswer(w, map[string]string{"Signal": actionSignal, "Delete": actionDelete}[op], "")
	}
}

func soapAnswer(w http.ResponseWriter, action, body string) {
	fmt.Fprintf(w, `<s:Envelope xmlns:s=%q xmlns:a=%q xmlns:rsp=%q><s:Header><a:Action>%sResponse</a:Action></s:Header><s:Body>%s</s:Body></s:Envelope>`,
		nsEnvelope, nsAddressing, nsShell, action, body)
}

func output(w http.ResponseWriter, data string) {
	soapAnswer(w, actionReceive, `<rsp:ReceiveResponse><rsp:Stream Name="stdout">`+base64.StdEncoding.EncodeToString([]byte(data))+`</rsp:Stream></rsp:ReceiveResponse>`)
}

func dialScript(t *testing.T, s *script) *Client {
	t.Helper()
	srv := httptest.NewTLSServer(s)
	t.Cleanup(srv.Close)
	o := Options{Host: edgeHost, Addr: srv.Listener.Addr().String(), HTTPS: true, Auth: Basic, User: "u", Password: actions.NewSecret(password), ServerName: "example.com"}
	o.RootCAs = srv.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// TestRefusedWhileItRuns: what is refused after a command was started says
// nothing about the command.
func TestRefusedWhileItRuns(t *testing.T) {
	for _, status := range []int{http.StatusNotFound, http.StatusForbidden, http.StatusUnauthorized} {
		c := dialScript(t, &script{receive: func(w http.ResponseWriter, _ int64) { w.WriteHeader(status) }})
		wantError(t, c.Run(t.Context(), stop, nil), actions.Indeterminate, edgeHost, fmt.Sprint("HTTP ", status), "checked")
	}
}

// TestEmptyOutputDoesNotSpin: output without a byte is no output.
func TestEmptyOutputDoesNotSpin(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
	defer cancel()
	s := &script{receive: func(w http.ResponseWriter, _ int64) { output(w, "") }}
	wantError(t, dialScript(t, s).Run(ctx, getServices(), nil), actions.Transient, edgeHost)
	if n := s.received.Load(); n > 5 {
		t.Errorf("%d Receive requests in 0.6 s", n)
	}
}

// TestOutputWithoutEndIsGivenUp: a host that prints for ever holds nobody up.
func TestOutputWithoutEndIsGivenUp(t *testing.T) {
	chunk := strings.Repeat("x", 100<<10)
	s := &script{receive: func(w http.ResponseWriter, _ int64) { output(w, chunk) }}
	wantError(t, dialScript(t, s).Run(t.Context(), getServices(), nil), actions.Transient, edgeHost, "bytes of output")
	if n := s.received.Load(); n > maxReceived/int64(len(chunk)) {
		t.Errorf("%d Receive requests", n)
	}
}

// TestCleanUpSparesTheAccount: a refused logon is not tried again for the
// sake of a shell.
func TestCleanUpSparesTheAccount(t *testing.T) {
	no := func(w http.ResponseWriter) { w.WriteHeader(http.StatusUnauthorized) }
	s := &script{receive: func(w http.ResponseWriter, _ int64) { no(w) }, deletes: no}
	wantError(t, dialScript(t, s).Run(t.Context(), getServices(), nil), actions.Rejected, edgeHost, "logon was refused")
	if n := s.ended.Load(); n > 0 {
		t.Errorf("%d more logons after one was refused", n)
	}
}
