package probe

import (
	"fmt"
	"slices"
)

// tally counts what the targets of one rank came to.
type tally struct {
	up, degraded, down int
	unsure             int // could not be found out, for reasons of ours or of DNS
	homeless           int // DNS names no address, or no port
	worst              *Result
	dns                *PartnerTarget
}

func (c *tally) answers() int { return c.up + c.degraded }

func (c *tally) take(t *PartnerTarget) {
	if t.Class == NoAddress || t.Class == NXDomain || t.Port == 0 {
		c.homeless++
		c.dns = t
	} else if t.Class != OK {
		c.unsure++
		c.dns = t
	}
	for i := range t.Results {
		r := &t.Results[i]
		switch r.Level {
		case Up:
			c.up++
		case Degraded:
			c.degraded++
		case Down:
			c.down++
		case Inconclusive:
			c.unsure++
		}
		if c.worst == nil || severity[r.Level] > severity[c.worst.Level] {
			c.worst = r
		}
	}
}

// verdict weighs the targets. Up: every address of the best priority that this
// machine can reach answers well. Degraded: some answer. Down: every address
// there is was asked and none answers, by the servers' fault. Everything else
// is Inconclusive, DNS trouble too: it is not the pool that was asked then.
func (v *partnerView) verdict() {
	var best, all tally
	for i := range v.res.Targets {
		t := &v.res.Targets[i]
		all.take(t)
		if t.Priority == v.res.Targets[0].Priority {
			best.take(t)
		}
		for _, c := range t.Remarks {
			v.remark(c)
		}
	}
	switch {
	case best.up > 0 && best.degraded+best.down+best.homeless == 0:
		v.res.Phase, v.res.Class, v.res.Level = PhaseDone, OK, Up
		if all.down+all.degraded+all.homeless > 0 {
			v.remark(BackupDown)
		}
		return
	case all.answers() > 0:
		v.res.Level = Degraded
	case all.down > 0 && all.unsure == 0 && !slices.Contains(v.res.Remarks, TooManyTargets):
		v.res.Level = Down
	default:
		v.res.Level = Inconclusive
	}
	v.explain(best)
}

// explain names the worst of the best targets.
func (v *partnerView) explain(best tally) {
	if r := best.worst; r != nil && (best.dns == nil || severity[r.Level] > 0) {
		v.res.Phase, v.res.Class, v.res.Blame = r.Phase, r.Class, r.Blame
		v.res.Error = fmt.Sprintf("%s: %s", r.Target.Addr, r.Error)
		return
	}
	if t := best.dns; t != nil {
		v.res.Phase, v.res.Class, v.res.Blame = PhaseDNS, t.Class, t.Class.Info().Blame
		v.res.Error = t.Error
	}
}
