package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"edgewatch/watchdog"
	"edgewatch/watchdog/app"
)

// statusJSON is what "status -o json" and "why -o json" print.
type statusJSON struct {
	Federations []*watchdog.Snapshot `json:"federations"`
}

// historyJSON is what "history -o json" prints.
type historyJSON struct {
	Entries []watchdog.Entry `json:"entries"`
}

func (t *tool) statusCommand() *cobra.Command {
	cmd := t.readCommand("status", "What is going on", t.printStatus)
	cmd.Long = statusHelp
	return cmd
}

const statusHelp = `Shows every federation: the pools and their servers, what edgewatch will do and
what blocks it, what a person is asked or holds, and the running or last move.

"-o json" prints {"federations": [...]}, one object per federation with the keys
federation, at, mode, state, active, decision (state, will, to, because,
blocked_by, next_at), pools (name, active, verdict, why, breaker, servers,
states, readiness, stopped, quarantined, uptime), canaries, approval (to, since,
until, then), hold, pause, cooldown_until, unproven, guessed, incident, chain
(id, kind, from, to, started_at, ended_at, outcome, which is missing while it
runs, and steps: step, state, already, started_at, took, error), partner, partner_at,
witnesses (url, vantage, at, says, why), vantage, lease_lost, frozen, gone (what
federations that are no longer configured left undone), journal_error,
history_error, last_round, interval and last_seq.
What does not apply is left out; durations are nanoseconds.
It is stable: fields are only ever added.`

func (t *tool) whyCommand() *cobra.Command {
	cmd := t.readCommand("why", "Why edgewatch acts, or does not", t.printWhy)
	cmd.Long = "Shows what edgewatch will do or what keeps it from acting, in its own words, and who holds\n" +
		"it off. \"-o json\" prints what \"status -o json\" does: the reason is in decision."
	return cmd
}

// readCommand is a command that shows the snapshots.
func (t *tool) readCommand(name, short string, show func(*watchdog.Snapshot, time.Time)) *cobra.Command {
	cmd := &cobra.Command{Use: name, Short: short, GroupID: groupRead, Args: noArgs}
	r := remoteFlags(cmd)
	form := outputFlag(cmd)
	cmd.RunE = action(func(cmd *cobra.Command, _ []string) error {
		asJSON, err := wantsJSON(*form)
		if err != nil {
			return err
		}
		t.reach = r.reach()
		client, err := r.client()
		if err != nil {
			return err
		}
		snaps, err := client.Status(cmd.Context(), *r.federation)
		if err != nil {
			return overSocket(known(cmd.Context(), client, *r.federation, err))
		}
		if asJSON {
			return t.printJSON(statusJSON{snaps})
		}
		if len(snaps) == 0 {
			fmt.Fprintln(t.out, "edgewatch is starting: nothing is known yet")
		}
		for i, s := range snaps {
			if i > 0 {
				fmt.Fprintln(t.out)
			}
			show(s, time.Now())
		}
		return nil
	})
	return cmd
}

func (t *tool) printWhy(s *watchdog.Snapshot, now time.Time) {
	d := s.Decision
	t.headline(s)
	t.fact("will", will(d))
	t.fact("because", d.Because)
	if d.BlockedBy != watchdog.GuardNone {
		t.fact("blocked by", string(d.BlockedBy))
	}
	if !d.NextAt.IsZero() {
		t.fact("next at", clock(d.NextAt, now))
	}
	t.fact("mode", string(s.Mode))
	t.printSurroundings(s, now)
	for _, p := range s.Pools {
		if p.Why != "" {
			t.fact(p.Name, p.Why)
		}
		if !p.Active && p.Readiness.Why != "" {
			t.fact(p.Name, "not ready: "+p.Readiness.Why)
		}
	}
}

const historyHelp = `Shows the newest entries of the journal, oldest first.

"-o json" prints {"entries": [...]}, one object per entry with the keys seq, at,
federation, incident (what belongs to one outage), kind, and the one that kind
names: pool (tripped or recovered), decision, command, chain (a move begins), step,
chain_end or notice. What does not apply is left out; durations are nanoseconds.
It is stable: fields are only ever added, and so are kinds.`

