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

	Pool      string     `json:"pool,omitempty"` // the pool that is or was down
	Down      bool       `json:"down,omitempty"`
	DownSince time.Time  `json:"down_since,omitzero"`
	UpAt      time.Time  `json:"up_at,omitzero"`
	Cause     []string   `json:"cause,omitempty"` // the evidence, one line per address
	Decision  *decision  `json:"decision,omitempty"`
	Chain     *chain     `json:"chain,omitempty"` // the newest failover
	AckedBy   string     `json:"acked_by,omitempty"`
	Notes     []string   `json:"notes,omitempty"` // degraded and the like, when nothing else names the incident
	LastAt    time.Time  `json:"last_at"`
	Paused    *pauseNote `json:"paused,omitempty"`
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
	From    string           `json:"from"`
	To      string           `json:"to"`
	Trigger string           `json:"trigger"`
	Actor   string           `json:"actor,omitempty"`
	BeganAt time.Time        `json:"began_at"`
	EndedAt time.Time        `json:"ended_at,omitzero"`
	Outage  time.Duration    `json:"outage,omitempty"` // from the first bad round to the end
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
	Until time.Time `json:"until"`
	By    string    `json:"by"`
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
	case e.Command != nil:
		n.foldCommand(e)
	case e.Chain != nil:
		c := e.Chain
		n.Chain = &chain{ID: c.ID, From: c.From, To: c.To, Trigger: c.Trigger, Actor: c.Actor, BeganAt: e.At}
		if !c.Detected.IsZero() {
			n.DownSince = c.Detected
		}
	case e.Step != nil:
		n.foldStep(*e.Step)
	case e.ChainEnd != nil:
		n.foldEnd(e)
	case e.Notice != nil:
		n.Notes = append(n.Notes, e.Notice.Text)
		n.Notes = n.Notes[max(0, len(n.Notes)-3):]
	}
}

func (n *incident) foldPool(e watchdog.Entry) {
	p := e.Pool
	if p.Tripped {
		n.Pool, n.Down, n.DownSince, n.UpAt = p.Pool, true, p.Since, time.Time{}
		n.Cause = evidence(p.Results)
		if n.DownSince.IsZero() {
			n.DownSince = e.At
		}
		return
	}
	if n.Pool == "" || n.Pool == p.Pool {
		n.Pool, n.Down, n.UpAt = p.Pool, false, e.At
	}
}

func (n *incident) foldCommand(e watchdog.Entry) {
	switch c := e.Command; c.Verb {
	case watchdog.VerbAck:
		n.AckedBy = c.Actor
	case watchdog.VerbPause:
		n.Paused = &pauseNote{Until: e.At.Add(c.For), By: c.Actor}
	case watchdog.VerbResume:
		n.Paused = nil
	case watchdog.VerbFailover:
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
	s.Targets[r.Target] = progress{r.Phase}
	s.Error = ""
	if r.Phase == actions.Failed {
		s.Error = r.Error
	}
}

func (n *incident) foldEnd(e watchdog.Entry) {
	if n.Chain == nil || n.Chain.ID != e.ChainEnd.ID {
		n.Chain = &chain{ID: e.ChainEnd.ID, BeganAt: e.At}
	}
	o := e.ChainEnd.Outcome
	n.Chain.Outcome, n.Chain.EndedAt = &o, e.At
	if !n.DownSince.IsZero() {
		n.Chain.Outage = max(0, e.At.Sub(n.DownSince))
	}
}

// running reports whether a failover is going on.
func (n *incident) running() bool { return n.Chain != nil && n.Chain.Outcome == nil }

// over reports whether federation works again as far as the entries tell.
func (n *incident) over() bool {
	if n.running() {
		return false
	}
	if n.Chain != nil && n.Chain.Outcome != nil && n.Chain.Outcome.OK {
		return !n.Down || n.Chain.To != n.Pool
	}
	return n.Chain == nil && !n.Down
}

// approval is the pool that a person may approve a failover to, or "".
func (n *incident) approval() string {
	if n.over() || n.running() || n.Decision == nil || n.Decision.Guard != watchdog.GuardMode {
		return ""
	}
	return n.Decision.To
}
