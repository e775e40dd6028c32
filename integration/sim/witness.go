package sim

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"edgewatch/actions"
	"edgewatch/configs"
	"edgewatch/watchdog"
)

// witness is another edgewatch, in another network. Its rounds come at its own
// times and see the world as it was then.
type witness struct {
	url   string
	phase time.Duration // of its rounds

	away   bool             // it does not answer
	cut    bool             // its own way to the pools is cut, and its canaries answer
	doubts bool             // its canaries do not answer
	age    time.Duration    // its rounds have ended so long ago; 0: they go on
	lies   watchdog.Verdict // what it says of every pool; Inconclusive: what it sees
}

// turn is how a pool has been since a moment: the share of rounds from
// elsewhere that would see it answer.
type turn struct {
	at      time.Time
	answers float64
}

// heard is one testimony that was given.
type heard struct {
	at time.Time
	by string
	watchdog.Testimony
}

// note keeps how the pools are from now on, when that has changed. The caller
// holds the lock.
func (w *world) note() {
	for _, p := range w.pools {
		if a := w.answering(p); len(p.turns) == 0 || p.turns[len(p.turns)-1].answers != a {
			p.turns = append(p.turns, turn{time.Now(), a})
		}
	}
}

// answering is the share of rounds that see the pool answer.
func (w *world) answering(p *pool) float64 {
	if w.up(p) {
		return 1
	}
	silent := 1.0
	for _, h := range p.hosts {
		if h.power && h.running && !h.hung && (!w.listensWithRoute || w.route[p.Site] == p.Name) {
			silent *= 1 - h.answers
		}
	}
	return 1 - silent
}

// then is how the pool was at a moment.
func (p *pool) then(at time.Time) float64 {
	answers := 1.0
	for _, t := range p.turns {
		if t.at.After(at) {
			break
		}
		answers = t.answers
	}
	return answers
}

// served is the share of the time before now in which the pool served
// partners.
func (p *pool) served(window time.Duration) float64 {
	return p.share(window, func(answers float64) float64 {
		if answers < 1 {
			return 0
		}
		return 1
	})
}

// answered is the share of streams before now that the pool answered.
func (p *pool) answered(window time.Duration) float64 {
	return p.share(window, func(answers float64) float64 { return answers })
}

// share is the mean over the time before now of what counts, given the share of
// rounds that were answered.
func (p *pool) share(window time.Duration, counts func(answers float64) float64) float64 {
	now := time.Now()
	from := now.Add(-window)
	sum := 0.0
	for i, t := range p.turns {
		begin, end := t.at, now
		if i+1 < len(p.turns) {
			end = p.turns[i+1].at
		}
		if begin.Before(from) {
			begin = from
		}
		if end.After(begin) {
			sum += counts(t.answers) * end.Sub(begin).Seconds()
		}
	}
	return sum / window.Seconds()
}

// justBack reports whether the pool serves again since within ago at the most,
// and did not for at least so long before.
func (p *pool) justBack(within, least time.Duration) bool {
	n := len(p.turns)
	if n < 2 || p.turns[n-1].answers < 1 || time.Since(p.turns[n-1].at) > within {
		return false
	}
	down := n - 1
	for down > 0 && p.turns[down-1].answers < 1 {
		down--
	}
	return p.turns[n-1].at.Sub(p.turns[down].at) >= least
}

// withWitness is f with so many witnesses.
func withWitness(f configs.Federation, n, minDown int) *configs.Federation {
	f.Witnesses.URLs = nil
	for i := range n {
		f.Witnesses.URLs = append(f.Witnesses.URLs, fmt.Sprintf("https://ew%d.example:8081", i+2))
	}
	f.Witnesses.MinDown = minDown
	return &f
}

// witness asks a witness.
func (p *process) witness(ctx context.Context, url string) (watchdog.Testimony, error) {
	what := "witness " + url
	if err := p.pass(what); err != nil {
		return watchdog.Testimony{}, err
	}
	w := p.run.world
	limit := w.f.Witnesses.Timeout.Duration
	w.mu.Lock()
	by := w.witnessAt(url)
	lost := w.loss > 0 && w.draw(what+" lost") < w.loss*w.loss*w.loss
	takes := w.between(what, 5*time.Millisecond, 150*time.Millisecond)
	bad := w.cut || lost || by.away
	if bad {
		takes = limit - w.between(what+" in vain", time.Millisecond, 2*time.Millisecond)
	}
	bad = bad || w.local
	w.mu.Unlock()
	if err := p.sleep(ctx, what, takes); err != nil {
		return watchdog.Testimony{}, err
	}
	if bad {
		return watchdog.Testimony{}, errors.New("it does not answer in time")
	}
	w.mu.Lock()
	t := w.testimony(by)
	w.heard = append(w.heard, heard{time.Now(), url, t})
	w.mu.Unlock()
	// Who stands still now reads it later: it is no younger for that.
	if err := p.pass(what); err != nil {
		return watchdog.Testimony{}, err
	}
	return t, nil
}

func (w *world) witnessAt(url string) *witness {
	for _, by := range w.witnesses {
		if by.url == url {
			return by
		}
	}
	return &witness{url: url, away: true}
}

