package winrm

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"

	"edgewatch/actions"
	"edgewatch/actions/actionstest"
)

const (
	edgeHost    = "edge2a.contoso.com"
	manageHost  = "fe1.contoso.com"
	testUser    = `EDGE2A\svc-edgewatch`
	testAccount = "svc-edgewatch"
	password    = "pässword'1"
)

func newEstate() *actionstest.Estate { return newEstateWith(actionstest.Hooks{}) }

func newEstateWith(h actionstest.Hooks) *actionstest.Estate {
	return actionstest.NewEstate(
		[]actionstest.Site{{ID: "1", Name: "Site1", Route: "EdgeServer:edgepool1.contoso.com"}, {ID: "2", Name: "Site2"}},
		[]actionstest.Pool{
			{FQDN: "edgepool1.contoso.com", ExternalFQDN: "sip1.contoso.com", Site: "Site1", Servers: []string{"edge1a.contoso.com"}},
			{FQDN: "edgepool2.contoso.com", ExternalFQDN: "sip2.contoso.com", Site: "Site2", Servers: []string{edgeHost, "edge2b.contoso.com"}},
		},
		[]string{manageHost}, h)
}

func listen(t *testing.T, host string, e *actionstest.Estate, o actionstest.WinRMOptions) *actionstest.WinRM {
	t.Helper()
	if o.User == "" {
		o.User, o.Password = testAccount, password
	}
	w, err := actionstest.ListenWinRM("127.0.0.1:0", host, e, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if u := w.Unknown(); len(u) > 0 {
			t.Errorf("the fake did not understand %q", u)
		}
	})
	return w
}

// dial gives a client for w; change edits its options.
func dial(t *testing.T, w *actionstest.WinRM, change func(*Options)) *Client {
	t.Helper()
	o := Options{Host: w.Host(), Addr: w.Addr(), User: testUser, Password: actions.NewSecret(password), Timeout: 10 * time.Second}
	if change != nil {
		change(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// edge gives an estate, one of its Edge Servers and a client for it.
func edge(t *testing.T) (*actionstest.Estate, *actionstest.WinRM, *Client) {
	t.Helper()
	e := newEstate()
	w := listen(t, edgeHost, e, actionstest.WinRMOptions{})
	return e, w, dial(t, w, nil)
}

func manager(t *testing.T) (*actionstest.Estate, *actionstest.WinRM, *Client) {
	t.Helper()
	e := newEstate()
	w := listen(t, manageHost, e, actionstest.WinRMOptions{})
	return e, w, dial(t, w, nil)
}

// wantError checks kind, host and what an error must say.
func wantError(t *testing.T, err error, kind actions.Kind, host string, says ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error; want one of kind %s", kind)
	}
	e, ok := errors.AsType[*actions.Error](err)
	if !ok {
		t.Fatalf("error %v is no *actions.Error", err)
	}
	if e.Kind != kind {
		t.Errorf("kind is %s, want %s: %v", e.Kind, kind, err)
	}
	if e.Host != host {
		t.Errorf("host is %q, want %q", e.Host, host)
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q does not say %q", err, s)
		}
	}
	if strings.Contains(err.Error(), password) {
		t.Errorf("error %q shows the password", err)
	}
}

func check(t *testing.T, task actions.Task) actions.Observation {
	t.Helper()
	o, err := task.Check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// authority is a CA made for one test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{pool: x509.NewCertPool()}
	a.cert, a.key = a.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	a.pool.AddCert(a.cert)
	return a
}

func (a *authority) issue(t *testing.T, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := c, key
	if a.cert != nil {
		parent, signer = a.cert, a.key
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(raw)
	if err != nil {
		t.Fatal(err)
	}
	return cert, key
}

func (a *authority) pair(t *testing.T, name string) tls.Certificate {
	t.Helper()
	cert, key := a.issue(t, &x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
	return tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
}
