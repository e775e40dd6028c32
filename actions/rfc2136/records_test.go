package rfc2136_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"edgewatch/actions"
	"edgewatch/actions/actionstest"
	"edgewatch/actions/rfc2136"
)

const srvName = "_xmpp-server._tcp.contoso.com"

// follow starts a secondary of primary.
func follow(t *testing.T, primary *actionstest.DNSServer) *actionstest.DNSServer {
	t.Helper()
	s, err := actionstest.ListenDNS("127.0.0.1:0", actionstest.DNSConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	if err := s.Follow(primary, 0); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestDoneNeedsEveryServer: step 4 is done when every authoritative server
// answers the new addresses, not when one does.
func TestDoneNeedsEveryServer(t *testing.T) {
	primary := serve(t)
	second := follow(t, primary)
	u := updater(t, primary, func(z *rfc2136.Zone) { z.Authoritative = append(z.Authoritative, second.Addr()) })
	task := u.Records(moved())
	second.Hold(true)
	if err := task.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	detail := check(t.Context(), t, task, actions.Partly)
	for _, want := range []string{
		primary.Addr() + " serial 101: as wanted, xmpp.contoso.com has 192.0.2.21, 2001:db8::21 (TTL 1m0s)",
		second.Addr() + " serial 100: not as wanted, xmpp.contoso.com has 192.0.2.11, 2001:db8::11 (TTL 5m0s)",
		"resolvers may keep the old records for up to 5m0s",
	} {
		if !strings.Contains(detail, want) {
			t.Errorf("no %q in:\n%s", want, detail)
		}
	}
	second.Hold(false)
	if err := second.Synced(t.Context(), zoneName, 101); err != nil {
		t.Fatal(err)
	}
	check(t.Context(), t, task, actions.Done)
}

// TestLaggingForeignValue: a value that only an old version of the zone has
// was dealt with already, and needs no person.
func TestLaggingForeignValue(t *testing.T) {
	primary := serve(t)
	second := follow(t, primary)
	if err := primary.Edit(zoneName, "xmpp", "A", "xmpp A 198.51.100.7"); err != nil {
		t.Fatal(err)
	}
	if err := second.Synced(t.Context(), zoneName, 101); err != nil {
		t.Fatal(err)
	}
	second.Hold(true)
	if err := primary.Edit(zoneName, "xmpp", "A", "xmpp A 192.0.2.11"); err != nil {
		t.Fatal(err)
	}
	u := updater(t, primary, func(z *rfc2136.Zone) { z.Authoritative = append(z.Authoritative, second.Addr()) })
	for _, task := range []actions.Task{u.Records(moved()), u.Writable(moved())} {
		if detail := check(t.Context(), t, task, actions.Pending); !strings.Contains(detail, "198.51.100.7") {
			t.Errorf("detail does not say what the lagging server holds: %s", detail)
		}
	}
}

// TestSilentServers: a name server that died with the site must not stop
// the failover if it was configured to be allowed to.
func TestSilentServers(t *testing.T) {
	for _, c := range []struct {
		name      string
		maySilent int
		break_    func(*actionstest.DNSServer)
		records   actions.Status
		preflight actions.Kind // of the preflight's error; AskHuman when there is none
	}{
		{"dead", 0, func(s *actionstest.DNSServer) { s.Close() }, actions.Partly, actions.Transient},
		{"dead and allowed to be", 1, func(s *actionstest.DNSServer) { s.Close() }, actions.Done, actions.AskHuman},
		{"zone expired and allowed to be silent", 1, func(s *actionstest.DNSServer) { s.FailQueries(actionstest.DNSServFail) }, actions.Done, actions.AskHuman},
		{"lame", 1, func(s *actionstest.DNSServer) { s.FailQueries(actionstest.DNSLame) }, actions.Partly, actions.Rejected},
		{"lagging", 1, func(s *actionstest.DNSServer) { s.Hold(true) }, actions.Partly, actions.AskHuman},
	} {
		t.Run(c.name, func(t *testing.T) {
			primary := serve(t)
			second := follow(t, primary)
			u := updater(t, primary, func(z *rfc2136.Zone) {
				z.Authoritative = append(z.Authoritative, second.Addr())
				z.MaySilent = c.maySilent
			})
			c.break_(second)
			if _, err := u.Writable(moved()).Check(t.Context()); actions.KindOf(err) != c.preflight || (err == nil) != (c.preflight == actions.AskHuman) {
				t.Errorf("the preflight says %v, want %v", err, c.preflight)
			}
			task := u.Records(moved())
			if err := task.Apply(t.Context()); err != nil {
				t.Fatal(err)
			}
			if detail := check(t.Context(), t, task, c.records); !strings.Contains(detail, second.Addr()) {
				t.Errorf("the server is not named in %q", detail)
			}
		})
	}
	t.Run("all dead", func(t *testing.T) {
		u := updater(t, serve(t), func(z *rfc2136.Zone) { z.Authoritative = []string{closedPort(t)} })
		if _, err := u.Records(moved()).Check(t.Context()); actions.KindOf(err) != actions.Transient {
			t.Errorf("Check = %v, want Transient", err)
		}
	})
}

// TestServices goes through step 5: an SRV record is added only if none
// resolves to the target pool.
func TestServices(t *testing.T) {
	perPool := func(w *rfc2136.Wanted) {
		w.Address = nil
		w.Services[0].Target = "edge2.contoso.com"
		w.Services[0].Priority = 20
	}
	for _, c := range []struct {
		name    string
		records []string
		wanted  func(*rfc2136.Wanted)
		srv     []string
		ttl     string
		updates int
	}{
		{"none", nil, perPool, []string{"20 5 5269 edge2.contoso.com."}, "1m0s", 1},
		{"only of the other pool", []string{"_xmpp-server._tcp 900 SRV 10 0 5269 edge1"}, perPool, []string{"10 0 5269 edge1.contoso.com.", "20 5 5269 edge2.contoso.com."}, "15m0s", 1},
		{"there already", []string{"_xmpp-server._tcp SRV 10 0 5269 edge1", "_xmpp-server._tcp SRV 30 7 5269 edge2"}, perPool, []string{"10 0 5269 edge1.contoso.com.", "30 7 5269 edge2.contoso.com."}, "5m0s", 0},
		{"there under another name", []string{"sip A 192.0.2.21", "_xmpp-server._tcp SRV 10 0 5269 sip"}, perPool, []string{"10 0 5269 sip.contoso.com."}, "5m0s", 0},
		{"the other name leads to two pools", []string{"both A 192.0.2.21", "both A 192.0.2.11", "_xmpp-server._tcp 300 SRV 10 0 5269 both"}, perPool, []string{"10 0 5269 both.contoso.com.", "20 5 5269 edge2.contoso.com."}, "5m0s", 1},
		{"the name that is changed by the same update", []string{"_xmpp-server._tcp SRV 10 5 5269 XMPP"}, nil, []string{"10 5 5269 XMPP.contoso.com."}, "5m0s", 1},
		{"target of another zone, by name", []string{"_xmpp-server._tcp SRV 10 0 5269 edge.fabrikam.com."}, func(w *rfc2136.Wanted) {
			w.Address, w.Services[0].Target = nil, "edge.fabrikam.com"
		}, []string{"10 0 5269 edge.fabrikam.com."}, "5m0s", 0},
		{"another port for something else", []string{"_xmpp-server._tcp SRV 10 0 5270 edge1"}, perPool, []string{"10 0 5270 edge1.contoso.com.", "20 5 5269 edge2.contoso.com."}, "5m0s", 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := serve(t, c.records...)
			w := moved()
			if c.wanted != nil {
				c.wanted(&w)
			}
			u := updater(t, s, nil)
			check(t.Context(), t, u.Writable(w), actions.Done)
			proofs := len(s.Updates())
			if got := s.Serial(zoneName); got != 100 || proofs != 1 {
				t.Errorf("after the preflight the serial is %d and %d updates were sent", got, proofs)
			}
			task := u.Records(w)
			if err := task.Apply(t.Context()); err != nil {
				t.Fatal(err)
			}
			detail := check(t.Context(), t, task, actions.Done)
			if diff := cmp.Diff(c.srv, s.Records(srvName, "SRV")); diff != "" {
				t.Errorf("SRV (-want +got):\n%s", diff)
			}
			if !strings.HasSuffix(strings.Split(detail, "; ")[0], "(TTL "+c.ttl+")") {
				t.Errorf("no TTL %s at the end of %q", c.ttl, detail)
			}
			if got := len(s.Updates()) - proofs; got != c.updates {
				t.Errorf("%d updates were sent, want %d", got, c.updates)
			}
		})
	}
}

// TestAddressesOfOneFamilyLeaveNoneBehind: an AAAA record left behind would
// send partners with IPv6 to the dead pool.
func TestAddressesOfOneFamilyLeaveNoneBehind(t *testing.T) {
	s := serve(t)
	w := moved()
	w.Address.Addrs = []netip.Addr{netip.MustParseAddr("::ffff:192.0.2.21")}
	w.Services = nil
	task := updater(t, s, nil).Records(w)
	if err := task.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(t.Context(), t, task, actions.Done)
	if a, aaaa := s.Records("xmpp.contoso.com", "A"), s.Records("xmpp.contoso.com", "AAAA"); len(a) != 1 || a[0] != "192.0.2.21" || len(aaaa) != 0 {
		t.Errorf("A %v, AAAA %v", a, aaaa)
	}
}

// TestAddressThatIsNotThereIsCreated: a deleted record is no edit to fear.
func TestAddressThatIsNotThereIsCreated(t *testing.T) {
	s := serve(t)
	w := moved()
	w.Address.Name, w.Services = "Fresh.contoso.com", nil
	task := updater(t, s, nil).Records(w)
	if err := task.Apply(t.Context()); err != nil {
		t.Fatal(err)
	}
	if detail := check(t.Context(), t, task, actions.Done); !strings.Contains(detail, "up to 1m0s") {
		t.Errorf("the time for which resolvers remember a missing record (SOA minimum 60 s) is not in %q", detail)
	}
}

// TestPreflightFindsMissingRights: a grant for the address record alone
// would let the failover die between the steps.
func TestPreflightFindsMissingRights(t *testing.T) {
	s, err := actionstest.ListenDNS("127.0.0.1:0", actionstest.DNSConfig{
		Zones: []actionstest.DNSZone{{Name: zoneName, Records: []string{"xmpp A 192.0.2.11"}}},
		Keys:  []actionstest.DNSKey{{Name: "watchdog", Secret: secret, Grant: []string{"xmpp.contoso.com"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	u := updater(t, s, nil)
	if _, err := u.Writable(moved()).Check(t.Context()); actions.KindOf(err) != actions.Rejected || !strings.Contains(err.Error(), "grant key watchdog. the right") {
		t.Errorf("Check = %v", err)
	}
	w := moved()
	w.Services = nil
	check(t.Context(), t, u.Writable(w), actions.Done)
	if err := u.Writable(w).Apply(t.Context()); err != nil || s.Serial(zoneName) != 1 {
		t.Errorf("the preflight changed something: %v, serial %d", err, s.Serial(zoneName))
	}
}

// TestPreflightOnMovingZone: a proof that is overtaken proves nothing.
func TestPreflightOnMovingZone(t *testing.T) {
	s := serve(t)
	s.BeforeUpdate(func() {
		if err := s.Edit(zoneName, "xmpp", "A", "xmpp A 192.0.2.21"); err != nil {
			t.Error(err)
		}
	})
	if _, err := updater(t, s, nil).Writable(moved()).Check(t.Context()); actions.KindOf(err) != actions.Transient {
		t.Errorf("Check = %v, want Transient", err)
	}
}

func TestPreview(t *testing.T) {
	u, err := rfc2136.NewUpdater(rfc2136.Zone{Name: zoneName, Server: "192.0.2.53:53", TSIG: key(), Authoritative: []string{"192.0.2.53:53"}})
	if err != nil {
		t.Fatal(err)
	}
	unknown := moved()
	unknown.Address.From = nil
	unknown.Services = nil
	for _, c := range []struct {
		name string
		got  []string
		want string
	}{
		{"from known", u.Records(moved()).Preview(), `
; nsupdate -v -y hmac-sha256:watchdog:<secret>
server 192.0.2.53 53
zone contoso.com.
prereq yxrrset xmpp.contoso.com. IN A 192.0.2.11
prereq yxrrset xmpp.contoso.com. IN AAAA 2001:db8::11
update delete xmpp.contoso.com. IN A
update delete xmpp.contoso.com. IN AAAA
update add xmpp.contoso.com. 60 IN A 192.0.2.21
update add xmpp.contoso.com. 60 IN AAAA 2001:db8::21
; only if no SRV record with port 5269 there resolves to 192.0.2.21, 2001:db8::21; others stay:
update add _xmpp-server._tcp.contoso.com. 60 IN SRV 10 5 5269 xmpp.contoso.com.
send`},
		{"from unknown", u.Records(unknown).Preview(), `
; nsupdate -v -y hmac-sha256:watchdog:<secret>
server 192.0.2.53 53
zone contoso.com.
; require what xmpp.contoso.com holds when it is read, one line per address; it may only be among 192.0.2.11, 192.0.2.21, 2001:db8::11, 2001:db8::21:
; prereq yxrrset xmpp.contoso.com. IN A <address>
update delete xmpp.contoso.com. IN A
update delete xmpp.contoso.com. IN AAAA
update add xmpp.contoso.com. 60 IN A 192.0.2.21
update add xmpp.contoso.com. 60 IN AAAA 2001:db8::21
send`},
		{"preflight", u.Writable(moved()).Preview(), `
; nsupdate -v -y hmac-sha256:watchdog:<secret>
server 192.0.2.53 53
zone contoso.com.
; deletes records that are not there: changes nothing, and is refused if the key has no right to
update delete xmpp.contoso.com. IN A 0.0.0.0
update delete xmpp.contoso.com. IN AAAA ::
update delete _xmpp-server._tcp.contoso.com. IN SRV 65535 65535 0 edgewatch.invalid.
send`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(strings.TrimSpace(c.want), strings.Join(c.got, "\n")); diff != "" {
				t.Errorf("preview (-want +got):\n%s", diff)
			}
		})
	}
}
