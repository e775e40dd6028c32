package sim

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"edgewatch/actions"
	"edgewatch/watchdog"
	"edgewatch/watchdog/slack/slacktest"
)

// story is what happens in one run. It is drawn from the seed alone.
type story struct {
	life             time.Duration // in which things go wrong
	heal             time.Duration // when everything is put right
	faults           []*fault
	appendFaults     []plannedAppend
	crossings        []crossing
	restartAfter     time.Duration
	longAway         float64 // share of its ends after which nobody starts edgewatch again for minutes to hours
	listensWithRoute bool
	meddles          string        // somebody points DNS there in the very moment in which an update of ours arrives
	silent           bool          // without Slack
	calm             time.Duration // all is well for so long before the end is looked at; 0: calmTime

	// twin says that the end must be that of the same story without what
	// happens to edgewatch itself.
	twin bool
}

// fault is one thing that begins to go wrong, or ends to.
type fault struct {
	at    time.Duration
	when  func(watchdog.Entry) bool // instead of at: once such an entry is durable …
	after time.Duration             // … and so long after it
	own   bool                      // happens to edgewatch itself
	begin func(r *run)
}

type plannedAppend struct {
	n          int
	sinceChain bool // counted from where the newest failover began
	fault      appendFault
	used       bool
}

type crossing struct {
	place string
	skip  int
	used  bool
}

// author draws a story.
type author struct {
	*rand.Rand
	s *story
	w []string // pools
	r watchdog.Rules

	first string // of the witnesses
}

// warmUp is before anything goes wrong: the start-up grace, and the first
// readiness of the standbys.
const warmUp = 2 * time.Minute

// write draws the story of a seed: up to six things that go wrong, one upon
// the other.
func write(seed uint64, e *estate, life time.Duration) *story {
	a := &author{Rand: rand.New(rand.NewPCG(seed, 0x5eed)), s: &story{life: life}, r: e.settings.Rules} // #nosec G404 -- the seed must say it all
	a.w = e.settings.Rules.Pools
	a.s.restartAfter = a.between(5*time.Second, 40*time.Second) // whoever ends in good order has told Slack by then
	a.s.listensWithRoute = a.IntN(3) == 0
	// Every end of edgewatch gives people their time to answer anew.
	acts := a.r.Mode == watchdog.ModeApprove && a.r.ApprovalThen == watchdog.ApprovalActs
	if a.IntN(4) == 0 && !acts {
		a.twinStory()
	} else {
		a.mixedStory()
		if urls := e.f.Witnesses.URLs; len(urls) > 0 {
			for range a.IntN(4) {
				a.witnessTrouble(urls)
			}
		}
		a.scene(seed)
	}
	a.s.heal = warmUp + a.s.life
	return a.s
}

func (a *author) between(least, most time.Duration) time.Duration {
	return least + time.Duration(a.Float64()*float64(most-least))
}

func (a *author) moment() time.Duration { return a.between(warmUp, warmUp+a.s.life*3/4) }

func (a *author) pool() string { return a.w[a.IntN(len(a.w))] }

// add lets something begin at that time and, after lasts, end.
func (a *author) add(at, lasts time.Duration, begin, end func(r *run)) {
	a.s.faults = append(a.s.faults, &fault{at: at, begin: begin})
	if end != nil {
		a.s.faults = append(a.s.faults, &fault{at: at + lasts, begin: end})
	}
}

// twinStory lets the first pool die for good and everything go wrong with
// edgewatch itself: that may delay the end and not change it.
func (a *author) twinStory() {
	a.s.twin = true
	a.dies(a.w[0], warmUp+a.between(0, time.Minute), 0)
	before := len(a.s.faults)
	for range 1 + a.IntN(3) {
		a.ownTrouble()
	}
	for _, f := range a.s.faults[before:] {
		f.own = true
	}
}

func (a *author) mixedStory() {
	if a.IntN(3) > 0 { // most stories have an outage in them
		a.outage()
	}
	if a.IntN(2) == 0 {
		a.answers() // where it is asked
	}
	for range 1 + a.IntN(5) {
		switch n := a.IntN(12); {
		case n < 4:
			a.outage()
		case n < 6:
			a.ownTrouble()
		case n < 8:
			a.toolTrouble()
		case n < 10:
			a.people()
		case n < 11:
			a.slackTrouble()
		default:
			a.lineTrouble()
		}
	}
}

