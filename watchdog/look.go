package watchdog

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"edgewatch/probe"
)

// Senses are how an engine sees the world. Every one of them returns within
// its own timeout and when ctx ends.
type Senses struct {
	Probe   func(ctx context.Context, t probe.Target) probe.Result
	Canary  func(ctx context.Context, name string) error // one of WatchRules.Canaries; nil error: the outside world answers there, and rightly
	Partner func(ctx context.Context) []PartnerView      // what federating partners find; may be nil
	Ready   func(ctx context.Context, pool string) error // the pool's preflight, read-only
	// Witness asks another edgewatch what it sees; one of WatchRules.Witnesses. May be nil when there is none.
	Witness func(ctx context.Context, url string) (Testimony, error)
}

// WatchRules say what is looked at and how often.
type WatchRules struct {
	Pools           []WatchPool
	Interval        time.Duration // between the starts of two rounds
	SuspectInterval time.Duration // the same, while the active pool is suspected
	RoundTimeout    time.Duration // no probe, no canary and no witness takes longer
	Vantage         string        // names where this process looks from, in its evidence
	Canaries        []string      // as people know them
	MinCanaries     int           // at least this many must answer
	Witnesses       []string      // who is asked while the active pool looks bad, by URL
	WitnessTimeout  time.Duration // how long each may take
	SurveyInterval  time.Duration // readiness of standbys, partners' view and whether the witnesses answer

	// Jitter, in [0, 1), spreads the rounds of many federations; nil is random.
	Jitter func() float64
}

// WatchPool is what is probed of one pool.
type WatchPool struct {
	Name    string
	Targets []probe.Target // one per address
	MinUp   int
}

// freezeSlack is how late our own loop may be before it cannot be trusted:
// more means that the process or the machine stood still.
const freezeSlack = 5 * time.Second

// wait is how long to wait for the next round, counted from its end. Took is
// by the monotonic clock: a clock that is set must not make us blind.
func (w *WatchRules) wait(active PoolRound, took time.Duration) time.Duration {
	every := w.Interval
	if active.Suspect {
		every = w.SuspectInterval
	}
	random := w.Jitter
	if random == nil {
		random = rand.Float64
	}
	vary := scale(every, (random()-0.5)*jitter).Round(time.Millisecond)
	return max(every+vary-max(took, 0), w.SuspectInterval/2)
}

// look does one round and hands it to the loop. Late is how much later than due
// it is, leapt how much more the wall clock says, doubt whether the witnesses
// are asked too.
func (e *Engine) look(ctx context.Context, late, leapt time.Duration, doubt bool) {
	w := &e.settings.Watch
	r := &Round{At: sharp(time.Now()), Pools: make([]PoolRound, len(w.Pools))}
	wall := e.ports.Now()
	var wg sync.WaitGroup
	for i, pool := range w.Pools {
		r.Pools[i] = PoolRound{Pool: pool.Name, Results: make([]probe.Result, len(pool.Targets))}
		for j, target := range pool.Targets {
			wg.Go(func() { r.Pools[i].Results[j] = e.probe(ctx, target) })
		}
	}
	answers := make([]error, len(w.Canaries))
	for i, name := range w.Canaries {
		wg.Go(func() { answers[i] = e.canary(ctx, name) })
	}
	if doubt {
		wg.Go(func() { r.Testimonies = e.testimonies(ctx) })
	}
	wg.Wait()
	r.Canaries = judgeCanaries(w.Canaries, answers, w.MinCanaries)
	r.Frozen = frozen(late, time.Since(r.At), leapt+e.ports.Now().Round(0).Sub(wall.Round(0)), w.RoundTimeout)
	select {
	case e.rounds <- r:
	case <-ctx.Done():
	}
}

// sharp is t, its monotonic reading too, without what history does not keep:
// a replay then sums up the same times.
func sharp(t time.Time) time.Time { return t.Add(-time.Duration(t.Nanosecond()) % time.Millisecond) }

// probe is one probe; a defect in it is our own fault and no evidence.
func (e *Engine) probe(ctx context.Context, t probe.Target) (r probe.Result) {
	defer func() {
		if p := recover(); p != nil {
			r = probe.Result{Target: t, Class: probe.LocalError, Blame: probe.Local, Error: fmt.Sprintf("a defect in edgewatch: %v", p)}
		}
	}()
	return e.ports.Probe(ctx, t)
}

