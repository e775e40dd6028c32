package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"edgewatch/actions"
	"edgewatch/watchdog"
)

// examples are orders as they are typed, without the verb.
var examples = map[watchdog.Verb][]string{
	watchdog.VerbFailover:   {"EdgePool2 site 1 lost its power"},
	watchdog.VerbSwitchover: {"EdgePool2 site 1 loses power tonight"},
	watchdog.VerbFailback:   {"EdgePool1 site 1 has its power back"},
	watchdog.VerbHold:       {"the network is being rebuilt"},
	watchdog.VerbRelease:    {"the network is rebuilt"},
	watchdog.VerbPause:      {"2h patching the Edge Servers"},
	watchdog.VerbResume:     {"patched"},
	watchdog.VerbApprove:    {"EdgePool2 looks right to me"},
	watchdog.VerbDeny:       {"the power is back in a minute"},
	watchdog.VerbAbort:      {"it is the firewall, not the pool"},
	watchdog.VerbRetry:      {"DNS takes updates again"},
	watchdog.VerbSkipStep:   {"verify the partner we look at is down"},
	watchdog.VerbAdopt:      {"EdgePool2 it was moved by hand"},
	watchdog.VerbAck:        {"seen"},
}

// orderCommands are the verbs of the machine's table, a command each.
func (t *tool) orderCommands() []*cobra.Command {
	var out []*cobra.Command
	for _, info := range watchdog.Verbs() {
		out = append(out, t.orderCommand(info))
	}
	return out
}

// orderFlags are the flags of one verb. Those that it does not know are nil.
type orderFlags struct {
	object, reason *string
	force, yes     *bool
}

func (t *tool) orderCommand(info watchdog.VerbInfo) *cobra.Command {
	var lines []string
	for _, e := range examples[info.Verb] {
		lines = append(lines, fmt.Sprintf("  edgewatch %s %s", info.Verb, e))
	}
	cmd := &cobra.Command{Use: info.Form(), Short: capital(info.Means), GroupID: groupChange, Example: strings.Join(lines, "\n")}
	r := remoteFlags(cmd)
	f := orderFlags{reason: cmd.Flags().String("reason", "", "`WHY`, for the journal and the people who are told")}
	switch info.Object {
	case watchdog.ObjectPool:
		f.object = cmd.Flags().String(info.Object.Flag(), "", "the `POOL`")
	case watchdog.ObjectDuration:
		f.object = cmd.Flags().String(info.Object.Flag(), "", "`DURATION`: 30m, 2h, 3d")
	case watchdog.ObjectStep:
		f.object = cmd.Flags().String(info.Object.Flag(), "", "the `STEP`")
	case watchdog.ObjectNone:
	}
	if info.Force {
		f.force = cmd.Flags().Bool("force", false, "although edgewatch advises against it; the preflight still has to pass")
	}
	if info.Asks {
		f.yes = cmd.Flags().BoolP("yes", "y", false, "do not ask; wanted where there is no terminal to ask on")
	}
	cmd.RunE = action(func(cmd *cobra.Command, args []string) error {
		order, err := f.order(info, args)
		if err != nil {
			return usage(err)
		}
		order.Federation = *r.federation
		if f.flagged() && len(args) > 0 {
			if err := t.twice(cmd.Context(), r, info, order); err != nil {
				return err
			}
		}
		return t.order(cmd.Context(), r, info, order, f.yes != nil && !*f.yes)
	})
	return cmd
}

// flagged reports whether the object was said with its flag.
func (f orderFlags) flagged() bool { return f.object != nil && *f.object != "" }

// order is the command that was typed: words as on Slack, or flags that say
// the same.
func (f orderFlags) order(info watchdog.VerbInfo, args []string) (watchdog.Command, error) {
	object := ""
	if f.object != nil {
		object = *f.object
		if object == "" && len(args) > 0 {
			object, args = args[0], args[1:]
		}
	}
	reason := strings.Join(args, " ")
	if *f.reason != "" {
		if reason != "" {
			return watchdog.Command{}, fmt.Errorf("the reason is said twice: %q, and %q in --reason", reason, *f.reason)
		}
		reason = *f.reason
	} else if err := info.Twice(object, f.flagged(), reason, nil); err != nil {
		return watchdog.Command{}, err
	}
	return info.Order(object, reason, f.force != nil && *f.force)
}

// twice refuses an order whose pool was said with a flag and whose reason
// begins with a pool's name: it is not clear which of them is meant.
func (t *tool) twice(ctx context.Context, r remote, info watchdog.VerbInfo, cmd watchdog.Command) error {
	if info.Object != watchdog.ObjectPool {
		return nil
	}
	client, err := r.client()
	if err != nil {
		return err
	}
	snaps, err := client.Status(ctx, cmd.Federation)
	if err != nil {
		return overSocket(known(ctx, client, cmd.Federation, err))
	}
	var pools []string
	for _, s := range snaps {
		for _, p := range s.Pools {
			pools = append(pools, p.Name)
		}
	}
	if err := info.Twice(cmd.Pool, true, cmd.Reason, pools); err != nil {
		return usage(err)
	}
	return nil
}

// order gives an order to the running edgewatch, after it was asked about when
// it must be.
func (t *tool) order(ctx context.Context, r remote, info watchdog.VerbInfo, cmd watchdog.Command, ask bool) error {
	if ask && !t.asks {
		return usage(fmt.Errorf("%s is asked about before it is done, and there is no terminal to ask on: add --yes", info.Verb))
	}
	client, err := r.client()
	if err != nil {
		return err
	}
	if ask {
		snaps, err := client.Status(ctx, cmd.Federation)
		if err != nil {
			return overSocket(known(ctx, client, cmd.Federation, err))
		}
		s, err := only(snaps)
		if err != nil {
			return err
		}
		cmd.Federation = s.Federation
		if err := t.hopeless(ctx, client, cmd); err != nil {
			return err
		}
		if err := t.confirm(s, cmd, r.planned()); err != nil {
			return err
		}
	}
	cmd.ID = "cli-" + rand.Text()
	answer, err := submit(ctx, client, cmd, func() {
		fmt.Fprintf(t.err, "edgewatch: no answer to the command with id %s yet: it is given once more, under the same id\n", cmd.ID)
	})
	if err != nil {
		return overSocket(known(ctx, client, cmd.Federation, err))
	}
	if !answer.Accepted {
		return &failure{exitRefused, fmt.Errorf("refused: %s", answer.Text)}
	}
	fmt.Fprintln(t.out, printable(answer.Text))
	if begins(cmd.Verb) {
		fmt.Fprintf(t.err, "\"edgewatch status%s\" shows how far it is\n", printable(r.which()))
	}
	return nil
}

// hopeless is the machine's refusal of the order as things stand: nobody is
// asked about what will not be done.
func (t *tool) hopeless(ctx context.Context, client submitter, cmd watchdog.Command) error {
	cmd.ID, cmd.Dry = "dry-"+rand.Text(), true
	answer, err := client.Submit(ctx, cmd)
	switch {
	case err != nil:
		return overSocket(err)
	case !answer.Accepted:
		return &failure{exitRefused, fmt.Errorf("refused: %s", answer.Text)}
	}
	return nil
}

// begins reports whether something is under way once the order was accepted.
func begins(verb watchdog.Verb) bool {
	switch verb {
	case watchdog.VerbApprove, watchdog.VerbRetry, watchdog.VerbSkipStep, watchdog.VerbAbort:
		return true
	default:
		return actions.PlanKind(verb).Known()
	}
}
