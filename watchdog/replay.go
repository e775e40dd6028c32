package watchdog

import (
	"slices"
	"time"

	"github.com/rs/zerolog"

	"edgewatch/probe"
)

// Trip is a pool that counted as down for a while.
type Trip struct {
	Pool   string
	Active bool      // whether it carried federation, as far as edgewatch knew, when it tripped
	Since  time.Time // the first bad round; zero for a trip that was only recorded
	At     time.Time // when it tripped
	Until  time.Time // when its breaker closed, or began anew; zero: it was open to the end
}

// Replay feeds recorded rounds to the verdicts and breakers of an engine with
// other settings: the code that runs in life. Only the breakers' rules and
// min_up of the settings have an effect; what was probed, when, what the
// canaries said and which pool was active are what was recorded.
//
// The breakers ask the clock themselves, so that a Replay is made and fed in a
// testing/synctest bubble, where a year passes in seconds. Times are exact to
// the millisecond.
type Replay struct {
	settings Settings
	engine   *Engine
	begun    bool
	shift    time.Duration // from recorded time to the bubble's
	last     *PoolSeen     // whose results round holds
	round    Round
	trips    trips
	lived    trips // as the breakers of that time saw it
	rounds   int
	first    time.Time
	latest   time.Time
	unknown  map[string]bool
}

// NewReplay returns a Replay for the federation and the pools of s.
func NewReplay(s Settings) *Replay {
	return &Replay{settings: s, engine: replayEngine(s), unknown: map[string]bool{}}
}

// replayEngine is an engine that is fed by hand and watches pools only.
func replayEngine(s Settings) *Engine {
	e := NewEngine(s, Ports{Log: zerolog.Nop()})
	e.servers = nil
	return e
}

// Rounds is how many rounds were fed, and when the first and the last were.
func (r *Replay) Rounds() (n int, first, last time.Time) { return r.rounds, r.first, r.latest }

// Trips are those of the replayed breakers, in the order they began.
func (r *Replay) Trips() []Trip { return r.trips.all }

// Recorded are the trips of the breakers of that time, likewise.
func (r *Replay) Recorded() []Trip { return r.lived.all }

// Unknown names the pools that were recorded and that the settings lack.
func (r *Replay) Unknown() []string {
	var out []string
	for name := range r.unknown {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// Feed takes the next recorded round in.
func (r *Replay) Feed(s Seen) {
	for _, f := range s.Fresh {
		r.renew(f.Pool, s.At.Add(-f.Born), s.Interval)
	}
	fed := s.At.Add(max(0, s.Took))
	r.wait(fed)
	r.see(&s)
	r.round.At = time.Now().Add(s.At.Sub(fed))
	r.engine.took(&r.round)
	if r.rounds++; r.rounds == 1 {
		r.first = s.At
	}
	r.latest = fed
	for i := range r.round.Pools {
		p := &r.round.Pools[i]
		active := p.Pool == s.Outcome.Active
		r.trips.note(p.Pool, p.Breaker.Tripped(), active, p.Breaker.Since.Add(-r.shift), fed)
		r.lived.note(p.Pool, s.Outcome.Pool(p.Pool).Tripped, active, time.Time{}, fed)
	}
}

// renew lets the pool's breaker begin anew, as it did at that time. Rounds were
// as far apart as the interval of that time says.
func (r *Replay) renew(pool string, at time.Time, interval time.Duration) {
	r.wait(at)
	if pool == FreshAll {
		if r.settings.Breaker.Every > 0 {
			r.settings.Breaker.Every = interval
		}
		r.engine = replayEngine(r.settings)
	} else if knows(r.settings.Rules.Pools, pool) {
		r.engine.renew(pool)
	}
	for _, name := range r.settings.Rules.Pools {
		if pool == FreshAll || pool == name {
			r.trips.note(name, false, false, time.Time{}, at)
			r.lived.note(name, false, false, time.Time{}, at)
		}
	}
}

// wait lets time pass until that recorded moment. A clock that was set back
// does not turn time back.
func (r *Replay) wait(until time.Time) {
	now := time.Now()
	if !r.begun {
		r.begun, r.shift = true, now.Sub(until)
	}
	d := until.Add(r.shift).Sub(now)
	if d < 0 {
		r.shift -= d
		return
	}
	time.Sleep(d)
}

// see makes the round that was recorded.
func (r *Replay) see(s *Seen) {
	o := &s.Outcome
	r.round.Canaries = CanaryStatus{Good: o.Good, Total: o.Total, OK: o.Canaries}
	r.round.Frozen = ""
	if o.Frozen {
		r.round.Frozen = "recorded as frozen"
	}
	if len(o.Pools) > 0 && r.last == &o.Pools[0] {
		return // it shares its results with the round before
	}
	pools := r.settings.Watch.Pools
	r.round.Pools, r.last = make([]PoolRound, len(pools)), nil
	for i, pool := range pools {
		p := PoolRound{Pool: pool.Name}
		for _, t := range o.Pool(pool.Name).Targets {
			p.Results = append(p.Results, probe.Result{Target: probe.Target{Addr: t.Addr}, Level: t.Level, Phase: t.Phase, Class: t.Class, Condition: t.Condition})
		}
		r.round.Pools[i] = p
	}
	for i := range o.Pools {
		r.last = &o.Pools[0]
		if !knows(r.settings.Rules.Pools, o.Pools[i].Pool) {
			r.unknown[o.Pools[i].Pool] = true
		}
	}
}

// trips collects trips from levels.
type trips struct {
	all  []Trip
	open map[string]int // by pool, index in all
}

func (t *trips) note(pool string, tripped, active bool, since, at time.Time) {
	i, open := t.open[pool]
	switch {
	case tripped && !open:
		if t.open == nil {
			t.open = map[string]int{}
		}
		t.open[pool] = len(t.all)
		t.all = append(t.all, Trip{Pool: pool, Active: active, Since: since, At: at})
	case !tripped && open:
		t.all[i].Until = at
		delete(t.open, pool)
	}
}
