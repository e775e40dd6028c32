package sim

import (
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/configs"
	"edgewatch/watchdog"
)

// class is one class of faults: how often it happens and what is right then.
// The rates are assumptions, printed with the figures.
type class struct {
	Name    string
	PerYear float64
	Expects expects
	About   string
	begin   func(a *author, at time.Duration) (lasts time.Duration)
}

// expects is what edgewatch should do.
type expects int

const (
	nothing  expects = iota // a failover would be false
	failover                // none would be a miss
	either                  // both can be right; false is one from a pool that serves partners then, and has for longer than a look takes, and did for more of the window before (breaker.window) than the ratio leaves
)

// classes is a year. What is drawn is uniform between its bounds.
var classes = []class{
	{"loss on our own line", 52, nothing, "2–40 % of packets for 10 s – 15 min", func(a *author, at time.Duration) time.Duration {
		loss, lasts := 0.02+0.38*a.Float64(), a.between(10*time.Second, 15*time.Minute)
		a.add(at, lasts, world1(func(w *world) { w.loss = loss }), world1(func(w *world) { w.loss = 0 }))
		return lasts
	}},
	{"our own line dead", 12, nothing, "5 s – 20 min", func(a *author, at time.Duration) time.Duration {
		lasts := a.between(5*time.Second, 20*time.Minute)
		a.add(at, lasts, world1(func(w *world) { w.cut = true }), world1(func(w *world) { w.cut = false }))
		return lasts
	}},
	{"our own probes fail", 4, nothing, "on our machine, 5 s – 10 min", func(a *author, at time.Duration) time.Duration {
		lasts := a.between(5*time.Second, 10*time.Minute)
		a.add(at, lasts, world1(func(w *world) { w.local = true }), world1(func(w *world) { w.local = false }))
		return lasts
	}},
	{"edgewatch stands still", 12, nothing, "2 s – 5 min", func(a *author, at time.Duration) time.Duration {
		lasts := a.between(2*time.Second, 5*time.Minute)
		a.add(at, 0, world1(func(w *world) { w.frozen = time.Now().Add(lasts) }), nil)
		return lasts
	}},
	{"the clock is set", 4, nothing, "by up to 2 h either way", func(a *author, at time.Duration) time.Duration {
		by := a.between(-2*time.Hour, 2*time.Hour)
		a.add(at, 0, world1(func(w *world) { w.clock += by }), nil)
		return time.Minute
	}},
	{"edgewatch crashes", 6, nothing, "and is started again after 5 – 40 s", func(a *author, at time.Duration) time.Duration {
		a.add(at, 0, func(r *run) {
			if r.process != nil {
				r.process.die("of itself")
			}
		}, nil)
		return time.Minute
	}},
	{"one server rebooted", 24, nothing, "of the active pool, 2 – 10 min", func(a *author, at time.Duration) time.Duration {
		lasts := a.between(2*time.Minute, 10*time.Minute)
		a.serverDies(a.w[0], at, lasts)
		return lasts
	}},
	{"services restarted", 12, nothing, "of the whole pool, 3 – 15 s", func(a *author, at time.Duration) time.Duration {
		lasts := a.between(3*time.Second, 15*time.Second)
		a.dies(a.w[0], at, lasts)
		return lasts
	}},
	{"pool rebooted", 2, either, "as a whole, 1 – 6 min", func(a *author, at time.Duration) time.Duration {
		lasts := a.between(time.Minute, 6*time.Minute)
		a.dies(a.w[0], at, lasts)
		return lasts
	}},
	{"pool flaps", 1, either, "down for 5 – 60 s, up for 5 – 60 s, 10 times", func(a *author, at time.Duration) time.Duration {
		lasts := time.Duration(0)
		for range 10 {
			down := a.between(5*time.Second, time.Minute)
			a.dies(a.w[0], at+lasts, down)
			lasts += down + a.between(5*time.Second, time.Minute)
		}
		return lasts
	}},
	{"pool dead", 1, failover, "no power, 10 min and longer", func(a *author, at time.Duration) time.Duration {
		a.dies(a.w[0], at, 0)
		return 10 * time.Minute
	}},
	{"pool hangs", 1, failover, "accepts connections and says nothing, 10 min and longer", func(a *author, at time.Duration) time.Duration {
		a.add(at, 0, hang(a.w[0], true), nil)
		return 10 * time.Minute
	}},
	{"pool half dead", 0.5, failover, "answers one stream in five, 15 min and longer", func(a *author, at time.Duration) time.Duration {
		a.add(at, 0, zombie(a.w[0], 0.2), nil)
		return 15 * time.Minute
	}},
	{"the way from us alone is cut", 1, nothing, "partners still reach the pool and our canaries answer, 5 s – 5 min", func(a *author, at time.Duration) time.Duration {
		lasts := a.between(5*time.Second, 5*time.Minute)
		a.add(at, lasts, pathCut(a.w[0], true), pathCut(a.w[0], false))
		return lasts
	}},
}

