package sim

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"

	"edgewatch/actions"
	"edgewatch/watchdog"
)

// checks hold a run to the invariants, after everything that happens. What
// they know is guarded by the world's lock.
type checks struct {
	r       *run
	audit   *watchdog.Auditor
	entries []watchdog.Entry
	latest  time.Time // when the newest was made durable
	chain   string    // the failover that runs, as the journal says
	newest  watchdog.ChainStart
	records map[recordKey]actions.RecordPhase // of the newest failover
	passed  map[string]bool                   // targets of its preflight that were seen in order
	decided *watchdog.Decision                // the newest that was journaled
	shown   watchdog.Decision                 // what the snapshot shows …
	steady  int                               // … for so many looks
	moved   map[string]string                 // by failover: the site whose route it moved
	busy    map[recordKey]bool                // what is being changed this moment
	by      *process                          // … and by whom
	figures measured

	carried carried
	byUs    bool      // the newest change of the records was an update of ours
	died    time.Time // when the newest process that is no more ended
	idle    int       // so many looks in a row found what missed looks for
}

type recordKey struct {
	step   actions.StepName
	target string
}

func newChecks(r *run) *checks {
	return &checks{r: r, audit: watchdog.NewAuditor(r.rules), records: map[recordKey]actions.RecordPhase{}, passed: map[string]bool{},
		moved: map[string]string{}, busy: map[recordKey]bool{}}
}

var invariantName = regexp.MustCompile(`\bI[1-9]\b`)

// invariantIn is the invariant that a text names, else "defect".
func invariantIn(text string) string {
	if name := invariantName.FindString(text); name != "" {
		return name
	}
	return "defect"
}

// running is the failover that the journal says is running.
func (c *checks) running() string {
	c.r.world.mu.Lock()
	defer c.r.world.mu.Unlock()
	return c.chain
}

// entry takes a durable entry in.
func (c *checks) entry(e watchdog.Entry) {
	w := c.r.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := c.audit.Check([]watchdog.Entry{e}); err != nil {
		c.r.violate(invariantIn(err.Error()), err.Error())
	}
	c.audit.Apply(e)
	c.entries, c.latest = append(c.entries, e), time.Now()
	switch e.Kind {
	case watchdog.KindDecision:
		c.decided = e.Decision
	case watchdog.KindPool:
		if e.Pool.Tripped {
			c.evidence(e.Pool.Pool, "counts as down")
			c.figures.tripped()
		}
	case watchdog.KindChain:
		if itself(e.Chain) {
			c.evidence(e.Chain.From, "is failed over from")
			c.witnessed(e.Chain)
			c.truth(e.Chain.From)
		}
		if e.Chain.Trigger == watchdog.TriggerAuto && e.Chain.Retry == 0 && e.Chain.Kind == actions.Failback {
			c.returns(e.Chain)
		}
		c.goesOn(e.Chain)
		if e.Chain.ID != c.newest.ID {
			clear(c.records)
			clear(c.passed)
		}
		c.chain, c.newest = e.Chain.ID, *e.Chain
		c.figures.began(w, *e.Chain)
	case watchdog.KindStep:
		c.records[recordKey{e.Step.Step, e.Step.Target}] = e.Step.Phase
		c.carried.stepped(e.Step)
	case watchdog.KindChainEnd:
		c.chain = ""
		c.named(e)
		c.figures.ended(e.ChainEnd.Outcome)
	case watchdog.KindCommand:
		c.carried.spoken = true
	case watchdog.KindNotice:
	}
}

// reread lets the auditor see the journal as the next life will: with the rules
// that it goes by. The caller holds the world's lock.
func (c *checks) reread() {
	c.audit = watchdog.NewAuditor(c.r.rules)
	for _, e := range c.entries {
		c.audit.Apply(e)
	}
}

