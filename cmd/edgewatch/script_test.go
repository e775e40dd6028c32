package main

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/rs/zerolog"

	"edgewatch/actions/actionstest"
	"edgewatch/probe/probetest"
	"edgewatch/watchdog/web"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"edgewatch": main})
}

// TestScripts runs the program as its users do.
func TestScripts(t *testing.T) {
	var systemd systemdSockets
	testscript.Run(t, testscript.Params{
		Dir:           "testdata",
		UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
		Setup: func(env *testscript.Env) error {
			shipped, err := filepath.Abs("../../configs")
			env.Setenv("CONFIGS", shipped)
			env.Setenv("NO_COLOR", "1")
			return err
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"edge": edgeCommand, "directedge": directEdgeCommand, "dns": dnsCommand, "daemon": daemonCommand, "expand": expandCommand,
			"systemd": systemd.listen, "told": systemd.told, "listener": listenerCommand, "exits": exitsCommand,
		},
	})
}

// edgeCommand starts an XMPP server: edge NAME BEHAVIOUR [DOMAIN]. It sets
// $NAME to its address and $NAME_PORT to its port, and writes its CA to
// NAME.pem. The behaviour "stopped" is a closed port.
func edgeCommand(ts *testscript.TestScript, _ bool, args []string) {
	cfg := probetest.Config{Domain: "contoso.com"}
	if word := args[1]; word != "stopped" && word != "healthy" {
		b, err := probetest.Named(word)
		ts.Check(err)
		cfg.Behaviour = b
	}
	if s := listenEdge(ts, args[0], cfg); args[1] == "stopped" {
		s.Stop()
	}
}

// directEdgeCommand starts an XMPP server with TLS before the stream:
// directedge NAME. It sets and writes what edge does.
func directEdgeCommand(ts *testscript.TestScript, _ bool, args []string) {
	listenEdge(ts, args[0], probetest.Config{Domain: "contoso.com", DirectTLS: true})
}

func listenEdge(ts *testscript.TestScript, name string, cfg probetest.Config) *probetest.Server {
	s, err := probetest.Listen("127.0.0.1:0", cfg)
	ts.Check(err)
	ts.Defer(s.Close)
	ts.Setenv(name, s.Addr().String())
	ts.Setenv(name+"_PORT", fmt.Sprint(s.Addr().Port()))
	root := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.CA().Root().Raw})
	ts.Check(os.WriteFile(ts.MkAbs(name+".pem"), root, 0o600))
	return s
}

// dnsCommand starts a name server for a zone: dns NAME ZONE RECORD…. It sets
// $NAME to its address.
func dnsCommand(ts *testscript.TestScript, _ bool, args []string) {
	s, err := actionstest.ListenDNS("127.0.0.1:0", actionstest.DNSConfig{Zones: []actionstest.DNSZone{{Name: args[1], Records: args[2:]}}})
	ts.Check(err)
	ts.Defer(func() { s.Close() })
	ts.Setenv(args[0], s.Addr())
}

// daemonCommand starts the API of a running edgewatch at the path, with a
// made-up watchdog behind it: daemon PATH [loses-answers|names-none].
func daemonCommand(ts *testscript.TestScript, _ bool, args []string) {
	path := ts.MkAbs(args[0])
	ln, err := web.ListenUnix(context.Background(), path, 0o660)
	ts.Check(err)
	h := web.API(&fakeWatchdog{})
	if len(args) > 1 {
		h = map[string]func(http.Handler) http.Handler{"loses-answers": losesFirstAnswer, "names-none": namesNone}[args[1]](h)
	}
	srv := web.NewServer(h, zerolog.Nop())
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(ln) }()
	ts.Defer(func() {
		srv.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			ts.Fatalf("serve: %v", err)
		}
	})
}

// expandCommand replaces $NAME in files by the script's environment.
func expandCommand(ts *testscript.TestScript, _ bool, args []string) {
	for _, name := range args {
		text := os.Expand(ts.ReadFile(name), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(name), []byte(text), 0o600))
	}
}

// listenerCommand takes a TCP port and sets $NAME to its address.
func listenerCommand(ts *testscript.TestScript, _ bool, args []string) {
	ln, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { ln.Close() })
	ts.Setenv(args[0], ln.Addr().String())
}

// systemdSockets are the sockets of the scripts, by path.
type systemdSockets struct{ conns sync.Map }

// listen listens as systemd does for sd_notify.
func (s *systemdSockets) listen(ts *testscript.TestScript, _ bool, _ []string) {
	path := ts.MkAbs("notify.sock")
	conn, err := (&net.ListenConfig{}).ListenPacket(context.Background(), "unixgram", path)
	ts.Check(err)
	ts.Defer(func() { conn.Close() })
	ts.Setenv("NOTIFY_SOCKET", path)
	s.conns.Store(path, conn)
}

// told waits until systemd was told a line that contains the words.
func (s *systemdSockets) told(ts *testscript.TestScript, _ bool, args []string) {
	v, ok := s.conns.Load(ts.Getenv("NOTIFY_SOCKET"))
	if !ok {
		ts.Fatalf("told: there is no systemd")
	}
	conn := v.(net.PacketConn)
	ts.Check(conn.SetReadDeadline(time.Now().Add(30 * time.Second)))
	buf := make([]byte, 4096)
	for {
		n, _, err := conn.ReadFrom(buf)
		if err != nil {
			ts.Fatalf("systemd was never told %q: %v", args, err)
		}
		if strings.Contains(string(buf[:n]), strings.Join(args, " ")) {
			return
		}
	}
}

// exitsCommand runs a program that must end with that code, or with
// any: exits 64 edgewatch …
func exitsCommand(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if args[0] != "any" && fmt.Sprint(got) != args[0] {
		ts.Fatalf("%v exits with %d, not %s", args[1:], got, args[0])
	}
}
