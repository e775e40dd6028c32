package configs

import (
	"fmt"
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
