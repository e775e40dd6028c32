package slack

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"edgewatch/actions"
	"edgewatch/watchdog"
)

// cursorName is under what the outbox keeps its state.
const cursorName = "slack"

const stateVersion = 1

// maxThreads bounds how many incidents are remembered; an entry of one that
// was forgotten finds its message by its metadata or begins a new one.
const maxThreads = 64

// state is everything the outbox must remember, saved as one value. It only
// ever says what Slack is known to have.
type state struct {
	Version int                `json:"version"`
	Channel string             `json:"channel"`
	After   uint64             `json:"after"`             // every entry up to this Seq is told, or folded into a message that says it is stale
	LastTS  string             `json:"last_ts,omitempty"` // our newest message in the channel
	Threads map[string]*thread `json:"threads"`           // by incident
	Quiet   map[string]*quiet  `json:"quiet,omitempty"`   // by federation: its newest message, while it is one of these
	Bursts  map[string]*burst  `json:"bursts,omitempty"`
}

// quiet is a message that tells what edgewatch makes of rounds outside any
// incident, e.g. of a single lost probe. It is edited and not repeated, so
// that nobody learns to look away.
type quiet struct {
	Federation string    `json:"federation"`
	First      uint64    `json:"first"`             // Seq of the entry it was posted for: its name
	FirstAt    time.Time `json:"first_at,omitzero"` // and the time of that
	Last       uint64    `json:"last"`
	LastAt     time.Time `json:"last_at,omitzero"`
	Shown      uint64    `json:"shown"`
	TS         string    `json:"ts"`
	Count      int       `json:"count"`
	Lines      []string  `json:"lines"` // the newest, mrkdwn
}

const quietLines = 12

func (q *quiet) stale() bool { return q != nil && q.Shown < q.Last }

func (q *quiet) fold(e watchdog.Entry) {
	if e.Seq <= q.Last {
		return
	}
	q.Last, q.LastAt = e.Seq, e.At
	q.Count++
	q.Lines = append(q.Lines, clock(e.At)+" "+clip(detail(e), 200))
	q.Lines = q.Lines[max(0, len(q.Lines)-quietLines):]
}

// isQuiet reports whether e is told in a quiet message.
func isQuiet(e watchdog.Entry) bool {
	return e.Incident == "" && e.Decision != nil && e.Decision.Will == watchdog.WillWatch
}

// thread is one incident: its message and the replies under it.
type thread struct {
	Incident *incident `json:"incident"`
	TS       string    `json:"ts,omitempty"`      // the incident's message; empty while there is none
	LastTS   string    `json:"last_ts,omitempty"` // the newest reply
	Shown    uint64    `json:"shown"`             // the newest entry that the incident's message shows
	Open     *stepPost `json:"open,omitempty"`    // the newest reply while it tells of a step that may still change
}

// stale reports whether the incident's message says less than is known.
func (t *thread) stale() bool { return t.TS != "" && t.Shown < t.Incident.Seen }

// stepPost is a reply that tells of one step and is edited as its targets
// get on: one reply per step, however many servers a pool has.
type stepPost struct {
	Federation string           `json:"federation"`
	First      uint64           `json:"first"`             // Seq of the entry it was posted for: its name
	FirstAt    time.Time        `json:"first_at,omitzero"` // and the time of that
	Last       uint64           `json:"last"`              // Seq of the newest entry folded in
	LastAt     time.Time        `json:"last_at,omitzero"`
	Shown      uint64           `json:"shown"` // Seq of the newest entry that Slack shows
	TS         string           `json:"ts"`
	Chain      string           `json:"chain"`
	Step       actions.StepName `json:"step"`
	Rescue     bool             `json:"rescue,omitempty"`
	Targets    []actions.Record `json:"targets"` // the newest record of each target, in the order they began; "" is the step as a whole
}

func (p *stepPost) stale() bool { return p != nil && p.Shown < p.Last }

