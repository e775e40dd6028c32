package rfc2136_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"edgewatch/actions"
	"edgewatch/actions/actionstest"
	"edgewatch/actions/rfc2136"
)

// TestApplyFails goes through the ways an update can fail. What matters to
// the runner is the kind; what matters to the operator is that the words
// tell the causes apart.
func TestApplyFails(t *testing.T) {
	for _, c := range []struct {
		name    string
		update  actionstest.DNSFault
		query   actionstest.DNSFault
		clock   time.Duration
		zone    func(*rfc2136.Zone)
		kind    actions.Kind
		want    string
		applied bool
	}{
		{name: "server down", zone: func(z *rfc2136.Zone) { z.Server = closedPort(t) }, kind: actions.Transient, want: "refused"},
		{name: "reading hangs", query: actionstest.DNSHang, kind: actions.Transient, want: "no answer within 300ms"},
		{name: "reading fails", query: actionstest.DNSServFail, kind: actions.Transient, want: "SERVFAIL"},
		{name: "reading refused", query: actionstest.DNSRefuse, kind: actions.Rejected, want: "REFUSED"},
		{name: "no authority", query: actionstest.DNSLame, kind: actions.Rejected, want: "without authority"},
		{name: "update hangs", update: actionstest.DNSHang, kind: actions.Indeterminate, want: "the answer was lost: no answer within 300ms"},
		{name: "applied, answer lost", update: actionstest.DNSDropAnswer, kind: actions.Indeterminate, want: "the answer was lost", applied: true},
		{name: "applied, answer unsigned", update: actionstest.DNSUnsigned, kind: actions.Indeterminate, want: "is not signed: it may be forged", applied: true},
		{name: "forged", update: actionstest.DNSForge, kind: actions.Indeterminate, want: "is not signed: it may be forged"},
		{name: "bad signature", update: actionstest.DNSBadSignature, kind: actions.Indeterminate, want: "does not carry a valid signature", applied: true},
		{name: "garbage", update: actionstest.DNSGarbage, kind: actions.Indeterminate, want: "no answer to the update", applied: true},
		{name: "silently ignored", update: actionstest.DNSIgnore, kind: actions.Indeterminate, want: "answered NOERROR and does not hold"},
		{name: "refused", update: actionstest.DNSRefuse, kind: actions.Rejected, want: "grant key watchdog."},
		{name: "server cannot persist", update: actionstest.DNSServFail, kind: actions.Transient, want: "SERVFAIL"},
		{name: "wrong secret", zone: func(z *rfc2136.Zone) { z.TSIG.Secret = actions.NewSecret(other) }, kind: actions.Rejected, want: "BADSIG: the secret of key watchdog. is not the server's"},
		{name: "unknown key", zone: func(z *rfc2136.Zone) { z.TSIG.Name = "nobody" }, kind: actions.Rejected, want: "BADKEY: the server does not accept key nobody."},
		{name: "wrong algorithm", zone: func(z *rfc2136.Zone) { z.TSIG.Algorithm = "hmac-sha512" }, kind: actions.Rejected, want: "BADKEY: the server does not accept key watchdog. with hmac-sha512."},
		{name: "no grant", zone: func(z *rfc2136.Zone) { z.TSIG.Name = "guest" }, kind: actions.Rejected, want: "REFUSED"},
		{name: "clock ahead", clock: -10 * time.Minute, kind: actions.Rejected, want: "this machine's clock is about 10m0s ahead of it"},
		{name: "clock behind", clock: 10 * time.Minute, kind: actions.Rejected, want: "this machine's clock is about 10m0s behind it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t)
			s.FailUpdates(c.update)
			s.FailQueries(c.query)
			s.SetClock(c.clock)
			u := updater(t, s, func(z *rfc2136.Zone) {
				z.Timeout = 300 * time.Millisecond
				if c.zone != nil {
					c.zone(z)
				}
			})
			err := u.Records(moved()).Apply(t.Context())
			e, ok := errors.AsType[*actions.Error](err)
			if !ok || e.Kind != c.kind || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("Apply = %v: %v\nwant %v with %q", actions.KindOf(err), err, c.kind, c.want)
			}
			if e.Host == "" || e.Op == "" || e.Next == "" {
				t.Errorf("host, operation or next step is missing in %#v", e)
			}
			if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), other) {
				t.Errorf("the secret shows in %v", err)
			}
			if moved := s.Serial(zoneName) != 100; moved != c.applied {
				t.Errorf("applied = %t, want %t", moved, c.applied)
			}
			rerun(t, s)
		})
	}
}

