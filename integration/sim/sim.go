// Package sim plays edgewatch against an estate in which everything goes
// wrong, in virtual time, and holds it to its promises.
//
// What runs is the product: Supervisor, Engine, Machine, the breakers of
// sony/gobreaker, actions.Runner, the plans and settings that package app makes
// of a configuration, Slack's outbox on a fake without a socket, package rfc2136
// with its signed updates on name servers in memory, and for every fifth seed
// the journal's file (the others keep it in memory, in a journal that passes the
// same contract suite). What is simulated is the world behind it: probes,
// canaries, WinRM, the disk, the clock, people. A seed draws a story; the same
// seed is the same run, byte for byte.
//
// After everything that happens the run is held to these invariants:
//
//	I1  no change without a durable intent, nor without the lease. What brings
//	    services back is exempt: a full disk must not keep them down.
//	I2  never two failovers for one federation, nor one that is run twice.
//	I3  no update of the records leaves them empty or leads to a pool that failed
//	    its preflight in that failover, nor takes the place of what a person
//	    pointed at addresses of no pool.
//	I4  what cannot be said is never taken for down: a pool that trips or is
//	    failed over from was truly unable to serve partners in enough rounds
//	    over enough time, while nothing of ours was broken. A way that is cut
//	    for us alone looks the same from one place, and is let pass here; what
//	    it costs stands in the figures. Where there are witnesses, enough of them
//	    said lately that they see it down too. A failover of its own that had
//	    moved nothing when its process died is not gone on with where the next
//	    one finds the pool serving.
//	I5  services that a failover stopped run again, or a start was tried and the
//	    end of the failover names them.
//	I6  paused, held or in a mode that leaves it to people, nothing begins by
//	    itself, nor is it gone on with after a restart, while nothing has moved.
//	I7  budget, cool-down and the number of attempts are kept: what had failed
//	    does not begin anew after a restart.
//	I8  whatever happens to edgewatch itself, the end is as without it, or a hold
//	    that is told: nothing stays half-way, partners reach the pool that
//	    edgewatch takes for active or people were told, the outcome does not
//	    deny what was done, be it on the primary name server alone, and the
//	    journal holds what was seen of it. Nor does a repair that failed keep
//	    federation on a pool that dies after it.
//	I9  every entry is told in Slack, in order, once, in its incident's thread,
//	    whatever happened to Slack and to edgewatch; and a reason for not acting
//	    that lasts stands in the journal.
//
// I1, I2, I3, I5, I6 and I7 are held in production too, as far as a journal
// shows them: watchdog.Auditor.
//
// Mutants are defects that are put into the product to see the simulator find
// them. Years plays the faults of many years one by one, for figures.
package sim

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/configs"
)

// Options say what is simulated.
type Options struct {
	Federation *configs.Federation // the operator's own; nil is the shipped example, varied from seed to seed
	Seeds      int
	From       uint64        // the first seed
	Life       time.Duration // how long things go wrong in each of them
	Workers    int           // seeds played at the same time
	Witness    bool          // give the federation a witness; otherwise a third of the seeds have one or two, and the operator's own what it names

	first     bool // end at the first violation
	everyDisk int  // every so manieth seed keeps its journal in a file
	hung      func(Violation)
	progress  func(done int, found *Violation) // told of each seed that was played; nil: nobody is
	keepLines bool                             // of every run, not only of a violation
}

// Violation is a promise that was broken.
type Violation struct {
	Seed      uint64   `json:"seed"`
	Invariant string   `json:"invariant"`
	Text      string   `json:"text"`
	At        string   `json:"at"`
	Timeline  []string `json:"timeline,omitempty"`
}

// Report is what came of it.
type Report struct {
	Seeds      int         `json:"seeds"`
	From       uint64      `json:"from"`
	Virtual    string      `json:"virtual"`
	Took       string      `json:"took"`
	PerSecond  float64     `json:"hours_per_second"` // hours of virtual time in a second
	Failovers  int         `json:"failovers"`
	Crashes    int         `json:"crashes"`
	Violations []Violation `json:"violations"`
}

// maxViolations ends a simulation: more of them tell nothing more.
const maxViolations = 10

