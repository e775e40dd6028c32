package watchdog_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// bystander is a witness of an estate, with its own opinion.
type bystander struct {
	asked atomic.Int64
	says  atomic.Pointer[func(ctx context.Context) (watchdog.Testimony, error)]
}

func (b *bystander) say(f func(ctx context.Context) (watchdog.Testimony, error)) { b.says.Store(&f) }

// sees lets it say that of EdgePool1, from a round of that age.
func (b *bystander) sees(v watchdog.Verdict, age time.Duration) {
	b.say(func(context.Context) (watchdog.Testimony, error) {
		return watchdog.Testimony{Vantage: "host2", Age: age, Pools: map[string]watchdog.PoolTestimony{
			"EdgePool1": {Verdict: v, Why: "as it says"}, "EdgePool2": {Verdict: watchdog.PoolUp},
		}}, nil
	})
}

// watchedBy starts an engine that has a bystander for a witness.
func watchedBy(t *testing.T, w *estate, j *watchdogtest.MemJournal, b *bystander, change ...func(*watchdog.Settings)) *process {
	t.Helper()
	s := testSettings()
	for _, f := range change {
		f(&s)
	}
	s.Rules.Witnesses, s.Rules.MinDown = []string{"https://ew2.example:8081"}, 1
	s.Watch.Witnesses, s.Watch.WitnessTimeout = s.Rules.Witnesses, 3*time.Second
	senses := w.senses()
	senses.Witness = func(ctx context.Context, url string) (watchdog.Testimony, error) {
		if url != s.Watch.Witnesses[0] {
			t.Errorf("%s was asked", url)
		}
		b.asked.Add(1)
		return (*b.says.Load())(ctx)
	}
	return runEngine(t, s, watchdog.Ports{Senses: senses, Plan: w.plan, Journal: j})
}

func blockedBy(g watchdog.Guard) func(*watchdog.Snapshot) bool {
	return func(s *watchdog.Snapshot) bool { return s.Decision.BlockedBy == g }
}

// Our own way to the pool is cut: the witness sees the pool, nothing moves for
// as long as that lasts, and once the pool is dead it moves without a word.
func TestEngineHeedsItsWitness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j, b := newEstate(), &watchdogtest.MemJournal{}, &bystander{}
		b.sees(watchdog.PoolUp, 2*time.Second)
		p := watchedBy(t, w, j, b)
		time.Sleep(time.Minute + time.Second)
		if n := b.asked.Load(); n != 1 {
			t.Errorf("in peace the witness was asked %d times, once with the survey is right", n)
		}
		if s := p.Snapshot(); len(s.Witnesses) != 1 || s.Witnesses[0].Says != watchdog.SaysUp || s.Witnesses[0].Vantage != "host2" {
			t.Errorf("the status shows %+v", s.Witnesses)
		}
		w.with(func(w *estate) { w.dead["EdgePool1"] = true })
		s := p.until(time.Minute, "held by the witness", blockedBy(watchdog.GuardWitness))
		if !strings.Contains(s.Headline(), "host2 sees it answering (as it says)") {
			t.Errorf("headline %q", s.Headline())
		}
		time.Sleep(6 * time.Hour)
		if got := w.String(); got != onPool1 || has(kinds(t, j), "chain") {
			t.Errorf("six hours later: %s, journal %v", got, kinds(t, j))
		}
		b.sees(watchdog.PoolDown, 2*time.Second)
		p.until(2*time.Minute, "failed over", activeIs("EdgePool2"))
		p.stop()
	})
}

// A witness that sees a dead pool down too makes a failover no later than
// without one.
func TestEngineWithWitnessIsAsFast(t *testing.T) {
	steady := func(s *watchdog.Settings) { s.Watch.Jitter = func() float64 { return 0.5 } }
	took := func(witnessed bool) (d time.Duration) {
		synctest.Test(t, func(t *testing.T) {
			w, j, b := newEstate(), &watchdogtest.MemJournal{}, &bystander{}
			b.sees(watchdog.PoolDown, 5*time.Second)
			var p *process
			if witnessed {
				p = watchedBy(t, w, j, b, steady)
			} else {
				p = startEngine(t, w, j, steady)
			}
			time.Sleep(time.Minute + time.Second)
			w.with(func(w *estate) { w.dead["EdgePool1"] = true })
			began := time.Now()
			p.until(time.Minute, "failing over", func(s *watchdog.Snapshot) bool { return s.State == watchdog.FailingOver })
			d = time.Since(began)
			p.stop()
		})
		return d
	}
	if with, without := took(true), took(false); with > without+time.Second {
		t.Errorf("with a witness it takes %v, without %v", with, without)
	}
}

