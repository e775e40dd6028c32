package watchdog

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"edgewatch/probe"
)

// How many surveys in a row must find that partners cannot reach a pool that
// answers before people are told, and how many that they can before that ends.
// One lookup fails easily, by a name server that is restarted or a record that
// is just being changed, and one that fails now and then must not fill a
// channel. While partners seem lost, and while they seem to be back, surveys
// come once a minute: it is told after some three minutes, and its end after
// some five.
const (
	lostSurveys = 3
	backSurveys = 5
)

// tally counts, domain by domain, the surveys in a row that found the same as
// this one, which began then. One that could tell nothing changes no count, and
// one during which the pool itself did not answer counts as none: it says
// nothing of DNS. Only the loop calls it.
func (e *Engine) tally(views []PartnerView, began time.Time) []PartnerView {
	views = slices.Clone(views)
	for i := range views {
		v := &views[i]
		if k := slices.IndexFunc(e.partner, func(was PartnerView) bool { return was.Domain == v.Domain }); k >= 0 {
			v.lost, v.found = e.partner[k].lost, e.partner[k].found
		}
		switch {
		case v.Level.Answers():
			v.lost, v.found = 0, v.found+1
		case v.Level == probe.Down && e.answered(began):
			v.lost, v.found = v.lost+1, 0
		case v.Level == probe.Down:
			v.lost, v.found = 0, 0
		}
	}
	return views
}

// places are the names that Pool lists. No name of a pool holds a space.
func (v *PartnerView) places() []string { return strings.Split(v.Pool, " and ") }

// Elsewhere says to which pools other than that one DNS leads partners, e.g.
// "DNS leads partners of contoso.com to EdgePool1"; "" when to none.
func Elsewhere(views []PartnerView, pool string) string {
	var parts []string
	for _, v := range views {
		if v.Pool != "" && v.Pool != pool {
			parts = append(parts, fmt.Sprintf("partners of %s to %s", v.Domain, v.Pool))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "DNS leads " + strings.Join(parts, ", ")
}

// seen is what partners were found to be led to lately; nil when that is not
// known.
func (s *step) seen() []PartnerView {
	r := s.Levels.Round
	if r == nil || r.Seen.IsZero() || age(s.At, r.Seen) > s.rules.PartnerAge {
		return nil
	}
	return r.Partner
}

// found reports whether partners of every domain were lately led to the active
// pool.
func (s *step) found() bool {
	seen := s.seen()
	for _, v := range seen {
		if v.Pool != s.fold.active {
			return false
		}
	}
	return len(seen) > 0
}

// answered reports whether nothing speaks against the active pool having
// answered at that moment of the monotonic clock. Where nobody can tell for long
// whether it is up, what partners find is all there is to learn.
func (e *Engine) answered(began time.Time) bool {
	active := e.machine.Active()
	if d := e.detectors[active]; d != nil && began.Before(d.back) {
		return false
	}
	p := e.levels.Round.Pool(active)
	return e.levels.Round == nil || p.Verdict == PoolUp || p.Verdict == PoolDegraded || !p.Unclear.IsZero()
}

// unsettled reports whether another survey soon tells whether partners of the
// domain are lost, or back. One that told nothing asks for none.
func (e *Engine) unsettled(v PartnerView) bool {
	if e.machine.fold.lost[v.Domain] {
		return v.Level.Answers()
	}
	return v.Level == probe.Down && v.lost > 0
}

// noticePartners tells when partners cannot reach a pool that answers us: DNS or
// the way to it is wrong, and no failover by itself would mend that. Likewise a
// pool of which nobody can tell for long whether it is up.
func (s *step) noticePartners(round *Round) {
	active := round.Pool(s.fold.active)
	answers := active.Verdict == PoolUp || active.Verdict == PoolDegraded
	for _, v := range round.Partner {
		told := s.fold.lost[v.Domain]
		lost := v.Level == probe.Down && v.lost >= lostSurveys && !told
		switch {
		case lost && answers && !round.Outdated:
			s.tellLost(v, fmt.Sprintf("%s answers, but partners of %s do not find it: %s. Look at DNS; failover %s REASON brings route and records back to it",
				active.Pool, v.Domain, v.Text, active.Pool))
		case lost && !active.Unclear.IsZero():
			s.tellLost(v, fmt.Sprintf("nobody can tell whether %s is up or down, and partners of %s do not reach it: %s. Nothing moves by itself: failover POOL REASON, or mend it",
				active.Pool, v.Domain, v.Text))
		case v.Level.Answers() && v.found >= backSurveys && told:
			s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticePartnerBack, Domain: v.Domain, Text: fmt.Sprintf(
				"partners of %s reach federation again: %s", v.Domain, v.Text)}})
		}
	}
}

func (s *step) tellLost(v PartnerView, text string) {
	s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticePartnerLost, Domain: v.Domain, Text: text}})
}
