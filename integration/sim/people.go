package sim

import (
	"fmt"
	"slices"
	"time"

	"edgewatch/watchdog"
)

// words are an order.
func (a *author) words() []string {
	to := a.pool()
	orders := [][]string{
		{"failover", to, "an exercise"}, {"failover", to, "now"}, {"pause", fmt.Sprintf("%dm", 1+a.IntN(20)), "patching"}, {"resume"}, {"ack", "seen"},
		{"switchover", to, "maintenance"}, {"failback", to, "mended"}, {"hold", "wait for me"}, {"release", "go on"}, {"abort", "stop it"},
		{"retry", "again"}, {"skip-step", []string{"verify", "check-port"}[a.IntN(2)], "mended by hand"}, {"adopt", to, "it is there"}, {"approve", to, "do it"}, {"deny", "not now"},
		{"failover", to, "--force", "I know better"}, {"switchover", to, "--force", "I know better"}, {"failback", to, "--force", "I know better"},
	}
	return orders[a.IntN(len(orders))]
}

// people is somebody who commands, or changes things by hand.
func (a *author) people() {
	to, words := a.pool(), a.words()
	if a.IntN(4) == 0 { // one order after the other
		at := a.moment()
		for range 2 + a.IntN(8) {
			at += a.between(time.Second, 3*time.Minute)
			words := a.words()
			a.add(at, 0, func(r *run) { r.order(words...) }, nil)
		}
		return
	}
	if a.IntN(4) == 0 { // a pool dies upon what keeps edgewatch back
		words = [][]string{{"pause", fmt.Sprintf("%dm", 1+a.IntN(20)), "patching"}, {"hold", "wait for me"}, {"pause", "5m", "patching"}}[a.IntN(3)]
		at := a.moment()
		a.add(at, 0, func(r *run) { r.order(words...) }, nil)
		a.dies(a.w[0], at+a.between(time.Second, 4*time.Minute), a.between(time.Minute, 15*time.Minute))
		return
	}
	switch n := a.IntN(12); {
	case n < 7:
		a.bad(func(r *run) { r.order(words...) })
	case n < 9:
		change := a.Uint64()
		a.bad(func(r *run) { r.reconfigure(change) })
	case n < 11:
		value := to
		if a.IntN(3) == 0 {
			value = elsewhere
		}
		if a.IntN(2) == 0 {
			a.s.meddles = value
			return
		}
		a.bad(func(r *run) { r.editDNS(value) })
	default:
		a.bad(func(r *run) {
			site := r.world.poolNamed(to).Site
			other := a.w[(slices.Index(a.w, to)+1)%len(a.w)]
			r.notef("somebody sets the route of %s to %s", site, other)
			r.world.with(func() { r.world.route[site], r.world.touched = other, true })
		})
	}
}

// answers is somebody who answers the question whether to fail over, or holds
// edgewatch back because of it.
func (a *author) answers() {
	n, after := a.IntN(5), a.between(time.Second, 12*time.Minute)
	asks := func(e watchdog.Entry) bool { return e.Decision != nil && e.Decision.Will == watchdog.WillAsk }
	a.s.faults = append(a.s.faults, &fault{when: asks, after: after, begin: func(r *run) {
		words := [][]string{{"approve", r.checks.asked(), "do it"}, {"deny", "not now"}, {"pause", "3m", "I look at it"}, {"pause", "15m", "I look at it"}, {"hold", "wait for me"}}[n]
		r.order(words...)
		if words[0] == "hold" {
			r.later(after, func() { r.order("release", "go on") })
		}
	}})
}
