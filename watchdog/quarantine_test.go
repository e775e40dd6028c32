package watchdog

import (
	"strings"
	"testing"
)

// Why a pool is in quarantine does not say that edgewatch moved federation off it,
// where a person only told where that is.
func TestQuarantineAfterAnAdoption(t *testing.T) {
	s := newScript(t)
	s.lines("mode observe", "boot", "ready EdgePool2", "round EdgePool1=tripped EdgePool2=up", "adopt EdgePool2 moved by hand")
	const want = "EdgePool1 was not seen answering when federation left it, nor since"
	if got := s.m.fold.quarantine("EdgePool1", s.now, &s.rules); got != want {
		t.Errorf("it says: %s", got)
	}
	if did := s.lines("round EdgePool1=tripped EdgePool2=up", "failback EdgePool1 home"); !strings.Contains(did, "refused: "+want) {
		t.Errorf("a failback:\n%s", did)
	}
}
