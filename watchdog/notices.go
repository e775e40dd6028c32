package watchdog

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// notice tells what became true or ended, once each.
func (s *step) notice() {
	f, round := &s.fold, s.Levels.Round
	// The clock of a process that has just begun may be ahead until it is set, as
	// after a boot.
	if young := s.At.Before(s.Levels.Since.Add(s.rules.StartupGrace)); f.pause != nil && !s.At.Before(f.pause.Until) && !young {
		s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticePauseEnded, Text: fmt.Sprintf("the pause by %s (%s) has ended", f.pause.Actor, f.pause.Reason)}})
	}
	if h := f.hold; h != nil && s.At.Sub(h.told) >= heldReminder {
		s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeHeld, Text: fmt.Sprintf("%s still holds edgewatch back, since %s (%s): nothing is done by itself until release", h.Actor, clock(h.Since), h.Reason)}})
	}
	if round == nil || f.running() {
		return // levels are restated: what is still true after the failover is told then
	}
	for _, name := range s.rules.Pools {
		s.noticePool(round.Pool(name))
	}
	s.noticeProven(round)
	s.noticeDrift(round)
	s.noticePartners(round)
	s.noticeBlindness(round)
	s.noticeWitnesses()
}

// heldReminder is how often people are told that a hold is on: unlike a pause
// it has no end of its own.
const heldReminder = 24 * time.Hour

// How many degraded rounds in a row are worth telling, and how many without
// trouble end that: one flapping server must not fill a channel.
const (
	degradedRounds = 3
	healthyRounds  = 30
)

func (s *step) noticePool(p PoolRound) {
	f := &s.fold
	answers := p.Verdict == PoolUp || p.Verdict == PoolDegraded
	calm := !f.shaky[p.Pool] || max(p.Healthy, p.Degraded) >= healthyRounds
	if f.quit[p.Pool] && p.Pool != f.active && answers && !p.Breaker.Tripped() && calm {
		s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeOldPoolBack, Pool: p.Pool, Text: fmt.Sprintf(
			"%s answers again. Federation stays on %s%s", p.Pool, f.active, s.wayBack(p.Pool))}})
	}
	if _, back := f.back[p.Pool]; back && p.Pool != f.active && p.Breaker.Tripped() {
		s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeOldPoolGone, Pool: p.Pool, Text: fmt.Sprintf(
			"%s, which had come back, is down again: %s. Federation is on %s", p.Pool, p.Why, f.active)}})
	}
	if p.Pool != f.active {
		return // a standby may not listen on 5269 before it holds the route
	}
	switch {
	case p.Breaker.Tripped() && !f.tripped[p.Pool]:
		s.emit(Entry{Kind: KindPool, Incident: s.nextIncident(), Pool: &PoolChange{
			Pool: p.Pool, Tripped: true, Bad: p.Breaker.Bad, Since: p.Breaker.Since, Results: p.Results, Vantage: s.Levels.Round.Vantage,
		}})
	case !p.Breaker.Tripped() && f.tripped[p.Pool] && answers:
		s.emit(Entry{Kind: KindPool, Pool: &PoolChange{Pool: p.Pool, Results: p.Results}})
	}
	s.noticeServers(p)
	if p.Degraded >= degradedRounds && !f.degraded[p.Pool] {
		s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeDegraded, Pool: p.Pool, Text: fmt.Sprintf("%s answers, with trouble: %s", p.Pool, p.Why)}})
	}
	if p.Healthy >= healthyRounds && f.degraded[p.Pool] {
		s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeRecovered, Pool: p.Pool, Text: fmt.Sprintf("%s is without trouble again: %s", p.Pool, p.Why)}})
	}
}

