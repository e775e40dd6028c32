package winrm

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"edgewatch/actions"
	"edgewatch/actions/actionstest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Each test here is named after a way in which masterzen/winrm's own
// transports fail.

var stop = Script{Op: "Stop-CsWindowsService", Module: true, Writes: true, Calls: []Call{{Cmdlet: "Stop-CsWindowsService"}}}

// tlsEdge is an Edge Server on https with Basic: what a proxy breaks there is
// seen by the parser, not by the sealing.
func tlsEdge(t *testing.T, o actionstest.WinRMOptions) (*actionstest.Estate, *actionstest.WinRM, *Client) {
	t.Helper()
	ca := newAuthority(t)
	e := newEstate()
	o.TLS = &tls.Config{Certificates: []tls.Certificate{ca.pair(t, edgeHost)}}
	o.Basic = true
	w := listen(t, edgeHost, e, o)
	return e, w, dial(t, w, func(o *Options) { o.HTTPS, o.Auth, o.User, o.RootCAs = true, Basic, testAccount, ca.pool })
}

func TestEmptyReceiveBodyDoesNotCrash(t *testing.T) {
	_, w, c := tlsEdge(t, actionstest.WinRMOptions{})
	w.Inject(actionstest.Fault{On: "Receive", Kind: actionstest.EmptyBody, Times: 1})
	err := c.Run(t.Context(), stop, nil)
	wantError(t, err, actions.Indeterminate, edgeHost, "Stop-CsWindowsService", "empty", "checked")
	if err := c.Run(t.Context(), getServices(), nil); err != nil {
		t.Errorf("the next command: %v", err)
	}
}

func TestFaultOnReceiveDoesNotSpin(t *testing.T) {
	for _, tc := range []struct {
		name  string
		fault actionstest.Fault
		says  string
	}{
		{"shell gone", actionstest.Fault{Kind: actionstest.SOAPFault, Code: 2150858843}, "2150858843"},
		{"html 503", actionstest.Fault{Kind: actionstest.HTML503}, "HTTP 503"},
		{"text instead of XML", actionstest.Fault{Kind: actionstest.PlainText}, "not WinRM's"},
		{"XML that breaks off", actionstest.Fault{Kind: actionstest.BadXML}, "not WinRM's"},
		{"answer to another request", actionstest.Fault{Kind: actionstest.WrongReply}, "not WinRM's"},
		{"connection reset", actionstest.Fault{Kind: actionstest.Reset}, "reset"},
		{"quota reached meanwhile", actionstest.Fault{Kind: actionstest.SOAPFault, Code: 2150859174}, "2150859174"},
	} {
		for name, script := range map[string]Script{"writes": stop, "reads": getServices()} {
			t.Run(tc.name+" "+name, func(t *testing.T) {
				_, w, c := tlsEdge(t, actionstest.WinRMOptions{})
				tc.fault.On = "Receive"
				w.Inject(tc.fault)
				want := actions.Transient
				if script.Writes {
					want = actions.Indeterminate
				}
				wantError(t, c.Run(t.Context(), script, nil), want, edgeHost, tc.says)
				if n := w.Requests("Receive"); n != 1 {
					t.Errorf("%d Receive requests, want one", n)
				}
			})
		}
	}
}

func TestOperationTimeoutPollsWithoutSpinning(t *testing.T) {
	e, w, c := tlsEdge(t, actionstest.WinRMOptions{Hold: time.Millisecond})
	e.Set(func(k *actionstest.Knobs) { k.Work = 600 * time.Millisecond })
	if err := c.Run(t.Context(), stop, nil); err != nil {
		t.Fatal(err)
	}
	if n := w.Requests("Receive"); n < 2 || n > 5 {
		t.Errorf("%d Receive requests in 0.6 s against a host that does not hold them, want a few", n)
	}
}

func TestContextIsHonouredMidRequest(t *testing.T) {
	for _, tc := range []struct {
		on      string
		kind    actionstest.FaultKind
		want    actions.Kind
		deletes int
	}{
		{"Create", actionstest.Hang, actions.Transient, 0},
		{"Command", actionstest.Hang, actions.Indeterminate, 1},
		{"Command", actionstest.HangAfter, actions.Indeterminate, 1},
		{"Receive", actionstest.Hang, actions.Indeterminate, 1},
		{"", actionstest.Hang, actions.Transient, 0},
		{"Handshake", actionstest.Hang, actions.Transient, 0},
	} {
		t.Run("hang on "+tc.on, func(t *testing.T) {
			t.Parallel()
			_, w, c := edge(t)
			c.o.Timeout = time.Minute // it is the context that ends the wait
			w.Inject(actionstest.Fault{On: tc.on, Kind: tc.kind})
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			began := time.Now()
			err := c.Run(ctx, stop, nil)
			if took := time.Since(began); took > c.o.Timeout/2 {
				t.Errorf("returned after %v", took)
			}
			wantError(t, err, tc.want, edgeHost)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("error %v is not the deadline's", err)
			}
			if n := w.Requests("Delete"); n != tc.deletes {
				t.Errorf("%d Delete requests, want %d", n, tc.deletes)
			}
			if tc.deletes > 0 && w.Shells() > 0 {
				t.Errorf("%d shells left behind", w.Shells())
			}
		})
	}
}

