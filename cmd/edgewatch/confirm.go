package main

import (
	"bufio"
	"errors"
	"fmt"
	"strings"

	"edgewatch/actions"
	"edgewatch/watchdog"
)

// confirm shows what the order will do and asks whether to give it. It answers
// the federation that the person was shown.
func (t *tool) confirm(snaps []*watchdog.Snapshot, cmd watchdog.Command) (federation string, err error) {
	if len(snaps) == 0 {
		return "", &failure{exitLater, errors.New("edgewatch is starting: nothing is known yet")}
	}
	if len(snaps) > 1 {
		names := make([]string, len(snaps))
		for i, s := range snaps {
			names[i] = s.Federation
		}
		return "", usage(fmt.Errorf("say which federation with -f: %s", strings.Join(names, " or ")))
	}
	s := snaps[0]
	fmt.Fprintf(t.err, "Now: %s\n", printable(s.Federation+": "+s.Headline()))
	for _, line := range effect(s, cmd) {
		fmt.Fprintln(t.err, printable(line))
	}
	if cmd.Force {
		fmt.Fprintln(t.err, "--force: it is done even where edgewatch advises against it; the preflight still has to pass.")
	}
	fmt.Fprint(t.err, "Do it? [y/N] ")
	said, err := bufio.NewReader(t.in).ReadString('\n')
	if said = strings.ToLower(strings.TrimSpace(said)); err == nil && (said == "y" || said == "yes") {
		return s.Federation, nil
	}
	return "", &failure{exitFailed, errors.New("nothing was done: it was not confirmed")}
}

// effect is what the order will do, if it is accepted.
func effect(s *watchdog.Snapshot, cmd watchdog.Command) []string {
	chain := "the failover"
	if s.Chain != nil {
		chain = fmt.Sprintf("the %s %s to %s", s.Chain.Kind, s.Chain.ID, s.Chain.To)
	}
	switch cmd.Verb {
	case watchdog.VerbAbort:
		return []string{fmt.Sprintf("Ends %s: what it stopped is started again, nothing that it changed is rolled back.", chain)}
	case watchdog.VerbSkipStep:
		return []string{fmt.Sprintf("Takes up %s again without %s: what it would prove is not proven.", chain, cmd.Step)}
	case watchdog.VerbAdopt:
		return []string{fmt.Sprintf("edgewatch takes %s for the pool that carries federation, instead of %s, and changes nothing.", cmd.Pool, s.Active)}
	default:
	}
	if cmd.Pool == s.Active {
		return []string{fmt.Sprintf("Brings route and records of %s back to %s, which carries federation already; what is right is left alone.", s.Federation, cmd.Pool)}
	}
	return moveEffect(s, actions.PlanKind(cmd.Verb), cmd.Pool)
}

// moveEffect is the headline of the plan: what there is to know of it without
// the configuration.
func moveEffect(s *watchdog.Snapshot, kind actions.PlanKind, to string) []string {
	var steps []string
	for _, step := range kind.Steps() {
		steps = append(steps, string(step))
	}
	stops, flag := fmt.Sprintf("The services of %s are stopped meanwhile and started again whatever happens.", to), ""
	switch kind {
	case actions.Failback:
		stops, flag = "Nothing is stopped.", " --failback"
	case actions.Switchover:
		flag = " --switchover"
	case actions.Failover:
	}
	return []string{
		fmt.Sprintf("%s of %s from %s to %s: %s.", capital(kind.String()), s.Federation, s.Active, to, strings.Join(steps, ", ")),
		stops + " Once the route has moved nothing is rolled back.",
		fmt.Sprintf("Every command of it: edgewatch plan --to %s%s", to, flag),
	}
}
