package watchdog

import (
	"testing"

	"github.com/rs/zerolog"

	"edgewatch/actions"
)

// Whoever reads the log from warnings on learns what keeps federation from working
// or edgewatch from acting, and nothing else.
func TestHowLoudlyTheLogTells(t *testing.T) {
	notice := func(kind NoticeKind, pool string) Entry {
		return Entry{Kind: KindNotice, Notice: &Notice{Kind: kind, Pool: pool}}
	}
	for name, tt := range map[string]struct {
		e    Entry
		want zerolog.Level
	}{
		"a pool is down":         {Entry{Pool: &PoolChange{Tripped: true}}, zerolog.WarnLevel},
		"it answers again":       {Entry{Pool: &PoolChange{}}, zerolog.InfoLevel},
		"the lease is lost":      {Entry{Decision: &Decision{Will: WillHold, BlockedBy: GuardLease}}, zerolog.ErrorLevel},
		"a guard holds it back":  {Entry{Decision: &Decision{Will: WillHold, BlockedBy: GuardPause}}, zerolog.WarnLevel},
		"people are asked":       {Entry{Decision: &Decision{Will: WillAsk}}, zerolog.WarnLevel},
		"all is well":            {Entry{Decision: &Decision{Will: WillWatch}}, zerolog.InfoLevel},
		"an order":               {Entry{Command: &Command{Verb: VerbPause}}, zerolog.InfoLevel},
		"a failover begins":      {Entry{Chain: &ChainStart{}}, zerolog.WarnLevel},
		"a step is done":         {Entry{Step: &actions.Record{Phase: actions.Finished}}, zerolog.InfoLevel},
		"a step failed":          {Entry{Step: &actions.Record{Phase: actions.Failed}}, zerolog.ErrorLevel},
		"it is through":          {Entry{ChainEnd: &ChainEnd{Outcome: actions.Outcome{OK: true}}}, zerolog.InfoLevel},
		"it is not":              {Entry{ChainEnd: &ChainEnd{}}, zerolog.ErrorLevel},
		"a defect, once more":    {notice(NoticeRefused, ""), zerolog.WarnLevel},
		"partners do not get in": {notice(NoticePartnerLost, "EdgePool1"), zerolog.ErrorLevel},
		"drift":                  {notice(NoticeDrift, "EdgePool2"), zerolog.WarnLevel},
		"drift is over":          {notice(NoticeDrift, ""), zerolog.InfoLevel},
		"edgewatch starts":       {notice(NoticeStarted, "EdgePool1"), zerolog.InfoLevel},
	} {
		if got := tt.e.level(); got != tt.want {
			t.Errorf("%s is told as %s, want %s", name, got, tt.want)
		}
	}
}
