package slack

import (
	"slices"
	"time"

	"edgewatch/actions"
	"edgewatch/watchdog"
)

// incident is a fold over an incident's entries: what its message shows.
type incident struct {
	ID         string    `json:"id"`
	Federation string    `json:"federation"`
	First      uint64    `json:"first"` // Seq of the entry that began it here
	Seen       uint64    `json:"seen"`  // Seq of the newest entry folded in
	Began      time.Time `json:"began"`

	LastAt time.Time `json:"last_at"`

	Pools    []*poolFact `json:"pools,omitempty"`    // those that tripped, in that order
	Decision *decision   `json:"decision,omitempty"` // the newest, unless something changed since
	Chain    *chain      `json:"chain,omitempty"`    // the newest failover
	Answer   *answer     `json:"answer,omitempty"`   // to the newest question
	AckedBy  string      `json:"acked_by,omitempty"`
	Paused   *pauseNote  `json:"paused,omitempty"`
	Held     *holdNote   `json:"held,omitempty"`
	Adopted  *adoption   `json:"adopted,omitempty"`
	Gone     string      `json:"gone,omitempty"`  // what was told when its federation was found to be configured no more
	Notes    []string    `json:"notes,omitempty"` // what else was noticed, newest last
}

// poolFact is what the entries say of one pool.
type poolFact struct {
	Name  string    `json:"name"`
	Down  bool      `json:"down"`
	Since time.Time `json:"since,omitzero"` // first bad round
	UpAt  time.Time `json:"up_at,omitzero"` // when it answered again
	Cause []string  `json:"cause,omitempty"`
}

type decision struct {
	Will    watchdog.Will  `json:"will"`
	To      string         `json:"to,omitempty"`
	Because string         `json:"because"`
	Guard   watchdog.Guard `json:"guard,omitempty"`
	NextAt  time.Time      `json:"next_at,omitzero"`
}

type chain struct {
	ID      string           `json:"id"`
	Kind    actions.PlanKind `json:"kind,omitempty"`
	Repair  bool             `json:"repair,omitempty"`
	Aborter string           `json:"aborter,omitempty"` // who ordered it to end
	Dropped string           `json:"dropped,omitempty"` // why it is not carried on
	From    string           `json:"from"`
	To      string           `json:"to"`
	Trigger string           `json:"trigger"`
	Actor   string           `json:"actor,omitempty"`
	BeganAt time.Time        `json:"began_at"`
	EndedAt time.Time        `json:"ended_at,omitzero"`
	Found   time.Time        `json:"found,omitzero"`   // first bad round
	Outage  time.Duration    `json:"outage,omitempty"` // from there to the end
	Steps   []chainStep      `json:"steps,omitempty"`
	Outcome *actions.Outcome `json:"outcome,omitempty"`
}

type chainStep struct {
	Name    actions.StepName    `json:"name"`
	Targets map[string]progress `json:"targets"`
	Error   string              `json:"error,omitempty"`
}

type progress struct {
	Phase actions.RecordPhase `json:"phase"`
}

type pauseNote struct {
	Until time.Time     `json:"until"`
	For   time.Duration `json:"for,omitempty"` // as it was ordered for so long; 0: by an earlier version
	By    string        `json:"by"`
}

type holdNote struct {
	Since time.Time `json:"since"`
	By    string    `json:"by"`
}

// answer is what a person said to the question whether to fail over.
type answer struct {
	Approved bool   `json:"approved"`
	To       string `json:"to,omitempty"`
	By       string `json:"by"`
	Carried  bool   `json:"carried,omitempty"` // the failover that was approved began
}

// adoption is a person's word for which pool carries federation.
type adoption struct {
	Pool string `json:"pool"`
	By   string `json:"by"`
}

