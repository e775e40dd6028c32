package winrm

import (
	"crypto/tls"
	"strings"
	"testing"
	"time"

	"edgewatch/actions"
	"edgewatch/actions/actionstest"

	"github.com/google/go-cmp/cmp"
)

func TestOptionsAreChecked(t *testing.T) {
	secret := actions.NewSecret(password)
	for _, tc := range []struct {
		name string
		o    Options
		want string // "" is fine
	}{
		{"ntlm over http", Options{Host: "h", User: "u", Password: secret}, ""},
		{"basic over https", Options{Host: "h", HTTPS: true, Auth: Basic, User: "u", Password: secret}, ""},
		{"basic over http", Options{Host: "h", Auth: Basic, User: "u", Password: secret}, "needs https"},
		{"no host", Options{User: "u", Password: secret}, "no host"},
		{"no password", Options{Host: "h", User: "u"}, "needs user and password"},
		{"certificate without one", Options{Host: "h", HTTPS: true, Auth: Certificate}, "needs a client certificate"},
		{"certificate over http", Options{Host: "h", Auth: Certificate, ClientCert: &tls.Certificate{}}, "needs https"},
		{"address without port", Options{Host: "h", Addr: "10.0.0.1", User: "u", Password: secret}, "not host:port"},
		{"unknown auth", Options{Host: "h", Auth: 9}, "unknown auth invalid(9)"},
		{"negative timeout", Options{Host: "h", User: "u", Password: secret, Timeout: -1}, "negative"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := New(tc.o)
			if tc.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Close(); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestDefaultAddress(t *testing.T) {
	for https, want := range map[bool]string{false: "h.contoso.com:5985", true: "h.contoso.com:5986"} {
		c, err := New(Options{Host: "h.contoso.com", HTTPS: https, User: "u", Password: actions.NewSecret("p")})
		if err != nil {
			t.Fatal(err)
		}
		if c.o.Addr != want || c.o.ServerName != "h.contoso.com" || c.o.Timeout != DefaultTimeout || c.o.Module != ModuleAuto {
			t.Errorf("defaults are %+v, want address %s", c.o, want)
		}
	}
}

func TestAuthWords(t *testing.T) {
	for _, a := range []Auth{NTLM, Basic, Certificate} {
		b, err := a.MarshalText()
		if err != nil {
			t.Fatal(err)
		}
		var back Auth
		if err := back.UnmarshalText(b); err != nil || back != a {
			t.Errorf("%s came back as %s, %v", a, back, err)
		}
	}
	var a Auth
	if err := a.UnmarshalText([]byte("kerberos")); err == nil || !strings.Contains(err.Error(), "ntlm, basic, certificate") {
		t.Errorf("error %v does not name the known words", err)
	}
}

func TestLogonsThatWork(t *testing.T) {
	ca := newAuthority(t)
	server := &tls.Config{Certificates: []tls.Certificate{ca.pair(t, edgeHost)}, ClientCAs: ca.pool, ClientAuth: tls.VerifyClientCertIfGiven}
	client := ca.pair(t, testAccount)
	for _, tc := range []struct {
		name string
		w    actionstest.WinRMOptions
		c    func(*Options)
		user string
	}{
		{"ntlm sealed, DOMAIN\\user", actionstest.WinRMOptions{}, nil, testAccount},
		{"ntlm sealed, local user", actionstest.WinRMOptions{}, func(o *Options) { o.User = testAccount }, testAccount},
		{"ntlm sealed, user@domain", actionstest.WinRMOptions{User: "svc@contoso.com", Password: password}, func(o *Options) { o.User = "svc@contoso.com" }, "svc@contoso.com"},
		{"ntlm over https with channel bindings", actionstest.WinRMOptions{TLS: server, RequireBindings: true}, func(o *Options) { o.HTTPS = true }, testAccount},
		{"basic over https", actionstest.WinRMOptions{TLS: server, Basic: true}, func(o *Options) { o.HTTPS, o.Auth, o.User = true, Basic, testAccount }, testAccount},
		{"client certificate", actionstest.WinRMOptions{TLS: server}, func(o *Options) { o.HTTPS, o.Auth, o.ClientCert = true, Certificate, &client }, testAccount},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := newEstate()
			c := dial(t, listen(t, edgeHost, e, tc.w), func(o *Options) {
				o.RootCAs = ca.pool
				if tc.c != nil {
					tc.c(o)
				}
			})
			for range 2 {
				if err := c.Run(t.Context(), getServices(), nil); err != nil {
					t.Fatal(err)
				}
			}
			ran := e.Commands("Get-CsWindowsService")
			if len(ran) != 2 {
				t.Fatalf("%d commands ran", len(ran))
			}
			want := actionstest.Command{Host: edgeHost, User: tc.user, Cmdlet: "Get-CsWindowsService", Args: map[string]string{}}
			ran[0].At = time.Time{}
			if diff := cmp.Diff(want, ran[0]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestLogonsThatFail(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	server := &tls.Config{Certificates: []tls.Certificate{ca.pair(t, edgeHost)}}
	plain := actionstest.WinRMOptions{}
	secure := actionstest.WinRMOptions{TLS: server, Basic: true}
	demanding := &tls.Config{Certificates: server.Certificates, ClientCAs: ca.pool, ClientAuth: tls.RequireAndVerifyClientCert}
	old := &tls.Config{Certificates: server.Certificates, MaxVersion: tls.VersionTLS11}
	stranger := other.pair(t, testAccount)
	for _, tc := range []struct {
		name string
		w    actionstest.WinRMOptions
		c    func(*Options)
		says []string
	}{
		{"wrong password, ntlm", plain, func(o *Options) { o.Password = actions.NewSecret("wrong") }, []string{"logon was refused", "check that the account " + testUser + " can log on to " + edgeHost, "password"}},
		{"wrong password, ntlm over https", secure, func(o *Options) { o.HTTPS, o.Password = true, actions.NewSecret("wrong") }, []string{"logon was refused", testUser}},
		{"wrong password, basic", secure, func(o *Options) { o.HTTPS, o.Auth, o.Password = true, Basic, actions.NewSecret("wrong") }, []string{"logon was refused"}},
		{"unknown account", plain, func(o *Options) { o.User = "nobody" }, []string{"account nobody can log on"}},
		{"unknown CA", secure, func(o *Options) { o.HTTPS, o.RootCAs = true, other.pool }, []string{"unknown authority", "configure the CA that issued the certificate of 127.0.0.1:"}},
		{"client certificate of another CA", actionstest.WinRMOptions{TLS: demanding}, func(o *Options) { o.HTTPS, o.Auth, o.ClientCert = true, Certificate, &stranger }, []string{"tls:", "mapped to an account"}},
		{"client certificate without mapping", secure, func(o *Options) { o.HTTPS, o.Auth, o.ClientCert = true, Certificate, &stranger }, []string{"logon was refused", "the account of the client certificate"}},
		{"TLS 1.1", actionstest.WinRMOptions{TLS: old}, func(o *Options) { o.HTTPS = true }, []string{"TLS 1.2"}},
		{"another name in the certificate", secure, func(o *Options) { o.HTTPS, o.ServerName = true, "edge9.contoso.com" }, []string{"edge9.contoso.com", "the name that stands in it"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e := newEstate()
			w := listen(t, edgeHost, e, tc.w)
			c := dial(t, w, func(o *Options) {
				o.RootCAs = ca.pool
				tc.c(o)
			})
			wantError(t, c.Run(t.Context(), stop, nil), actions.Rejected, edgeHost, append(tc.says, edgeHost+": Stop-CsWindowsService: ")...)
			if n := len(e.Commands()); n > 0 {
				t.Errorf("%d commands ran", n)
			}
			if n := w.Requests("Handshake"); n > 1 {
				t.Errorf("%d logons were tried: accounts get locked", n)
			}
		})
	}
}

func TestTLSAgainstAPlainListener(t *testing.T) {
	_, w, _ := edge(t)
	c := dial(t, w, func(o *Options) { o.HTTPS = true })
	wantError(t, c.Run(t.Context(), stop, nil), actions.Transient, edgeHost, "does not speak TLS", "winrm quickconfig -transport:https")
}

func TestNewPasswordIsTakenAfterTheOldOneFailed(t *testing.T) {
	_, w, c := edge(t)
	if err := c.Run(t.Context(), getServices(), nil); err != nil {
		t.Fatal(err)
	}
	w.SetPassword("changed")
	w.DropConns()
	wantError(t, c.Run(t.Context(), getServices(), nil), actions.Rejected, edgeHost, "logon was refused")
	w.SetPassword(password)
	if err := c.Run(t.Context(), getServices(), nil); err != nil {
		t.Errorf("after the password was right again: %v", err)
	}
}
