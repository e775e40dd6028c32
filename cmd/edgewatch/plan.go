package main

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"edgewatch/actions"
	"edgewatch/watchdog/app"
)

// planJSON is what "plan -o json" prints.
type planJSON struct {
	Kind       string                `json:"kind"`
	Federation string                `json:"federation"`
	From       string                `json:"from"`
	To         string                `json:"to"`
	Timeout    time.Duration         `json:"timeout"`
	Steps      []actions.StepOutline `json:"steps"`
}

func (t *tool) planCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "plan",
		Short:   "Print every command that a failover or failback would run, in order",
		GroupID: groupAlone,
		Long: "Prints the documented procedure as edgewatch would run it: each step, each host, the\n" +
			"exact cmdlets and DNS updates. It is made from the configuration alone: nobody is\n" +
			"contacted, nothing is changed, no secret is needed or shown.\n\n" +
			"Without a flag that says which, it is a failover. A switchover, the planned move of\n" +
			"a pool that is well, takes the same steps; a failback has an order of its own.\n\n" +
			"\"-o json\" prints one object with the keys kind, federation, from, to, timeout (in\n" +
			"nanoseconds) and steps (step, tasks: target, commands). Fields are only ever added.",
		Args: noArgs,
	}
	file := configFlag(cmd)
	to := cmd.Flags().String("to", "", "`POOL` that takes over (default: the second by preference; the first for a failback)")
	failback := cmd.Flags().Bool("failback", false, "show the way back to a restored pool: nothing is stopped")
	switchover := cmd.Flags().Bool("switchover", false, "show the planned move of a pool that is well")
	federation := federationFlag(cmd)
	form := outputFlag(cmd)
	cmd.RunE = action(func(*cobra.Command, []string) error {
		asJSON, err := wantsJSON(*form)
		if err != nil {
			return err
		}
		kind, err := planKind(*failback, *switchover)
		if err != nil {
			return err
		}
		cfg, err := load(*file)
		if err != nil {
			return err
		}
		plan, err := app.Plan(cfg, kind, *federation, *to)
		if _, ok := errors.AsType[app.NotPlannedError](err); ok {
			return usage(err)
		}
		if err != nil {
			return err
		}
		if asJSON {
			return t.printJSON(planJSON{plan.Kind.String(), plan.Federation, plan.From, plan.To, plan.Timeout, plan.Outline()})
		}
		t.printPlan(plan)
		return nil
	})
	return cmd
}

func planKind(failback, switchover bool) (actions.PlanKind, error) {
	switch {
	case failback && switchover:
		return "", usage(errors.New("--failback and --switchover are two different procedures: say one"))
	case failback:
		return actions.Failback, nil
	case switchover:
		return actions.Switchover, nil
	}
	return actions.Failover, nil
}

// stepMeans says what a step is for, with its number on the page "Failing
// over the Edge pool used for XMPP federation". A failback has another page.
func stepMeans(kind actions.PlanKind, name actions.StepName) string {
	means := failoverMeans(name)
	if kind != actions.Failback {
		return means
	}
	if name == actions.StartServices {
		return "start the services of the restored pool"
	}
	means, _, _ = strings.Cut(means, " (runbook")
	return means
}

func failoverMeans(name actions.StepName) string {
	switch name {
	case actions.Preflight:
		return "all that must hold before anything is touched (runbook step 1)"
	case actions.StopServices:
		return "stop the services of the pool that takes over (runbook step 2)"
	case actions.SetRoute:
		return "move the XMPP federation route (runbook step 3)"
	case actions.DNSRecords:
		return "move the address, add the SRV record if none leads there (runbook steps 4 and 5)"
	case actions.CheckPort:
		return "the port can be reached (runbook step 6)"
	case actions.StartServices:
		return "start the services of the pool that takes over (runbook step 7)"
	case actions.Verify:
		return "proof, as a partner sees it"
	}
	return ""
}

func (t *tool) printPlan(plan *actions.Plan) {
	limits := map[actions.StepName]time.Duration{}
	for _, s := range plan.Steps {
		limits[s.Name] = s.Timeout
	}
	fmt.Fprintln(t.out, t.style.paint(strong, fmt.Sprintf("%s of %s from %s to %s, within %s", capital(plan.Kind.String()), plan.Federation, plan.From, plan.To, span(plan.Timeout))))
	fmt.Fprintf(t.out, "Made from the configuration alone, as if %s carried federation: nobody was contacted, nothing was changed, no secret was read.\n", plan.From)
	for i, s := range plan.Outline() {
		fmt.Fprintf(t.out, "\n%d. %s – %s; within %s\n", i+1, t.style.paint(strong, string(s.Step)), stepMeans(plan.Kind, s.Step), span(limits[s.Step]))
		if len(s.Tasks) == 0 {
			fmt.Fprintln(t.out, "   nothing to do: nothing is configured for it")
		}
		if len(s.Tasks) > 1 {
			fmt.Fprintf(t.out, "   on these %d at the same time:\n", len(s.Tasks))
		}
		for _, task := range s.Tasks {
			fmt.Fprintf(t.out, "   %s\n", printable(task.Target))
			for _, line := range task.Commands {
				fmt.Fprintf(t.out, "      %s\n", printable(line))
			}
		}
	}
	promise := fmt.Sprintf("Once step 2 has begun, the services of %s are started again whatever happens.", plan.To)
	if plan.Kind == actions.Failback {
		promise = "Nothing is stopped."
	}
	fmt.Fprintf(t.out, "\n%s After step 3 nothing is rolled back.\n", promise)
}

// capital is a word of ours with a capital letter.
func capital(word string) string { return strings.ToUpper(word[:1]) + word[1:] }
