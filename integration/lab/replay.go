package lab

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"edgewatch/configs"
	"edgewatch/watchdog"
	"edgewatch/watchdog/app"
	"edgewatch/watchdog/sqlite"
)

// ReplayOptions say what is replayed.
type ReplayOptions struct {
	State      string        // the state file; it may be in use
	Config     string        // the configuration with the thresholds to try
	Federation string        // only this one; empty: all that were recorded
	Last       time.Duration // only so much of the newest rounds; 0: all there are
	Now        time.Time     // what Last counts back from
}

// ReplayReport is what came of a replay.
type ReplayReport struct {
	State       string             `json:"state"`
	Config      string             `json:"config"`
	Federations []FederationReplay `json:"federations"`
	Total       PoolReplay         `json:"total"`
	Summary     string             `json:"summary"`
	Notes       []string           `json:"notes"` // what the figures do not say
}

// FederationReplay is the replay of one federation.
type FederationReplay struct {
	Federation string       `json:"federation"`
	Rounds     int          `json:"rounds"`
	From       time.Time    `json:"from,omitzero"`
	To         time.Time    `json:"to,omitzero"`
	Pools      []PoolReplay `json:"pools"`
	Damaged    []string     `json:"damaged,omitempty"` // stretches of rounds that cannot be read, and why: they are left out
	Unrecorded int          `json:"unrecorded"`        // incidents of the journal of which there are no rounds; they count nowhere
}

// PoolReplay sets what happened to one pool, or to all, against what would
// have.
type PoolReplay struct {
	Pool     string         `json:"pool,omitempty"`
	Recorded int            `json:"recorded"` // incidents in the journal
	Caught   int            `json:"caught"`   // of them, with the new thresholds
	Missed   int            `json:"missed"`   // of them
	False    int            `json:"false"`    // trips of the active pool that are part of no recorded incident
	Later    *Spread        `json:"later,omitempty"`
	Trips    []ReplayedTrip `json:"trips,omitempty"`
	later    []time.Duration
}

// Spread is how much later the caught incidents would have been detected;
// negative is earlier.
type Spread struct {
	Incidents int           `json:"incidents"`
	Median    time.Duration `json:"median"`
	Min       time.Duration `json:"min"`
	Max       time.Duration `json:"max"`
}

// ReplayedTrip is one recorded incident, or one trip that belongs to none.
type ReplayedTrip struct {
	What     string         `json:"what"` // caught, missed or false
	Incident string         `json:"incident,omitempty"`
	Tripped  time.Time      `json:"tripped,omitzero"`  // in life
	Replayed time.Time      `json:"replayed,omitzero"` // with the new thresholds
	Since    time.Time      `json:"since,omitzero"`    // first bad round
	Until    time.Time      `json:"until,omitzero"`    // when a false trip ended
	Later    *time.Duration `json:"later,omitempty"`   // how much later than in life; missing when it had tripped in an earlier incident
}

// The words of ReplayedTrip.What.
const (
	tripCaught = "caught"
	tripMissed = "missed"
	tripFalse  = "false"
)

// ErrNoRounds means that nothing was recorded that could be replayed.
var ErrNoRounds = errors.New("no rounds are recorded yet")

// Replay runs recorded rounds against the thresholds of another configuration
// with the verdicts and breakers that run in life.
func Replay(ctx context.Context, in Bubble, o ReplayOptions) (*ReplayReport, error) {
	cfg, err := configs.Load(o.Config)
	if err != nil {
		return nil, err
	}
	state, err := sqlite.OpenReadOnly(ctx, o.State)
	if err != nil {
		return nil, err
	}
	defer state.Close()
	names, left, err := federationsOf(ctx, state, cfg, o)
	if err != nil {
		return nil, err
	}
	report := &ReplayReport{State: o.State, Config: o.Config, Notes: replayNotes(left)}
	for _, name := range names {
		f, err := replayFederation(ctx, in, state, cfg.Federation(name), o)
		if err != nil {
			return nil, err
		}
		report.Federations = append(report.Federations, *f)
		if n := len(f.Damaged); n > 0 {
			report.Notes = append(report.Notes, fmt.Sprintf("%s of recorded rounds cannot be read and were left out, the first: %s", watchdog.Count(n, "stretch", "stretches"), f.Damaged[0]))
		}
	}
	for _, f := range report.Federations {
		for _, p := range f.Pools {
			report.Total.add(&p)
		}
	}
	report.Total.spread()
	report.Summary = report.Total.summary()
	return report, nil
}

