package watchdog

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// noticeGone tells of what stands in the journal and is no longer configured. A
// failover that runs is awaited: it may lead elsewhere, and names what it left.
func (s *step) noticeGone() {
	if s.fold.running() {
		return
	}
	s.noticePoolGone()
	s.noticeServersGone()
}

// noticePoolGone tells when nobody can see how the active pool is, and which is
// taken for it instead.
func (s *step) noticePoolGone() {
	gone := s.fold.active
	if knows(s.rules.Pools, gone) {
		return
	}
	text := fmt.Sprintf("%s, which carries federation by the journal, is no longer configured: %s is taken for the active pool and watched from now on", gone, s.rules.Pools[0])
	if len(s.rules.Pools) > 1 {
		text += ". If another one is: adopt POOL REASON"
	}
	s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeActiveGone, Pool: s.rules.Pools[0], Text: text}})
}

// noticeServersGone ends that a server is named as left stopped, which no
// failover would ever start again.
func (s *step) noticeServersGone() {
	for _, pool := range slices.Sorted(maps.Keys(s.fold.owed)) {
		known := s.rules.Servers[pool]
		if len(known) == 0 && (len(s.rules.Servers) == 0 || knows(s.rules.Pools, pool)) {
			continue // which servers there are is not known
		}
		for _, server := range s.fold.owed[pool] {
			if !knows(known, server) {
				s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeServerGone, Pool: pool, Server: server, Text: fmt.Sprintf(
					"%s of %s, where a failover left services stopped, is no longer configured and is not named any more: if it still serves, run Start-CsWindowsService there", server, pool)}})
			}
		}
	}
}

// settle notes that nothing is left to start on the server.
func (f *fold) settle(pool, server string) {
	left := slices.DeleteFunc(slices.Clone(f.owed[pool]), func(s string) bool { return s == server })
	if f.owed[pool] = left; len(left) == 0 {
		delete(f.owed, pool)
	}
}

// forget makes the pool the active one because the one that was is no longer
// configured: its outage is nobody's any more, and nothing leads to it.
func (f *fold) forget(pool string) {
	if f.faulted() {
		f.confirm = fmt.Sprintf("the %s to %s is not through, and %s is no longer configured", f.chain.word(), f.chain.To, f.active)
	}
	f.retryAt = time.Time{}
	f.close()
	f.takeOver(pool)
}

// guessed is why it is not certain that the active pool carries federation, "" once
// a move brought it there or a person said so.
func (f *fold) guessed() string {
	if f.gone == "" {
		return ""
	}
	return fmt.Sprintf("%s is only taken for the active pool, because %s, which carried federation by the journal, was no longer configured: adopt POOL REASON says which one it is",
		f.active, f.gone)
}