// evidence is I4: what is taken for down was seen down often enough and long
// enough, in rounds in which nothing of ours was broken. One of them may be one
// that our line alone made of a pool that answers badly: a probe that is lost
// while the canaries answer cannot be told from one that was not served.
func (c *checks) evidence(pool, what string) {
	w, s := c.r.world, c.r.estate.settings
	rules := s.Breaker
	since := time.Now().Add(-max(rules.Window, rules.MinBadTime) - time.Duration(rules.BadRounds+2)*(s.Watch.Interval+s.Watch.RoundTimeout))
	need := rules.BadRounds
	if rules.BadRatio > 0 {
		need = min(need, int(rules.BadRatio*float64(rules.MinRounds)))
	}
	var first, last time.Time
	n, lost := 0, 0
	for _, l := range w.log {
		p := l.pools[pool]
		if l.at.Before(since) || p == nil || l.own || l.canaries < s.Watch.MinCanaries || p.down+p.excused+p.lost < p.asked {
			continue
		}
		if p.down+p.excused < p.asked {
			if lost++; lost > 1 {
				continue
			}
		}
		if n++; n == 1 {
			first = l.at
		}
		last = l.at
	}
	if n < need || last.Sub(first) < rules.MinBadTime-time.Millisecond { // rounds are on whole milliseconds
		c.r.violate("I4", fmt.Sprintf("%s %s, but it was truly down in %d rounds over %s; %d over %s are wanted", pool, what, n, last.Sub(first), need, rules.MinBadTime))
	}
}

// returns is I4 the other way round: federation returns by itself only to a pool
// that was well for most of the time in which it had to be.
func (c *checks) returns(start *watchdog.ChainStart) {
	stable := c.r.estate.f.Failback.StableFor.Duration
	if share := c.r.world.poolNamed(start.To).answered(stable); share < 1-evenly {
		c.r.violate("I4", fmt.Sprintf("federation returns to %s by itself, which answered %.0f %% of streams in the last %s", start.To, share*100, stable))
	}
}

// truth holds the simulator to itself: how the pool is now is the last that was
// noted of it, or the figures would rest on something else.
func (c *checks) truth(name string) {
	p := c.r.world.poolNamed(name)
	if now := c.r.world.answering(p); now != p.turns[len(p.turns)-1].answers {
		c.r.violate("simulator", fmt.Sprintf("%s answers %v of rounds, and %v was noted", name, now, p.turns[len(p.turns)-1].answers))
	}
}

// gate notes a target of a preflight that was seen in order.
func (c *checks) gate(t *task) {
	c.r.world.mu.Lock()
	defer c.r.world.mu.Unlock()
	if t.chain == c.newest.ID {
		c.passed[t.target] = true
	}
}

// applies is I1 and I2: whatever changes the world belongs to the one failover
// that runs, and is durably intended.
func (c *checks) applies(p *process, t *task) {
	w := c.r.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if !mutating(t.step) {
		return
	}
	if t.chain != c.chain || c.chain == "" {
		c.r.violate("I2", fmt.Sprintf("failover %q does %s on %s, but %q is what runs", t.chain, t.step, t.target, c.chain))
		return
	}
	key := recordKey{t.step, t.target}
	if c.busy[key] && p == c.by {
		c.r.violate("I2", fmt.Sprintf("%s on %s is done twice at the same time", t.step, t.target))
	}
	c.busy[key], c.by = true, p
	c.moving(t)
	phase := c.records[key]
	stopped := c.records[recordKey{actions.StopServices, t.target}]
	owed := t.step == actions.StartServices && stopped != "" && stopped != actions.Already
	owed = owed || t.step == actions.StartServices && slices.Contains(c.newest.Owed, t.target)
	if !p.leaseLost.IsZero() && time.Since(p.leaseLost) > time.Second && !owed {
		c.r.violate("I1", fmt.Sprintf("%s on %s, %s after the lease was lost", t.step, t.target, time.Since(p.leaseLost)))
	}
	if phase != actions.Started && !owed {
		c.r.violate("I1", fmt.Sprintf("%s on %s without a durable intent (the journal says %q)", t.step, t.target, phase))
	}
}