// takes reports whether e belongs into p: another target of the same step, or
// the end of one that was started. A target that begins again has a reply of
// its own, so that no record is ever painted over by a later run.
func (p *stepPost) takes(e watchdog.Entry) bool {
	if p == nil || e.Step == nil || e.Step.Chain != p.Chain || e.Step.Step != p.Step || e.Step.Rescue != p.Rescue {
		return false
	}
	i := slices.IndexFunc(p.Targets, func(r actions.Record) bool { return r.Target == e.Step.Target })
	return i < 0 || p.Targets[i].Phase == actions.Started && e.Step.Phase != actions.Started
}

func (p *stepPost) fold(e watchdog.Entry) {
	if e.Seq <= p.Last {
		return
	}
	p.Last, p.LastAt = e.Seq, e.At
	i := slices.IndexFunc(p.Targets, func(r actions.Record) bool { return r.Target == e.Step.Target })
	if i < 0 {
		p.Targets = append(p.Targets, *e.Step)
		return
	}
	p.Targets[i] = *e.Step
}

func newState(channel string) *state {
	return &state{Version: stateVersion, Channel: channel, Threads: map[string]*thread{}, Quiet: map[string]*quiet{}, Bursts: map[string]*burst{}}
}

// readState reads what saveable wrote. Another channel than before keeps the
// place in the journal and forgets the messages, which are elsewhere.
func readState(data []byte, channel string) (*state, error) {
	st := newState(channel)
	if err := json.Unmarshal(data, st); err != nil {
		return nil, fmt.Errorf("read the slack cursor: %w", err)
	}
	if st.Version != stateVersion {
		return nil, fmt.Errorf("read the slack cursor: version %d is not %d", st.Version, stateVersion)
	}
	if st.Channel != channel {
		after := st.After
		st = newState(channel)
		st.After = after
	}
	if st.Quiet == nil {
		st.Quiet = map[string]*quiet{}
	}
	if st.Bursts == nil {
		st.Bursts = map[string]*burst{}
	}
	for k, q := range st.Bursts {
		if q == nil || q.Last.Notice == nil {
			delete(st.Bursts, k)
			continue
		}
		// By the clock on the wall, which is all there is between two processes. A
		// burst that it ends early begins anew.
		q.began, q.newest = before(q.First, burstLong), before(q.Last.At, burstCalm)
	}
	for k, t := range st.Threads {
		if t == nil || t.Incident == nil {
			delete(st.Threads, k)
		}
	}
	return st, nil
}

// thread returns the thread of e's incident, beginning one if there is none.
func (s *state) thread(e watchdog.Entry) *thread {
	t := s.Threads[e.Incident]
	if t == nil {
		t = &thread{Incident: &incident{ID: e.Incident, Federation: e.Federation, First: e.Seq, Began: e.At}}
		s.Threads[e.Incident] = t
	}
	return t
}

// before is that moment by the monotonic clock, which is not in the future, nor
// longer ago than so.
func before(at time.Time, most time.Duration) time.Time {
	return time.Now().Add(-min(most, max(0, time.Since(at))))
}

// revive tells the cards that said that their federation is no longer configured
// that it is, which e may say.
func (s *state) revive(e watchdog.Entry) {
	if e.Notice == nil || e.Notice.Kind != watchdog.NoticeStarted {
		return
	}
	for _, t := range s.Threads {
		if t.Incident.Gone != "" && t.Incident.Federation == e.Federation {
			t.Incident.fold(e)
		}
	}
}

// prune forgets the incidents that had nothing new for longest.
func (s *state) prune() {
	for len(s.Threads) > maxThreads {
		delete(s.Threads, s.byAge()[0].Incident.ID)
	}
}

// byAge lists the threads, the one with the oldest news first.
func (s *state) byAge() []*thread {
	return slices.SortedFunc(maps.Values(s.Threads), func(a, b *thread) int { return cmp.Compare(a.Incident.Seen, b.Incident.Seen) })
}