// canary is one look at a canary; a defect in it is no answer.
func (e *Engine) canary(ctx context.Context, name string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a defect in edgewatch: %v", p)
		}
	}()
	return e.ports.Canary(ctx, name)
}

// frozen says why a round cannot be trusted: late is how much later than due
// it was started, took and wall how long it lasted by the monotonic and by
// the wall clock.
func frozen(late, took, wall, timeout time.Duration) string {
	switch {
	case late > freezeSlack:
		return fmt.Sprintf("our own loop stood still for %s", Span(late.Round(time.Second)))
	case took > timeout+freezeSlack:
		return fmt.Sprintf("a round that may take %s took %s", Span(timeout), Span(took.Round(time.Second)))
	case (wall - took).Abs() > freezeSlack:
		return fmt.Sprintf("the clock was set by %s, or the machine slept", (wall - took).Round(time.Second))
	}
	return ""
}

// judgeCanaries says whether the outside world answers, and of each canary
// that does not, why.
func judgeCanaries(names []string, errs []error, minGood int) CanaryStatus {
	s := CanaryStatus{Total: len(names)}
	var silent []string
	for i, err := range errs {
		if err == nil {
			s.Good++
			continue
		}
		silent = append(silent, fmt.Sprintf("%s: %v", names[i], err))
	}
	s.OK = s.Good >= minGood
	why := strings.Join(silent, "; ")
	switch {
	case !s.OK:
		s.Why = fmt.Sprintf("%d of %d canaries answer, %d must (%s)", s.Good, s.Total, minGood, why)
	case why != "":
		s.Why = fmt.Sprintf("%d of %d canaries answer (%s)", s.Good, s.Total, why)
	}
	return s
}

// took judges a round and feeds the breakers. Only the loop calls it.
func (e *Engine) took(r *Round) {
	r.Vantage = e.settings.Watch.Vantage
	for i := range r.Pools {
		p := &r.Pools[i]
		p.Verdict, p.Why = Judge(p.Results, e.settings.Watch.Pools[i].MinUp, r.Canaries, r.Frozen)
		d := e.detectors[p.Pool]
		if d.blind(r.At) && p.Pool == e.machine.Active() {
			e.levels.Since = e.ports.Now()
		}
		d = d.orNew(r)
		e.detectors[p.Pool] = d
		if p.Verdict == Inconclusive && p.answers() > 0 {
			d.some(r.At)
		}
		p.Breaker = d.feed(r.At, p.Verdict)
		p.Degraded, p.Healthy = d.degraded, d.healthy
		p.States = e.servers.took(r, p, e.settings.Breaker)
		p.Suspect = d.suspect(r.At, p.Verdict) || e.servers.suspect(p)
		p.Unclear = e.unclearSince(r, p)
	}
	e.watchedSince(r)
	if len(r.Testimonies) > 0 {
		e.hear(r.Testimonies, r)
	}
	r.Partner, r.Seen, r.Unled, r.Led = e.partner, e.seen, e.unled, e.led
	if v := r.Pool(e.machine.Active()).Verdict; v == PoolUp || v == PoolDegraded {
		active := e.detectors[e.machine.Active()]
		r.Outdated = e.ports.Partner != nil && active != nil && e.glimpsed.Before(active.back)
	}
	// From here on it is wall time that is compared and stored, by the clock
	// that the decision goes by: one that was set during the round shows in both.
	e.began = r.At
	r.At = e.ports.Now().Add(-time.Since(r.At)).Round(0)
	e.levels.Round, e.last = r, r
}

// unclearSince is PoolRound.Unclear. A round in which we cannot trust ourselves
// has reasons of its own, which are told, and ends it.
func (e *Engine) unclearSince(r *Round, p *PoolRound) time.Time {
	if p.Verdict != Inconclusive || !r.trusted() {
		delete(e.unclear, p.Pool)
		return time.Time{}
	}
	since, known := e.unclear[p.Pool]
	if !known {
		e.unclear[p.Pool] = r.At
	}
	if !known || r.At.Sub(since) < UnclearTime {
		return time.Time{}
	}
	return e.ports.Now().Add(-time.Since(since)).Round(0)
}

// watchedSince begins the grace of a new process anew after a time in which
// this one stood still or slept for so long that its evidence was stale: it
// knows no more than one that was just started. Likewise when the clock was
// set back to before it began to watch: what would be left of the grace is
// for as long as the clock was wrong.
func (e *Engine) watchedSince(r *Round) {
	now := e.ports.Now()
	if now.Before(e.levels.Since) {
		e.levels.Since = now
	}
	// Wall time: the monotonic clock stands still while the machine sleeps.
	if gap := now.Round(0).Sub(e.looked.Round(0)); r.Frozen != "" && !e.looked.IsZero() && gap > e.settings.Rules.EvidenceAge {
		e.levels.Since = now
	}
	e.looked = now
}