// applied ends what applies began.
func (c *checks) applied(t *task, err error) {
	c.r.world.mu.Lock()
	defer c.r.world.mu.Unlock()
	delete(c.busy, recordKey{t.step, t.target})
	c.carried.moved(t, err)
}

// changing reports whether a failover is about to change the zone.
func (c *checks) changing(z *zone) bool {
	c.r.world.mu.Lock()
	defer c.r.world.mu.Unlock()
	return c.chain != "" && c.records[recordKey{actions.DNSRecords, "zone " + z.name}] == actions.Started
}

// updated is I3: what an update of ours leaves leads partners somewhere, and
// nowhere but to the pool whose preflight has passed; and it takes the place of
// nothing that a person pointed at addresses of no pool.
func (c *checks) updated(z *zone) {
	w := c.r.world
	w.mu.Lock()
	defer w.mu.Unlock()
	to := c.newest.To
	leads := w.leads()
	c.r.notef("DNS leads to %v", leads)
	switch {
	case len(leads) == 0:
		c.r.violate("I3", "an update leaves the record set of zone "+z.name+" empty")
	case w.strange:
		c.r.violate("I3", "an update takes the place of addresses of no pool, which somebody put there")
	case w.f.DNS.Record != "" && !slices.Equal(leads, []string{to}), !slices.Contains(leads, to):
		c.r.violate("I3", fmt.Sprintf("an update in the failover to %s leads to %v", to, leads))
	}
	plan, err := c.r.estate.plan(actions.Failover, c.r.estate.other(to), to)
	if err != nil {
		c.r.violate("I3", err.Error())
		return
	}
	step, _ := plan.Step(actions.Preflight)
	for _, want := range step.Tasks {
		if !c.passed[want.Target()] {
			c.r.violate("I3", fmt.Sprintf("DNS leads to %s, whose preflight did not see %s in order", to, want.Target()))
		}
	}
	c.carried.led, c.byUs = true, true
	c.figures.led()
}

// named is I5: when a failover ends, every server whose services it stopped
// runs again, or a start was tried and it is named. And it is the part of I8
// that is about the outcome: it does not deny that the route moved, nor does one
// that is not carried on claim so where it has moved nothing. The caller holds the
// world's lock.
func (c *checks) named(e watchdog.Entry) {
	site := c.moved[e.ChainEnd.ID]
	if out := e.ChainEnd.Outcome; !out.OK && !out.RouteMoved && site != "" && c.r.world.route[site] == c.newest.To {
		c.r.violate("I8", fmt.Sprintf("%s ended and says that the route has not moved, but it is on %s", e.ChainEnd.ID, c.newest.To))
	}
	if out, to := e.ChainEnd.Outcome, c.newest.To; !out.OK && !out.RouteMoved && c.carried.led && slices.Equal(c.r.world.leads(), []string{to}) {
		c.r.violate("I8", fmt.Sprintf("%s ended and says that the route has not moved, but its own update leads partners to %s", e.ChainEnd.ID, to))
	}
	byHand := c.r.world.touched || c.r.world.edited
	if out := e.ChainEnd.Outcome; out.RouteMoved && !out.Unsure && c.newest.Dropped != "" && site == "" && !c.carried.led && !byHand {
		c.r.violate("I4", fmt.Sprintf("%s is not carried on and ended as one that has moved federation, but it has moved nothing", e.ChainEnd.ID))
	}
	for _, h := range c.r.world.sorted() {
		if h.stoppedBy != e.ChainEnd.ID || h.running || !h.power || h.pending != 0 {
			continue
		}
		switch named := slices.Contains(e.ChainEnd.Outcome.Stopped, h.name); {
		case named && h.tried.Before(h.stoppedAt) && time.Since(h.stoppedAt) > lookEvery:
			c.r.violate("I5", fmt.Sprintf("%s ended without an attempt to start the services of %s again", e.ChainEnd.ID, h.name))
		case !named:
			c.r.violate("I5", fmt.Sprintf("%s ended and left the services of %s stopped without naming it", e.ChainEnd.ID, h.name))
		}
	}
}

