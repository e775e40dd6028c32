package watchdog

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
)

// Whatever happens, in whatever order: the auditor finds nothing wrong with what
// the machine decides, and the machine is the same after a replay.
func TestMachineAndAuditorAgree(t *testing.T) {
	seeds := 400
	if testing.Short() {
		seeds = 40
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(uint64(seed), 13)) // #nosec G115 G404 -- the seed must say it all
		word := func(words ...string) string { return words[r.IntN(len(words))] }
		s := newScript(t)
		s.lines("rules grace="+word("0s", "1m")+" unproven="+word("retry", "next")+" approval=10m,"+word("hold", "failover")+" failback=10m,00:00,23:59",
			"mode "+word("auto", "approve"), "boot")
		for range 60 {
			for p, ready := range s.levels.Readiness {
				if ready.Ready {
					s.levels.Readiness[p] = Readiness{At: s.now, Ready: true}
				}
			}
			if s.m.fold.running() && r.IntN(2) == 0 {
				s.lines(word("end ok", "end preflight", "end stop-services interrupted", "end dns-records moved", "end set-route aborted",
					"step stop-services started e3", "step set-route started site", "step preflight already", "end dns-records moved interrupted"))
				continue
			}
			round := "round EdgePool1=" + word("up", "tripped", "tripped", "half", "down") + " EdgePool2=" + word("up", "up", "tripped")
			s.lines(word(fmt.Sprintf("wait %ds", r.IntN(600)), "wait 20s", "wait 10m", "wait 2h", round+" EdgePool3=up", round+" EdgePool3=up", round+" EdgePool3=up", round+" canaries=bad",
				"ready EdgePool1", "ready EdgePool2", "ready EdgePool3", "unready EdgePool2 WinRM", "unready EdgePool3 WinRM",
				"deny no", "deny no", "approve EdgePool2 yes", "approve EdgePool3 yes", "ack", "hold me", "release", "pause 30m me", "resume",
				"failover EdgePool2 --force me", "failover EdgePool1 --force me", "failback EdgePool1 --force me", "switchover EdgePool3 --force me",
				"retry", "abort me", "adopt EdgePool1 me", "adopt EdgePool2 me", "restart", "restart", "mode auto", "mode approve",
				"leap 3h", "leap -3h", "leap 10m", "leap -10m", "wait -5h", "wait -20m", "wait -8760h", "wait 8760h"))
		}
		replayed := NewMachine(s.rules)
		for _, e := range s.kept {
			replayed.Apply(e)
		}
		if !reflect.DeepEqual(replayed.fold, s.m.fold) {
			t.Errorf("seed %d: a replay ends elsewhere", seed)
		}
		if err := s.audit(); err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, s.out.String())
		}
	}
}
