package sim

import (
	"math"
	"math/rand/v2"
	"time"

	"edgewatch/actions"
	"edgewatch/watchdog"
)

// scene draws what chance alone seldom brings together, and for how long
// edgewatch is away when it ended. It draws from a source of its own, so that
// stories without a scene stay as they are.
func (a *author) scene(seed uint64) {
	a.Rand = rand.New(rand.NewPCG(seed, 0x5ce4e)) // #nosec G404 -- the seed must say it all
	a.s.longAway = 1.0 / 4
	switch a.IntN(12) {
	case 0, 1:
		a.diesMidway()
	case 2, 3:
		a.laggards()
	case 4:
		a.failedRepair()
	case 5:
		at := a.moment()
		a.lag(at, a.between(3*time.Minute, 10*time.Minute))
	case 6:
		a.again()
	case 7:
		a.lateHome()
	}
}

// away is how long nobody starts edgewatch again: a moment, or, for a share of
// the ends of a story, minutes to hours, in which everything may have changed,
// its configuration too.
func (r *run) away() time.Duration {
	s, w := r.story, r.world
	if s.longAway == 0 {
		return s.restartAfter
	}
	w.mu.Lock()
	long, share, n, mode := w.draw("away") < s.longAway, w.draw("away for"), w.draw("away, changed"), w.draw("away, mode")
	w.mu.Unlock()
	r.mu.Lock()
	healed := r.healed
	r.mu.Unlock()
	if !long || healed {
		return s.restartAfter
	}
	if n < 0.25 && r.config == nil {
		r.changeMode([]watchdog.Mode{watchdog.ModeObserve, watchdog.ModeApprove}[int(mode*2)])
	}
	const most = 120 // minutes; as many of the ends are within one and eleven as beyond
	d := time.Duration(math.Pow(most, share) * float64(time.Minute))
	r.notef("nobody starts edgewatch for %s", d.Round(time.Second))
	return d
}

// changeMode lets the next life run in another mode.
func (r *run) changeMode(m watchdog.Mode) {
	f := *r.estate.f
	f.Mode = m
	e, err := newEstate(&f)
	if err != nil {
		r.violate("estate", err.Error())
		return
	}
	r.notef("somebody changes the configuration: %s", e.summary())
	r.config, r.reconfigured = e, true
}

// diesMidway lets the first pool die for some minutes and edgewatch in the middle
// of the failover, before the route has moved, or when that was refused and what
// was stopped is being started again.
func (a *author) diesMidway() {
	a.s.longAway = 2.0 / 3
	at := a.moment()
	a.dies(a.w[0], at, a.between(time.Minute, 6*time.Minute))
	places := []string{"before stop-services", "after stop-services", "during stop-services", "before start-services", "during start-services"}
	n := a.IntN(len(places))
	a.s.crossings = append(a.s.crossings, crossing{place: places[n], skip: a.IntN(2)})
	if n < 3 {
		return
	}
	fe := func(text string, fault winrmFault) func(*run) {
		return func(r *run) {
			h := r.world.hosts[r.world.f.ManagementOf(&r.world.poolNamed(a.w[1]).Pool).Host]
			r.notef("%s: %s", h.name, text)
			r.world.with(func() { h.winrm = fault })
		}
	}
	a.add(at, a.between(3*time.Minute, 8*time.Minute), fe("WinRM reads and changes nothing", winrmReads), fe("WinRM works", winrmWorks))
}

// again lets the first pool die for some minutes where federation has left it
// before: the other site has kept its route, and DNS alone has to change. Edgewatch
// dies right before it does that.
func (a *author) again() {
	a.s.longAway = 2.0 / 3
	for _, name := range a.w[1:] {
		a.add(warmUp/2, 0, func(r *run) {
			r.world.with(func() { r.world.route[r.world.poolNamed(name).Site] = name })
		}, nil)
	}
	at := a.moment()
	a.dies(a.w[0], at, a.between(time.Minute, 6*time.Minute))
	a.s.crossings = append(a.s.crossings, crossing{place: "before dns-records"})
}

// lateHome lets federation leave the first pool and be ordered home, where its route
// has to be set anew. That comes late, is seen late, and somebody aborts meanwhile.
func (a *author) lateHome() {
	first, other := a.w[0], a.w[1]
	at := a.between(warmUp, warmUp+8*time.Minute)
	a.dies(first, at, a.between(2*time.Minute, 5*time.Minute))
	a.add(at+a.between(6*time.Minute, 10*time.Minute), 0, func(r *run) {
		r.world.with(func() {
			p := r.world.poolNamed(first)
			r.world.route[p.Site], r.world.touched = other, true
			h := r.world.hosts[r.world.f.ManagementOf(&p.Pool).Host]
			h.late, h.abort = 1, true
		})
		r.notef("somebody moves the route of the site of %s, and the next change of it comes late", first)
		r.order("failback", first, "--force", "mended")
	}, nil)
}

