package sim

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"edgewatch/watchdog"
	"edgewatch/watchdog/slack/slacktest"
	"edgewatch/watchdog/watchdogtest"
)

// run is one seed being played, inside a bubble of virtual time.
type run struct {
	t      *testing.T
	seed   uint64
	estate *estate
	story  *story
	world  *world
	checks *checks
	memory memory
	reopen func(memory) (memory, error) // what the next life finds
	close  func()
	hung   func(Violation) // does not return
	rules  watchdog.Rules

	channel   *slacktest.Server
	slackDown bool             // guarded by world.mu
	filter    *slacktest.Fault // refuses messages for what they say

	reconfigured bool // somebody has changed the configuration

	config  *estate  // what the next life goes by, when somebody has changed the configuration. Owned by play
	process *process // the living one; nil while there is none. Owned by play
	last    *process // the one that ended in good order before it
	lives   int
	crashed chan *process
	failed  chan struct{} // closed at the first violation
	agenda  agenda
	talks   sync.WaitGroup // commands that have not been answered

	mu        sync.Mutex // guards what is below
	lines     []line
	violation *Violation
	current   *process // the same as process, for those who submit
	orders    int
	appends   int
	healed    bool
	sinceRun  int // appends since the newest failover began; 0 while there was none
}

// line is one line of the timeline, put into words when it is read.
type line struct {
	at    time.Duration
	entry *watchdog.Entry
	text  string
}

const (
	calmTime  = 13 * time.Minute // all is well for so long before the end is looked at: two surveys and more
	patience  = 75 * time.Minute // how long it may take until all is calm: the longest wait between retries is 16 minutes
	pollEvery = 10 * time.Second
	maxLines  = 4000
)

func newRun(t *testing.T, e *estate, s *story, seed uint64) *run {
	t.Helper()
	r := &run{
		t: t, seed: seed, estate: e, story: s, rules: e.settings.Rules, world: newWorld(e, seed), channel: slacktest.New(),
		crashed: make(chan *process, 1), failed: make(chan struct{}), agenda: agenda{woken: make(chan struct{}, 1)},
		memory: &watchdogtest.MemJournal{}, reopen: func(m memory) (memory, error) { return m, nil }, close: func() {},
		hung: func(v Violation) { panic(fmt.Sprintf("%+v", v)) },
	}
	r.world.listensWithRoute = s.listensWithRoute
	r.checks = newChecks(r)
	return r
}

// play runs the story to its end and judges it.
func (r *run) play() {
	defer func() {
		if p := recover(); p != nil {
			r.violate("panic", fmt.Sprint(p))
		}
	}()
	defer r.closeZones()
	if err := r.openZones(); err != nil {
		r.violate("start", err.Error())
		return
	}
	r.arrange()
	r.restart()
	for over := false; !over; {
		over = r.turn()
	}
	if r.process != nil {
		select {
		case <-r.failed: // nobody waits for a failed run to end in good order
			r.process.dead.Store(true)
			r.bury()
		default:
			r.process.cancel()
			r.gone(r.process)
			r.process.free()
		}
	}
	r.talks.Wait()
	r.checks.final()
	r.close()
}

// turn does the next thing, and says whether it was the last.
func (r *run) turn() (over bool) {
	next := time.NewTimer(time.Until(r.agenda.next()))
	defer next.Stop()
	var ended chan error
	if r.process != nil {
		ended = r.process.ended
	}
	select {
	case <-r.failed:
		return true
	case p := <-r.crashed:
		if p == r.process {
			r.later(r.away(), r.restart)
			r.bury()
		}
	case err := <-ended:
		r.notef("edgewatch has ended (%v)", err)
		r.later(r.away(), r.restart)
		r.last = r.process
		r.process.free() // a write of it that hangs may outlive it
		r.settle(nil)
	case <-r.agenda.woken:
		return false
	case <-next.C:
		what := r.agenda.pop()
		what()
	}
	return r.agenda.empty()
}