// told is the part of I9 that looks at the machine: what has been the reason
// for not acting for some minutes stands in the journal.
func (c *checks) told(p *process) {
	if p == nil {
		return
	}
	snap := p.engine.Snapshot()
	w := c.r.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if snap == nil || snap.JournalError != "" || c.chain != "" {
		c.steady = 0
		return
	}
	d := snap.Decision
	same := func(a, b watchdog.Decision) bool {
		return a.State == b.State && a.Will == b.Will && a.BlockedBy == b.BlockedBy && a.To == b.To
	}
	if !same(d, c.shown) {
		c.shown, c.steady = d, 0
		return
	}
	const looks = 4
	if c.steady++; c.steady < looks || d.Will != watchdog.WillHold || c.decided != nil && same(*c.decided, d) {
		return
	}
	for _, e := range slices.Backward(c.entries) { // what flaps goes untold for an hour after it was told
		if e.Decision != nil && same(*e.Decision, d) && snap.At.Sub(e.At).Abs() < time.Hour {
			return
		}
	}
	c.r.violate("I9", fmt.Sprintf("not acting (%s) for minutes, and the journal does not say so: %s", d.BlockedBy, d.Because))
}

// tellTime is how long Slack may take to be told of what happened last.
const tellTime = time.Minute

// restless says what is still under way, "" when nothing is.
func (c *checks) restless(p *process) string {
	if p == nil {
		return "edgewatch does not run"
	}
	snap := p.engine.Snapshot()
	w := c.r.world
	w.mu.Lock()
	edited := w.edited || w.touched
	entry := c.latest
	w.mu.Unlock()
	switch {
	case time.Since(entry) < tellTime:
		return "something happened a moment ago"
	case snap == nil || snap.LastRound.IsZero():
		return "no round is complete"
	case snap.State == watchdog.Faulted && (edited || snap.Decision.BlockedBy == watchdog.GuardHold || snap.Decision.BlockedBy == watchdog.GuardMode):
		return "" // what people changed or hold back is theirs, and they are told
	case snap.State == watchdog.FailingOver || snap.State == watchdog.Verifying || snap.State == watchdog.Faulted:
		return "state " + snap.State.String() + ": " + snap.Decision.Because
	case snap.JournalError != "":
		return "the journal: " + snap.JournalError
	case p.slack.Stats().Outbox > 0:
		return fmt.Sprintf("the outbox holds %d entries (%v)", p.slack.Stats().Outbox, p.slack.Health())
	}
	c.r.world.mu.Lock()
	defer c.r.world.mu.Unlock()
	if c.chain != "" {
		return "the journal says that " + c.chain + " runs"
	}
	return ""
}

// final looks at the end.
func (c *checks) final() {
	w := c.r.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.r.violation != nil {
		return
	}
	if c.chain != "" {
		c.r.violate("I8", "at the end the journal says that "+c.chain+" still runs")
	}
	c.coherent()
	c.replayed()
	if !c.r.story.silent {
		c.channelTells()
	}
}