// wayBack is how federation returns to a pool that is back.
func (s *step) wayBack(pool string) string {
	stable := s.At.Add(s.rules.Failback.StableFor)
	if s.fold.halfway() {
		return fmt.Sprintf(", and %s. Once the rest is done: failback %s REASON", s.fold.half(), pool)
	}
	if s.rules.Failback.Auto && s.rules.Mode == ModeAuto && s.fold.stays == "" && s.rules.prefers(pool, s.fold.active) {
		return fmt.Sprintf("; if %s is still well at %s, it returns by itself in the window of automatic failback", pool, clock(stable))
	}
	verb := VerbFailback
	if s.rules.prefers(s.fold.active, pool) {
		verb = VerbSwitchover
	}
	if s.rules.Failback.StableFor > 0 && verb == VerbFailback {
		return fmt.Sprintf(": edgewatch does not fail back by itself. Check %s, and from %s on: %s %s REASON", pool, clock(stable), verb, pool)
	}
	return fmt.Sprintf(": edgewatch does not fail back by itself. Check %s, then: %s %s REASON", pool, verb, pool)
}

func (s *step) noticeDrift(round *Round) {
	for _, v := range round.Partner {
		was := s.fold.drift[v.Domain]
		switch {
		case v.Pool != "" && v.Pool != s.fold.active && v.Pool != was:
			s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeDrift, Domain: v.Domain, Pool: v.Pool, Text: s.driftText(v)}})
		case v.Pool == s.fold.active && was != "":
			s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeDrift, Domain: v.Domain, Text: fmt.Sprintf(
				"DNS leads partners of %s to %s again, where federation is", v.Domain, s.fold.active)}})
		}
	}
}

func (s *step) driftText(v PartnerView) string {
	text := fmt.Sprintf("DNS leads partners of %s to %s, but %s carries federation as far as edgewatch knows: %s. If %s is right, %s",
		v.Domain, v.Pool, s.fold.active, v.Text, s.fold.active, s.rules.bringsBack(s.fold.active))
	if knows(s.rules.Pools, v.Pool) {
		text += fmt.Sprintf("; if %s is, adopt %s REASON tells edgewatch so", v.Pool, v.Pool)
	}
	return text
}

// forgetDomains ends what was told of domains that nobody looks at any more:
// nothing else ever would, and it would stand for trouble that is nobody's. It
// is an entry, so that the journal means the same whatever is configured later.
func (s *step) forgetDomains() {
	gone := func(domain, what string) string {
		return fmt.Sprintf("partners of %s are no longer looked at: that %s counts no more", domain, what)
	}
	for _, d := range slices.Sorted(maps.Keys(s.fold.drift)) {
		if s.fold.drift[d] != "" && !knows(s.rules.Domains, d) {
			s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeDrift, Domain: d, Text: gone(d, "DNS led them to "+s.fold.drift[d])}})
		}
	}
	for _, d := range slices.Sorted(maps.Keys(s.fold.lost)) {
		if !knows(s.rules.Domains, d) {
			s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticePartnerBack, Domain: d, Text: gone(d, "they did not find federation")}})
		}
	}
	if s.fold.blind && s.rules.PartnerAge == 0 {
		s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeDNSBack, Text: "DNS is no longer looked at: that nothing could be learned from it counts no more"}})
	}
}

// forgetOthers likewise ends what was told of witnesses that nobody asks, and of
// addresses that nobody probes, any more.
func (s *step) forgetOthers() {
	for _, w := range slices.Sorted(maps.Keys(s.fold.silent)) {
		if !knows(s.rules.Witnesses, w) {
			s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeWitnessBack, Witness: w, Text: fmt.Sprintf(
				"the witness %s is no longer asked: that it was silent counts no more", (&Testimony{Witness: w}).Name())}})
		}
	}
	for _, addr := range slices.Sorted(maps.Keys(s.fold.down)) {
		if !knows(s.rules.Addresses, addr) {
			s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeServerBack, Server: addr, Text: fmt.Sprintf(
				"%s is no longer probed: that it was down counts no more", addr)}})
		}
	}
}

func knows(names []string, name string) bool { return slices.Contains(names, name) }
