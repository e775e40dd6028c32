package configs

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// witnesses holds the rules of who is asked before edgewatch acts by itself.
func (r *rules) witnesses() {
	w := &r.f.Witnesses
	n := len(w.URLs)
	secure := false
	seen := map[string]bool{}
	for i, word := range w.URLs {
		path := r.in("witnesses.urls[%d]", i)
		u, err := url.Parse(word)
		if err != nil || r.wrong(path) {
			continue
		}
		if r.own(u) {
			r.bad(path, "%s is this edgewatch's own listen.health (%s): nobody is a witness of their own", word, r.health)
			continue
		}
		if key := strings.ToLower(word); seen[key] {
			r.bad(path, "%s is in the list already", word)
		} else {
			seen[key] = true
		}
		secure = secure || u.Scheme == "https"
		if u.Scheme == "http" && !isLoopback(u.Hostname()) {
			r.warn(path, "%s is asked in the clear: whoever stands between can answer in its place; put a proxy with TLS before it, or a tunnel", word)
		}
	}
	if n == 0 {
		// What stands at its default, as config show prints it, means nothing.
		for key, set := range map[string]bool{"min_down": w.MinDown != 1, "timeout": w.Timeout.Duration != 3*time.Second, "ca_file": w.CAFile != ""} {
			if set && r.given(r.in("witnesses.%s", key)) && !r.wrong(r.in("witnesses.%s", key)) {
				r.bad(r.in("witnesses.%s", key), "has no use without urls")
			}
		}
		return
	}
	switch {
	case w.MinDown > n:
		r.bad(r.in("witnesses.min_down"), "%d of %d witnesses can never see anything", w.MinDown, n)
	case n > 1 && w.MinDown == n:
		r.warn(r.in("witnesses.min_down"), "all %d must see it: while one of them is down there is no automatic failover", n)
	}
	if w.CAFile != "" && !secure && !r.wrong(r.in("witnesses.urls")) {
		r.bad(r.in("witnesses.ca_file"), "has no use without https")
	}
	if i := r.f.Probe.Interval; w.Timeout.Duration >= i.Duration && !r.wrong(r.in("probe.interval")) {
		r.bad(r.in("witnesses.timeout"), "%s must be shorter than probe.interval (%s): each round asks the witnesses while the active pool looks bad", w.Timeout, i)
	}
}

// own reports whether a witness's URL leads to listen.health of this very
// configuration, as far as that shows without looking names up.
func (r *rules) own(u *url.URL) bool {
	host, port, err := net.SplitHostPort(r.health)
	if err != nil || port != portOf(u) {
		return false
	}
	if strings.EqualFold(host, u.Hostname()) {
		return true
	}
	listens, err1 := localAddr(host)
	asked, err2 := localAddr(u.Hostname())
	if err1 != nil || err2 != nil {
		return false
	}
	switch asked { // a connection to no address in particular goes to this machine
	case netip.IPv4Unspecified():
		asked = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	case netip.IPv6Unspecified():
		asked = netip.IPv6Loopback()
	}
	// A listener on :: takes IPv4 too, one on 0.0.0.0 nothing else.
	return asked == listens || listens.IsUnspecified() && asked.IsLoopback() && (listens.Is6() || asked.Is4())
}

// portOf is the port that a URL leads to.
func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// localAddr is the address of a host that needs no looking up; of none, ::.
func localAddr(host string) (netip.Addr, error) {
	switch strings.ToLower(host) {
	case "":
		return netip.IPv6Unspecified(), nil
	case "localhost":
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
	}
	addr, err := netip.ParseAddr(host)
	return addr.Unmap(), err
}

// Witnessed tells in a sentence what edgewatch makes sure of before it takes a
// pool that it cannot reach for down.
func (f *Federation) Witnessed() string {
	w := &f.Witnesses
	switch n := len(w.URLs); {
	case n == 0:
		return "no witness: a way to the active pool that is cut for this edgewatch alone looks like a dead pool (witnesses.urls names others to be asked)"
	case w.MinDown == 0:
		return witnesses(n) + ": one that sees the active pool answering holds an automatic failover back"
	default:
		return fmt.Sprintf("%s: %d must see the active pool down too, and none may see it answering, for an automatic failover", witnesses(n), w.MinDown)
	}
}

func witnesses(n int) string {
	if n == 1 {
		return "1 witness"
	}
	return fmt.Sprintf("%d witnesses", n)
}