// fold takes e in, once.
func (n *incident) fold(e watchdog.Entry) {
	if e.Seq <= n.Seen {
		return
	}
	n.Seen, n.LastAt = e.Seq, e.At
	switch {
	case e.Pool != nil:
		n.foldPool(e)
	case e.Decision != nil:
		d := e.Decision
		n.Decision = &decision{Will: d.Will, To: d.To, Because: d.Because, Guard: d.BlockedBy, NextAt: d.NextAt}
		if d.Will == watchdog.WillAsk {
			n.Answer = nil
		}
	case e.Command != nil:
		n.foldCommand(e)
	case e.Chain != nil:
		n.foldChain(e)
	case e.Step != nil:
		n.foldStep(*e.Step)
	case e.ChainEnd != nil:
		n.foldEnd(e)
	case e.Notice != nil:
		n.foldNotice(e)
	}
}

// foldNotice keeps the newest notices, and when the pause ends by the clock as
// it is now: one that was set forward, or back, moves that.
func (n *incident) foldNotice(e watchdog.Entry) {
	n.Notes = append(n.Notes, e.Notice.Text)
	n.Notes = n.Notes[max(0, len(n.Notes)-3):]
	switch e.Notice.Kind {
	case watchdog.NoticeFederationGone:
		n.Gone, n.AckedBy = e.Notice.Text, "" // whoever had seen the incident has not seen this
	case watchdog.NoticeStarted:
		if n.Gone != "" && n.AckedBy != "" && n.Chain != nil && n.Chain.Outcome == nil {
			n.Chain = nil // put right by hand: nobody goes on with it
		}
		n.Gone = "" // it is configured
	default:
	}
	p := n.Paused
	switch {
	case p == nil:
	case e.Notice.Kind == watchdog.NoticePauseEnded:
		n.Paused = nil
	case e.Notice.Kind == watchdog.NoticeClock:
		p.Until = p.Until.Add(max(0, e.Notice.By))
		if most := e.At.Add(p.For); p.For > 0 && p.Until.After(most) {
			p.Until = most
		}
	}
}

func (n *incident) foldPool(e watchdog.Entry) {
	p := n.pool(e.Pool.Pool)
	if p == nil {
		p = &poolFact{Name: e.Pool.Pool}
		n.Pools = append(n.Pools, p)
	}
	if !e.Pool.Tripped {
		p.Down, p.UpAt, n.Decision = false, e.At, nil
		return
	}
	p.Down, p.Since, p.UpAt, p.Cause = true, e.Pool.Since, time.Time{}, evidence(e.Pool.Results)
	if p.Since.IsZero() {
		p.Since = e.At
	}
}