func replayNotes(left []string) []string {
	notes := []string{
		"Only breaker and min_up of the configuration are tried. The distance of rounds, suspect_interval too, is what was recorded, and so are the canaries and what counts as down (probe.timeout, tls_counts_as_down).",
		"A false trip is one that the old thresholds did not make: look at its time, a short outage that they overlooked is one too. Where federation moved, what followed is what was recorded, not what would have been.",
	}
	for _, name := range left {
		notes = append(notes, fmt.Sprintf("Rounds of %s were recorded, but the configuration has no such federation: they were left out.", name))
	}
	return notes
}

// federationsOf are the federations to replay, and those that were recorded
// but are not in the configuration.
func federationsOf(ctx context.Context, state *sqlite.Reader, cfg *configs.Config, o ReplayOptions) (names, left []string, err error) {
	recorded, err := state.Recorded(ctx)
	if err != nil {
		return nil, nil, err
	}
	known := make([]string, len(cfg.Federations))
	for i := range cfg.Federations {
		known[i] = cfg.Federations[i].Name
	}
	if len(recorded) == 0 {
		return nil, nil, fmt.Errorf("state file %s: %w: let edgewatch run with it for a while, in any mode", o.State, ErrNoRounds)
	}
	if o.Federation != "" {
		if !slices.Contains(known, o.Federation) {
			return nil, nil, fmt.Errorf("%w: %q: known are %s", watchdog.ErrNoFederation, o.Federation, strings.Join(known, ", "))
		}
		if !slices.Contains(recorded, o.Federation) {
			return nil, nil, fmt.Errorf("state file %s: federation %s: %w; recorded are %s", o.State, o.Federation, ErrNoRounds, strings.Join(recorded, ", "))
		}
		return []string{o.Federation}, nil, nil
	}
	for _, name := range recorded {
		if slices.Contains(known, name) {
			names = append(names, name)
		} else {
			left = append(left, name)
		}
	}
	if len(names) == 0 {
		return nil, nil, fmt.Errorf("state file %s has rounds of %s, and %s has %s: a federation is found by its name, which must be the same", o.State, strings.Join(recorded, ", "), o.Config, strings.Join(known, ", "))
	}
	return names, left, nil
}

func replayFederation(ctx context.Context, in Bubble, state *sqlite.Reader, f *configs.Federation, o ReplayOptions) (*FederationReplay, error) {
	var since time.Time
	if o.Last > 0 {
		since = o.Now.Add(-o.Last)
	}
	incidents, err := incidentsOf(ctx, state, f.Name)
	if err != nil {
		return nil, err
	}
	r, damaged, err := replayRounds(ctx, in, state, f, since, incidents)
	if err != nil {
		return nil, err
	}
	out := &FederationReplay{Federation: f.Name}
	for _, d := range damaged {
		out.Damaged = append(out.Damaged, d.Err.Error())
	}
	out.Rounds, out.From, out.To = r.Rounds()
	if out.Rounds == 0 && len(damaged) > 0 {
		return nil, fmt.Errorf("state file %s: %w", o.State, damaged[0].Err)
	}
	if out.Rounds == 0 {
		return nil, fmt.Errorf("state file %s: federation %s: %w in the last %s", o.State, f.Name, ErrNoRounds, configs.Duration{Duration: o.Last})
	}
	if gone := r.Unknown(); len(gone) > 0 {
		return nil, fmt.Errorf("federation %s: rounds of %s were recorded, but %s has no such pool: give it the name it had, or replay with --last only what came after", f.Name, strings.Join(gone, ", "), o.Config)
	}
	out.compare(f, incidents, r, damaged)
	return out, nil
}

