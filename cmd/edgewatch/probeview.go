package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"edgewatch/probe"
)

func (t *tool) printResults(results []probe.Result) {
	now := time.Now()
	tab := table{style: t.style}
	tab.header("ADDRESS", "LEVEL", "CLASS", "PHASE", "BLAME", "TOOK", "CERTIFICATE", "TLS", "PHASES")
	for i := range results {
		r := &results[i]
		version := "–"
		if r.TLS != nil {
			version = r.TLS.Version
		}
		tab.row(cell{r.Target.Addr.String(), plain}, levelCell(r.Level), cell{className(r), plain}, cell{r.Phase.String(), plain},
			blameCell(r.Blame), cell{span(r.Took), plain}, certCell(r, now), cell{version, plain}, cell{phaseTimes(r), faint})
	}
	tab.print(t.out)
	for i := range results {
		t.explain(&results[i])
	}
}

// blameCell is whose fault it was; nobody's, where there is none or it is not
// clear.
func blameCell(b probe.Blame) cell {
	if b == probe.Unclear {
		return cell{"–", faint}
	}
	return cell{b.String(), plain}
}

func phaseTimes(r *probe.Result) string {
	parts := make([]string, len(r.Phases))
	for i, p := range r.Phases {
		parts[i] = p.Phase.String() + " " + span(p.Took)
	}
	return strings.Join(parts, ", ")
}

// explain says what is wrong with an address and what to check.
func (t *tool) explain(r *probe.Result) {
	say := func(format string, args ...any) {
		fmt.Fprintln(t.out, printable(fmt.Sprintf(format, args...)))
	}
	if r.Class != probe.OK {
		say("%s: %s", r.Target.Addr, r.Error)
		if means := r.Class.Meaning(); means != "" {
			say("  %s: %s", r.Class, means)
		}
	}
	if r.Cert != nil {
		for _, c := range r.Cert.Problems {
			if c != r.Class {
				say("  %s: %s", c, c.Meaning())
			}
		}
	}
	for _, c := range r.Remarks {
		say("  remark %s: %s", c, c.Meaning())
	}
}

func (t *tool) printTargets(res probe.PartnerResult) {
	fmt.Fprintln(t.out)
	tab := table{style: t.style}
	tab.header("PRIORITY", "WEIGHT", "TARGET", "ADDRESSES")
	var results []probe.Result
	for _, target := range res.Targets {
		var addrs []string
		for _, r := range target.Results {
			addrs = append(addrs, r.Target.Addr.Addr().String())
			if !slices.ContainsFunc(results, func(seen probe.Result) bool { return seen.Target == r.Target }) {
				results = append(results, r)
			}
		}
		if target.Class != probe.OK {
			addrs = append(addrs, target.Error)
		}
		name := fmt.Sprintf("%s:%d", strings.TrimSuffix(target.Target, "."), target.Port)
		tab.row(cell{fmt.Sprint(target.Priority), plain}, cell{fmt.Sprint(target.Weight), plain}, cell{name, plain}, cell{strings.Join(addrs, ", "), plain})
	}
	if len(res.Targets) > 0 {
		tab.print(t.out)
	}
	if len(results) > 0 {
		fmt.Fprintln(t.out)
		t.printResults(results)
	}
}

// printClasses prints the list of classes.
func (t *tool) printClasses(form string) error {
	asJSON, err := wantsJSON(form)
	if err != nil {
		return err
	}
	if asJSON {
		return t.printJSON(probe.Classes())
	}
	for _, c := range probe.Classes() {
		words := make([]string, len(c.Phases))
		for i, p := range c.Phases {
			words[i] = p.String()
		}
		fmt.Fprintf(t.out, "%s  (%s, blame %s, in %s)\n    %s\n", t.style.paint(strong, string(c.Class)), c.Level, c.Blame, strings.Join(words, " "), c.Means)
	}
	return nil
}
