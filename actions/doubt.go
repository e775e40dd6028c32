package actions

import (
	"time"
)

// begin makes a run of what progress leaves of the plan. What an earlier run began
// and did not see the end of may be under way still.
func (r *Runner) begin(plan *Plan, chain string, progress Progress) *run {
	plan.Before = progress.Clone()
	x := &run{Runner: r, plan: plan, chain: chain, progress: progress.Clone(), sent: map[progressKey]time.Time{}}
	for key, phase := range progress.last {
		if progress.sent[key] && (phase == Started || phase == Failed) && (key.step != StopServices || !progress.running(key.target)) {
			x.sent[key] = time.Now()
		}
	}
	return x
}

// answered notes whether what was sent to the target was answered.
func (x *run) answered(step StepName, target string, yes bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	key := progressKey{step, target}
	delete(x.sent, key)
	if !yes {
		x.sent[key] = time.Now()
	}
}

// doubt is for how long yet what was sent to the target and not answered may take
// effect, although a look says that it has not: a cmdlet does a while after it
// was sent.
func (x *run) doubt(step StepName, target string) time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	at, unanswered := x.sent[progressKey{step, target}]
	if !unanswered {
		return 0
	}
	return max(0, x.doubtTime()-time.Since(at))
}

// stepDoubt is for how long yet what was sent in the step may take effect, also to
// targets that the plan no longer has.
func (x *run) stepDoubt(name StepName) time.Duration {
	x.mu.Lock()
	defer x.mu.Unlock()
	var d time.Duration
	for key, at := range x.sent {
		if key.step == name {
			d = max(d, x.doubtTime()-time.Since(at))
		}
	}
	return d
}

func (r *Runner) doubtTime() time.Duration { return orDefault(r.Doubt, 30*time.Second) }
