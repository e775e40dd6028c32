package configs

import (
	"time"

	"edgewatch/watchdog"
)

// Times that are shorter than these deserve a word.
const (
	cmdlets  = 30 * time.Second // no run time of them is documented
	services = 2 * time.Minute  // … nor of these, where minutes are usual
	repaired = 5 * time.Minute  // a pool in repair comes and goes for longer
	awake    = time.Minute      // nobody is woken and has looked sooner
)

// shortSteps tells of steps that are given less time than their cmdlets need.
func (r *rules) shortSteps() {
	t := &r.f.Timeouts
	for _, s := range []struct {
		key   string
		d     Duration
		least time.Duration
		why   string
	}{
		{"preflight", t.Preflight, cmdlets, "the cmdlets that it asks of every host take longer, and a pool whose preflight does not end is never ready"},
		{"stop_services", t.StopServices, services, "Stop-CsWindowsService takes longer, and a failover that does not see the services stopped ends there"},
		{"start_services", t.StartServices, services, "Start-CsWindowsService takes longer, and people are told that the services do not run"},
		{"verify", t.Verify, cmdlets, "the configuration takes minutes to reach the Edge Servers, and a failover that went well is told as not proven"},
	} {
		if s.d.Duration < s.least {
			r.warn(r.in("timeouts.%s", s.key), "%s is short: %s", s.d, s.why)
		}
	}
}

// haste tells of settings with which edgewatch acts before anybody, itself
// included, can know better.
func (r *rules) haste() {
	if r.f.Guards.StartupGrace.Duration == 0 {
		r.warn(r.in("guards.startup_grace"), "0s lets edgewatch act right after its own start or a time in which it could see nothing: the same trouble may be behind what it sees")
	}
	if b := r.f.Failback; b.Auto && b.StableFor.Duration < repaired {
		r.warn(r.in("failback.stable_for"), "%s is short: a pool that is being repaired comes and goes, and federation goes back to it by itself", b.StableFor)
	}
	if a := r.f.Approval; r.f.Mode == watchdog.ModeApprove && a.Then == watchdog.ApprovalActs && a.Timeout.Duration > 0 && a.Timeout.Duration < awake {
		r.warn(r.in("approval.timeout"), "%s is short: nobody has looked by then, and the failover that edgewatch asks for begins unasked", a.Timeout)
	}
}