// rerun applies once more when the trouble has passed: whatever the first
// run did, the zone must end as wanted after one change.
func rerun(t *testing.T, s *actionstest.DNSServer) {
	t.Helper()
	s.FailUpdates(actionstest.DNSHealthy)
	s.FailQueries(actionstest.DNSHealthy)
	s.SetClock(0)
	task := updater(t, s, nil).Records(moved())
	if err := task.Apply(t.Context()); err != nil {
		t.Fatalf("second Apply: %v", err)
	}
	check(t.Context(), t, task, actions.Done)
	if got := s.Serial(zoneName); got != 101 {
		t.Errorf("serial %d after the rerun, want 101: one change", got)
	}
}

func closedPort(t *testing.T) string {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// TestAsksAHuman goes through zones in which a person has to decide. The
// records must stay as they are, and the preflight must say the same.
func TestAsksAHuman(t *testing.T) {
	for _, c := range []struct {
		name    string
		records []string
		edit    [4]string // name, type, one record and another
		wanted  func(*rfc2136.Wanted)
		want    string
	}{
		{name: "somebody edited A", edit: [4]string{"xmpp", "A", "xmpp 300 A 198.51.100.7"}, want: "holds 198.51.100.7, which is no address of any configured pool"},
		{name: "somebody added an AAAA", edit: [4]string{"xmpp", "AAAA", "xmpp 300 AAAA 2001:db8::11", "xmpp 300 AAAA 2001:db8::bad"}, want: "2001:db8::bad"},
		{name: "a CNAME at the name", wanted: func(w *rfc2136.Wanted) { w.Address.Name = "alias.contoso.com" }, records: []string{"alias CNAME edge1"}, want: "is a CNAME to edge1.contoso.com"},
		{name: "SRV with another port", records: []string{"_xmpp-server._tcp SRV 10 0 5270 edge2"}, want: "with port 5270 where 5269 is wanted"},
		{name: "SRV with another port at the changed name", records: []string{"_xmpp-server._tcp SRV 10 0 5270 xmpp"}, want: "with port 5270"},
		{name: "service switched off", records: []string{"_xmpp-server._tcp SRV 0 0 0 ."}, want: "offers no federation"},
		{name: "CNAME at the SRV name", records: []string{"_xmpp-server._tcp CNAME edge1"}, want: "no SRV record can be set beside it"},
		{name: "target is a CNAME", records: []string{"alias CNAME edge2"}, wanted: func(w *rfc2136.Wanted) { w.Services[0].Target = "alias.contoso.com" }, want: "RFC 2782"},
		{name: "target leads elsewhere", wanted: func(w *rfc2136.Wanted) { w.Services[0].Target = "edge1.contoso.com" }, want: "resolves to 192.0.2.11 and not to the pool's 192.0.2.21"},
		{name: "target leads nowhere", wanted: func(w *rfc2136.Wanted) { w.Services[0].Target = "edge9.contoso.com" }, want: "resolves to nothing"},
		{name: "name outside the zone", wanted: func(w *rfc2136.Wanted) { w.Address.Name = "xmpp.fabrikam.com" }, want: "is not in zone contoso.com."},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, c.records...)
			if c.edit[0] != "" {
				lines := c.edit[2:3]
				if c.edit[3] != "" {
					lines = c.edit[2:]
				}
				if err := s.Edit(zoneName, c.edit[0], c.edit[1], lines...); err != nil {
					t.Fatal(err)
				}
			}
			w := moved()
			if c.wanted != nil {
				c.wanted(&w)
			}
			before := s.Serial(zoneName)
			u := updater(t, s, nil)
			task := u.Records(w)
			_, checked := task.Check(t.Context())
			_, preflight := u.Writable(w).Check(t.Context())
			for what, err := range map[string]error{"Apply": task.Apply(t.Context()), "Check": checked, "preflight": preflight} {
				if actions.KindOf(err) != actions.Rejected || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s = %v, want Rejected with %q", what, err, c.want)
				}
			}
			if s.Serial(zoneName) != before || len(s.Updates()) > 0 {
				t.Errorf("the zone was touched: %v", s.Updates())
			}
		})
	}
}

