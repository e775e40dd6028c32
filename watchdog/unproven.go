package watchdog

import (
	"fmt"
	"slices"
)

// unproven is a move that went well without a step that would have proven it.
type unproven struct {
	move  string // e.g. "failover contoso-1.1"
	steps string // those that were left out
}

// noticeProven tells when what a move left out is made up for: every server of
// the active pool answers, and so does what partners find, looked at since.
func (s *step) noticeProven(r *Round) {
	u, active := s.fold.unproven, s.fold.active
	elsewhere := func(v PartnerView) bool { return v.Pool != active || !v.Level.Answers() }
	if u == nil || r.Pool(active).Verdict != PoolUp || r.Seen.IsZero() || len(r.Partner) == 0 || slices.ContainsFunc(r.Partner, elsewhere) {
		return
	}
	s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeProven, Pool: active, Text: fmt.Sprintf(
		"%s is proven now, although it left %s out: %s answers, and partners are seen to reach it", u.move, u.steps, active)}})
}

// doubt is what a decision adds while that is not so; "" when nothing is to be
// proven.
func (u *unproven) doubt(active string) string {
	if u == nil {
		return ""
	}
	return fmt.Sprintf("; NOT PROVEN, because %s left %s out: until partners are seen to reach %s, or an ack", u.move, u.steps, active)
}

// left names the steps that are not made up for.
func (u *unproven) left() string {
	if u == nil {
		return ""
	}
	return u.steps
}
