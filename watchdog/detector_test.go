package watchdog

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/probe"
)

// feedFor feeds the verdicts, one every step, over and over, until the
// breaker trips or limit has passed, and says how long that took.
func feedFor(d *detector, step, limit time.Duration, verdicts ...Verdict) (time.Duration, bool) {
	begin := time.Now()
	for i := 0; time.Since(begin) < limit; i++ {
		if d.feed(time.Now(), verdicts[i%len(verdicts)]).Tripped() {
			return time.Since(begin), true
		}
		time.Sleep(step)
	}
	return limit, false
}

func TestDetectorTrips(t *testing.T) {
	rules := BreakerRules{BadRounds: 5, MinBadTime: 20 * time.Second, Window: 5 * time.Minute, MinRounds: 10, BadRatio: 0.5, RetryAfter: 30 * time.Second, GoodRounds: 3}
	tests := []struct {
		name     string
		step     time.Duration
		verdicts []Verdict
		within   time.Duration // 0: never within an hour
	}{
		{"dead, quick rounds: the minimum bad time counts", 2 * time.Second, []Verdict{PoolDown}, 21 * time.Second},
		{"dead, slow rounds: the number counts", 30 * time.Second, []Verdict{PoolDown}, 121 * time.Second},
		{"rounds farther apart than any window", 10 * time.Minute, []Verdict{PoolDown}, 41 * time.Minute},
		{"well", 10 * time.Second, []Verdict{PoolUp}, 0},
		{"degraded is up", 10 * time.Second, []Verdict{PoolDegraded}, 0},
		{"unknown is never down", 10 * time.Second, []Verdict{Inconclusive}, 0},
		{"one bad round in ten", 10 * time.Second, []Verdict{PoolDown, PoolUp, PoolUp, PoolUp, PoolUp, PoolUp, PoolUp, PoolUp, PoolUp, PoolUp}, 0},
		{"a zombie that answers one time in three", 10 * time.Second, []Verdict{PoolUp, PoolDown, PoolDown}, 3 * time.Minute},
		{"bad between unknowns is still consecutive", 10 * time.Second, []Verdict{PoolDown, Inconclusive}, 3 * time.Minute},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				took, tripped := feedFor(newDetector(rules), tt.step, time.Hour, tt.verdicts...)
				if tripped != (tt.within > 0) || (tripped && took > tt.within) {
					t.Errorf("tripped %v after %v, want within %v", tripped, took, tt.within)
				}
				if tripped && took < rules.MinBadTime {
					t.Errorf("tripped after %v, before the minimum bad time", took)
				}
			})
		})
	}
}

// A tripped breaker is trusted again only after GoodRounds good rounds in a
// row, RetryAfter after it tripped; a bad one begins anew.
func TestDetectorRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDetector(BreakerRules{BadRounds: 2, RetryAfter: 30 * time.Second, GoodRounds: 3})
		if _, tripped := feedFor(d, time.Second, time.Minute, PoolDown); !tripped {
			t.Fatal("did not trip")
		}
		since := d.breaker(time.Now()).Since
		feed := func(v Verdict, want BreakerState) {
			t.Helper()
			time.Sleep(5 * time.Second)
			if got := d.feed(time.Now(), v); got.State != want {
				t.Errorf("after %s: %s, want %s", v, got.State, want)
			} else if got.Tripped() && got.Since.Before(since) {
				t.Errorf("tripped since %v, before it tripped at %v", got.Since, since)
			}
		}
		for range 5 {
			feed(PoolUp, BreakerOpen) // too early to count
		}
		feed(PoolUp, BreakerOpen) // exactly RetryAfter: still open
		feed(PoolUp, BreakerHalfOpen)
		feed(PoolDown, BreakerOpen)
		for range 6 {
			feed(PoolUp, BreakerOpen)
		}
		feed(PoolUp, BreakerHalfOpen)
		feed(PoolUp, BreakerHalfOpen)
		feed(PoolUp, BreakerClosed)
	})
}