// outage is something that happens to a pool.
func (a *author) outage() {
	at, name := a.moment(), a.w[0]
	if a.IntN(3) == 0 {
		name = a.pool()
	}
	lasts := a.between(5*time.Second, 20*time.Minute)
	switch a.IntN(7) {
	case 0, 1:
		if a.IntN(3) == 0 {
			lasts = 0
		}
		a.dies(name, at, lasts)
	case 2:
		a.serverDies(name, at, lasts)
	case 3:
		a.add(at, lasts, zombie(name, 1.0/3), zombie(name, 1))
	case 4:
		a.add(at, lasts, hang(name, true), hang(name, false))
	case 5:
		for i := range 2 + a.IntN(8) {
			begin := at + time.Duration(i)*a.between(10*time.Second, time.Minute)
			a.dies(name, begin, a.between(2*time.Second, 40*time.Second))
		}
	case 6:
		a.add(at, lasts, pathCut(name, true), pathCut(name, false))
	}
}

func (a *author) dies(name string, at, lasts time.Duration) {
	var back func(*run)
	if lasts > 0 {
		back = power(name, -1, true)
	}
	a.add(at, lasts, power(name, -1, false), back)
}

func (a *author) serverDies(name string, at, lasts time.Duration) {
	i := a.IntN(2)
	a.add(at, lasts, power(name, i, false), power(name, i, true))
}

func power(name string, server int, on bool) func(*run) {
	return func(r *run) {
		p := r.world.poolNamed(name)
		hosts := p.hosts
		if server >= 0 {
			hosts = hosts[server%len(hosts) : server%len(hosts)+1]
		}
		for _, h := range hosts {
			r.notef("%s of %s: power %v", h.name, name, on)
			r.world.setPower(h, on)
		}
	}
}

func (w *world) with(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	do()
	w.note()
}

func zombie(name string, answers float64) func(*run) {
	return func(r *run) {
		r.notef("%s answers %.0f %% of streams", name, answers*100)
		r.world.with(func() {
			for _, h := range r.world.poolNamed(name).hosts {
				h.answers = answers
			}
		})
	}
}

func hang(name string, on bool) func(*run) {
	return func(r *run) {
		r.notef("the proxies of %s hang: %v", name, on)
		r.world.with(func() {
			for _, h := range r.world.poolNamed(name).hosts {
				h.hung = on
			}
		})
	}
}

func pathCut(name string, on bool) func(*run) {
	return func(r *run) {
		r.notef("the way from us alone to %s is cut: %v", name, on)
		r.world.with(func() { r.world.poolNamed(name).pathCut = on })
	}
}

// ownTrouble is something that happens to edgewatch itself.
func (a *author) ownTrouble() {
	switch a.IntN(10) {
	case 9:
		lasts := a.between(2*time.Second, 4*time.Minute)
		a.bad(func(r *run) {
			r.notef("the disk hangs for %s", lasts.Round(time.Second))
			r.world.with(func() { r.world.diskHangs = time.Now().Add(lasts) })
		})
	case 8:
		lasts := a.between(5*time.Second, 3*time.Minute)
		a.bad(func(r *run) {
			p := r.process
			if p == nil {
				return
			}
			r.notef("edgewatch loses its lease")
			r.ending()
			r.world.with(func() { p.leaseLost = time.Now() })
			r.later(lasts, func() {
				if r.process == p {
					r.stop()
				}
			})
		})
	case 0, 1, 2:
		f := plannedAppend{n: 1 + a.IntN(45), sinceChain: true, fault: []appendFault{crashBefore, crashAfter, unsureKept, unsureLost}[a.IntN(4)]}
		if a.IntN(4) == 0 {
			f.n, f.sinceChain = 1+a.IntN(12), false
		}
		a.s.appendFaults = append(a.s.appendFaults, f)
	case 3:
		steps := []actions.StepName{actions.StopServices, actions.SetRoute, actions.DNSRecords, actions.StartServices}
		place := []string{"before ", "after ", "during "}[a.IntN(3)] + string(steps[a.IntN(len(steps))])
		a.s.crossings = append(a.s.crossings, crossing{place: place, skip: a.IntN(3)})
	case 4:
		lasts := a.between(2*time.Second, 3*time.Minute)
		a.bad(func(r *run) {
			r.notef("edgewatch stands still for %s", lasts.Round(time.Second))
			r.world.with(func() { r.world.frozen = time.Now().Add(lasts) })
		})
	case 5:
		by := a.between(-2*time.Hour, 2*time.Hour)
		if a.IntN(2) == 0 {
			by = a.between(-20*time.Second, 20*time.Second)
		}
		a.bad(func(r *run) {
			r.notef("the clock is set by %s", by.Round(time.Second))
			r.world.with(func() { r.world.clock += by })
		})
	case 6:
		lasts := a.between(5*time.Second, 6*time.Minute)
		a.bad(func(r *run) {
			r.notef("the disk is full for %s", lasts.Round(time.Second))
			r.world.with(func() { r.world.diskFull = true })
			r.later(lasts, func() {
				r.notef("the disk has room again")
				r.world.with(func() { r.world.diskFull = false })
			})
		})
	case 7:
		a.bad(func(r *run) { r.stop() })
	}
}

