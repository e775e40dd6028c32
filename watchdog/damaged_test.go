package watchdog

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
)

// readOnly is a journal that holds one entry.
type readOnly struct{ Entry }

func (r readOnly) Append(context.Context, []Entry) ([]Entry, error) { return nil, ErrLocked }

func (r readOnly) Read(_ context.Context, _ string, after uint64, _ int) ([]Entry, error) {
	if after >= r.Seq {
		return nil, nil
	}
	return []Entry{r.Entry}, nil
}

// An entry that lacks what its kind names ends the start with a sentence that
// says which it is and what to do.
func TestReplayRefusesDamagedEntries(t *testing.T) {
	for _, kind := range []EntryKind{KindPool, KindDecision, KindCommand, KindChain, KindStep, KindChainEnd, KindNotice} {
		e := NewEngine(Settings{Rules: testRules()}, Ports{Journal: readOnly{Entry{Seq: 7, Kind: kind}}})
		err := e.Replay(t.Context())
		if err == nil || !strings.Contains(err.Error(), "entry 7") || !strings.Contains(err.Error(), "restore it") {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// Entries that are whole, but of nothing that the journal tells of, and such of
// kinds to come are passed over.
func TestReplayTakesStrayEntries(t *testing.T) {
	for _, text := range []string{
		`{"kind":"command","command":{"verb":"retry"}}`, `{"kind":"command","command":{"verb":"abort"}}`,
		`{"kind":"command","command":{"verb":"start"}}`, `{"kind":"chain_end","chain_end":{"id":"x","outcome":{}}}`,
		`{"kind":"step","step":{}}`, `{"kind":"pool","pool":{}}`, `{"kind":"decision","decision":{"state":"watching"}}`,
		`{"kind":"chain","chain":{}}`, `{"kind":"notice","notice":{}}`, `{"kind":"of next year"}`,
	} {
		var entry Entry
		if err := json.Unmarshal([]byte(text), &entry); err != nil {
			t.Fatal(err)
		}
		entry.Seq = 7
		e := NewEngine(Settings{Rules: testRules()}, Ports{Journal: readOnly{entry}})
		if err := e.Replay(t.Context()); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		_ = entry.Sentence()
	}
}