// coherent is I8 for any story: in the end partners reach the pool that
// edgewatch takes for active, or it says that they do not.
func (c *checks) coherent() {
	w := c.r.world
	m := watchdog.NewMachine(c.r.rules)
	astray := map[string]bool{}
	for _, e := range c.entries {
		m.Apply(e)
		if e.Kind == watchdog.KindNotice {
			switch n := e.Notice; n.Kind {
			case watchdog.NoticeDrift:
				astray[n.Domain+" drift"] = n.Pool != ""
			case watchdog.NoticePartnerLost:
				astray[n.Domain+" lost"] = true
			case watchdog.NoticePartnerBack:
				delete(astray, n.Domain+" lost")
			default:
			}
		}
	}
	active := m.Active()
	if (c.byUs || !w.edited) && !w.touched && !c.r.reconfigured && !c.settledByHand() {
		clear(astray) // it is edgewatch that moved it, and that has to get through
	}
	if reached := w.reached(); reached != active && !anyTrue(astray) && m.State() != watchdog.Faulted && !c.holds() {
		c.r.violate("I8", fmt.Sprintf("in the end partners reach %q, edgewatch takes %s for active, and nobody was told (DNS leads to %v, routes %v)", reached, active, w.leads(), w.route))
	}
	for _, h := range w.sorted() {
		if h.stoppedBy != "" && !h.running && h.power && !c.everNamed(h) {
			c.r.violate("I5", fmt.Sprintf("in the end the services of %s, which %s stopped, do not run, and nobody was told", h.name, h.stoppedBy))
		}
	}
}

// settledByHand reports whether a person ended something that was not through.
func (c *checks) settledByHand() bool {
	return slices.ContainsFunc(c.entries, func(e watchdog.Entry) bool {
		return e.Kind == watchdog.KindCommand && slices.Contains([]watchdog.Verb{watchdog.VerbAdopt, watchdog.VerbAck}, e.Command.Verb)
	})
}

func anyTrue(m map[string]bool) bool {
	for _, v := range m {
		if v {
			return true
		}
	}
	return false
}

// holds reports whether the newest decision in the journal, which people were
// told, is one not to act although the pool is down.
func (c *checks) holds() bool {
	return c.decided != nil && (c.decided.Will == watchdog.WillHold || c.decided.Will == watchdog.WillAsk)
}

// gaveUp reports whether edgewatch ever told people that it needs them before
// it goes on.
func (c *checks) gaveUp() bool {
	return slices.ContainsFunc(c.entries, func(e watchdog.Entry) bool {
		return e.Kind == watchdog.KindDecision && e.Decision.BlockedBy == watchdog.GuardUnconfirmed
	})
}

// asked is the pool that people were last asked about.
func (c *checks) asked() string {
	c.r.world.mu.Lock()
	defer c.r.world.mu.Unlock()
	for _, e := range slices.Backward(c.entries) {
		if e.Decision != nil && e.Decision.Will == watchdog.WillAsk {
			return e.Decision.To
		}
	}
	return ""
}

// lookEvery is how long a look at what is not done yet may be ago: services that
// took longer to stop than the configuration gives them may do so right after
// the last one.
const lookEvery = 5 * time.Second

// leftStopped reports whether people were told of services that do not run.
func (c *checks) leftStopped() bool {
	return slices.ContainsFunc(c.entries, func(e watchdog.Entry) bool {
		return e.Kind == watchdog.KindChainEnd && len(e.ChainEnd.Outcome.Stopped) > 0
	})
}

func (c *checks) everNamed(h *host) bool {
	for _, e := range slices.Backward(c.entries) {
		if e.Kind == watchdog.KindChainEnd && e.ChainEnd.ID == h.stoppedBy {
			return slices.Contains(e.ChainEnd.Outcome.Stopped, h.name)
		}
	}
	return false
}

// replayed holds the journal that is kept to what was seen of it.
func (c *checks) replayed() {
	kept, err := c.r.memory.Read(context.Background(), "", 0, len(c.entries)+1)
	if err != nil || len(kept) != len(c.entries) {
		c.r.violate("I8", fmt.Sprintf("the journal holds %d entries (%v), %d were made durable", len(kept), err, len(c.entries)))
	}
}

// sorted is the hosts in the order of the configuration.
func (w *world) sorted() []*host {
	var out []*host
	for _, p := range w.pools {
		out = append(out, p.hosts...)
	}
	return out
}
