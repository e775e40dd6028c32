package watchdog

import (
	"fmt"
	"time"
)

// noticeGone tells when nobody can see how the active pool is, because it is no
// longer configured, and what is taken as active instead.
func (s *step) noticeGone() {
	gone := s.fold.active
	if s.fold.running() || knows(s.rules.Pools, gone) {
		return // a failover that runs may lead to one that is
	}
	text := fmt.Sprintf("%s, which carries federation by the journal, is no longer configured: %s is taken for the active pool", gone, s.rules.Pools[0])
	if len(s.rules.Pools) > 1 {
		text += ". If another one is: adopt POOL REASON"
	}
	s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeActiveGone, Pool: s.rules.Pools[0], Text: text}})
}

// forget makes the pool the active one because the one that was is no longer
// configured: its outage is nobody's any more, and nothing leads to it.
func (f *fold) forget(pool string) {
	if f.faulted() {
		f.confirm = fmt.Sprintf("the failover to %s is not through, and %s is no longer configured", f.chain.To, f.active)
	}
	f.retryAt = time.Time{}
	f.close()
	f.takeOver(pool)
}
