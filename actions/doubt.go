package actions

import "time"

// begin makes a run of what progress leaves of the plan. A stop that an earlier
// run began and did not see the end of may be under way still.
func (r *Runner) begin(plan *Plan, chain string, progress Progress) *run {
	x := &run{Runner: r, plan: plan, chain: chain, progress: progress.Clone(), stopping: map[string]time.Time{}}
	for key, phase := range progress.last {
		if key.step == StopServices && key.target != "" && phase == Started {
			x.stopping[key.target] = time.Now()
		}
	}
	return x
}

// stops notes that the server's stop was sent and not answered, or that it was.
func (x *run) stops(server string, unanswered bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	delete(x.stopping, server)
	if unanswered {
		x.stopping[server] = time.Now()
	}
}

// mayStop reports whether the server may stop yet although it is seen running:
// a cmdlet takes effect a while after it was sent.
func (x *run) mayStop(server string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	since, unanswered := x.stopping[server]
	return unanswered && time.Since(since) < x.doubtTime()
}

func (r *Runner) doubtTime() time.Duration { return orDefault(r.Doubt, 30*time.Second) }
