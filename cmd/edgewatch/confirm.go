package main

import (
	"bufio"
	"errors"
	"fmt"
	"strings"
	"time"

	"edgewatch/actions"
	"edgewatch/watchdog"
)

// only is the federation that an order is about, which must be clear before
// anybody is asked.
func only(snaps []*watchdog.Snapshot) (*watchdog.Snapshot, error) {
	switch len(snaps) {
	case 0:
		return nil, &failure{exitLater, errors.New("edgewatch is starting: nothing is known yet")}
	case 1:
		return snaps[0], nil
	}
	return nil, usage(fmt.Errorf("say which federation with -f: %s", strings.Join(federations(snaps), " or ")))
}

// confirm shows what the order will do and asks whether to give it. given are
// the flags that a plan wants too.
func (t *tool) confirm(s *watchdog.Snapshot, cmd watchdog.Command, given string) error {
	fmt.Fprintf(t.err, "Now: %s\n", printable(s.Federation+": "+s.Headline()))
	for _, line := range effect(s, cmd, given) {
		fmt.Fprintln(t.err, printable(line))
	}
	if cmd.Force {
		fmt.Fprintln(t.err, "--force: it is done even where edgewatch advises against it; the preflight still has to pass.")
	}
	fmt.Fprint(t.err, "Do it? [y/N] ")
	said, err := bufio.NewReader(t.in).ReadString('\n')
	if said = strings.ToLower(strings.TrimSpace(said)); err == nil && (said == "y" || said == "yes") {
		return nil
	}
	return &failure{exitFailed, errors.New("nothing was done: it was not confirmed")}
}

// halfWay: the last move took the route along and did not get through.
func halfWay(s *watchdog.Snapshot) bool {
	return s.Chain != nil && s.Chain.Outcome != nil && !s.Chain.Outcome.OK && s.Chain.Outcome.RouteMoved && s.Chain.To == s.Active
}

// effect is what the order will do, if it is accepted.
func effect(s *watchdog.Snapshot, cmd watchdog.Command, given string) []string {
	chain := "the failover"
	if s.Chain != nil {
		chain = fmt.Sprintf("the %s %s to %s", s.Chain.Kind, s.Chain.ID, s.Chain.To)
	}
	switch cmd.Verb {
	case watchdog.VerbAbort:
		if s.Chain != nil && s.Chain.Outcome != nil {
			return []string{fmt.Sprintf("Ends the further tries of %s, which stopped at %s: nothing more is done by itself, and nothing that it changed is rolled back.", chain, s.Chain.Outcome.Step)}
		}
		return []string{fmt.Sprintf("Ends %s: what it stopped is started again, nothing that it changed is rolled back.", chain)}
	case watchdog.VerbSkipStep:
		return []string{fmt.Sprintf("Takes up %s again without %s: what it would prove is not proven.", chain, cmd.Step)}
	case watchdog.VerbAdopt:
		if cmd.Pool == s.Active {
			return []string{fmt.Sprintf("edgewatch takes it that %s carries federation and nothing of %s is left to do, and changes nothing.", cmd.Pool, chain)}
		}
		lines := []string{fmt.Sprintf("edgewatch takes %s for the pool that carries federation, instead of %s, and changes nothing.", cmd.Pool, s.Active)}
		if but := watchdog.Elsewhere(s.Partner, cmd.Pool); but != "" {
			lines = append(lines, fmt.Sprintf("But %s, as last looked at at %s.", but, s.PartnerAt.UTC().Format(time.TimeOnly+" MST")))
		}
		return lines
	default:
	}
	switch {
	case cmd.Pool == s.Active && halfWay(s):
		return []string{fmt.Sprintf("Takes up %s again, which stopped at %s: what is done is left alone.", chain, s.Chain.Outcome.Step)}
	case cmd.Pool == s.Active:
		return []string{fmt.Sprintf("Brings route and records of %s back to %s, which carries federation already; what is right is left alone.", s.Federation, cmd.Pool)}
	}
	return moveEffect(s, actions.PlanKind(cmd.Verb), cmd.Pool, given)
}

// moveEffect is the headline of the plan: what there is to know of it without
// the configuration.
func moveEffect(s *watchdog.Snapshot, kind actions.PlanKind, to, given string) []string {
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
		fmt.Sprintf("Every command of it: edgewatch plan --to %s%s%s", to, flag, given),
	}
}
