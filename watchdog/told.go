package watchdog

import (
	"slices"
	"time"
)

// told is a decision as it was recorded.
type told struct {
	decision Decision
	at       time.Time
}

// A decision that comes and goes is recorded so often in so much time: what
// flaps must not fill the journal and the channel.
const (
	tellTimes = 3
	tellTime  = time.Hour
	keptTold  = 64
)

// flaps reports whether d has come and gone so often lately that it is no news.
// A question to a person always is, and so is that it is over.
func (f *fold) flaps(d Decision, at time.Time) bool {
	if d.Will == WillWatch && f.decision.Will == WillAsk {
		return false
	}
	if d.Will != WillWatch && !slices.Contains(fickle, d.BlockedBy) {
		return false
	}
	n := 0
	for _, t := range f.told {
		if !d.changed(t.decision) && at.Sub(t.at).Abs() < tellTime {
			n++
		}
	}
	return n >= tellTimes
}

// fickle are the guards that hang on what is looked at again and again, such
// as the readiness of a standby that a failover would go to in mode observe.
var fickle = []Guard{GuardEvidence, GuardCanaries, GuardUnclear, GuardWitness, GuardDrift, GuardCandidate, GuardMode}