// Whatever a witness does but see the pool down holds the failover back, costs
// no more than its time limit, and lets go by itself.
func TestEngineBelievesNoBrokenWitness(t *testing.T) {
	for name, c := range map[string]struct {
		say  func(ctx context.Context) (watchdog.Testimony, error)
		want string
	}{
		"hangs": {func(ctx context.Context) (watchdog.Testimony, error) {
			<-ctx.Done()
			return watchdog.Testimony{}, errors.New("it does not answer in time")
		}, "it does not answer in time"},
		"panics": {func(context.Context) (watchdog.Testimony, error) { panic("nil map") }, "a defect in edgewatch: nil map"},
		"is refused": {func(context.Context) (watchdog.Testimony, error) {
			return watchdog.Testimony{}, errors.New("no connection")
		}, "no connection"},
		"is refused, and says down all the same": {func(context.Context) (watchdog.Testimony, error) {
			return watchdog.Testimony{Pools: map[string]watchdog.PoolTestimony{"EdgePool1": {Verdict: watchdog.PoolDown}}}, errors.New("half a word")
		}, "half a word"},
		"says nothing": {func(context.Context) (watchdog.Testimony, error) { return watchdog.Testimony{}, nil }, "it does not know EdgePool1"},
		"is stale": {func(context.Context) (watchdog.Testimony, error) {
			return watchdog.Testimony{Age: time.Minute, Pools: map[string]watchdog.PoolTestimony{"EdgePool1": {Verdict: watchdog.PoolDown}}}, nil
		}, "what it saw is 1m"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, j, b := newEstate(), &watchdogtest.MemJournal{}, &bystander{}
				b.say(c.say)
				p := watchedBy(t, w, j, b)
				time.Sleep(time.Minute + time.Second)
				w.with(func(w *estate) { w.dead["EdgePool1"] = true })
				s := p.until(time.Minute, "held by the witness", blockedBy(watchdog.GuardWitness))
				if !strings.Contains(s.Decision.Because, c.want) || s.Frozen != "" {
					t.Errorf("decision %+v, frozen %q; want %q", s.Decision, s.Frozen, c.want)
				}
				time.Sleep(10 * time.Minute)
				if has(kinds(t, j), "chain") {
					t.Errorf("it moved: %v", kinds(t, j))
				}
				b.sees(watchdog.PoolDown, time.Second)
				p.until(2*time.Minute, "failed over", activeIs("EdgePool2"))
				p.stop()
			})
		})
	}
}

// One witness under two URLs is one, named as what it is, and told while all is
// well; one of an earlier version, which does not say which process it is,
// counts.
func TestWitnessUnderTwoURLsIsOne(t *testing.T) {
	for instance, counts := range map[string]bool{"x": false, "": true} {
		synctest.Test(t, func(t *testing.T) {
			w, j := newEstate(), &watchdogtest.MemJournal{}
			s, senses := testSettings(), w.senses()
			s.Rules.Witnesses, s.Rules.MinDown = []string{"https://ew2.example:8081", "https://other-name.example:8081"}, 2
			s.Watch.Witnesses, s.Watch.WitnessTimeout = s.Rules.Witnesses, 3*time.Second
			senses.Witness = func(context.Context, string) (watchdog.Testimony, error) {
				v := watchdog.PoolUp
				w.with(func(w *estate) {
					if w.dead["EdgePool1"] {
						v = watchdog.PoolDown
					}
				})
				return watchdog.Testimony{Vantage: "host2", Instance: instance, Age: time.Second, Pools: map[string]watchdog.PoolTestimony{"EdgePool1": {Verdict: v}}}, nil
			}
			p := runEngine(t, s, watchdog.Ports{Senses: senses, Plan: w.plan, Journal: j})
			time.Sleep(time.Hour)
			silent, _ := told(t, j)
			if want := "the witness other-name.example:8081 is silent"; counts == (silent != nil) || !counts && !strings.Contains(silent[0], want) {
				t.Errorf("instance %q: told in peace %q", instance, silent)
			}
			w.with(func(w *estate) { w.dead["EdgePool1"] = true })
			if counts {
				p.until(5*time.Minute, "failed over", activeIs("EdgePool2"))
				p.stop()
				return
			}
			got := p.until(time.Minute, "held by the witnesses", blockedBy(watchdog.GuardWitness)).Decision.Because
			if want := "1 of 2 witnesses see that too, 2 must (other-name.example:8081: it is the same edgewatch as https://ew2.example:8081)"; !strings.Contains(got, want) {
				t.Errorf("%q, want %q", got, want)
			}
			time.Sleep(time.Hour)
			p.stop()
			if has(kinds(t, j), "chain") {
				t.Error("failed over because of one witness, two are wanted")
			}
		})
	}
}
