package watchdog

import (
	"fmt"
	"time"
)

// clockSlack is by how much the clock may be set before that is told and made
// good for: what counts by it takes minutes.
const clockSlack = time.Minute

// reckon takes in that the clock was set, before anything is decided by it.
func (s *step) reckon() {
	by := s.Levels.Leapt - s.fold.leapt
	text := clockText(by)
	if _, booted := s.Event.(Booted); booted { // what the last process made of its clock is none of this one's business
		by = s.fold.regained(s.At)
		text = fmt.Sprintf("the clock seems to have been behind when edgewatch last ran, or ahead before that: nobody knows whether %s of what it shows now have passed, so that they do not count", Span(by.Round(time.Second)))
	}
	if by.Abs() < clockSlack {
		return
	}
	f := s.fold.clone()
	f.advance(by)
	f.rewind(s.At, s.rules)
	s.emit(Entry{Kind: KindNotice, Notice: &Notice{Kind: NoticeClock, By: by, Text: text + f.lasts(s.At, s.rules)}})
}

// regained is how far the clock, which was behind when the newest entry was
// written, is ahead of that now. It is 0 where it was not behind, as far as the
// journal tells, or is still nearer to what it was then. A clock that was ahead
// before that leaves the same journal: what waits then lasts for longer than
// people meant, as the other mistake would end it early.
func (f *fold) regained(at time.Time) time.Duration {
	behind, by := f.latest.Sub(f.wrote), at.Sub(f.wrote)
	if behind < clockSlack || by < behind/2 {
		return 0
	}
	return by
}

func clockText(by time.Duration) string {
	if by < 0 {
		return fmt.Sprintf("the clock was set back by %s", Span(-by))
	}
	return fmt.Sprintf("the clock was set forward by %s, or the machine slept for so long", Span(by))
}

// lasts is how long people have or must wait by the clock as it is now.
func (f *fold) lasts(at time.Time, rules *Rules) string {
	s := ""
	if f.pause != nil && at.Before(f.pause.Until) {
		s += fmt.Sprintf("; the pause of %s lasts until %s", f.pause.Actor, clock(f.pause.Until))
	}
	if f.ask != nil && rules.ApprovalTimeout > 0 {
		if since, asked := f.ask.from(f.ask.to); asked && at.Before(since.Add(rules.ApprovalTimeout)) {
			s += fmt.Sprintf("; an answer is waited for until %s", clock(since.Add(rules.ApprovalTimeout)))
		}
	}
	if at.Before(f.cooldown) {
		s += fmt.Sprintf("; the cool-down lasts until %s", clock(f.cooldown))
	}
	return s
}

// advance makes good for a clock that was set forward, or stood still with the
// machine: what counts from a moment before that goes on for as long as it
// would have. A clock that was set back is for rewind.
func (f *fold) advance(by time.Duration) {
	if by <= 0 {
		return
	}
	if !f.cooldown.IsZero() {
		f.cooldown = f.cooldown.Add(by)
	}
	for i := range f.autos {
		f.autos[i] = f.autos[i].Add(by)
	}
	for _, since := range []map[string]time.Time{f.failed, f.back} {
		for pool := range since {
			since[pool] = since[pool].Add(by)
		}
	}
	f.ask = f.ask.moved(func(t time.Time) time.Time { return t.Add(by) })
	if f.pause != nil {
		f.pause.Until = f.pause.Until.Add(by)
	}
	if f.hold != nil {
		f.hold.told = f.hold.told.Add(by)
	}
}

// rewind makes good for a clock that was set back to at: what the journal says
// was before cannot be later, and what counts from it must not last for as long
// as the clock ran ahead. While the clock goes forward it changes nothing.
func (f *fold) rewind(at time.Time, rules *Rules) {
	if end := at.Add(rules.Cooldown); f.cooldown.After(end) {
		f.cooldown = end
	}
	for i, began := range f.autos {
		f.autos[i] = earlier(began, at)
	}
	for _, since := range []map[string]time.Time{f.failed, f.back} {
		for pool, t := range since {
			since[pool] = earlier(t, at)
		}
	}
	f.ask = f.ask.moved(func(t time.Time) time.Time { return earlier(t, at) })
	if f.pause != nil {
		f.pause.Until = earlier(f.pause.Until, at.Add(f.pausing))
	}
	if f.hold != nil {
		f.hold.told = earlier(f.hold.told, at)
	}
}

// age is how long t is past at that moment, by the wall clock or by the
// monotonic one, whichever says longer: the first may have been set back, and
// the second stands still while the machine sleeps.
func age(at, t time.Time) time.Duration { return max(at.Sub(t), at.Round(0).Sub(t.Round(0))) }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