// lag lets secondary name servers follow late for some time, or keep silent.
func (a *author) lag(at, lasts time.Duration) {
	by, silent := a.between(3*time.Minute, 10*time.Minute), a.IntN(3) == 0
	begin := func(r *run) {
		if silent {
			r.notef("secondary name servers keep silent")
		} else {
			r.notef("secondary name servers lag by %s", by.Round(time.Second))
		}
		for _, z := range r.world.zones {
			z.fail(by, silent)
		}
	}
	a.add(at, lasts, begin, func(r *run) {
		r.notef("secondary name servers follow at once")
		for _, z := range r.world.zones {
			z.fail(secondaryLag, false)
		}
	})
}

// laggards lets federation leave the first pool and be ordered home while
// secondary name servers do not follow. While edgewatch waits for them somebody
// aborts that, or edgewatch is stopped, or dies, or waits in vain.
func (a *author) laggards() {
	first := a.w[0]
	at := a.between(warmUp, warmUp+8*time.Minute)
	if a.IntN(2) == 0 {
		a.dies(first, at, a.between(2*time.Minute, 5*time.Minute))
	} else {
		a.add(at, 0, func(r *run) { r.order("switchover", a.w[1], "--force", "maintenance") }, nil)
	}
	begins := at + a.between(6*time.Minute, 10*time.Minute)
	a.lag(begins, a.between(5*time.Minute, 12*time.Minute))
	a.add(begins+a.between(time.Second, time.Minute), 0, func(r *run) { r.order("failback", first, "--force", "mended") }, nil)
	what, home := a.IntN(4), false
	waits := func(e watchdog.Entry) bool {
		if e.Kind == watchdog.KindChain {
			home = e.Chain.Kind == actions.Failback
		}
		return home && e.Kind == watchdog.KindStep && e.Step.Step == actions.DNSRecords && e.Step.Phase == actions.Started && e.Step.Target != ""
	}
	a.s.faults = append(a.s.faults, &fault{when: waits, after: a.between(200*time.Millisecond, 100*time.Second), begin: func(r *run) {
		switch what {
		case 0:
			r.stop()
		case 1:
			r.order("abort", "wrong day")
		case 2:
			if r.process != nil {
				r.process.die("while it waits for name servers")
			}
		}
	}})
}

// failedRepair lets DNS lead partners elsewhere. A person orders to bring that
// back, DNS refuses it, or takes it while secondaries keep silent, somebody mends
// that by hand, and the pool dies. Nothing else happens.
func (a *author) failedRepair() {
	a.s.faults, a.s.appendFaults, a.s.crossings, a.s.meddles, a.s.longAway = nil, nil, nil, "", 0
	active, other := a.w[0], a.w[1]
	a.add(a.between(warmUp, warmUp+2*time.Minute), 0, func(r *run) { r.editDNS(other) }, nil)
	after, mends, dies := a.between(time.Second, time.Minute), a.between(time.Minute, 8*time.Minute), a.between(0, time.Minute)
	spoil := func(r *run, on bool) { r.refuseDNS(on) }
	if a.IntN(2) == 0 {
		mends += 2 * time.Minute // which they are waited for
		spoil = (*run).silenceSecondaries
	}
	told := func(e watchdog.Entry) bool {
		return e.Notice != nil && e.Notice.Kind == watchdog.NoticeDrift && e.Notice.Pool == other
	}
	passed := func(e watchdog.Entry) bool { // the preflight, which would see it
		return e.Kind == watchdog.KindStep && e.Step.Step == actions.Preflight && e.Step.Target == "" && e.Step.Phase != actions.Started
	}
	a.s.faults = append(a.s.faults, &fault{when: told, after: after, begin: func(r *run) {
		r.order("failover", active, "bring the records back")
	}}, &fault{when: passed, after: time.Millisecond, begin: func(r *run) {
		spoil(r, true)
		r.later(mends, func() {
			r.editDNS(active)
			spoil(r, false)
		})
		if time.Since(r.world.begin)+mends+dies < r.story.heal {
			r.later(mends+dies, func() { power(active, -1, false)(r) })
		}
	}})
}

// silenceSecondaries lets secondary name servers give no answer, or answer again.
func (r *run) silenceSecondaries(on bool) {
	r.notef("secondary name servers keep silent: %v", on)
	for _, z := range r.world.zones {
		z.fail(secondaryLag, on)
	}
}

// refuseDNS lets name servers refuse updates, or take them again.
func (r *run) refuseDNS(on bool) {
	r.notef("DNS refuses updates: %v", on)
	for _, z := range r.world.zones {
		z.refuse(on)
	}
}