func TestJudge(t *testing.T) {
	up, degraded := probe.Result{Level: probe.Up}, probe.Result{Level: probe.Degraded}
	down, unclear := probe.Result{Level: probe.Down, Blame: probe.Remote}, probe.Result{}
	good, bad := CanaryStatus{OK: true}, CanaryStatus{Why: "0 of 1 canaries answer"}
	tests := []struct {
		name     string
		results  []probe.Result
		minUp    int
		canaries CanaryStatus
		frozen   string
		want     Verdict
	}{
		{"all up", []probe.Result{up, up}, 1, good, "", PoolUp},
		{"one of two down", []probe.Result{up, down}, 1, good, "", PoolDegraded},
		{"bad certificate", []probe.Result{degraded, up}, 1, good, "", PoolDegraded},
		{"all down", []probe.Result{down, down}, 1, good, "", PoolDown},
		{"one down, one unclear", []probe.Result{down, unclear}, 1, good, "", Inconclusive},
		{"fewer than must be up", []probe.Result{up, down, down}, 2, good, "", Inconclusive},
		{"all down, canaries too", []probe.Result{down, down}, 1, bad, "", Inconclusive},
		{"all down, we were frozen", []probe.Result{down, down}, 1, good, "asleep", Inconclusive},
		{"up counts whatever the canaries say", []probe.Result{up}, 1, bad, "asleep", PoolUp},
		{"nothing probed", nil, 1, good, "", Inconclusive},
		{"min_up 0 still wants an answer", []probe.Result{down}, 0, good, "", PoolDown},
	}
	for _, tt := range tests {
		if got, why := Judge(tt.results, tt.minUp, tt.canaries, tt.frozen); got != tt.want || why == "" {
			t.Errorf("%s: %s (%q), want %s", tt.name, got, why, tt.want)
		}
	}
}

