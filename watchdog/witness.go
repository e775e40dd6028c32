package watchdog

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Testimony is what a witness said of the pools. From one place, a way that is
// cut for us alone looks exactly like a dead pool; a witness is another
// edgewatch, in another network, that watches the same pools. Before edgewatch
// acts by itself, it has to see the active one down too.
type Testimony struct {
	Witness  string                   // its URL
	Vantage  string                   // where it looks from, by its own word
	Instance string                   // tells its process from others; empty when it does not say, as earlier versions
	At       time.Time                // when it was asked
	Age      time.Duration            // how old its last round was when it answered, by its own clock
	Pools    map[string]PoolTestimony // of its last round, by name
	Unsure   string                   // why it doubts itself: that it sees a pool down is no evidence then
	Error    string                   // why there is no testimony; of the rest only Witness and At are set then
}

// PoolTestimony is what a witness's last round says of one pool.
type PoolTestimony struct {
	Verdict Verdict `json:"verdict"`
	Why     string  `json:"why"` // the verdict in words
}

// Says is what a testimony comes to for one pool.
type Says string

// What a testimony can come to. Only SaysDown speaks for acting; SaysUp and
// SaysDegraded speak against it, the others say nothing.
const (
	SaysNothing  Says = "silent"       // it was not asked yet, or does not answer
	SaysUp       Says = "up"           // it sees the pool answering
	SaysDegraded Says = "degraded"     // likewise, with trouble
	SaysDown     Says = "down"         // it sees the pool down
	SaysUnclear  Says = "inconclusive" // it cannot tell, doubts itself, or does not know the pool
	SaysStale    Says = "stale"        // what it saw is too old
)

// AllSays lists everything that a testimony can come to, for metrics that must
// exist from the start.
func AllSays() []Says {
	return []Says{SaysNothing, SaysUp, SaysDegraded, SaysDown, SaysUnclear, SaysStale}
}

// Name is how people know the witness: by where it looks from, else by the
// host of its URL.
func (t *Testimony) Name() string {
	if t.Vantage != "" {
		return t.Vantage
	}
	if u, err := url.Parse(t.Witness); err == nil && u.Host != "" {
		return u.Host
	}
	return t.Witness
}

// Of is what the testimony comes to for a pool, so long after it was asked
// for, and why. A round of the witness older than most proves nothing. That a
// pool was seen answering is proof, whatever else the witness doubts.
func (t *Testimony) Of(pool string, since, most time.Duration) (Says, string) {
	p, known := t.Pools[pool]
	age := t.Age + max(since, 0)
	switch {
	case t.Error != "":
		return SaysNothing, t.Error
	case t.Age < 0 || age > most:
		return SaysStale, fmt.Sprintf("what it saw is %s old", Span(age.Round(time.Second)))
	case !known:
		return SaysUnclear, "it does not know " + pool
	case p.Verdict == PoolUp:
		return SaysUp, p.Why
	case p.Verdict == PoolDegraded:
		return SaysDegraded, p.Why
	case t.Unsure != "":
		return SaysUnclear, "it doubts itself: " + t.Unsure
	case p.Verdict == PoolDown:
		return SaysDown, p.Why
	}
	return SaysUnclear, p.Why
}

// doubt is why the witnesses keep edgewatch from acting, "" when they do not.
func (q *question) doubt() string {
	if len(q.rules.Witnesses) == 0 {
		return ""
	}
	round := q.levels.Round
	if len(round.Testimonies) == 0 {
		return "no witness has been asked yet"
	}
	down := 0
	var others []string
	for i := range round.Testimonies {
		t := &round.Testimonies[i]
		says, why := t.Of(q.fold.active, q.at.Sub(round.At), q.rules.EvidenceAge)
		switch says {
		case SaysUp, SaysDegraded:
			return fmt.Sprintf("%s sees it answering (%s): the way from here to it may be cut", t.Name(), why)
		case SaysDown:
			down++
		case SaysNothing, SaysUnclear, SaysStale:
			others = append(others, fmt.Sprintf("%s: %s", t.Name(), why))
		}
	}
	if down >= q.rules.MinDown {
		return ""
	}
	return fmt.Sprintf("%d of %d witnesses see that too, %d must (%s)", down, len(round.Testimonies), q.rules.MinDown, strings.Join(others, "; "))
}

