package watchdog

import (
	"fmt"
	"time"
)

// Hearing is how a witness has answered lately. While all is well nothing hangs
// on that, but with a witness that is silent nothing would move by itself, and
// people should know before the pool dies.
type Hearing struct {
	Witness string    // its URL
	Name    string    // as people know it
	Silent  bool      // it gives no answer, or none that is fresh
	Since   time.Time // when it was first asked of all times in a row that came to this; zero: nothing is known
	Settled bool      // it has been so for long enough to be told
	Why     string    // why it is silent

	began time.Time // Since by the monotonic clock
}

// shortestSilence bounds from below how long a witness must be silent, or not,
// before that is told: the restart of a host with its updates is no news.
const shortestSilence = 15 * time.Minute

// silence is how long a witness must be silent before people are told, and how
// long it must have answered since before that ends: three surveys, in which
// the witnesses are asked while all is well.
func (w *WatchRules) silence() time.Duration { return max(3*w.SurveyInterval, shortestSilence) }

// hear takes in what the witnesses said in round r, or since when it is the
// newest. Where r tells that we cannot trust ourselves, nothing is learned of
// them, and all begins anew. Only the loop calls it.
func (e *Engine) hear(said []Testimony, r *Round) {
	e.testified = said
	trusted := r.trusted()
	now := time.Now()
	hearings := make([]Hearing, len(said)) // the machine may hold the old ones
	for i := range said {
		var was Hearing
		if i < len(e.levels.Hearings) {
			was = e.levels.Hearings[i]
		}
		t := &said[i]
		says, why := t.Of(e.machine.Active(), 0, e.settings.Rules.EvidenceAge)
		h := Hearing{Witness: t.Witness, Name: t.Name(), Silent: says == SaysNothing || says == SaysStale, Why: why}
		if h.Silent && was.Name != "" {
			h.Name = was.Name // where it looks from it said while it answered
		}
		if trusted {
			h.Since, h.began = t.At, now
		}
		if trusted && !was.Since.IsZero() && was.Silent == h.Silent {
			h.Since, h.began = was.Since, was.began
			h.Settled = now.Sub(was.began) >= e.settings.Watch.silence()
		}
		hearings[i] = h
	}
	e.levels.Hearings = hearings
}

// noticeWitnesses tells once when a witness has been silent for long, and once
// when it has answered for as long since.
func (s *step) noticeWitnesses() {
	for _, h := range s.Levels.Hearings {
		told := s.fold.silent[h.Witness]
		switch {
		case h.Settled && h.Silent && !told:
			s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeWitnessSilent, Witness: h.Witness, Text: fmt.Sprintf(
				"the witness %s is silent since %s (%s)%s", h.Name, clock(h.Since), h.Why, s.without(h.Witness))}})
		case h.Settled && !h.Silent && told:
			s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeWitnessBack, Witness: h.Witness, Text: fmt.Sprintf(
				"the witness %s answers again, since %s", h.Name, clock(h.Since))}})
		}
	}
}

// without is what follows when that witness is silent too.
func (s *step) without(witness string) string {
	left := 0
	for _, h := range s.Levels.Hearings {
		if h.Witness != witness && !s.fold.silent[h.Witness] {
			left++
		}
	}
	text := fmt.Sprintf("%d of %d witnesses answer, %d must see the pool down too", left, len(s.Levels.Hearings), s.rules.MinDown)
	switch {
	case s.rules.MinDown == 0:
		return "; a failover does not wait for it"
	case left < s.rules.MinDown:
		return "; nothing moves by itself until it is back: " + text
	}
	return "; " + text
}