// bury lets what is left of a dead process end.
func (r *run) bury() {
	p := r.process
	r.settle(nil)
	p.cancel()
	p.free()
	r.gone(p)
}

// endTime is how long a process may take to end: the rest of a failover and
// the start of all services.
const endTime = 2 * time.Hour

// gone waits for the end of a process. One that does not end cannot be got rid
// of, nor its bubble: the simulation ends there.
func (r *run) gone(p *process) {
	limit := time.NewTimer(endTime)
	defer limit.Stop()
	select {
	case <-p.gone:
	case <-limit.C:
		r.violate("I8", "edgewatch does not end")
		r.violation.Timeline = r.timeline()
		r.hung(*r.violation)
	}
}

func (r *run) settle(p *process) {
	r.process = p
	if p == nil {
		r.world.with(func() { r.checks.died = time.Now() })
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.current = p
}

// living is the process that runs now, nil when none does.
func (r *run) living() *process {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.current
}

// restart begins the next life, unless one is there.
func (r *run) restart() {
	if r.process != nil {
		return
	}
	if r.last != nil {
		r.gone(r.last)
	}
	var err error
	if r.lives > 0 {
		r.memory, err = r.reopen(r.memory)
	}
	if r.config != nil {
		r.adoptConfig()
	}
	var p *process
	if err == nil {
		r.notef("edgewatch starts, life %d", r.lives+1)
		p, err = r.start(r.memory)
	}
	if err != nil {
		r.violate("start", err.Error())
		return
	}
	r.settle(p)
}

// arrange puts the story on the agenda.
func (r *run) arrange() {
	for _, f := range r.story.faults {
		if f.when == nil {
			r.at(f.at, func() { f.begin(r) })
		} else {
			r.agenda.arm(f)
		}
	}
	r.at(r.story.heal, func() {
		r.notef("everything is put right")
		r.world.heal()
		r.mendSlack()
		r.agenda.unarm()
		r.mu.Lock()
		r.healed = true
		r.mu.Unlock()
		r.await(time.Now())
	})
	every := func() {}
	every = func() {
		r.checks.told(r.process)
		r.checks.missed(r.process)
		if r.agenda.len() > 0 {
			r.later(time.Minute, every)
		}
	}
	r.later(time.Minute, every)
}

// await ends the run once all is calm.
func (r *run) await(since time.Time) {
	r.later(pollEvery, func() {
		if r.process == nil { // nobody has started it yet
			since = time.Now()
		}
		waited := time.Since(since)
		why := r.checks.restless(r.process)
		switch {
		case waited > patience:
			r.violate("I8", fmt.Sprintf("%s after everything was put right: %s", waited, why))
		case why == "" && waited > cmp.Or(r.story.calm, calmTime):
			r.agenda.clear()
		default:
			r.await(since)
		}
	})
}

func (r *run) at(d time.Duration, what func()) { r.agenda.add(r.world.begin.Add(d), what) }

func (r *run) later(d time.Duration, what func()) { r.agenda.add(time.Now().Add(d), what) }

// order gives a command, as a surface does.
func (r *run) order(words ...string) {
	r.mu.Lock()
	p := r.current
	r.orders++
	id := fmt.Sprintf("order-%d", r.orders)
	r.mu.Unlock()
	req, err := watchdog.ParseRequest(words)
	if err != nil || req.Read != "" {
		return // this edgewatch does not know the word
	}
	if p == nil {
		r.notef("anna: %v – nobody answers", words)
		return
	}
	cmd := req.Command
	cmd.ID, cmd.Actor, cmd.Via = id, "anna", "cli"
	r.talks.Go(func() {
		ctx, cancel := context.WithTimeout(r.t.Context(), 15*time.Second)
		defer cancel()
		answer, err := p.sup.Submit(ctx, cmd)
		time.Sleep(500 * time.Nanosecond) // what else this moment brings is written down first, whatever runs first
		if err != nil {
			r.notef("anna: %v – %v", words, err)
			return
		}
		r.notef("anna: %v – %s", words, answer.Text)
	})
}

// reconfigure is somebody who changes the configuration and restarts edgewatch.
func (r *run) reconfigure(seed uint64) {
	e, err := newEstate(reconfigured(*r.world.f, rand.New(rand.NewPCG(seed, 0xc0f)))) // #nosec G404 -- the seed must say it all
	if err != nil {
		r.violate("estate", err.Error())
		return
	}
	r.notef("somebody changes the configuration: %s", e.summary())
	r.config, r.reconfigured = e, true
	r.stop()
}

// adoptConfig lets the next life go by the changed configuration. Nothing of
// the last life is left.
func (r *run) adoptConfig() {
	r.world.mu.Lock()
	defer r.world.mu.Unlock()
	r.estate, r.rules, r.config = r.config, r.config.settings.Rules, nil
	r.checks.reread()
}

// stop ends the process in good order, as an upgrade does; turn starts it anew.
func (r *run) stop() {
	if r.process != nil {
		r.notef("edgewatch is stopped")
		r.ending()
		r.process.cancel()
	}
}

// kept is told of every durable entry.
func (r *run) kept(e watchdog.Entry) {
	r.mu.Lock()
	r.add(line{at: time.Since(r.world.begin), entry: &e})
	if e.Kind == watchdog.KindChain || r.sinceRun > 0 {
		r.sinceRun++
	}
	r.mu.Unlock()
	r.checks.entry(e)
	for _, f := range r.agenda.due(e) {
		r.later(f.after, func() {
			if time.Since(r.world.begin) < r.story.heal { // or nothing would end it
				f.begin(r)
			}
		})
	}
}

// appendFault is what happens to the Append that is about to be made.
func (r *run) appendFault(entries []watchdog.Entry) appendFault {
	r.mu.Lock()
	r.appends++
	n, since, healed := r.appends, r.sinceRun, r.healed
	r.mu.Unlock()
	if healed {
		return appendWorks
	}
	for i := range r.story.appendFaults {
		f := &r.story.appendFaults[i]
		count := n
		if f.sinceChain {
			count = since
			if since == 0 && entries[0].Kind != watchdog.KindChain {
				continue
			}
		}
		if !f.used && count >= f.n {
			f.used = true
			return f.fault
		}
	}
	return appendWorks
}

// crossing is a place in the middle of a task where a story may let the
// process die.
func (r *run) crossing(p *process, place string) {
	for i := range r.story.crossings {
		c := &r.story.crossings[i]
		r.mu.Lock()
		hit := !r.healed && !c.used && c.place == place
		if hit {
			c.skip--
			hit = c.skip < 0
			c.used = hit
		}
		r.mu.Unlock()
		if hit {
			p.die(place)
		}
	}
}

// notef adds a line to the timeline.
func (r *run) notef(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(line{at: time.Since(r.world.begin), text: fmt.Sprintf(format, args...)})
}

func (r *run) add(l line) {
	if len(r.lines) < maxLines {
		r.lines = append(r.lines, l)
	}
}

// violate keeps the first violation of the run, with what led to it.
func (r *run) violate(invariant, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.violation != nil {
		return
	}
	r.add(line{at: time.Since(r.world.begin), text: "VIOLATION of " + invariant + ": " + text})
	r.violation = &Violation{Seed: r.seed, Invariant: invariant, Text: text, At: time.Since(r.world.begin).String()}
	close(r.failed)
}

// timeline is what happened, a line an event.
func (r *run) timeline() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]string, 0, len(r.lines))
	for _, l := range r.lines {
		text := l.text
		if l.entry != nil {
			text = fmt.Sprintf("  %-9s %s", l.entry.Kind, l.entry.Sentence())
		}
		out = append(out, fmt.Sprintf("%10s  %s", stamp(l.at), text))
	}
	return out
}

// stamp is a moment of virtual time: h:mm:ss.mmm since the beginning.
func stamp(d time.Duration) string {
	return fmt.Sprintf("%d:%02d:%06.3f", int(d.Hours()), int(d.Minutes())%60, (d % time.Minute).Seconds())
}
