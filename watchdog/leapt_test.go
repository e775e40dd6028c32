package watchdog

import (
	"testing"
	"time"
)

// The clock was set before the start of this life could be made durable, as when
// the disk is full at boot while time is synchronized. What the journal holds was
// written by a clock that was right: nothing is to be made good for.
func TestAClockThatWasSetBeforeTheStart(t *testing.T) {
	s := newScript(t)
	s.lines("boot", "pause 1h patching", "wait 10m")
	until := s.m.fold.pause.Until
	s.m = NewMachine(s.rules)
	for _, e := range s.kept {
		s.m.Apply(e)
	}
	s.levels = Levels{Readiness: map[string]Readiness{}, Leapt: 24 * time.Hour} // it was a day behind when the process began
	s.lines("boot", "tick")
	if got := s.m.fold.pause.Until; !got.Equal(until) {
		t.Errorf("the pause lasts until %s, and was ordered until %s", got, until)
	}
	s.lines("leap 2h", "tick")
	if got, want := s.m.fold.pause.Until, until.Add(2*time.Hour); !got.Equal(want) {
		t.Errorf("after the clock was set again the pause lasts until %s, want %s", got, want)
	}
}
