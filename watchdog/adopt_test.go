package watchdog_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/actions"
	"edgewatch/probe"
	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// led starts an engine that sees where the estate's records lead, in looks that
// take a moment, and whose readiness checks take long.
func led(t *testing.T, w *estate, j *watchdogtest.MemJournal) *process {
	t.Helper()
	s, senses := testSettings(), w.senses()
	s.Rules.PartnerAge = 20 * time.Minute
	senses.Partner = func(context.Context) []watchdog.PartnerView {
		time.Sleep(300 * time.Millisecond)
		v := watchdog.PartnerView{Domain: "contoso.com", Level: probe.Up, Text: "xmpp.contoso.com"}
		w.with(func(w *estate) { v.Pool = w.dns })
		return []watchdog.PartnerView{v}
	}
	ready := senses.Ready
	senses.Ready = func(ctx context.Context, pool string) error {
		time.Sleep(50 * time.Second)
		return ready(ctx, pool)
	}
	return runEngine(t, s, watchdog.Ports{Senses: senses, Plan: w.plan, Journal: j})
}

// Whoever adopts a pool to which DNS does not lead is told at once, and again
// within a round or two, by what was looked at since; the way back that the
// notice names is open then.
func TestWrongAdoptionIsToldAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := newEstate(), &watchdogtest.MemJournal{}
		p := led(t, w, j)
		time.Sleep(6 * time.Minute) // in the middle of a survey
		order := func(verb watchdog.Verb) watchdog.Answer {
			a, err := p.Submit(t.Context(), watchdog.Command{ID: string(verb) + time.Now().String(), Verb: verb, Pool: "EdgePool2", Reason: "it is there", Actor: "anna", Via: "cli"})
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		if a := order(watchdog.VerbAdopt); !a.Accepted || !strings.Contains(a.Text, "but DNS leads partners of contoso.com to EdgePool1") {
			t.Errorf("adopt: %+v", a)
		}
		if a := order(watchdog.VerbFailover); a.Accepted || !strings.Contains(a.Text, "where DNS leads partners was not looked at yet") {
			t.Errorf("failover at once: %+v", a)
		}
		p.until(15*time.Second, "told of the drift", func(*watchdog.Snapshot) bool {
			told := notices(t, j, watchdog.NoticeDrift)
			return len(told) == 1 && strings.Contains(told[0], "failover EdgePool2 REASON brings the records back")
		})
		if a := order(watchdog.VerbFailover); !a.Accepted {
			t.Errorf("failover: %+v", a)
		}
		p.until(5*time.Minute, "records brought there", func(*watchdog.Snapshot) bool { return w.count("dns") == 1 })
		p.stop()
	})
}

// What partners find is looked at right after a failover, however it ended.
func TestPartnersAreLookedAtAfterAFailover(t *testing.T) {
	for _, refused := range []string{"", "stop edge3", "dns"} {
		t.Run("refused "+refused, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, j := newEstate(), &watchdogtest.MemJournal{}
				p := led(t, w, j)
				time.Sleep(time.Minute)
				if refused != "" {
					w.with(func(w *estate) {
						w.refuse[refused] = &actions.Error{Kind: actions.Rejected, Host: "edge3", Op: refused, Next: "grant it", Err: errors.New("access denied")}
					})
				}
				p.order(watchdog.Command{Verb: watchdog.VerbFailover, Pool: "EdgePool2", Reason: "go", Force: true})
				s := p.until(5*time.Minute, "over", func(s *watchdog.Snapshot) bool { return s.Chain != nil && s.Chain.Outcome != nil })
				time.Sleep(time.Second)
				synctest.Wait()
				if at := p.Snapshot().PartnerAt; at.Before(s.Chain.EndedAt) {
					t.Errorf("looked at %s, the failover ended %s", at, s.Chain.EndedAt)
				}
				p.stop()
			})
		})
	}
}
