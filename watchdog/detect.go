package watchdog

import (
	"math"
	"time"
)

// Detection is how long it takes until a pool that fails in some way counts
// as down, from the moment it begins to fail, while edgewatch itself and the
// canaries are well. It follows from the rules alone.
type Detection struct {
	DeadMin, DeadMax time.Duration // it never answers any more

	// Zombie is the longest for one that answers one round in three, after a
	// time of health; 0 when it may never count as down.
	Zombie time.Duration
}

// jitter is the share of its length that the distance between two rounds
// varies by: half of it up and half of it down. It keeps many federations
// from probing in step.
const jitter = 0.1

// Detect works out the detection times: suspect is the distance between rounds
// while a pool is suspected, took how long a bad round lasts, which is next to
// nothing for a port that is closed and the time limit of a probe for a host
// that is silent.
func Detect(r BreakerRules, suspect, took time.Duration) Detection {
	pause := took + suspect/2 // WatchRules.wait: the least
	shortGap := max(scale(suspect, 1-jitter/2), pause)
	longGap := max(scale(suspect, 1+jitter/2), pause)
	longest := max(scale(r.Every, 1+jitter/2), pause)
	gaps := float64(max(r.BadRounds-1, 0))
	fewest := gaps
	if r.BadRatio > 0 { // after a few good rounds the cumulative rule may want fewer
		fewest = min(gaps, math.Ceil(r.BadRatio*float64(r.MinRounds))-1)
	}
	return Detection{
		DeadMin: max(scale(shortGap, fewest), r.MinBadTime) + took,
		DeadMax: longest + max(scale(longGap, gaps), lateBy(r.MinBadTime, shortGap, longGap)) + took,
		Zombie:  r.zombie(longest, longGap, took),
	}
}

// lateBy is when the first round at or after d is started at the latest, when
// rounds are at least short and at most long apart.
func lateBy(d, short, long time.Duration) time.Duration {
	if d <= 0 || short <= 0 {
		return 0
	}
	return min(scale(long, math.Ceil(float64(d)/float64(short))), d+long)
}

// zombieShare is the share of bad rounds of a pool that answers one in three.
const zombieShare = 2.0 / 3

// zombie is the worst case of a pool that answers one round in three: the
// whole window was good before. Rounds are up to longest apart while all is
// well and gap once it is suspected: it may answer as slowly as it fails.
func (r *BreakerRules) zombie(longest, gap, took time.Duration) time.Duration {
	window, every := r.Window.Seconds(), r.Every.Seconds()
	if r.BadRatio <= 0 || every <= 0 || window <= 0 {
		return 0
	}
	cycle := (3 * gap).Seconds()             // a good round and two bad ones
	kept := window * (buckets - 1) / buckets // at least so much of the window is remembered
	if 3*kept/cycle < float64(r.MinRounds) {
		return 0 // it never has enough rounds
	}
	// With nothing but the zombie in it, the window must reach the ratio.
	if rounds := math.Floor(3 * kept / cycle); zombieShare-1/rounds < r.BadRatio {
		return 0
	}
	old := window/(every*(1-jitter/2)) + 1 // good rounds in the window, as close as jitter lets them be
	// 2t/cycle-1 >= ratio * (old - t/every + 3t/cycle): the bad share of all rounds.
	share := (1 + r.BadRatio*old) / ((2-3*r.BadRatio)/cycle + r.BadRatio/every)
	few := float64(r.MinRounds) / 3 * cycle
	whole := window * (buckets + 1) / buckets // nothing of the time before is remembered
	worst := max(min(share, whole), few, r.MinBadTime.Seconds()) + longest.Seconds() + cycle + took.Seconds()
	return time.Duration(worst * float64(time.Second))
}

func scale(d time.Duration, by float64) time.Duration { return time.Duration(float64(d) * by) }