// bad lets something begin at a bad moment: in the middle of a failover, or
// at any time.
func (a *author) bad(begin func(*run)) {
	if a.IntN(3) == 0 {
		a.s.faults = append(a.s.faults, &fault{at: a.moment(), begin: begin})
		return
	}
	skip, kind := a.IntN(30), watchdog.KindStep
	if a.IntN(4) == 0 {
		skip, kind = a.IntN(2), []watchdog.EntryKind{watchdog.KindPool, watchdog.KindChain, watchdog.KindChainEnd}[a.IntN(3)]
	}
	when := func(e watchdog.Entry) bool {
		if e.Kind != kind {
			return false
		}
		skip--
		return skip < 0
	}
	a.s.faults = append(a.s.faults, &fault{when: when, after: a.between(time.Millisecond, 20*time.Second), begin: begin})
}

// lineTrouble is something that happens to our own line or machine.
func (a *author) lineTrouble() {
	at, lasts := a.moment(), a.between(5*time.Second, 15*time.Minute)
	set := func(text string, do func(w *world)) func(*run) {
		return func(r *run) {
			r.notef("%s", text)
			r.world.with(func() { do(r.world) })
		}
	}
	loss := 0.02 + 0.33*a.Float64()
	switch a.IntN(3) {
	case 0:
		a.add(at, lasts, set("our own line is dead", func(w *world) { w.cut = true }), set("our own line works", func(w *world) { w.cut = false }))
	case 1:
		a.add(at, lasts, set(fmt.Sprintf("our own line loses %.0f %%", loss*100), func(w *world) { w.loss = loss }), set("our own line loses nothing", func(w *world) { w.loss = 0 }))
	case 2:
		a.add(at, lasts, set("our own probes fail on our machine", func(w *world) { w.local = true }), set("our own probes work", func(w *world) { w.local = false }))
	}
}

// filtered are words that a filter before Slack may take offence at.
var filtered = []string{"EdgePool", "preflight", "answers", "Edge", "down", "_"}

// slackTrouble is something that happens to Slack.
func (a *author) slackTrouble() {
	at, lasts, n, times := a.moment(), a.between(10*time.Second, 20*time.Minute), a.IntN(7), 1+a.IntN(6)
	word := filtered[a.IntN(len(filtered))]
	begin := func(r *run) {
		r.notef("Slack is in trouble (%d)", n)
		switch n {
		case 0:
			r.world.with(func() { r.slackDown = true })
		case 1:
			r.channel.Fail(slacktest.Fault{Method: "chat.postMessage", Drop: true, Times: times})
		case 2:
			r.channel.Fail(slacktest.Fault{Status: 429, RetryAfter: 20 * time.Second, Times: times})
		case 3:
			r.channel.Fail(slacktest.Fault{Status: 500, Late: true, Times: times})
		case 4: // something before Slack reads along, and stays
			r.filter = &slacktest.Fault{Status: 403, If: func(form map[string]string) bool { return strings.Contains(form["text"]+form["blocks"], word) }}
			r.channel.Fail(*r.filter)
		case 5:
			r.channel.Fail(slacktest.Fault{Error: "invalid_blocks", If: func(form map[string]string) bool { return form["blocks"] != "" }})
		case 6: // until a person mends it
			r.channel.Fail(slacktest.Fault{Error: "is_archived"})
		}
	}
	a.add(at, lasts, begin, func(r *run) { r.mendSlack() })
}

// mendSlack ends what is wrong with Slack, but for a filter before it, which
// nobody knows of.
func (r *run) mendSlack() {
	r.world.with(func() { r.slackDown = false })
	r.channel.Heal()
	if r.filter != nil {
		r.channel.Fail(*r.filter)
	}
}

// without is the same story without what happens to edgewatch itself.
func (s *story) without() *story {
	t := *s
	t.appendFaults, t.crossings, t.faults = nil, nil, nil
	for _, f := range s.faults {
		if !f.own {
			t.faults = append(t.faults, f)
		}
	}
	return &t
}
