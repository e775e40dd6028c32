package watchdog

import (
	"context"
	"errors"
	"fmt"
	"time"

	"edgewatch/actions"
	"edgewatch/probe"
)

// Entry is one line of the journal: a fact that was made durable before
// anything followed from it. Exactly one of the pointers is set, the one that
// Kind names.
type Entry struct {
	Seq        uint64    `json:"seq"` // given by the journal: 1, 2, 3 … over all federations of a store
	At         time.Time `json:"at"`  // wall clock, UTC
	Federation string    `json:"federation"`
	Incident   string    `json:"incident,omitempty"` // groups what belongs to one outage, e.g. "contoso-7"
	Kind       EntryKind `json:"kind"`

	Pool     *PoolChange     `json:"pool,omitempty"`
	Decision *Decision       `json:"decision,omitempty"`
	Command  *Command        `json:"command,omitempty"`
	Chain    *ChainStart     `json:"chain,omitempty"`
	Step     *actions.Record `json:"step,omitempty"`
	ChainEnd *ChainEnd       `json:"chain_end,omitempty"`
	Notice   *Notice         `json:"notice,omitempty"`
}

// EntryKind says which of an Entry's pointers is set. Kinds never change:
// they stand in journals.
type EntryKind string

// The kinds of entries.
const (
	KindPool     EntryKind = "pool"      // a pool's breaker tripped or recovered
	KindDecision EntryKind = "decision"  // what edgewatch will do now, or why it does nothing; once per change
	KindCommand  EntryKind = "command"   // an accepted command of an operator
	KindChain    EntryKind = "chain"     // a failover begins
	KindStep     EntryKind = "step"      // a step started or finished
	KindChainEnd EntryKind = "chain_end" // a failover ended
	KindNotice   EntryKind = "notice"    // something to tell people that changes no state by itself
)

// Validate says what the entry lacks that its kind names; nil when it is whole.
// A kind that is not known, as of a later version, is no fault.
func (e Entry) Validate() error {
	there := map[EntryKind]bool{
		KindPool: e.Pool != nil, KindDecision: e.Decision != nil, KindCommand: e.Command != nil, KindChain: e.Chain != nil,
		KindStep: e.Step != nil, KindChainEnd: e.ChainEnd != nil, KindNotice: e.Notice != nil,
	}
	if whole, known := there[e.Kind]; known && !whole {
		return fmt.Errorf("entry %d is of kind %q and has no %[2]s", e.Seq, e.Kind)
	}
	return nil
}

// PoolChange records that a pool's breaker tripped or closed again.
type PoolChange struct {
	Pool    string         `json:"pool"`
	Tripped bool           `json:"tripped"`
	Bad     int            `json:"bad,omitempty"`     // bad rounds that led here
	Since   time.Time      `json:"since,omitzero"`    // first bad round
	Results []probe.Result `json:"results,omitempty"` // the evidence: the last round's results of this pool
	Vantage string         `json:"vantage,omitempty"` // where it was gathered: the host of the process
}

// ChainStart records that a failover begins, before its first step.
type ChainStart struct {
	ID       string           `json:"id"` // e.g. "contoso-7.1"
	From     string           `json:"from"`
	To       string           `json:"to"`
	Trigger  string           `json:"trigger"` // "auto", or the surface a command came from: "slack", "cli", "api"
	Actor    string           `json:"actor,omitempty"`
	Reason   string           `json:"reason"`
	Kind     actions.PlanKind `json:"kind,omitempty"`    // which procedure; empty means failover
	Detected time.Time        `json:"detected,omitzero"` // first bad round of From
	Asked    bool             `json:"asked,omitempty"`   // edgewatch asked for it, and Actor said yes
	Repair   bool             `json:"repair,omitempty"`  // To carries federation already, as far as edgewatch knows: what is wrong around it is put right
	Unseen   bool             `json:"unseen,omitempty"`  // From carried federation and was not seen answering when it began
	Retry    int              `json:"retry,omitempty"`   // the same chain, continued for the n-th time: after a crash or a fault

	// Dropped is why it is not carried on: what it stopped is started, it is seen
	// whether federation has moved, and nothing else is done.
	Dropped string `json:"dropped,omitempty"`

	// Owed names servers of To that an earlier chain left stopped.
	Owed []string `json:"owed,omitempty"`

	// Skip holds the steps that a person ordered to leave out, each with who
	// and why.
	Skip map[actions.StepName]string `json:"skip,omitempty"`
}

// TriggerAuto is the Trigger of a failover that edgewatch decided by itself.
const TriggerAuto = "auto"

// spends reports whether the budget counts it: an automatic failover does, and
// a failback, which leaves a pool that is well, does not.
func (c *ChainStart) spends() bool { return c.Trigger == TriggerAuto && c.Kind != actions.Failback }

// ChainEnd records how a failover ended.
type ChainEnd struct {
	ID      string           `json:"id"`
	Kind    actions.PlanKind `json:"kind,omitempty"`   // of the chain; empty means failover
	Repair  bool             `json:"repair,omitempty"` // likewise
	Outcome actions.Outcome  `json:"outcome"`
}