func TestFrozen(t *testing.T) {
	const timeout = 5 * time.Second
	tests := []struct {
		name             string
		late, took, wall time.Duration
		want             string
	}{
		{"in time", time.Second, 3 * time.Second, 3 * time.Second, ""},
		{"the loop was late", time.Minute, time.Second, time.Second, "stood still"},
		{"the round took too long", 0, time.Minute, time.Minute, "took 1m"},
		{"the clock was set forward, or sleep", 0, time.Second, time.Hour, "clock was set"},
		{"the clock was set back", 0, time.Second, -time.Hour, "clock was set"},
	}
	for _, tt := range tests {
		got := frozen(tt.late, tt.took, tt.wall, timeout)
		if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestParseRequest(t *testing.T) {
	tests := []struct {
		in   string
		want Request
		err  string
	}{
		{"", Request{Read: "help"}, ""},
		{"status", Request{Read: "status"}, ""},
		{"WHY -f contoso", Request{Read: "why", Federation: "contoso"}, ""},
		{"-f contoso history 10", Request{Read: "history", Rest: "10", Federation: "contoso"}, ""},
		{"history -f contoso", Request{Read: "history", Federation: "contoso"}, ""},
		{"failover EdgePool2 it is dead", Request{Command: Command{Verb: VerbFailover, Pool: "EdgePool2", Reason: "it is dead"}}, ""},
		{"pause 2h patching", Request{Command: Command{Verb: VerbPause, For: 2 * time.Hour, Reason: "patching"}}, ""},
		{"pause 3d patching -f contoso", Request{Federation: "contoso", Command: Command{Federation: "contoso", Verb: VerbPause, For: 72 * time.Hour, Reason: "patching"}}, ""},
		{"resume", Request{Command: Command{Verb: VerbResume}}, ""},
		{"ack seen it", Request{Command: Command{Verb: VerbAck, Reason: "seen it"}}, ""},
		{"failover EdgePool2", Request{}, "why"},
		{"pause forever because", Request{}, "no duration"},
		{"pause -2h because", Request{}, "no duration"},
		{"stauts", Request{}, `did you mean "status"?`},
		{"explode", Request{}, "known are"},
		{"status -f", Request{}, "wants the name"},
		{"switchover EdgePool2 --force patch day", Request{Command: Command{Verb: VerbSwitchover, Pool: "EdgePool2", Force: true, Reason: "patch day"}}, ""},
		{"skip-step Verify the partner is down", Request{Command: Command{Verb: VerbSkipStep, Step: "verify", Reason: "the partner is down"}}, ""},
		{"hold", Request{}, "say why: hold REASON…"},
		{"hold --force now", Request{}, "hold knows no --force"},
		{"failover --force EdgePool2 now", Request{Command: Command{Verb: VerbFailover, Pool: "EdgePool2", Force: true, Reason: "now"}}, ""},
		{"failover EdgePool2 but not with --force please", Request{}, "--force stands in the reason: write it before the reason if you mean it, else in other words: failover EdgePool2 --force REASON"},
		{"pause 2h nobody uses --force meanwhile", Request{Command: Command{Verb: VerbPause, For: 2 * time.Hour, Reason: "nobody uses --force meanwhile"}}, ""},
		{"pause 1067520d for ever", Request{}, "is no duration"},
		{"pause -213503d patching", Request{}, "is no duration"},
		{"approve", Request{}, "say which pool and why: approve POOL REASON…"},
		{"pause --for 2h patching", Request{Command: Command{Verb: VerbPause, For: 2 * time.Hour, Reason: "patching"}}, ""},
		{"pause --for=2h --reason 3h of patching", Request{Command: Command{Verb: VerbPause, For: 2 * time.Hour, Reason: "3h of patching"}}, ""},
		{"failover --force --to EdgePool2 now", Request{Command: Command{Verb: VerbFailover, Pool: "EdgePool2", Force: true, Reason: "now"}}, ""},
		{"failover --to EdgePool2 --force now", Request{Command: Command{Verb: VerbFailover, Pool: "EdgePool2", Force: true, Reason: "now"}}, ""},
		{"skip-step --step verify --reason=the partner is down", Request{Command: Command{Verb: VerbSkipStep, Step: "verify", Reason: "the partner is down"}}, ""},
		{"hold --reason patching", Request{Command: Command{Verb: VerbHold, Reason: "patching"}}, ""},
		{"switchover EdgePool2 EdgePool1 is being patched", Request{Command: Command{Verb: VerbSwitchover, Pool: "EdgePool2", Reason: "EdgePool1 is being patched"}}, ""},
		{"pause --for", Request{}, "--for wants a DURATION"},
		{"pause --for 2h 3h", Request{}, `the duration is said twice, "2h" and "3h"`},
		{"pause 2h 30m patching", Request{}, `the duration is said twice, "2h" and "30m"`},
		{"skip-step verify check-port both", Request{}, `the step is said twice, "verify" and "check-port"`},
		{"switchover EdgePool2 --to EdgePool1 reason", Request{}, "--to stands behind other words: write it first: switchover --to POOL REASON…"},
	}
	for _, tt := range tests {
		got, err := ParseRequest(strings.Fields(tt.in))
		switch {
		case tt.err == "" && (err != nil || got != tt.want):
			t.Errorf("%q: %+v, %v", tt.in, got, err)
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%q: error %v does not say %q", tt.in, err, tt.err)
		}
	}
}

// Since when a pool is down does not change because one of its servers answers
// once, too few for it to be up.
func TestDownSince(t *testing.T) {
	d := newDetector(BreakerRules{BadRounds: 3, MinBadTime: 20 * time.Second, RetryAfter: time.Hour, GoodRounds: 3})
	at := t0
	var b Breaker
	for range 5 {
		b = d.feed(at, PoolDown)
		at = at.Add(10 * time.Second)
	}
	first := b.Since
	d.some(at)
	d.feed(at, Inconclusive)
	if b = d.feed(at.Add(10*time.Second), PoolDown); !b.Tripped() || !b.Since.Equal(first) {
		t.Errorf("tripped %v, down since %s, was %s", b.Tripped(), b.Since, first)
	}
}