func (t *tool) historyCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "history", Short: "What happened lately", GroupID: groupRead, Long: historyHelp}
	r := remoteFlags(cmd)
	form := outputFlag(cmd)
	n := cmd.Flags().IntP("number", "n", 50, "show the `N` newest entries, at most 1000")
	verify := cmd.Flags().String("verify", "", "instead check the journal's hash chain in this state `FILE`, which may be in use")
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if strings.HasPrefix(*verify, "-") {
			return usage(fmt.Errorf("--verify wants the state FILE, not %q: it is the one that the configuration names in state", *verify))
		}
		return noArgs(cmd, args)
	}
	cmd.RunE = action(func(cmd *cobra.Command, _ []string) error {
		asJSON, err := wantsJSON(*form)
		if err != nil {
			return err
		}
		if cmd.Flags().Changed("verify") {
			if err := verifiesOnly(cmd); err != nil {
				return err
			}
			return t.verify(cmd.Context(), *verify, asJSON)
		}
		if *n < 1 || *n > 1000 {
			return usage(fmt.Errorf("-n must be from 1 to 1000, not %d", *n))
		}
		return t.history(cmd.Context(), r, *n, asJSON)
	})
	return cmd
}

// verifiesOnly refuses flags of history that --verify has no use for.
func verifiesOnly(cmd *cobra.Command) error {
	for _, name := range []string{"number", "federation", "socket", "config"} {
		if cmd.Flags().Changed(name) {
			return usage(fmt.Errorf("--verify checks a file and asks no running edgewatch: it takes no --%s", name))
		}
	}
	return nil
}

func (t *tool) history(ctx context.Context, r remote, n int, asJSON bool) error {
	client, err := r.client()
	if err != nil {
		return err
	}
	entries, err := client.History(ctx, *r.federation, n)
	if err != nil {
		return overSocket(known(ctx, client, *r.federation, err))
	}
	if asJSON {
		return t.printJSON(historyJSON{entries})
	}
	if len(entries) == 0 {
		fmt.Fprintln(t.out, "nothing has happened yet")
	}
	tab := table{style: t.style}
	for _, e := range entries {
		text := e.Sentence()
		if e.Command != nil {
			text += " [" + e.Command.ID + "]"
		}
		tab.row(cell{e.At.UTC().Format("2006-01-02 15:04:05Z"), faint}, cell{e.Incident, plain}, cell{text, entryTone(e)})
	}
	tab.print(t.out)
	return nil
}

// verify checks the hash chain of the journal in a state file. It changes
// nothing.
func (t *tool) verify(ctx context.Context, path string, asJSON bool) error {
	head, err := app.VerifyJournal(ctx, path)
	if err != nil {
		return err
	}
	return t.printHead(path, head, asJSON)
}

func entryTone(e watchdog.Entry) tone {
	switch {
	case e.Pool != nil && e.Pool.Tripped, e.ChainEnd != nil && !e.ChainEnd.Outcome.OK, e.Step != nil && e.Step.Error != "":
		return bad
	case e.Pool != nil, e.ChainEnd != nil:
		return good
	case e.Decision != nil && (e.Decision.Will == watchdog.WillHold || e.Decision.Will == watchdog.WillAsk):
		return warning
	}
	return plain
}

func (t *tool) headline(s *watchdog.Snapshot) {
	text := printable(s.Federation + ": " + s.Headline())
	how := strong
	switch {
	case s.JournalError != "", s.State == watchdog.Faulted, s.State == watchdog.Held:
		how = bad
	case s.State != watchdog.Watching:
		how = warning
	}
	fmt.Fprintln(t.out, t.style.paint(how, text))
}

// fact prints one line of a list of names and texts.
func (t *tool) fact(name, text string) {
	pad := strings.Repeat(" ", max(1, 12-len([]rune(name))))
	fmt.Fprintf(t.out, "  %s%s%s\n", t.style.paint(faint, printable(name)), pad, printable(text))
}
