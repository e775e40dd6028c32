package watchdog

import (
	"fmt"
	"slices"
	"strings"
)

// learned reports whether something can be learned from DNS about where
// partners are led. While it cannot, the drift guard lets nothing begin by
// itself: people should know before the pool dies.
func learned(views []PartnerView) bool {
	return slices.ContainsFunc(views, func(v PartnerView) bool { return v.Pool != "" })
}

// learn counts the surveys in a row that learned something from DNS, or
// nothing. One that was made while we could not trust ourselves counts for
// neither. Only the loop calls it.
func (e *Engine) learn(views []PartnerView) {
	switch {
	case !e.last.trusted():
	case learned(views):
		e.led, e.unled = e.led+1, 0
	default:
		e.led, e.unled = 0, e.unled+1
	}
}

// blindness reports whether another survey soon tells whether something can be
// learned from DNS. As with partners that are lost, it is told after some three
// minutes, and its end after some five.
func (e *Engine) blindness() bool {
	told := e.machine.fold.blind
	return e.settings.Rules.PartnerAge > 0 && (!told && e.unled > 0 && e.unled < lostSurveys || told && e.led > 0)
}

// noticeBlindness tells once when nothing can be learned from DNS, and once when
// it can again. While the active pool is down the guard itself tells it.
func (s *step) noticeBlindness(round *Round) {
	f := &s.fold
	switch {
	case s.rules.PartnerAge == 0:
	case round.Unled >= lostSurveys && !f.blind && !f.tripped[f.active]:
		found := make([]string, len(round.Partner))
		for i, v := range round.Partner {
			found[i] = v.Domain + ": " + v.Text
		}
		s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeDNSBlind, Text: fmt.Sprintf(
			"nothing can be learned from DNS about where partners are led (%s): should %s die, nothing moves by itself until something can. Look at the name servers that dns names",
			strings.Join(found, "; "), f.active)}})
	case round.Led >= backSurveys && f.blind:
		s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeDNSBack, Text: "where partners are led can be learned from DNS again"}})
	}
}