func world1(do func(w *world)) func(*run) {
	return func(r *run) { r.world.with(func() { do(r.world) }) }
}

// ClassFigures are the figures of one class.
type ClassFigures struct {
	Class    string  `json:"class"`
	About    string  `json:"about"`
	PerYear  float64 `json:"per_year"`
	Episodes int     `json:"episodes"`
	False    int     `json:"false_failovers"`
	Missed   int     `json:"missed_failovers"`
	Right    int     `json:"right_failovers"`

	Detect   *Spread `json:"detect,omitempty"`   // from the fault to the trip
	Decide   *Spread `json:"decide,omitempty"`   // from there to the beginning of the failover
	Chain    *Spread `json:"chain,omitempty"`    // from there to its proven end
	Converge *Spread `json:"converge,omitempty"` // from there until the last cache has forgotten the old address
	Restore  *Spread `json:"restore,omitempty"`  // all of it

	parts [5][]time.Duration
}

// Spread is a distribution, in seconds.
type Spread struct {
	Median float64 `json:"median"`
	P95    float64 `json:"p95"`
	Max    float64 `json:"max"`
}

func spread(d []time.Duration) *Spread {
	if len(d) == 0 {
		return nil
	}
	slices.Sort(d)
	at := func(q float64) float64 {
		return d[int(q*float64(len(d)-1)+0.5)].Round(100 * time.Millisecond).Seconds()
	}
	return &Spread{at(0.5), at(0.95), at(1)}
}

// YearsReport is what so many years were like.
type YearsReport struct {
	Years      float64        `json:"years"`
	Took       string         `json:"took"`
	Assumption string         `json:"assumption"`
	Classes    []ClassFigures `json:"classes"`
	Violations []Violation    `json:"violations"`
}

// assumption is what the figures rest on, printed with them.
const assumption = "A year is its faults, at the rates given, each on its own: what lies between is skipped, because healthy rounds change nothing once all is at rest (tested). " +
	"Rates, lengths and the times that remote calls take are assumptions, not measurements of a real estate; see package integration/sim."

