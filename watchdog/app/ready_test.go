package app

import (
	"net/netip"
	"strings"
	"testing"

	"edgewatch/actions"
	"edgewatch/actions/actionstest"
	"edgewatch/configs"
)

// A wrong password is tried once, not every few minutes until the account is
// locked.
func TestReadinessSparesTheAccount(t *testing.T) {
	const host = "edgeserver2.contoso.local"
	estate := actionstest.NewEstate(
		[]actionstest.Site{{Name: "Site2"}},
		[]actionstest.Pool{{FQDN: "edgepool2.contoso.local", Site: "Site2", Servers: []string{host}}},
		nil, actionstest.Hooks{})
	w, err := actionstest.ListenWinRM("127.0.0.1:0", host, estate, actionstest.WinRMOptions{User: "edgewatch", Password: "right"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	cfg, err := configs.Load(example)
	if err != nil {
		t.Fatal(err)
	}
	f := &cfg.Federations[0]
	p := f.Pool("EdgePool2")
	p.Servers = p.Servers[:1]
	for _, h := range []*configs.WinRM{&p.Servers[0].WinRM, &f.Management.WinRM} {
		*h = configs.WinRM{Addr: w.Addr(), Auth: "ntlm", Credential: h.Credential, Timeout: f.WinRM.Timeout}
	}
	for name, c := range f.Credentials {
		c.User, c.Password = "edgewatch", actions.NewSecret("wrong")
		f.Credentials[name] = c
	}
	closed := netip.MustParseAddrPort("127.0.0.1:1")
	for i := range f.DNS.Zones {
		f.DNS.Zones[i].Server, f.DNS.Zones[i].Authoritative = closed, []netip.AddrPort{closed}
	}
	b, err := newBuilder(f, true, nil)
	if err != nil {
		t.Fatal(err)
	}
	first := b.ready(t.Context(), "EdgePool2")
	if first == nil || !strings.Contains(first.Error(), "logon") {
		t.Fatalf("ready with a wrong password: %v", first)
	}
	_, asked := w.Conns()
	again := b.ready(t.Context(), "EdgePool2")
	if again == nil || !strings.Contains(again.Error(), "asked again at") {
		t.Errorf("the second time: %v", again)
	}
	if _, got := w.Conns(); got != asked || asked == 0 {
		t.Errorf("the host was dialled %d times, then %d", asked, got)
	}
}