// replayRounds feeds what was recorded, as it is read. What is damaged is left
// out.
func replayRounds(ctx context.Context, in Bubble, state *sqlite.Reader, f *configs.Federation, since time.Time, incidents *incidents) (r *watchdog.Replay, damaged []watchdog.Damage, err error) {
	// The file is read outside of the bubble: in there, what is not made of
	// its own goroutines does not get on.
	batches := make(chan []watchdog.Seen, 1)
	go func() {
		defer close(batches)
		const size = 2000
		var batch []watchdog.Seen
		damaged, err = watchdog.EachRound(ctx, readOnly{state}, f.Name, since, func(s watchdog.Seen) error {
			if batch = append(batch, s); len(batch) == size {
				batches <- batch
				batch = nil
			}
			return nil
		})
		batches <- batch
	}()
	in(func() {
		r = watchdog.NewReplay(app.Settings(f))
		for batch := range batches {
			for _, s := range batch {
				incidents.see(&s)
				r.Feed(s)
			}
		}
	})
	return r, damaged, err
}

// readOnly is the state file as a watchdog.RoundLog that is only read.
type readOnly struct{ *sqlite.Reader }

var errReadOnly = errors.New("the state file is only read")

func (readOnly) SaveRounds(context.Context, int64, watchdog.Segment) (int64, error) {
	return 0, errReadOnly
}

func (readOnly) PruneRounds(context.Context, time.Time, int) (int, error) { return 0, errReadOnly }

// incident is a pool that tripped in life, as the journal tells it.
type incident struct {
	pool, name string
	since, at  time.Time
	end        time.Time // when the journal says it answered again, or else the rounds; zero: never
}

type incidents struct{ all []*incident }

func incidentsOf(ctx context.Context, state *sqlite.Reader, federation string) (*incidents, error) {
	out := &incidents{}
	const batch = 1000
	for after := uint64(0); ; {
		entries, err := state.Read(ctx, federation, after, batch)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			after = e.Seq
			if e.Pool == nil {
				continue
			}
			if e.Pool.Tripped {
				since := e.Pool.Since
				if since.IsZero() {
					since = e.At
				}
				out.all = append(out.all, &incident{pool: e.Pool.Pool, name: e.Incident, since: since, at: e.At})
				continue
			}
			for _, i := range out.all {
				if i.pool == e.Pool.Pool && i.end.IsZero() {
					i.end = e.At
				}
			}
		}
		if len(entries) < batch {
			return out, nil
		}
	}
}

// see ends incidents of pools that were failed over from: their recovery is
// in no journal, but in the rounds.
func (in *incidents) see(s *watchdog.Seen) {
	for _, i := range in.all {
		if !i.end.IsZero() || !s.At.After(i.at) {
			continue
		}
		p := s.Outcome.Pool(i.pool)
		if answers := p.Verdict == watchdog.PoolUp || p.Verdict == watchdog.PoolDegraded; answers && !p.Tripped {
			i.end = s.At
		}
	}
}

// covers reports whether any of the trip happened while the incident lasted.
func (i *incident) covers(t *watchdog.Trip) bool {
	begin := t.Since
	if begin.IsZero() {
		begin = t.At
	}
	return t.Pool == i.pool && (i.end.IsZero() || !begin.After(i.end)) && (t.Until.IsZero() || !t.Until.Before(i.since))
}

// lost reports whether the rounds in which the pool tripped cannot be read.
func (i *incident) lost(damaged []watchdog.Damage) bool {
	return slices.ContainsFunc(damaged, func(d watchdog.Damage) bool {
		return !i.at.Before(d.First) && !i.since.After(d.Last)
	})
}

