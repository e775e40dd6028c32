package actionstest

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"
)

// WinRMOptions describe one Windows host.
type WinRMOptions struct {
	User, Password  string
	TLS             *tls.Config // nil: plain http
	Basic           bool        // Basic is offered beside Negotiate
	Unencrypted     bool        // AllowUnencrypted: unsealed messages are taken over http
	RequireBindings bool        // NTLM over TLS must carry channel bindings (CbtHardeningLevel Strict)
	Hold            time.Duration
	Chunk           int // bytes of output in one Stream; default 4096
	MaxShells       int // default 30

	// Command, if not nil, is asked first what a command line prints. It lets a
	// test run what is not a script of Cs cmdlets.
	Command func(line string) (Output, bool)
}

// Output is what a command prints.
type Output struct {
	Stdout, Stderr string
	Exit           int
	Take           time.Duration // how long it runs
}

// FaultKind says how a request is mistreated.
type FaultKind uint8

// The ways to fail that were seen or must be survived.
const (
	Hang       FaultKind = iota + 1 // no answer until the client goes
	Reset                           // the connection is reset before anything is done
	ResetAfter                      // it is done, and the connection reset before the answer
	HangAfter                       // it is done, and there is no answer
	HTML503                         // a proxy's error page
	EmptyBody                       // 200, application/soap+xml, nothing in it
	BadXML                          // 200 and a document that breaks off
	PlainText                       // 200 and no XML at all
	WrongReply                      // 200 and a sound answer to another request
	SOAPFault                       // a typed fault: Fault.Code
	Logout                          // 401: the host has forgotten the connection
)

// Fault is a way to fail, for the requests it fits.
type Fault struct {
	On    string // "Handshake", "Create", "Command", "Receive", "Send", "Signal", "Delete"; "" is any but Handshake
	Kind  FaultKind
	Code  uint32 // for SOAPFault
	Times int    // how often; 0 until Clear
}

// WinRM is a Windows host's WinRM service. It runs Cs cmdlets against an
// Estate. It was built from the protocol's documents, not from a trace of a
// real host.
type WinRM struct {
	host   string
	estate *Estate
	o      WinRMOptions
	ln     net.Listener
	srv    *http.Server
	ctx    context.Context // of the commands that run
	stop   context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	password string
	faults   []Fault
	requests map[string]int
	shells   map[string]*shell
	conns    map[net.Conn]struct{}
	dialled  int
	unknown  []string
	next     int
}

// ListenWinRM starts the host of that name on addr, e.g. "127.0.0.1:0".
func ListenWinRM(addr, host string, e *Estate, o WinRMOptions) (*WinRM, error) {
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen for WinRM of %s: %w", host, err)
	}
	if o.TLS != nil {
		ln = tls.NewListener(ln, o.TLS)
	}
	if o.Hold == 0 {
		o.Hold = 20 * time.Second
	}
	if o.Chunk == 0 {
		o.Chunk = 4096
	}
	if o.MaxShells == 0 {
		o.MaxShells = 30
	}
	w := &WinRM{host: host, estate: e, o: o, ln: ln, password: o.Password,
		requests: map[string]int{}, shells: map[string]*shell{}, conns: map[net.Conn]struct{}{}}
	w.ctx, w.stop = context.WithCancel(context.Background())
	w.srv = &http.Server{
		Handler: w, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0),
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, acceptorKey{}, new(acceptor))
		},
		ConnState: w.track,
	}
	w.wg.Go(func() { _ = w.srv.Serve(ln) })
	return w, nil
}

type acceptorKey struct{}

func (w *WinRM) track(c net.Conn, s http.ConnState) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch s {
	case http.StateNew:
		w.conns[c] = struct{}{}
		w.dialled++
	case http.StateClosed, http.StateHijacked:
		delete(w.conns, c)
	default:
	}
}

// Addr is where the host listens.
func (w *WinRM) Addr() string { return w.ln.Addr().String() }

// Host is the host's name.
func (w *WinRM) Host() string { return w.host }

// Close ends the host at once: connections are cut and commands end.
func (w *WinRM) Close() error {
	w.stop()
	err := w.srv.Close()
	w.wg.Wait()
	return err
}

// Inject makes requests fail. Faults are tried in the order they were put in.
func (w *WinRM) Inject(f Fault) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = append(w.faults, f)
}

// Clear ends all faults.
func (w *WinRM) Clear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults = nil
}

// SetPassword changes the account's password.
func (w *WinRM) SetPassword(p string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.password = p
}

// Requests counts the requests by operation.
func (w *WinRM) Requests(op string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.requests[op]
}

// Shells is how many shells are open.
func (w *WinRM) Shells() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.shells)
}

// Conns is how many connections are open, and how many there ever were.
func (w *WinRM) Conns() (open, ever int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.conns), w.dialled
}

// DropConns cuts every open connection, as a firewall or a reboot does.
func (w *WinRM) DropConns() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for c := range w.conns {
		_ = c.Close()
	}
}

// Unknown lists the command lines and scripts that this fake did not
// understand. It must be empty at the end of a test.
func (w *WinRM) Unknown() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.unknown...)
}

// fault takes the fault that fits a request, if there is one.
func (w *WinRM) fault(op string) Fault {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests[op]++
	for i, f := range w.faults {
		if f.On != op && (f.On != "" || op == "Handshake") {
			continue
		}
		if f.Times > 0 {
			if w.faults[i].Times--; w.faults[i].Times == 0 {
				w.faults = append(w.faults[:i:i], w.faults[i+1:]...)
			}
		}
		return f
	}
	return Fault{}
}