func TestHangingCleanUpIsGivenUp(t *testing.T) {
	t.Parallel()
	_, w, c := edge(t)
	c.o.Timeout = time.Minute
	w.Inject(actionstest.Fault{On: "Delete", Kind: actionstest.Hang})
	began := time.Now()
	if err := c.Run(t.Context(), stop, nil); err != nil {
		t.Errorf("a command whose shell could not be deleted: %v", err)
	}
	if took := time.Since(began); took > c.o.Timeout/2 {
		t.Errorf("returned after %v", took)
	}
}

func TestTimeoutOfTheOptions(t *testing.T) {
	t.Run("ends no command that runs longer", func(t *testing.T) {
		e, w, c := edge(t)
		c.o.Timeout = 400 * time.Millisecond
		e.Set(func(k *actionstest.Knobs) { k.Work = time.Second })
		if err := NewStopServices(c).Apply(t.Context()); err != nil {
			t.Errorf("a stop that takes longer than one request: %v", err)
		}
		if n := w.Requests("Receive"); n < 3 {
			t.Errorf("%d Receive requests, want several in the time of the command", n)
		}
	})
	t.Run("ends a request without answer", func(t *testing.T) {
		_, w, c := edge(t)
		c.o.Timeout = 200 * time.Millisecond
		w.Inject(actionstest.Fault{On: "Receive", Kind: actionstest.Hang})
		wantError(t, c.Run(t.Context(), stop, nil), actions.Indeterminate, edgeHost, "no answer within 200ms")
	})
}

func TestCancelledContextSendsNothing(t *testing.T) {
	e, w, c := edge(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	lost := errors.New("lease lost")
	cancel(lost)
	err := c.Run(ctx, stop, nil)
	wantError(t, err, actions.Transient, edgeHost, "lease lost")
	if !errors.Is(err, lost) {
		t.Errorf("error %v does not wrap the cause", err)
	}
	if _, ever := w.Conns(); ever != 0 {
		t.Errorf("%d connections were made", ever)
	}
	if n := len(e.Commands()); n != 0 {
		t.Errorf("%d commands ran", n)
	}
}

func TestCancelDuringCreateLeavesNoShell(t *testing.T) {
	_, w, c := edge(t)
	for range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		_ = c.Run(ctx, stop, nil)
		cancel()
	}
	if n := w.Shells(); n != 0 {
		t.Errorf("%d shells left behind", n)
	}
}

func TestErrorComesBeforeExitCode(t *testing.T) {
	_, w, c := tlsEdge(t, actionstest.WinRMOptions{})
	w.Inject(actionstest.Fault{On: "Receive", Kind: actionstest.HTML503})
	x := &exchange{ctx: t.Context(), link: c.link}
	line, err := stop.commandLine(ModuleAuto)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, exit, err := x.run(&c.o, line); err == nil {
		t.Errorf("exit code %d and no error", exit)
	}
}

// TestFiveHundredCommandsAndFaultsLeakNothing runs one client as long as a
// year of trouble would.
func TestFiveHundredCommandsAndFaultsLeakNothing(t *testing.T) {
	for _, tc := range []struct {
		name  string
		calm  int // commands without a fault
		storm int // commands with one
		make  func(*testing.T) (*actionstest.WinRM, *Client)
	}{
		{"ntlm", 400, 100, func(t *testing.T) (*actionstest.WinRM, *Client) {
			t.Helper()
			_, w, c := edge(t)
			return w, c
		}},
		{"https", 40, 70, func(t *testing.T) (*actionstest.WinRM, *Client) {
			t.Helper()
			_, w, c := tlsEdge(t, actionstest.WinRMOptions{})
			return w, c
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w, c := tc.make(t)
			run := func(n int) {
				for range n {
					if err := c.Run(t.Context(), getServices(), nil); err != nil {
						t.Fatal(err)
					}
				}
			}
			run(5)
			before := runtime.NumGoroutine()
			run(tc.calm)
			faults := []actionstest.FaultKind{actionstest.HTML503, actionstest.EmptyBody, actionstest.BadXML, actionstest.PlainText, actionstest.Reset, actionstest.ResetAfter, actionstest.WrongReply}
			for i := range tc.storm {
				on := []string{"Create", "Command", "Receive", "Signal", "Delete"}[i%5]
				w.Inject(actionstest.Fault{On: on, Kind: faults[i%len(faults)], Times: 1})
				_ = c.Run(t.Context(), getServices(), nil)
				w.Clear()
				if w.Shells() > 6 { // of Creates whose answer was lost
					t.Fatalf("%d shells are open", w.Shells())
				}
			}
			for range 20 {
				ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
				_ = c.Run(ctx, getServices(), nil)
				cancel()
			}
			run(5)
			for i := 0; runtime.NumGoroutine() > before+4 && i < 100; i++ {
				runtime.Gosched()
				<-time.After(10 * time.Millisecond)
			}
			if after := runtime.NumGoroutine(); after > before+4 {
				t.Errorf("%d goroutines before, %d after", before, after)
			}
			if open, _ := w.Conns(); open > 1 {
				t.Errorf("%d connections are open", open)
			}
		})
	}
}

