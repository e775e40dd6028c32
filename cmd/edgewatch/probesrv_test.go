package main

import (
	"bytes"
	"net"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/miekg/dns"
)

// TestNameServersAreAskedMeanwhile: a name server that keeps silent makes
// people wait once, and not again for the survey of all name servers. How long
// that took stands beside what a partner waits.
func TestNameServersAreAskedMeanwhile(t *testing.T) {
	var asked atomic.Int32
	both := make(chan struct{})
	server := nameServer(t, func(w dns.ResponseWriter, q *dns.Msg) {
		if asked.Add(1) == 2 { // the partner's question and the survey's: neither waits for the other's answer
			close(both)
		}
		select {
		case <-both:
		case <-t.Context().Done():
		}
		_ = w.WriteMsg(new(dns.Msg).SetRcode(q, dns.RcodeNameError))
	})
	var out bytes.Buffer
	code := (&tool{out: &out, err: &out}).execute(t.Context(), []string{"probe", "--srv", "contoso.com", "--resolver", server})
	first, _, _ := strings.Cut(out.String(), "\n")
	want := regexp.MustCompile(`^Partners of contoso\.com find: \? inconclusive \(\S+; all name servers were asked in \S+\)$`)
	if code != exitUnsure || !want.MatchString(first) || strings.Contains(out.String(), "timeout") {
		t.Errorf("exit code %d\n%s", code, out.String())
	}
}

// nameServer answers over UDP until the test ends.
func nameServer(t *testing.T, h dns.HandlerFunc) string {
	t.Helper()
	conn, err := (&net.ListenConfig{}).ListenPacket(t.Context(), "udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	started, ended := make(chan struct{}), make(chan error, 1)
	s := &dns.Server{PacketConn: conn, Handler: h, NotifyStartedFunc: func() { close(started) }}
	go func() { ended <- s.ActivateAndServe() }()
	<-started
	t.Cleanup(func() {
		if err := s.Shutdown(); err != nil {
			t.Error(err)
		}
		<-ended
	})
	return conn.LocalAddr().String()
}