// testimony is what the witness says now. The caller holds the lock.
func (w *world) testimony(by *witness) watchdog.Testimony {
	every := w.f.Probe.Interval.Duration
	now := time.Now()
	since := now.Sub(w.begin) - by.phase
	round, age := since/every, since%every
	t := watchdog.Testimony{Vantage: by.url, Age: age + by.age, Pools: map[string]watchdog.PoolTestimony{}}
	if by.doubts {
		t.Unsure = "canaries"
	}
	for _, p := range w.pools {
		h := fnv.New64a()
		fmt.Fprintf(h, "%s %s %d", by.url, p.Name, round)
		drawn := float64(mix(w.seed^mix(h.Sum64()))>>11) / (1 << 53)
		v := watchdog.PoolDown
		if !by.cut && drawn < p.then(now.Add(-age)) {
			v = watchdog.PoolUp
		}
		if by.lies != watchdog.Inconclusive {
			v = by.lies
		}
		t.Pools[p.Name] = watchdog.PoolTestimony{Verdict: v, Why: "as seen by a witness"}
	}
	return t
}

// witnessed is the part of I4 that is about witnesses: edgewatch goes by itself
// only when enough of them said, of a time that is not long past, that they
// see the pool down too. One that lies cannot be told from one that is right.
// The caller holds the world's lock.
func (c *checks) witnessed(start *watchdog.ChainStart) {
	rules, watch := c.r.rules, c.r.estate.settings.Watch
	if rules.Witnesses == 0 {
		return
	}
	most := rules.EvidenceAge + 2*watch.Interval + watch.RoundTimeout // the clock may be set between a round and the decision
	agree := map[string]bool{}
	for _, h := range c.r.world.heard {
		if h.Pools[start.From].Verdict == watchdog.PoolDown && h.Unsure == "" && h.Age+time.Since(h.at) <= most {
			agree[h.by] = true
		}
	}
	if len(agree) < rules.MinDown {
		c.r.violate("I4", fmt.Sprintf("%s is failed over from, but %d witnesses said lately that they see it down; %d must", start.From, len(agree), rules.MinDown))
	}
}

// itself reports whether the failover is one that edgewatch began by itself.
func itself(c *watchdog.ChainStart) bool {
	return c.Trigger == watchdog.TriggerAuto && c.Retry == 0 && c.Kind != actions.Failback
}

// change is something that happens to a witness.
func (a *author) change(at, lasts time.Duration, url, text string, do func(*witness)) {
	set := func(text string, do func(*witness)) func(*run) {
		return func(r *run) {
			r.notef("witness %s: %s", url, text)
			r.world.with(func() { do(r.world.witnessAt(url)) })
		}
	}
	a.add(at, lasts, set(text, do), set("is well", (*witness).heal))
}

// heal ends everything that is wrong with the witness.
func (by *witness) heal() { *by = witness{url: by.url, phase: by.phase} }

// witnessTrouble lets a witness fail, half of the time while our own way to a
// pool is cut, which makes what it says matter.
func (a *author) witnessTrouble(urls []string) {
	at, lasts, url := a.moment(), a.between(10*time.Second, 20*time.Minute), urls[a.IntN(len(urls))]
	old := a.between(2*time.Minute, time.Hour)
	switch a.IntN(7) {
	case 0:
		a.change(at, lasts, url, "is away", func(by *witness) { by.away = true })
	case 1:
		a.change(at, lasts, url, "its own way to the pools is cut", func(by *witness) { by.cut = true })
	case 2:
		a.change(at, lasts, url, "its line is dead", func(by *witness) { by.cut, by.doubts = true, true })
	case 3:
		a.change(at, lasts, url, "stood still when it saw all down", func(by *witness) { by.age, by.lies = old, watchdog.PoolDown })
	case 4:
		a.change(at, lasts, url, "stood still when it saw all up", func(by *witness) { by.age, by.lies = old, watchdog.PoolUp })
	case 5:
		a.change(at, lasts, url, "says that all are down", func(by *witness) { by.lies = watchdog.PoolDown })
	case 6:
		a.change(at, lasts, url, "says that all are up", func(by *witness) { by.lies = watchdog.PoolUp })
	}
	if a.IntN(2) == 0 {
		a.add(at+a.between(0, 20*time.Second), lasts, pathCut(a.w[0], true), pathCut(a.w[0], false))
	}
}

// witnessClasses are what a year has besides where there is a witness.
var witnessClasses = []class{
	{"the witness is away", 12, nothing, "10 s – 30 min", func(a *author, at time.Duration) time.Duration {
		lasts := a.between(10*time.Second, 30*time.Minute)
		a.change(at, lasts, a.first, "is away", func(by *witness) { by.away = true })
		return lasts
	}},
	{"the way from the witness is cut", 1, nothing, "its canaries answer, 5 s – 5 min", func(a *author, at time.Duration) time.Duration {
		lasts := a.between(5*time.Second, 5*time.Minute)
		a.change(at, lasts, a.first, "its own way to the pools is cut", func(by *witness) { by.cut = true })
		return lasts
	}},
	{"pool dead, the witness away", 0.1, failover, "which comes back after 1 – 8 min", func(a *author, at time.Duration) time.Duration {
		a.dies(a.w[0], at, 0)
		a.change(at, a.between(time.Minute, 8*time.Minute), a.first, "is away", func(by *witness) { by.away = true })
		return 10 * time.Minute
	}},
}
