package watchdog

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"edgewatch/probe"
)

// ServerState is what several rounds say of one address: that a server is
// down is another thing than that its pool is, and is told and shown, and
// never a reason for a failover.
type ServerState struct {
	Addr  netip.AddrPort `json:"addr"`
	Down  bool           `json:"down"`           // by the same rules as a pool
	Bad   int            `json:"bad,omitempty"`  // consecutive bad rounds
	Since time.Time      `json:"since,omitzero"` // first bad round, or when it counted as down

	calm bool // it has answered for so long that it is worth telling
}

// servers are the detectors of single addresses. They are owned by the loop.
type servers map[netip.AddrPort]*detector

// took feeds what a round saw of each address of a pool, and says how each is.
// A nil servers watches none: no trip of a pool depends on them.
func (s servers) took(r *Round, p *PoolRound, rules BreakerRules) []ServerState {
	if s == nil {
		return nil
	}
	states := make([]ServerState, len(p.Results))
	for i, result := range p.Results {
		addr := result.Target.Addr
		d := s[addr]
		if d == nil {
			d = newDetector(rules)
		}
		d = d.orNew(r)
		s[addr] = d
		verdict, _ := Judge([]probe.Result{result}, 1, r.Canaries, r.Frozen)
		b := d.feed(r.At, verdict)
		states[i] = ServerState{Addr: addr, Down: b.Tripped(), Bad: b.Bad, Since: b.Since, calm: d.calm >= healthyRounds}
	}
	return states
}

// suspect reports whether a server of a pool that answers looks bad and does
// not count as down yet. A whole round that is unclear is the pool's matter.
func (s servers) suspect(p *PoolRound) bool {
	return slices.ContainsFunc(p.Results, func(result probe.Result) bool {
		d := s[result.Target.Addr]
		return d != nil && d.bad > 0 && d.state() == BreakerClosed
	})
}

// noticeServers tells once when a server of a pool that is not down stays down,
// and once when it is back and has been for a while, so that one that flaps
// does not fill a channel: which of several servers it is, the trouble of the
// pool as a whole may not tell.
func (s *step) noticeServers(p PoolRound) {
	if p.Verdict == PoolDown || p.Breaker.Bad > 0 || p.Breaker.Tripped() || p.Verdict == Inconclusive && !s.Levels.Round.trusted() {
		return // the pool's own story tells more, or we may be wrong
	}
	stays := "the pool answers, so federation stays where it is"
	if p.Verdict == Inconclusive {
		stays = "nobody can tell whether the pool is up or down, so federation stays where it is"
	}
	for i, state := range p.States {
		addr, told := state.Addr.String(), s.fold.down[state.Addr.String()]
		switch {
		case state.Down && !told && p.Results[i].Level == probe.Down:
			s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeServerDown, Pool: p.Pool, Server: addr, Text: fmt.Sprintf(
				"%s of %s is down since %s (%s); %s", addr, p.Pool, clock(state.Since), describe(p.Results[i]), stays)}})
		case !state.Down && state.calm && told:
			s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeServerBack, Pool: p.Pool, Server: addr, Text: fmt.Sprintf(
				"%s of %s answers again", addr, p.Pool)}})
		}
	}
}