// Run plays the seeds. T is only for its bubbles: what is wrong stands in the
// report.
func Run(t *testing.T, o Options) (Report, error) {
	t.Helper()
	begin := time.Now()
	base := o.Federation
	if base == nil {
		var err error
		if base, err = exampleFederation(); err != nil {
			return Report{}, err
		}
	}
	if _, err := newEstate(base); err != nil {
		return Report{}, err
	}
	most := maxViolations
	if o.first {
		most = 1
	}
	report := Report{Seeds: o.Seeds, From: o.From, Violations: []Violation{}}
	var (
		mu      sync.Mutex
		virtual time.Duration
		played  int
		wg      sync.WaitGroup
		next    = o.From
	)
	for range max(o.Workers, 1) {
		wg.Go(func() {
			for {
				mu.Lock()
				seed := next
				next++
				done := seed >= o.From+uint64(o.Seeds) || len(report.Violations) >= most
				mu.Unlock()
				if done {
					return
				}
				res := playSeed(t, base, seed, o)
				mu.Lock()
				virtual += res.virtual
				report.Failovers += res.failovers
				report.Crashes += res.lives - 1
				if res.violation != nil {
					report.Violations = append(report.Violations, *res.violation)
				}
				played++
				if o.progress != nil {
					o.progress(played, res.violation)
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	report.PerSecond = float64(int(virtual.Hours() / time.Since(begin).Seconds()))
	report.Virtual, report.Took = virtual.Round(time.Second).String(), time.Since(begin).Round(time.Millisecond).String()
	return report, nil
}

// result is what came of one seed.
type result struct {
	violation *Violation
	virtual   time.Duration
	failovers int
	lives     int
	end       string
	reached   string // the pool that partners reach
	gaveUp    bool   // edgewatch told people that it needs them before it goes on

	leftStopped bool // … or that services do not run
	lines       []string
}

// playSeed plays one seed, and where its story says so, its twin.
func playSeed(t *testing.T, base *configs.Federation, seed uint64, o Options) result {
	t.Helper()
	f := base
	if o.Federation == nil {
		f = vary(*base, rand.New(rand.NewPCG(seed, 0xe57a7e)))    // #nosec G404 -- the seed must say it all
		f = secondDomain(f, rand.New(rand.NewPCG(seed, 0x5ec0d))) // #nosec G404 -- the seed must say it all
	}
	if o.Witness {
		f = withWitness(*f, 1, 1)
	}
	e, err := newEstate(f)
	if err != nil {
		return result{violation: &Violation{Seed: seed, Invariant: "estate", Text: err.Error()}}
	}
	res := playStory(t, e, write(seed, e, o.Life), seed, o)
	// With a third pool, which of the others takes over may depend on when it
	// was their turn, and it keeps its route when federation returns.
	if s := write(seed, e, o.Life); s.twin && res.violation == nil {
		calm := playStory(t, e, s.without(), seed, o)
		res.virtual += calm.virtual
		if calm.violation != nil {
			return calm
		}
		first := f.Pools[0].Name
		same := res.reached == calm.reached || res.reached != "" && calm.reached != "" && res.reached != first && calm.reached != first
		if f.Failback.Auto { // and what happens to edgewatch puts a return off
			same = res.reached != "" && calm.reached != ""
		}
		// An operator's own limits may be too short for services to start in time.
		told := res.gaveUp || o.Federation != nil && (res.leftStopped || calm.leftStopped || calm.gaveUp)
		if told { // that a person is needed
			same = res.reached != ""
		}
		if calm.end != res.end && (len(f.Pools) == 2 && !f.Failback.Auto && !told || !same) {
			res.violation = &Violation{Seed: seed, Invariant: "I8", At: res.virtual.String(), Timeline: res.lines,
				Text: fmt.Sprintf("it ended as %s; without what happened to edgewatch itself it ends as %s", res.end, calm.end)}
		}
	}
	return res
}

// playStory plays one story in a bubble of its own.
func playStory(t *testing.T, e *estate, s *story, seed uint64, o Options) (res result) {
	t.Helper()
	onDisk := o.everyDisk > 0 && seed%uint64(o.everyDisk) == 0
	synctest.Test(t, func(t *testing.T) {
		r := newRun(t, e, s, seed)
		if o.hung != nil {
			r.hung = o.hung
		}
		if onDisk {
			r.onDisk()
		}
		r.play()
		res = result{
			violation: r.violation, virtual: time.Since(r.world.begin), failovers: r.checks.figures.failovers,
			lives: r.lives, end: r.world.end(), reached: r.world.reached(),
			gaveUp: r.checks.gaveUp(), leftStopped: r.checks.leftStopped(),
		}
		if r.violation != nil {
			r.violation.Timeline = r.timeline()
		}
		if r.violation != nil || s.twin || o.keepLines {
			res.lines = r.timeline()
		}
	})
	return res
}
