package sim

import (
	"fmt"
	"time"

	"edgewatch/watchdog"
)

// toolTrouble is something that happens to what edgewatch acts with.
func (a *author) toolTrouble() {
	at, lasts, name, n := a.moment(), a.between(30*time.Second, 20*time.Minute), a.w[1], a.IntN(3)
	if a.IntN(3) == 0 {
		name = a.pool()
	}
	target := func(r *run) *host {
		if n == 0 {
			return r.world.hosts[r.world.f.ManagementOf(&r.world.poolNamed(name).Pool).Host]
		}
		hosts := r.world.poolNamed(name).hosts
		return hosts[n%len(hosts)]
	}
	set := func(text string, do func(*host)) func(*run) {
		return func(r *run) {
			h := target(r)
			r.notef("%s: %s", h.name, text)
			r.world.with(func() { do(h) })
		}
	}
	works := set("WinRM works", func(h *host) { h.winrm = winrmWorks })
	times := 1 + a.IntN(3)
	switch a.IntN(11) {
	case 0:
		a.s.faults = append(a.s.faults, &fault{at: at, begin: set("WinRM hangs", func(h *host) { h.winrm = winrmHangs })}, &fault{at: at + lasts, begin: works})
	case 1:
		a.bad(set("WinRM refuses the logon", func(h *host) { h.winrm = winrmRefuses }))
		a.add(at+lasts, 0, works, nil)
	case 2:
		a.bad(set(fmt.Sprintf("WinRM lies %d times", times), func(h *host) { h.lies = times }))
	case 3:
		a.bad(set(fmt.Sprintf("%d answers of WinRM are lost", times), func(h *host) { h.loses = times }))
	case 4:
		slow := 2 + a.IntN(6)
		a.add(at, lasts, set(fmt.Sprintf("services are %d times slower", slow), func(h *host) { h.slow = slow }), set("services are as fast as ever", func(h *host) { h.slow = 1 }))
	case 5:
		a.bad(func(r *run) { r.refuseDNS(true) })
		a.add(warmUp+a.s.life*4/5, 0, func(r *run) { r.refuseDNS(false) }, nil)
	case 6:
		a.add(at, 0, func(r *run) {
			r.notef("%d answers of DNS are lost", times)
			for _, z := range r.world.zones {
				z.primary.LoseAnswers(times)
			}
		}, nil)
	case 7:
		lag := a.between(time.Second, 100*time.Second)
		a.add(at, 0, func(r *run) {
			r.notef("secondary name servers lag by %s", lag.Round(time.Second))
			for _, z := range r.world.zones {
				z.lag(lag)
			}
		}, nil)
	case 8:
		a.bad(set("WinRM reads and changes nothing", func(h *host) { h.winrm = winrmReads }))
		a.add(at+lasts, 0, works, nil)
	case 9:
		a.lateChange()
	case 10:
		a.doubtfulRoute()
	}
}

// lateChange lets the first change that a move makes on a host come late, and its
// answer never. Maybe somebody aborts the move meanwhile.
func (a *author) lateChange() {
	n, abort, moves := a.IntN(3), a.IntN(3) > 0, a.IntN(2)
	a.s.faults = append(a.s.faults, &fault{when: chainBegins(moves), after: a.between(time.Millisecond, 50*time.Millisecond), begin: func(r *run) {
		r.world.with(func() {
			p := r.world.poolNamed(r.checks.newest.To)
			h := p.hosts[n%len(p.hosts)]
			if n == 0 {
				h = r.world.hosts[r.world.f.ManagementOf(&p.Pool).Host]
			}
			h.late, h.abort = 1, abort
		})
		r.notef("the next change by WinRM comes late, and its answer never")
	}})
}

// doubtfulRoute lets nobody know for long whether the route was moved: its host
// does not answer any more once it was told to move it, and then reads and changes
// nothing.
func (a *author) doubtfulRoute() {
	hangs, reads, moves := a.between(time.Minute, 12*time.Minute), a.between(time.Minute, 12*time.Minute), a.IntN(2)
	a.s.faults = append(a.s.faults, &fault{when: chainBegins(moves), after: a.between(time.Millisecond, 50*time.Millisecond), begin: func(r *run) {
		to := func(h *host, text string, fault winrmFault) func() {
			return func() {
				r.notef("%s: %s", h.name, text)
				r.world.with(func() { h.winrm = fault })
			}
		}
		r.notef("the host that moves the route will not answer once it is told to")
		r.world.with(func() {
			p := r.world.poolNamed(r.checks.newest.To)
			h := r.world.hosts[r.world.f.ManagementOf(&p.Pool).Host]
			h.dies = func() { // it is not told of the change
				h.winrm = winrmHangs
				r.later(hangs, to(h, "WinRM reads and changes nothing", winrmReads))
				r.later(hangs+reads, to(h, "WinRM works", winrmWorks))
			}
		})
	}})
}

// chainBegins is a moment: a move begins for the first time, after so many others.
func chainBegins(after int) func(watchdog.Entry) bool {
	return func(e watchdog.Entry) bool {
		if e.Kind != watchdog.KindChain || e.Chain.Retry > 0 {
			return false
		}
		after--
		return after < 0
	}
}