func TestNTLMSendsNothingBeforeLogonAndNeverFallsBackToBasic(t *testing.T) {
	var mu sync.Mutex
	var bodies, auths []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		bodies, auths = append(bodies, string(b)), append(auths, r.Header.Get("Authorization"))
		w.Header().Set("WWW-Authenticate", `Basic realm="WSMAN"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	defer srv.Close()
	c, err := New(Options{Host: edgeHost, Addr: srv.Listener.Addr().String(), User: testUser, Password: actions.NewSecret(password)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	wantError(t, c.Run(t.Context(), stop, nil), actions.Rejected, edgeHost, "Negotiate")
	if got := strings.Join(bodies, ""); got != "" {
		t.Errorf("sent before logon: %q", got)
	}
	for _, a := range auths {
		if !strings.HasPrefix(a, "Negotiate TlRMTVNTUAAB") {
			t.Errorf("Authorization %q, want NTLM's first message only", a)
		}
	}
}

func TestNTLMNeverAcceptsAnUnsealedAnswer(t *testing.T) {
	_, w, c := edge(t)
	w.Inject(actionstest.Fault{On: "Receive", Kind: actionstest.WrongReply}) // sealed, and still wrong
	wantError(t, c.Run(t.Context(), stop, nil), actions.Indeterminate, edgeHost, "not WinRM's")
	w.Clear()
	w.Inject(actionstest.Fault{On: "Receive", Kind: actionstest.PlainText})
	wantError(t, c.Run(t.Context(), stop, nil), actions.Indeterminate, edgeHost, "not sealed")
}

func TestNTLMLogsOnOncePerConnection(t *testing.T) {
	_, w, c := edge(t)
	for range 5 {
		if err := c.Run(t.Context(), getServices(), nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := w.Requests("Handshake"); n != 1 {
		t.Errorf("%d logons for five commands on a connection that is kept", n)
	}
}

func TestDroppedConnectionIsSurvived(t *testing.T) {
	for _, kind := range []actionstest.FaultKind{actionstest.Logout, 0} {
		_, w, c := edge(t)
		if err := c.Run(t.Context(), getServices(), nil); err != nil {
			t.Fatal(err)
		}
		if kind == 0 {
			w.DropConns()
		} else {
			w.Inject(actionstest.Fault{On: "Command", Kind: kind, Times: 1})
		}
		if err := c.Run(t.Context(), getServices(), nil); err != nil {
			t.Errorf("after the connection was lost (%d): %v", kind, err)
		}
	}
}

func TestTypedFaults(t *testing.T) {
	for _, tc := range []struct {
		on   string
		code uint32
		want actions.Kind
		says []string
	}{
		{"Create", 5, actions.Rejected, []string{"fault 5", "Remote Management Users", testUser}},
		{"Create", 2150859173, actions.Transient, []string{"2150859173", "MaxShellsPerUser"}},
		{"Command", 2150859174, actions.Transient, []string{"2150859174", "too many shells"}},
		{"Command", 2150858843, actions.Transient, []string{"2150858843"}},
		{"Command", 5, actions.Rejected, []string{"fault 5"}},
		{"Receive", 995, actions.Indeterminate, []string{"fault 995"}},
	} {
		e, w, c := edge(t)
		w.Inject(actionstest.Fault{On: tc.on, Kind: actionstest.SOAPFault, Code: tc.code})
		err := c.Run(t.Context(), stop, nil)
		wantError(t, err, tc.want, edgeHost, tc.says...)
		if f, ok := errors.AsType[*Fault](err); !ok || f.Code != tc.code || f.HTTP != 500 {
			t.Errorf("fault is %+v, want code %d", f, tc.code)
		}
		if ran := len(e.Commands()); ran > 0 && tc.on != "Receive" {
			t.Errorf("fault %d on %s: a command ran", tc.code, tc.on)
		}
	}
}

func TestAnswerLostAfterTheCommandIsIndeterminate(t *testing.T) {
	e, w, c := edge(t)
	w.Inject(actionstest.Fault{On: "Command", Kind: actionstest.ResetAfter, Times: 1})
	wantError(t, c.Run(t.Context(), stop, nil), actions.Indeterminate, edgeHost, "unknown until it is checked")
	if err := c.Run(t.Context(), getServices(), nil); err != nil {
		t.Fatal(err)
	}
	if n := len(e.Commands("Stop-CsWindowsService")); n != 1 {
		t.Errorf("Stop-CsWindowsService ran %d times, want once: it must not be repeated below the runner", n)
	}
}

func TestAnswerLostBeforeTheCommandIsTransient(t *testing.T) {
	for _, kind := range []actionstest.FaultKind{actionstest.HTML503, actionstest.Reset, actionstest.ResetAfter, actionstest.EmptyBody, actionstest.BadXML} {
		_, w, c := tlsEdge(t, actionstest.WinRMOptions{})
		w.Inject(actionstest.Fault{On: "Create", Kind: kind, Times: 3})
		wantError(t, c.Run(t.Context(), stop, nil), actions.Transient, edgeHost)
	}
}

func TestHugeAnswerIsRefused(t *testing.T) {
	_, _, c := tlsEdge(t, actionstest.WinRMOptions{Chunk: 100_000, Command: func(string) (actionstest.Output, bool) {
		return actionstest.Output{Stdout: strings.Repeat("x", maxOutput+100_000)}, true
	}})
	wantError(t, c.Run(t.Context(), getServices(), nil), actions.Transient, edgeHost, "output")
}

func TestCloseEndsARunningCommand(t *testing.T) {
	stopping := make(chan string, 1)
	e := newEstateWith(actionstest.Hooks{OnStop: func(s string) { stopping <- s }})
	e.Set(func(k *actionstest.Knobs) { k.Work = time.Minute })
	c := dial(t, listen(t, edgeHost, e, actionstest.WinRMOptions{}), nil)
	done := make(chan error, 1)
	go func() { done <- c.Run(t.Context(), stop, nil) }()
	<-stopping
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	wantError(t, <-done, actions.Indeterminate, edgeHost, "client is closed")
	wantError(t, c.Run(t.Context(), stop, nil), actions.Transient, edgeHost, "client is closed")
	if err := c.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestCommandsOfOneClientDoNotMix(t *testing.T) {
	_, w, c := edge(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := c.Run(t.Context(), getServices(), nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if _, ever := w.Conns(); ever != 1 {
		t.Errorf("%d connections for one client", ever)
	}
}

// port opens a loopback listener that nobody accepts on.
func port(t *testing.T) net.Listener {
	t.Helper()
	ln, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln
}

func TestRefusingHost(t *testing.T) {
	ln := port(t)
	_ = ln.Close()
	c, err := New(Options{Host: edgeHost, Addr: ln.Addr().String(), HTTPS: true, User: testUser, Password: actions.NewSecret(password)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	wantError(t, c.Run(t.Context(), stop, nil), actions.Transient, edgeHost, edgeHost+": Stop-CsWindowsService: ", "refused", "winrm quickconfig -transport:https on "+edgeHost)
}

func TestSilentHost(t *testing.T) {
	t.Parallel()
	c, err := New(Options{Host: edgeHost, Addr: port(t).Addr().String(), User: testUser, Password: actions.NewSecret(password), Timeout: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	wantError(t, c.Run(t.Context(), stop, nil), actions.Transient, edgeHost, edgeHost+": Stop-CsWindowsService: ", "no answer within 100ms", "firewall")
}

// A name that no resolver is asked for.
func TestUnknownName(t *testing.T) {
	c, err := New(Options{Host: "edge..contoso.com", User: testUser, Password: actions.NewSecret(password)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	wantError(t, c.Run(t.Context(), stop, nil), actions.Transient, "edge..contoso.com", "edge..contoso.com: Stop-CsWindowsService: ", "resolves from here")
}

func TestSomethingElseAnswers(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(srv.Close)
	c, err := New(Options{Host: edgeHost, Addr: srv.Listener.Addr().String(), User: testUser, Password: actions.NewSecret(password)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	wantError(t, c.Run(t.Context(), stop, nil), actions.Rejected, edgeHost, "HTTP 404", "is not WinRM")
}