// pool is what is known of the pool of that name, or nil.
func (n *incident) pool(name string) *poolFact {
	for _, p := range n.Pools {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// main is the pool that the incident is about: the one that is failed over
// from, else the first that tripped.
func (n *incident) main() poolFact {
	if n.Chain != nil && n.Chain.From != "" {
		if p := n.pool(n.Chain.From); p != nil {
			return *p
		}
		return poolFact{Name: n.Chain.From, Since: n.Chain.Found}
	}
	if len(n.Pools) > 0 {
		return *n.Pools[0]
	}
	return poolFact{}
}

// down reports whether the pool of that name is known to be down.
func (n *incident) down(name string) bool {
	p := n.pool(name)
	return p != nil && p.Down
}

// foldCommand takes in what a command means for the incident by itself. What
// follows from one has entries of its own.
func (n *incident) foldCommand(e watchdog.Entry) {
	switch c := e.Command; c.Verb {
	case watchdog.VerbAck:
		n.AckedBy, n.Answer = c.Actor, nil
	case watchdog.VerbPause:
		n.Paused = &pauseNote{Until: e.At.Add(c.For), For: c.For, By: c.Actor}
	case watchdog.VerbResume:
		n.Paused = nil
	case watchdog.VerbHold:
		n.Held = &holdNote{Since: e.At, By: c.Actor}
	case watchdog.VerbRelease:
		n.Held = nil
	case watchdog.VerbApprove:
		n.Answer, n.Decision = &answer{Approved: true, To: c.Pool, By: c.Actor}, nil
	case watchdog.VerbDeny:
		n.Answer, n.Decision = &answer{By: c.Actor}, nil
	case watchdog.VerbAbort:
		if n.Chain != nil {
			n.Chain.Aborter = c.Actor
		}
	case watchdog.VerbAdopt:
		n.Adopted, n.Decision = &adoption{Pool: c.Pool, By: c.Actor}, nil
	case watchdog.VerbFailover, watchdog.VerbSwitchover, watchdog.VerbFailback, watchdog.VerbRetry, watchdog.VerbSkipStep:
		// The chain's entry comes right behind.
	}
}

func (n *incident) foldChain(e watchdog.Entry) {
	c := e.Chain
	n.Adopted = nil
	if n.Answer != nil {
		n.Answer.Carried = true
	}
	if c.Retry > 0 && n.Chain != nil && n.Chain.ID == c.ID {
		n.Chain.Outcome, n.Chain.EndedAt, n.Chain.Aborter = nil, time.Time{}, "" // it goes on where it was
		n.Chain.Dropped = c.Dropped
		return
	}
	n.Chain = &chain{
		ID: c.ID, Kind: c.Kind, Repair: c.Repair, From: c.From, To: c.To, Trigger: c.Trigger, Actor: c.Actor, BeganAt: e.At, Found: c.Detected,
	}
}

func (n *incident) foldStep(r actions.Record) {
	if n.Chain == nil || n.Chain.ID != r.Chain {
		n.Chain = &chain{ID: r.Chain, BeganAt: n.LastAt}
	}
	i := slices.IndexFunc(n.Chain.Steps, func(s chainStep) bool { return s.Name == r.Step })
	if i < 0 {
		i = len(n.Chain.Steps)
		n.Chain.Steps = append(n.Chain.Steps, chainStep{Name: r.Step, Targets: map[string]progress{}})
	}
	s := &n.Chain.Steps[i]
	s.Targets[r.Target] = progress{r.Phase} // under "" the step as a whole
	s.Error = ""
	if r.Phase == actions.Failed {
		s.Error = r.Error
	}
}

func (n *incident) foldEnd(e watchdog.Entry) {
	if n.Chain == nil || n.Chain.ID != e.ChainEnd.ID {
		n.Chain = &chain{ID: e.ChainEnd.ID, Kind: e.ChainEnd.Kind, BeganAt: e.At}
	}
	o := e.ChainEnd.Outcome
	n.Chain.Outcome, n.Chain.EndedAt, n.Decision = &o, e.At, nil
	since := n.Chain.Found
	if since.IsZero() {
		since = n.main().Since
	}
	if !since.IsZero() {
		n.Chain.Outage = max(0, e.At.Sub(since))
	}
}

// asked is the pool that a person is asked about, or "".
func (n *incident) asked() string {
	if n.over() || n.running() || n.Decision == nil || n.Decision.Will != watchdog.WillAsk {
		return ""
	}
	return n.Decision.To
}

// denied reports whether a person's no is what keeps edgewatch from acting.
func (n *incident) denied() bool {
	return n.Answer != nil && !n.Answer.Approved && (n.Decision == nil || n.Decision.Guard == watchdog.GuardApproval)
}

// running reports whether a failover is going on.
func (n *incident) running() bool { return n.Chain != nil && n.Chain.Outcome == nil && n.Gone == "" }

// over reports whether federation works again as far as the entries tell, or is
// not edgewatch's any more.
func (n *incident) over() bool {
	switch c := n.Chain; {
	case n.Adopted != nil, n.Gone != "":
		return true
	case n.running():
		return false
	case c != nil && c.Outcome.OK:
		return !n.down(c.To)
	case c != nil && c.Outcome.RouteMoved:
		return false
	}
	return !n.main().Down
}

// proposal is the pool that edgewatch would fail over to if its mode let it,
// or "".
func (n *incident) proposal() string {
	if n.over() || n.running() || n.Decision == nil || n.Decision.Guard != watchdog.GuardMode {
		return ""
	}
	return n.Decision.To
}