// dissent is what a person who orders a failover is told when a witness sees
// the active pool answering: it holds no person back.
func (s *step) dissent() string {
	r := s.Levels.Round
	if r == nil {
		return ""
	}
	for i := range r.Testimonies {
		t := &r.Testimonies[i]
		if says, why := t.Of(s.fold.active, s.At.Sub(r.At), s.rules.EvidenceAge); says == SaysUp || says == SaysDegraded {
			return fmt.Sprintf(", although %s sees %s answering (%s)", t.Name(), s.fold.active, why)
		}
	}
	return ""
}

// WitnessStatus is a witness in a Snapshot: what it said of the active pool
// when it was last asked, which is with every survey, and in every round while
// that pool looks bad.
type WitnessStatus struct {
	URL     string    `json:"url"`
	Vantage string    `json:"vantage,omitempty"` // where it looks from
	At      time.Time `json:"at,omitzero"`       // when it was asked; zero: not yet
	Says    Says      `json:"says"`
	Why     string    `json:"why,omitempty"`
}

// witnesses is what the witnesses last said of the active pool.
func (e *Engine) witnesses(active string) []WitnessStatus {
	var out []WitnessStatus
	for i, u := range e.settings.Watch.Witnesses {
		s := WitnessStatus{URL: u, Says: SaysNothing, Why: "it has not been asked yet"}
		if i < len(e.testified) {
			t := &e.testified[i]
			s.Vantage, s.At = t.Vantage, t.At
			s.Says, s.Why = t.Of(active, 0, e.settings.Rules.EvidenceAge)
		}
		out = append(out, s)
	}
	return out
}

// doubts reports whether the witnesses are asked in the next round: a failover
// may be decided on it. Only the loop calls it.
func (e *Engine) doubts() bool {
	p := e.levels.Round.Pool(e.machine.Active())
	return len(e.settings.Watch.Witnesses) > 0 && (p.Suspect || p.Breaker.Tripped())
}

// testimonies asks all witnesses at once, and returns within their timeout.
func (e *Engine) testimonies(ctx context.Context) []Testimony {
	w := &e.settings.Watch
	out := make([]Testimony, len(w.Witnesses))
	var wg sync.WaitGroup
	for i, u := range w.Witnesses {
		wg.Go(func() { out[i] = e.witness(ctx, u) })
	}
	wg.Wait()
	return distinct(out)
}

// distinct takes what one witness says under several URLs for one testimony: of
// two that must see the pool down, it is not both.
func distinct(said []Testimony) []Testimony {
	first := map[string]string{} // URL by instance
	for i := range said {
		t := &said[i]
		if u, twice := first[t.Instance]; twice {
			*t = Testimony{Witness: t.Witness, At: t.At, Error: "it is the same edgewatch as " + u}
		} else if t.Instance != "" {
			first[t.Instance] = t.Witness
		}
	}
	return said
}

// witness asks one witness; a defect in it is no testimony.
func (e *Engine) witness(ctx context.Context, u string) (t Testimony) {
	at := e.ports.Now()
	ctx, cancel := context.WithTimeout(ctx, e.settings.Watch.WitnessTimeout)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			t = Testimony{Error: fmt.Sprintf("a defect in edgewatch: %v", p)}
		}
		t.Witness, t.At = u, at
	}()
	t, err := e.ports.Witness(ctx, u)
	if err != nil {
		return Testimony{Error: err.Error()}
	}
	return t
}
