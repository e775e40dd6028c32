package watchdog

import "time"

// rewind makes good for a clock that was set back to at: what the journal says
// was before cannot be later, and what counts from it must not last for as long
// as the clock ran ahead. While the clock goes forward it changes nothing. A
// pause is left as it is: people were told its hour.
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
	if f.ask != nil {
		f.ask.at = earlier(f.ask.at, at)
	}
	if f.hold != nil {
		f.hold.told = earlier(f.hold.told, at)
	}
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}
