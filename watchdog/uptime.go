package watchdog

import (
	"slices"
	"time"
)

// Uptime is how long a pool was what in the last Window. What is missing to
// Window was not watched: edgewatch did not run, or keeps no history so old.
type Uptime struct {
	Window       time.Duration `json:"window"`
	Up           time.Duration `json:"up"`
	Degraded     time.Duration `json:"degraded"`
	Down         time.Duration `json:"down"`
	Inconclusive time.Duration `json:"inconclusive"` // watched, and nothing could be said: neither up nor down
}

// Watched is the part of the window that edgewatch watched.
func (u Uptime) Watched() time.Duration { return u.Up + u.Degraded + u.Down + u.Inconclusive }

// Share is the part of the conclusive time in which the pool answered, from 0
// to 1; false when there was none.
func (u Uptime) Share() (float64, bool) {
	known := u.Up + u.Degraded + u.Down
	if known <= 0 {
		return 0, false
	}
	return float64(u.Up+u.Degraded) / float64(known), true
}

func (u *Uptime) add(v Verdict, d time.Duration) {
	switch v {
	case PoolUp:
		u.Up += d
	case PoolDegraded:
		u.Degraded += d
	case PoolDown:
		u.Down += d
	case Inconclusive:
		u.Inconclusive += d
	}
}

func (u *Uptime) merge(h Uptime) {
	u.Up += h.Up
	u.Degraded += h.Degraded
	u.Down += h.Down
	u.Inconclusive += h.Inconclusive
}

// UptimeWindows are the windows that a status shows.
func UptimeWindows() []time.Duration {
	const day = 24 * time.Hour
	return []time.Duration{day, 30 * day, 90 * day}
}

// UptimeHour is the share of one hour, for bars.
type UptimeHour struct {
	Start time.Time // a full hour, UTC
	Uptime
}

// Uptimes adds rounds up by the hour. One goroutine at a time may use it.
type Uptimes struct {
	hours map[string]map[int64]*Uptime // by pool and hour since 1970
	last  *Seen                        // how long it was so is known with the next round
}

// NewUptimes returns Uptimes that have seen nothing.
func NewUptimes() *Uptimes { return &Uptimes{hours: map[string]map[int64]*Uptime{}} }

// longestGap is how far apart two rounds can be for what the first one found
// to count until the second: edgewatch did not watch any longer.
func longestGap(interval time.Duration) time.Duration { return max(3*interval, time.Minute) }

// Add takes the next round in, oldest first.
func (u *Uptimes) Add(s Seen) {
	if prev := u.last; prev != nil {
		gap := max(0, min(s.At.Sub(prev.At), longestGap(prev.Interval)))
		hour := prev.At.Unix() / 3600
		for i := range prev.Outcome.Pools {
			p := &prev.Outcome.Pools[i]
			of := u.hours[p.Pool]
			if of == nil {
				of = map[int64]*Uptime{}
				u.hours[p.Pool] = of
			}
			if of[hour] == nil {
				of[hour] = &Uptime{Window: time.Hour}
			}
			of[hour].add(p.Verdict, gap)
		}
	}
	u.last = &s
}

// Sum is the pool's uptime of the full hours within the window that ends now,
// and of the one that runs.
func (u *Uptimes) Sum(pool string, now time.Time, window time.Duration) Uptime {
	out := Uptime{Window: window}
	from, to := now.Add(-window).Unix(), now.Unix()/3600
	for hour, h := range u.hours[pool] {
		if hour*3600 >= from && hour <= to {
			out.merge(*h)
		}
	}
	return out
}

// Hours are the pool's hours that were watched from then on, oldest first.
func (u *Uptimes) Hours(pool string, from time.Time) []UptimeHour {
	var out []UptimeHour
	for hour, h := range u.hours[pool] {
		if start := time.Unix(hour*3600, 0).UTC(); !start.Before(from) {
			out = append(out, UptimeHour{Start: start, Uptime: *h})
		}
	}
	slices.SortFunc(out, func(a, b UptimeHour) int { return a.Start.Compare(b.Start) })
	return out
}

// forget drops what is older than that.
func (u *Uptimes) forget(before time.Time) {
	for _, of := range u.hours {
		for hour := range of {
			if hour*3600 < before.Unix() {
				delete(of, hour)
			}
		}
	}
}