// survey is what the slow look brought.
type survey struct {
	pool      string // readiness of this pool, when not empty
	readiness Readiness
	began     time.Time     // else when the partners' view was taken …
	partner   []PartnerView // … and what it is
	said      []Testimony   // else what the witnesses say
	due       time.Time     // else it is over, and when the next one begins
}

// surveyor looks at what changes slowly and costs more: whether the standby
// pools could take over, and what partners find.
type surveyor struct {
	engine *Engine
	wanted chan struct{}
}

// hurry asks for a survey soon, because it may be needed.
func (s *surveyor) hurry() {
	select {
	case s.wanted <- struct{}{}:
	default:
	}
}

func (s *surveyor) run(ctx context.Context) {
	every := s.engine.settings.Watch.SurveyInterval
	s.survey(ctx)
	last := time.Now()
	timer := time.NewTimer(every)
	defer timer.Stop()
	s.send(ctx, survey{due: s.engine.ports.Now().Add(every)})
	for {
		select {
		case <-timer.C:
		case <-s.wanted:
			if time.Since(last) < min(time.Minute, every) {
				continue
			}
		case <-ctx.Done():
			return
		}
		s.survey(ctx)
		last = time.Now()
		timer.Reset(every)
		s.send(ctx, survey{due: s.engine.ports.Now().Add(every)})
	}
}

// lookAgain asks for a look at what partners find, before the next survey and
// beside one that is under way: what was known of it may have changed.
func (e *Engine) lookAgain() {
	select {
	case e.glance <- struct{}{}:
	default:
	}
}

// glances does what lookAgain asks for.
func (s *surveyor) glances(ctx context.Context) {
	for {
		select {
		case <-s.engine.glance:
			s.partners(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// partners looks at what partners find.
func (s *surveyor) partners(ctx context.Context) {
	if s.engine.ports.Partner != nil {
		began := time.Now()
		s.send(ctx, survey{began: began, partner: s.partner(ctx)})
	}
}

func (s *surveyor) survey(ctx context.Context) {
	e := s.engine
	s.partners(ctx)
	snap := e.Snapshot()
	var wg sync.WaitGroup
	if len(e.settings.Watch.Witnesses) > 0 {
		wg.Go(func() { s.send(ctx, survey{said: e.testimonies(ctx)}) })
	}
	for _, pool := range e.settings.Rules.Pools {
		if snap != nil && (pool == snap.Active || snap.State == FailingOver || snap.State == Verifying) {
			continue
		}
		wg.Go(func() {
			r := Readiness{Ready: true}
			if err := s.ready(ctx, pool); err != nil {
				r = Readiness{Why: err.Error()}
			}
			r.At = e.ports.Now()
			s.send(ctx, survey{pool: pool, readiness: r})
		})
	}
	wg.Wait()
}

// partner is what partners find; nothing, if the look at it has a defect.
func (s *surveyor) partner(ctx context.Context) (views []PartnerView) {
	defer func() {
		if p := recover(); p != nil {
			s.engine.ports.Log.Error().Any("panic", p).Msg("a defect in the look at what partners find")
		}
	}()
	return s.engine.ports.Partner(ctx)
}

func (s *surveyor) ready(ctx context.Context, pool string) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a defect in edgewatch: %v", p)
		}
	}()
	return s.engine.ports.Ready(ctx, pool)
}

func (s *surveyor) send(ctx context.Context, v survey) {
	select {
	case s.engine.surveys <- v:
	case <-ctx.Done():
	}
}

func (e *Engine) surveyed(v survey) {
	if !v.due.IsZero() {
		e.levels.Survey = v.due
		return
	}
	if v.said != nil {
		e.hear(v.said, e.last) // to be shown and told: decisions go by what is asked in a round
		return
	}
	if v.pool == "" {
		if !v.began.Before(e.moved) && !v.began.Before(e.glimpsed) {
			e.partner, e.seen, e.glimpsed = e.tally(v.partner, v.began), e.ports.Now(), v.began
			e.learn(v.partner)
		}
		return
	}
	readiness := maps.Clone(e.levels.Readiness) // published snapshots hold the old map
	readiness[v.pool] = v.readiness
	e.levels.Readiness = readiness
}