// compare sets the trips of the replay against the incidents of life.
func (f *FederationReplay) compare(cfg *configs.Federation, in *incidents, r *watchdog.Replay, damaged []watchdog.Damage) {
	trips := r.Trips()
	part := make([]bool, len(trips))
	for k := range cfg.Pools {
		p := PoolReplay{Pool: cfg.Pools[k].Name}
		for _, i := range in.all {
			if i.pool != p.Pool {
				continue
			}
			if i.at.Before(f.From) || i.since.After(f.To) || i.lost(damaged) {
				f.Unrecorded++
				continue
			}
			p.match(i, trips, part, lived(i, r.Recorded()))
		}
		for j := range trips {
			if t := &trips[j]; t.Pool == p.Pool && t.Active && !part[j] {
				p.False++
				p.Trips = append(p.Trips, ReplayedTrip{What: tripFalse, Replayed: t.At, Since: t.Since, Until: t.Until})
			}
		}
		p.spread()
		f.Pools = append(f.Pools, p)
	}
}

// lived is when the incident's pool tripped, by the rounds: the journal tells
// it a moment later.
func lived(i *incident, recorded []watchdog.Trip) time.Time {
	at := i.at
	for _, t := range recorded {
		if t.Pool == i.pool && !t.At.After(i.at) && (t.Until.IsZero() || t.Until.After(i.at)) {
			at = t.At
		}
	}
	return at
}

// match finds the trips that are part of the incident.
func (p *PoolReplay) match(i *incident, trips []watchdog.Trip, part []bool, at time.Time) {
	p.Recorded++
	out := ReplayedTrip{What: tripMissed, Incident: i.name, Tripped: at, Since: i.since}
	for j := range trips {
		t := &trips[j]
		if !i.covers(t) {
			continue
		}
		if out.What == tripMissed {
			out.What, out.Replayed = tripCaught, t.At
			if !part[j] {
				later := t.At.Sub(at)
				out.Later = &later
				p.later = append(p.later, later)
			}
		}
		part[j] = true
	}
	if out.What == tripCaught {
		p.Caught++
	} else {
		p.Missed++
	}
	p.Trips = append(p.Trips, out)
}

func (p *PoolReplay) add(q *PoolReplay) {
	p.Recorded += q.Recorded
	p.Caught += q.Caught
	p.Missed += q.Missed
	p.False += q.False
	p.later = append(p.later, q.later...)
}

func (p *PoolReplay) spread() {
	slices.Sort(p.later)
	if n := len(p.later); n > 0 {
		p.Later = &Spread{Incidents: n, Median: p.later[n/2], Min: p.later[0], Max: p.later[n-1]}
	}
}

// summary is the replay in one line: "0 false, +12s detection in 4 incidents".
func (p *PoolReplay) summary() string {
	s := fmt.Sprintf("%d false", p.False)
	if p.Missed > 0 {
		s += fmt.Sprintf(", %d missed", p.Missed)
	}
	switch {
	case p.Recorded == 0:
		return s + ", no incident was recorded"
	case p.Later == nil:
		return s + fmt.Sprintf(", %d of %d incidents caught", p.Caught, p.Recorded)
	}
	return s + fmt.Sprintf(", %s detection in %s", SignedDuration(p.Later.Median), incidentCount(p.Later.Incidents))
}

func incidentCount(n int) string {
	if n == 1 {
		return "1 incident"
	}
	return fmt.Sprintf("%d incidents", n)
}

// SignedDuration is a difference in time as people are told it: "+12 s".
func SignedDuration(d time.Duration) string {
	sign := "+"
	if d < 0 {
		sign, d = "-", -d
	}
	if d < 2*time.Minute {
		return sign + strings.TrimSuffix(fmt.Sprintf("%.1f", d.Seconds()), ".0") + " s"
	}
	return sign + d.Round(time.Second).String()
}
