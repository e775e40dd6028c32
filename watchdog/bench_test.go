package watchdog

import (
	"testing"
	"time"

	"edgewatch/probe"
)

// BenchmarkDecision is what a healthy round costs once its probes are done: two
// pools judged, their breakers fed, the machine asked. Its baseline is judging
// alone.
func BenchmarkDecision(b *testing.B) {
	rules := BreakerRules{
		BadRounds: 5, MinBadTime: 20 * time.Second, Every: 10 * time.Second, Window: 5 * time.Minute, MinRounds: MinRounds, BadRatio: 0.5,
		RetryAfter: 30 * time.Second, GoodRounds: 3,
	}
	results := []probe.Result{{Level: probe.Up, Class: probe.OK}, {Level: probe.Up, Class: probe.OK}}
	canaries := CanaryStatus{Good: 2, Total: 2, OK: true}
	b.Run("judge", func(b *testing.B) {
		for b.Loop() {
			for range 2 {
				Judge(results, 1, canaries, "")
			}
		}
	})
	b.Run("whole", func(b *testing.B) {
		m := NewMachine(testRules())
		at := t0
		ready := m.Step(Input{At: at, Event: Booted{}})
		for _, e := range ready.Entries {
			m.Apply(e)
		}
		detectors := []*detector{newDetector(rules), newDetector(rules)}
		levels := Levels{Since: t0, Readiness: map[string]Readiness{"EdgePool2": {At: t0, Ready: true}}}
		for b.Loop() {
			at = at.Add(10 * time.Second)
			r := &Round{At: at, Canaries: canaries}
			for i, name := range []string{"EdgePool1", "EdgePool2"} {
				p := PoolRound{Pool: name, Results: results}
				p.Verdict, p.Why = Judge(results, 1, canaries, "")
				p.Breaker = detectors[i].feed(at, p.Verdict)
				r.Pools = append(r.Pools, p)
			}
			levels.Round = r
			for _, e := range m.Step(Input{At: at, Levels: levels, Event: Tick{}}).Entries {
				m.Apply(e)
			}
		}
	})
}