// NoticeKind names a Notice.
type NoticeKind string

// The notices.
const (
	NoticeStarted     NoticeKind = "started"       // edgewatch started; Pool is the active pool it goes on from
	NoticeActiveGone  NoticeKind = "active_gone"   // the active pool is no longer configured; Pool is taken for it
	NoticeOldPoolBack NoticeKind = "old_pool_back" // a pool that was failed over from answers again
	NoticeOldPoolGone NoticeKind = "old_pool_gone" // it is down again
	NoticeHeld        NoticeKind = "held"          // a hold is still on: told once a day
	NoticeDrift       NoticeKind = "drift"         // DNS leads partners of Domain to Pool, which is not the active one; "" ends it
	NoticePartnerLost NoticeKind = "partner_lost"  // the active pool answers, or nobody can tell for long, but partners of Domain cannot reach it
	NoticePartnerBack NoticeKind = "partner_back"  // they can again
	NoticePauseEnded  NoticeKind = "pause_ended"   // a pause expired by itself
	NoticeClock       NoticeKind = "clock"         // the clock was set by By, or the machine slept
	NoticeDegraded    NoticeKind = "degraded"      // a pool answers, with trouble
	NoticeRecovered   NoticeKind = "recovered"     // the trouble of a degraded pool is over
	NoticeServerDown  NoticeKind = "server_down"   // a server of a pool that is not down stays down
	NoticeServerBack  NoticeKind = "server_back"   // it answers again, and has for a while
	NoticeServerGone  NoticeKind = "server_gone"   // a server of Pool that was left stopped is no longer configured; Server is its name

	NoticeFederationGone NoticeKind = "federation_gone" // the federation is no longer configured: what it left undone, and what counts no more

	NoticeProven  NoticeKind = "proven"  // a move that left out a step that would have proven it is seen to have worked
	NoticeRefused NoticeKind = "refused" // edgewatch was about to break a promise, and did not

	NoticeDNSBlind NoticeKind = "dns_blind" // nothing can be learned from DNS about where partners are led
	NoticeDNSBack  NoticeKind = "dns_back"  // something can again

	NoticeWitnessSilent NoticeKind = "witness_silent" // a witness gives no fresh answer for long
	NoticeWitnessBack   NoticeKind = "witness_back"   // it does again, and has for as long
)

// Notice is something people are told that changes no state by itself.
type Notice struct {
	Kind    NoticeKind `json:"kind"`
	Pool    string     `json:"pool,omitempty"`
	Domain  string     `json:"domain,omitempty"`
	Server  string     `json:"server,omitempty"`  // address and port, where nothing else is said
	Witness string     `json:"witness,omitempty"` // its URL
	Text    string     `json:"text"`

	By time.Duration `json:"by,omitempty"` // NoticeClock: how far it was set, forward when positive; NoticeStarted: how far it was since the process began
}

// Journal keeps entries. Implementations: watchdog/sqlite.
type Journal interface {
	// Append makes the entries durable, all or none, in order, and returns
	// them with Seq set. After an error nothing was kept, unless the error
	// is ErrJournalUnsure. It may hang as long as its disk does, whatever
	// ctx says; nothing else is appended meanwhile.
	Append(ctx context.Context, entries []Entry) ([]Entry, error)

	// Read returns up to limit entries with Seq > after, oldest first, of
	// that federation, or of all when federation is "".
	Read(ctx context.Context, federation string, after uint64, limit int) ([]Entry, error)
}

// replay hands all entries of that federation over, in order.
func replay(ctx context.Context, journal Journal, federation string, apply func(Entry)) error {
	const batch = 1000
	for after := uint64(0); ; {
		entries, err := journal.Read(ctx, federation, after, batch)
		if err != nil {
			return fmt.Errorf("replay the journal of %s: %w", federation, err)
		}
		for _, entry := range entries {
			if err := entry.Validate(); err != nil {
				return fmt.Errorf("replay the journal of %s: %w: it was damaged – keep the state file for analysis and restore it, or move it away to begin an empty journal", federation, err)
			}
			apply(entry)
			after = entry.Seq
		}
		if len(entries) < batch {
			return nil
		}
	}
}

// ErrJournalUnsure means that an Append may or may not have been kept: the
// caller must stop and read back before it goes on.
var ErrJournalUnsure = errors.New("journal append may or may not be durable")

// ErrLocked means that another process holds the store.
var ErrLocked = errors.New("another edgewatch holds the state file")

// Cursors keep how far a reader of the journal got, with whatever it must
// remember, as one value that is replaced atomically.
type Cursors interface {
	// LoadCursor returns nil data and no error for a name never saved.
	LoadCursor(ctx context.Context, name string) ([]byte, error)
	// SaveCursor is durable on return.
	SaveCursor(ctx context.Context, name string, data []byte) error
}
