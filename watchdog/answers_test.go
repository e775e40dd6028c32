package watchdog

import (
	"slices"
	"strings"
	"testing"
)

// What an order is answered with is what a person goes by.
func TestAnswers(t *testing.T) {
	tests := []struct {
		name  string
		lines []string
		want  []string // in what followed the last line
		never string
	}{
		{
			"a pause replaces another",
			[]string{"boot", "round EdgePool1=up", "pause 2h patching", "pause 1h other"},
			[]string{`paused until 2026-01-02 04:00:00 UTC, instead of until 2026-01-02 05:00:00 UTC by anna for "patching"; a failover`},
			"",
		},
		{
			"a pause that has ended is not replaced",
			[]string{"boot", "pause 1h patching", "wait 2h", "pause 1h other"},
			nil,
			"instead",
		},
		{
			"a name as near to several",
			[]string{"boot", "round EdgePool1=up", "failover EdgePool9 gone"},
			[]string{`there is no pool "EdgePool9": known are EdgePool1, EdgePool2, EdgePool3`},
			"did you mean",
		},
		{
			"a name nearer to one",
			[]string{"boot", "round EdgePool1=up", "failover EgdePool2 gone"},
			[]string{`there is no pool "EgdePool2": did you mean "EdgePool2"?`},
			"known are",
		},
		{
			"an ack with nothing to end, in an incident",
			[]string{"boot", "rules partner=15m", "ready EdgePool2", "round EdgePool1=tripped EdgePool2=up drift=EdgePool2", "ack seen"},
			[]string{"answer: noted, but there was nothing to end; now not acting (drift): EdgePool1 is down, but DNS leads partners of contoso.com to EdgePool2"},
			"cool-down",
		},
		{
			"an ack with nothing to acknowledge",
			[]string{"boot", "round EdgePool1=up", "ack seen"},
			[]string{"refused: there is nothing to acknowledge\n"},
			"",
		},
		{
			"an ack with nothing to acknowledge, while held",
			[]string{"boot", "round EdgePool1=up", "hold patching", "ack seen"},
			[]string{"refused: there is nothing to acknowledge; the hold of anna stays until release"},
			"",
		},
		{
			"an ack ends the cool-down",
			[]string{"failed over a while ago", "boot", "ready EdgePool2", "round EdgePool1=tripped", "ack seen"},
			[]string{"answer: acknowledged: the cool-down is over; now failing over to EdgePool2"},
			"",
		},
		{
			"an ack after an abort, while paused",
			[]string{"boot", "ready EdgePool2", "round EdgePool1=tripped", "abort no", "end preflight aborted", "pause 2h patching", "ack seen"},
			[]string{"answer: acknowledged: it waits for no person any more (the failover to EdgePool2 was aborted by anna)", "; the pause of anna lasts until 2026-01-02 05:00:00 UTC, or until resume"},
			"cool-down",
		},
		{
			"an ack after a no",
			[]string{"mode approve", "boot", "ready EdgePool2", "round EdgePool1=tripped", "deny it comes back", "ack ask me again"},
			[]string{"answer: acknowledged: the no of anna does not count any more; now waiting for approval: EdgePool1 is down"},
			"cool-down",
		},
		{
			"a switchover is called one while it runs",
			[]string{"boot", "ready EdgePool2", "round EdgePool1=up", "switchover EdgePool2 patch day", "failover EdgePool3 now"},
			[]string{"refused: a switchover is running: one at a time"},
			"a failover is",
		},
		{
			"a switchover is called one when it is acknowledged too early",
			[]string{"boot", "ready EdgePool2", "round EdgePool1=up", "switchover EdgePool2 patch day", "ack seen"},
			[]string{"refused: a switchover is running: there is nothing to acknowledge yet"},
			"failover",
		},
		{
			"a pause lets a switchover be carried through",
			[]string{"boot", "ready EdgePool2", "round EdgePool1=up", "switchover EdgePool2 patch day", "pause 1h quiet"},
			[]string{"; the switchover that is running is carried through"},
			"",
		},
		{
			"a failback that stopped half-way is called one",
			[]string{"boot", "ready EdgePool1", "adopt EdgePool2 by hand", "round EdgePool1=up EdgePool2=up", "failback EdgePool1 home", "end dns-records moved", "switchover EdgePool3 no"},
			[]string{"refused: the last failback moved the route and is not through"},
			"failover",
		},
		{
			"a failback that stopped half-way is taken up again as one",
			[]string{"boot", "ready EdgePool1", "adopt EdgePool2 by hand", "round EdgePool1=up EdgePool2=up", "failback EdgePool1 home", "end dns-records moved", "retry"},
			[]string{"the failback contoso-1.1 to EdgePool1 is taken up again now"},
			"",
		},
		{
			"a switchover that is aborted is called one",
			[]string{"boot", "ready EdgePool2", "round EdgePool1=up", "switchover EdgePool2 patch day", "end dns-records moved", "abort leave it"},
			[]string{"aborted: the switchover to EdgePool2 is not tried again by itself", "not acting (unconfirmed): the switchover to EdgePool2 was aborted by anna"},
			"the failover",
		},
		{
			"partners that were not looked at",
			[]string{"boot", "rules partner=15m", "ready EdgePool2", "round EdgePool1=tripped EdgePool2=up"},
			[]string{"what partners find in DNS was not looked at yet: edgewatch waits"},
			"unknown",
		},
		{
			"a no is told with its reason",
			[]string{"mode approve", "boot", "ready EdgePool2", "round EdgePool1=tripped", "deny it comes back"},
			[]string{`but anna denied the failover ("it comes back"): failover EdgePool2 REASON moves federation all the same, an ack lets edgewatch ask again`},
			"",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newScript(t)
			before := 0
			for _, line := range tt.lines {
				before = s.out.Len()
				s.tell(line)
			}
			got := s.out.String()[before:]
			if i := slices.IndexFunc(tt.want, func(w string) bool { return !strings.Contains(got, w) }); i >= 0 {
				t.Errorf("it does not say %q:\n%s", tt.want[i], got)
			}
			if tt.never != "" && strings.Contains(got, tt.never) {
				t.Errorf("it says %q:\n%s", tt.never, got)
			}
		})
	}
}