// Years plays the faults of so many years with the settings of the federation.
func Years(t *testing.T, o Options, years float64) (YearsReport, error) {
	t.Helper()
	begin := time.Now()
	f := o.Federation
	if f == nil {
		var err error
		if f, err = exampleFederation(); err != nil {
			return YearsReport{}, err
		}
	}
	if o.Witness {
		f = withWitness(*f, 1, 1)
	}
	e, err := newEstate(f)
	if err != nil {
		return YearsReport{}, err
	}
	report := YearsReport{Years: years, Assumption: assumption, Violations: []Violation{}}
	all := classes
	if len(e.settings.Rules.Witnesses) > 0 {
		all = slices.Concat(classes, witnessClasses)
	}
	for i := range all {
		c := &all[i]
		fig := ClassFigures{Class: c.Name, About: c.About, PerYear: c.PerYear, Episodes: int(years*c.PerYear + 0.5)}
		var mu sync.Mutex
		var wg sync.WaitGroup
		next := 0
		for range max(o.Workers, 1) {
			wg.Go(func() {
				for {
					mu.Lock()
					n := next
					next++
					mu.Unlock()
					if n >= fig.Episodes {
						return
					}
					at, m, v := playEpisode(t, e, c, o.From+uint64(n)+uint64(i)<<40)
					mu.Lock()
					fig.take(c, f, at, m)
					if v != nil && len(report.Violations) < maxViolations {
						report.Violations = append(report.Violations, *v)
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		for j, into := range []**Spread{&fig.Detect, &fig.Decide, &fig.Chain, &fig.Converge, &fig.Restore} {
			*into = spread(fig.parts[j])
		}
		report.Classes = append(report.Classes, fig)
	}
	report.Took = time.Since(begin).Round(time.Second).String()
	return report, nil
}

// playEpisode plays one fault of a class, with enough quiet before it that
// everything is at rest and enough after it that everything has come of it.
func playEpisode(t *testing.T, e *estate, c *class, seed uint64) (at time.Time, m measured, v *Violation) {
	t.Helper()
	a := &author{Rand: rand.New(rand.NewPCG(seed, 0x9ea45)), s: &story{}, r: e.settings.Rules} // #nosec G404 -- the seed must say it all
	a.w = e.settings.Rules.Pools
	if urls := e.f.Witnesses.URLs; len(urls) > 0 {
		a.first = urls[0]
	}
	a.s.restartAfter = a.between(5*time.Second, 40*time.Second)
	rest := max(e.settings.Breaker.Window, e.settings.Rules.StartupGrace) + time.Minute
	fault := rest + a.between(0, time.Minute) // the detector's window moves in steps: any place in one
	a.s.heal = fault + c.begin(a, fault) + time.Second
	a.s.silent, a.s.calm = true, 3*time.Minute
	synctest.Test(t, func(t *testing.T) {
		r := newRun(t, e, a.s, seed)
		r.play()
		at, m, v = r.world.begin.Add(fault), r.checks.figures, r.violation
		if v != nil {
			v.Timeline = r.timeline()
		}
	})
	return at, m, v
}

// take counts one episode.
func (f *ClassFigures) take(c *class, fed *configs.Federation, at time.Time, m measured) {
	switch {
	case c.Expects == nothing:
		f.False += m.failovers
	case c.Expects == either:
		f.False += m.needless
		f.Right += m.failovers - m.needless
	case m.failovers == 0:
		f.Missed++
	default:
		f.Right++
	}
	if c.Expects != failover || !m.ok {
		return
	}
	forgotten := m.dns.Add(fed.DNS.TTL.Duration)
	if forgotten.Before(m.end) || fed.DNS.Record == "" {
		forgotten = m.end
	}
	for i, d := range []time.Duration{m.trip.Sub(at), m.begin.Sub(m.trip), m.end.Sub(m.begin), forgotten.Sub(m.end), forgotten.Sub(at)} {
		f.parts[i] = append(f.parts[i], d)
	}
}

// print tells the figures to a person.
func (r *YearsReport) print(out io.Writer) {
	for i, v := range r.Violations {
		fmt.Fprintf(out, "seed %d, at %s: %s is broken: %s\n", v.Seed, v.At, v.Invariant, v.Text)
		if i == 0 {
			for _, l := range v.Timeline {
				fmt.Fprintln(out, l)
			}
		}
	}
	fmt.Fprintf(out, "%-30s %8s %9s   per 1,000 years:  %6s %7s\n", "fault", "per year", "episodes", "false", "missed")
	for _, c := range r.Classes {
		per := 1000 / r.Years
		fmt.Fprintf(out, "%-30s %8.4g %9d %26.4g %7.4g   %s\n", c.Class, c.PerYear, c.Episodes, float64(c.False)*per, float64(c.Missed)*per, c.About)
	}
	fmt.Fprintf(out, "\n%-30s %-10s %8s %8s %8s\n", "seconds", "", "median", "p95", "max")
	for _, c := range r.Classes {
		for i, s := range []*Spread{c.Detect, c.Decide, c.Chain, c.Converge, c.Restore} {
			if s == nil {
				continue
			}
			name := c.Class
			if i > 0 {
				name = ""
			}
			fmt.Fprintf(out, "%-30s %-10s %8.1f %8.1f %8.1f\n", name, []string{"detect", "decide", "chain", "converge", "restore"}[i], s.Median, s.P95, s.Max)
		}
	}
	years := fmt.Sprintf("%g years", r.Years)
	if r.Years == 1 {
		years = "1 year"
	}
	fmt.Fprintf(out, "\n%s in %s, %s. %s\n", years, r.Took, watchdog.Count(len(r.Violations), "violation", "violations"), r.Assumption)
}