// TestOvertaken proves that an edit made between reading and swapping is
// neither overwritten nor taken for success.
func TestOvertaken(t *testing.T) {
	t.Run("by somebody else", func(t *testing.T) {
		s := serve(t)
		s.BeforeUpdate(func() {
			if err := s.Edit(zoneName, "xmpp", "A", "xmpp 300 A 192.0.2.21"); err != nil {
				t.Error(err)
			}
		})
		err := updater(t, s, nil).Records(moved()).Apply(t.Context())
		if actions.KindOf(err) != actions.Rejected || !strings.Contains(err.Error(), "changed by somebody else since they were read") {
			t.Errorf("Apply = %v", err)
		}
		if got := s.Records("xmpp.contoso.com", "AAAA"); len(got) != 1 || got[0] != "2001:db8::11" {
			t.Errorf("AAAA = %v: half of the update was carried out", got)
		}
	})
	t.Run("by another watchdog that wants the same", func(t *testing.T) {
		s := serve(t)
		var late atomic.Bool // not a sync.Once: the faster update comes by here too
		s.BeforeUpdate(func() {
			if late.CompareAndSwap(false, true) {
				if err := updater(t, s, nil).Records(moved()).Apply(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
		if err := updater(t, s, nil).Records(moved()).Apply(t.Context()); err != nil {
			t.Errorf("Apply = %v, though all is as wanted", err)
		}
		if got := s.Serial(zoneName); got != 101 {
			t.Errorf("serial = %d, want 101", got)
		}
	})
	t.Run("by a CNAME", func(t *testing.T) {
		s := serve(t)
		w := moved()
		w.Address.Name, w.Services = "fresh.contoso.com", nil
		s.BeforeUpdate(func() {
			if err := s.Edit(zoneName, "fresh", "CNAME", "fresh CNAME edge1"); err != nil {
				t.Error(err)
			}
		})
		err := updater(t, s, nil).Records(w).Apply(t.Context())
		if actions.KindOf(err) != actions.Rejected || !strings.Contains(err.Error(), "is a CNAME") {
			t.Errorf("Apply = %v", err)
		}
	})
	t.Run("wildcard", func(t *testing.T) {
		s := serve(t, "*.pools A 192.0.2.11")
		w := moved()
		w.Address.Name, w.Services = "eu.pools.contoso.com", nil
		err := updater(t, s, nil).Records(w).Apply(t.Context())
		if actions.KindOf(err) != actions.Rejected || !strings.Contains(err.Error(), "a wildcard record or another view") {
			t.Errorf("Apply = %v", err)
		}
	})
}

// TestOneOfTwentyWins: many writers have read the same value.
func TestOneOfTwentyWins(t *testing.T) {
	const n = 20
	s := serve(t)
	var arrived sync.WaitGroup
	arrived.Add(n)
	s.BeforeUpdate(func() { arrived.Done(); arrived.Wait() })
	all := []netip.Addr{old4, old6}
	for i := range n {
		all = append(all, netip.AddrFrom4([4]byte{192, 0, 2, byte(100 + i)}))
	}
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		task := updater(t, s, nil).Records(rfc2136.Wanted{Address: &rfc2136.AddressSet{Name: "xmpp.contoso.com", Addrs: all[2+i : 3+i], TTL: 60, Known: all}})
		wg.Go(func() { errs[i] = task.Apply(t.Context()) })
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else if actions.KindOf(err) != actions.Rejected {
			t.Errorf("a loser got %v", err)
		}
	}
	if won != 1 || s.Serial(zoneName) != 101 {
		t.Errorf("%d of %d won, serial %d", won, n, s.Serial(zoneName))
	}
}

// TestCancelIsHonoured: the library looks at deadlines only, so a cancel
// must tear the connection by itself.
func TestCancelIsHonoured(t *testing.T) {
	lost := errors.New("lease lost")
	for _, c := range []struct {
		name string
		kind actions.Kind
		hang func(*actionstest.DNSServer)
	}{
		{"before the update", actions.Transient, func(s *actionstest.DNSServer) { s.FailQueries(actionstest.DNSHang) }},
		{"after the update was sent", actions.Indeterminate, func(s *actionstest.DNSServer) { s.FailUpdates(actionstest.DNSHang) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t)
			c.hang(s)
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			s.BeforeUpdate(func() { cancel(lost) })
			if c.kind == actions.Transient {
				timer := time.AfterFunc(50*time.Millisecond, func() { cancel(lost) })
				defer timer.Stop()
			}
			start := time.Now()
			err := updater(t, s, func(z *rfc2136.Zone) { z.Timeout = time.Minute }).Records(moved()).Apply(ctx)
			if actions.KindOf(err) != c.kind || !errors.Is(err, lost) {
				t.Errorf("Apply = %v, want %v because of the lost lease", err, c.kind)
			}
			if took := time.Since(start); took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
	t.Run("never started", func(t *testing.T) {
		s := serve(t)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(lost)
		task := updater(t, s, nil).Records(moved())
		if err := task.Apply(ctx); actions.KindOf(err) != actions.Transient || !errors.Is(err, lost) {
			t.Errorf("Apply = %v", err)
		}
		if _, err := task.Check(ctx); actions.KindOf(err) != actions.Transient || !errors.Is(err, lost) {
			t.Errorf("Check = %v", err)
		}
	})
}

func TestNewUpdaterNamesEveryProblem(t *testing.T) {
	_, err := rfc2136.NewUpdater(rfc2136.Zone{
		Name: "", Server: "ns1", Timeout: -1, MaySilent: 3,
		TSIG:          rfc2136.Key{Name: "a..b", Algorithm: "hmac-md5", Secret: actions.NewSecret("not base64!")},
		Authoritative: []string{":53"},
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, want := range []string{"zone name: is missing", `"ns1" is not host:port`, `"a..b" is no domain name`, `TSIG algorithm "hmac-md5" is not one of`,
		"is not base64", `":53" is not host:port`, "timeout -1ns is negative", "of 1 authoritative servers 3 may not be silent"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "not base64!") {
		t.Errorf("the secret shows in %v", err)
	}
	if _, err := rfc2136.NewUpdater(rfc2136.Zone{Name: zoneName, Server: "ns1:53", TSIG: key()}); err == nil || !strings.Contains(err.Error(), "at least one server") {
		t.Errorf("without authoritative servers: %v", err)
	}
}

func TestValidateNamesEveryProblem(t *testing.T) {
	u := updater(t, serve(t), nil)
	bad := rfc2136.Wanted{
		Address: &rfc2136.AddressSet{Name: "xmpp.fabrikam.com", Addrs: []netip.Addr{netip.IPv4Unspecified()}},
		Services: []rfc2136.Service{
			{Domain: zoneName, Target: "a..b", Port: 5269, Addrs: []netip.Addr{new4}},
			{Domain: "CONTOSO.com.", Target: "edge2.contoso.com"},
			{Domain: "fabrikam.com", Target: "edge2.contoso.com", Port: 1, Addrs: []netip.Addr{netip.MustParseAddr("fe80::1%eth0")}},
		},
	}
	text := fmt.Sprint(u.Validate(bad))
	for _, want := range []string{"xmpp.fabrikam.com is not in zone contoso.com.", "0.0.0.0 cannot stand in a record", `"a..b" is no domain name`,
		"CONTOSO.com. is wanted twice", "port 0", "no addresses", "fabrikam.com is not in zone", "fe80::1%eth0 cannot stand in a record"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
	if err := u.Validate(rfc2136.Wanted{}); err == nil {
		t.Error("nothing wanted is accepted")
	}
	if err := u.Validate(moved()); err != nil {
		t.Errorf("a good one is refused: %v", err)
	}
}
