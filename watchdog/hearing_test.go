package watchdog_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"edgewatch/watchdog"
	"edgewatch/watchdog/watchdogtest"
)

// gone lets the witness give no answer.
func (b *bystander) gone() {
	b.say(func(context.Context) (watchdog.Testimony, error) {
		return watchdog.Testimony{}, errors.New("connection refused")
	})
}

// told is what people were told of witnesses that are silent, and back.
func told(t *testing.T, j *watchdogtest.MemJournal) (silent, back []string) {
	t.Helper()
	return notices(t, j, watchdog.NoticeWitnessSilent), notices(t, j, watchdog.NoticeWitnessBack)
}

// A witness that is silent, or says only what is old, while all is well is told
// once, over a restart too, and once when it is back: without it nothing would
// move by itself. One that comes and goes is no news.
func TestSilentWitnessIsTold(t *testing.T) {
	for name, silence := range map[string]struct {
		fall func(*bystander)
		want string
	}{
		"gone":  {(*bystander).gone, "connection refused"},
		"stale": {func(b *bystander) { b.sees(watchdog.PoolUp, 40*time.Second) }, "what it saw is 40s old"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, j, b := newEstate(), &watchdogtest.MemJournal{}, &bystander{}
				b.sees(watchdog.PoolUp, 2*time.Second)
				p := watchedBy(t, w, j, b)
				flap := func(n int) {
					for range n {
						silence.fall(b)
						time.Sleep(12 * time.Minute)
						b.sees(watchdog.PoolUp, 2*time.Second)
						time.Sleep(12 * time.Minute)
					}
				}
				time.Sleep(time.Hour)
				flap(5)
				if silent, back := told(t, j); silent != nil || back != nil {
					t.Errorf("told of a witness that comes and goes: %q, %q", silent, back)
				}
				silence.fall(b)
				time.Sleep(21 * time.Minute)
				silent, _ := told(t, j)
				if len(silent) != 1 || !strings.Contains(silent[0], "witness host2 is silent since") || !strings.Contains(silent[0], silence.want) ||
					!strings.Contains(silent[0], "nothing moves by itself until it is back: 0 of 1 witnesses answer, 1 must see the pool down too") {
					t.Errorf("told %q", silent)
				}
				p.stop()
				p = watchedBy(t, w, j, b)
				time.Sleep(time.Hour)
				b.sees(watchdog.PoolUp, 2*time.Second)
				time.Sleep(12 * time.Minute)
				flap(5)
				if silent, back := told(t, j); len(silent) != 1 || back != nil {
					t.Errorf("told again: %q, %q", silent, back)
				}
				time.Sleep(21 * time.Minute)
				if silent, back := told(t, j); len(silent) != 1 || len(back) != 1 || !strings.Contains(back[0], "witness host2 answers again") {
					t.Errorf("told %q, %q", silent, back)
				}
				p.stop()
			})
		})
	}
}

// While our own line is down no witness answers: that says nothing of them.
func TestWitnessesAreNotSilentWhileWeAreCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j, b := newEstate(), &watchdogtest.MemJournal{}, &bystander{}
		b.sees(watchdog.PoolUp, 2*time.Second)
		p := watchedBy(t, w, j, b)
		time.Sleep(time.Hour)
		b.gone()
		w.with(func(w *estate) { w.cutOff = true })
		time.Sleep(6 * time.Hour)
		w.with(func(w *estate) { w.cutOff = false })
		time.Sleep(10 * time.Minute)
		b.sees(watchdog.PoolUp, 2*time.Second)
		time.Sleep(time.Hour)
		if silent, back := told(t, j); silent != nil || back != nil {
			t.Errorf("told %q, %q", silent, back)
		}
		p.stop()
	})
}

// A standstill of our own is no silence of theirs: what was asked is what
// counts, not what time has passed.
func TestWitnessIsNotSilentForOneUnansweredQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j, b := newEstate(), &watchdogtest.MemJournal{}, &bystander{}
		b.sees(watchdog.PoolUp, 2*time.Second)
		p := watchedBy(t, w, j, b, func(s *watchdog.Settings) { s.Watch.SurveyInterval = 2 * time.Hour })
		time.Sleep(time.Hour)
		b.gone()
		time.Sleep(4 * time.Hour)
		if silent, _ := told(t, j); silent != nil {
			t.Errorf("told after two questions: %q", silent)
		}
		time.Sleep(5 * time.Hour)
		if silent, _ := told(t, j); len(silent) != 1 {
			t.Errorf("told %q", silent)
		}
		p.stop()
	})
}
