package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"edgewatch/configs"
	"edgewatch/integration/lab"
	"edgewatch/watchdog"
)

const replayUsage = `Usage: edgelab replay --state FILE -c NEW [-f NAME] [--last 30d] [-o json]

Runs the rounds that edgewatch recorded in its state file, which may be in use,
against the breaker and min_up of another configuration, and says which
incidents these would have caught, how much later, and how often they would
have tripped where there was no incident.

Exit codes: 0 it was replayed, whatever came of it; 1 it could not be; 64 wrong usage

`

// replay is "edgelab replay". It returns the exit code.
func replay(ctx context.Context, in lab.Bubble, args []string, out, errOut io.Writer) int {
	o := lab.ReplayOptions{Now: time.Now()}
	var last, form string
	fs := flag.NewFlagSet("edgelab replay", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.State, "state", "", "the state `FILE` with the rounds")
	fs.StringVar(&o.Config, "config", "", "the configuration `FILE` with the thresholds to try")
	fs.StringVar(&o.Config, "c", "", "short for --config `FILE`")
	fs.StringVar(&o.Federation, "federation", "", "replay only the federation of this `NAME`")
	fs.StringVar(&o.Federation, "f", "", "short for --federation `NAME`")
	fs.StringVar(&last, "last", "", "replay only so much `TIME`, e.g. 30d")
	fs.StringVar(&form, "o", "text", "`FORM` of the output: text or json, which is stable")
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(out, replayUsage)
		fs.SetOutput(out)
		fs.PrintDefaults()
		return 0
	}
	if err == nil {
		err = replayArgs(fs, &o, last, form)
	}
	if err != nil {
		fmt.Fprintf(errOut, "edgelab replay: %v\n\"edgelab replay --help\" tells more\n", err)
		return exitUsage
	}
	report, err := lab.Replay(ctx, in, o)
	if err == nil {
		err = printReplay(out, report, form)
	}
	switch {
	case errors.Is(err, watchdog.ErrNoFederation):
		fmt.Fprintf(errOut, "edgelab replay: %v\n\"edgelab replay --help\" tells more\n", err)
		return exitUsage
	case err != nil:
		fmt.Fprintf(errOut, "edgelab replay: %v\n", err)
		return 1
	}
	return 0
}

// replayArgs holds the command line to what can be replayed.
func replayArgs(fs *flag.FlagSet, o *lab.ReplayOptions, last, form string) error {
	switch {
	case fs.NArg() > 0:
		return fmt.Errorf("unknown argument %q", fs.Arg(0))
	case o.State == "":
		return errors.New("say which state file with --state; it is state: in edgewatch's configuration")
	case o.Config == "":
		return errors.New("say which configuration to try with --config")
	case form != "text" && form != "json":
		return fmt.Errorf("there is no output form %q: known are text and json", form)
	case last == "":
		return nil
	}
	d, err := configs.ParseDuration(last)
	if err != nil || d.Duration == 0 {
		return fmt.Errorf("--last %s: write it like 12h or 30d", last)
	}
	o.Last = d.Duration
	return nil
}

func printReplay(out io.Writer, r *lab.ReplayReport, form string) error {
	if form == "json" {
		enc := json.NewEncoder(out)
		enc.SetEscapeHTML(false)
		enc.SetIndent("", "  ")
		return enc.Encode(r)
	}
	tab := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, f := range r.Federations {
		fmt.Fprintf(tab, "%s: %d rounds from %s to %s\n", f.Federation, f.Rounds, stamp(f.From), stamp(f.To))
		if f.Unrecorded > 0 {
			fmt.Fprintf(tab, "  incidents of which no rounds can be read, which count nowhere: %d\n", f.Unrecorded)
		}
		fmt.Fprintln(tab, "  POOL\tRECORDED\tCAUGHT\tMISSED\tFALSE\tDETECTION")
		for _, p := range f.Pools {
			printReplayed(tab, &p)
		}
		for _, p := range f.Pools {
			for _, t := range p.Trips {
				printTrip(tab, p.Pool, &t)
			}
		}
		fmt.Fprintln(tab)
	}
	if len(r.Federations) > 1 {
		total := r.Total
		total.Pool = "all pools"
		printReplayed(tab, &total)
	}
	for _, n := range r.Notes {
		fmt.Fprintln(tab, "note: "+n)
	}
	fmt.Fprintln(tab, r.Summary)
	return tab.Flush()
}

func printReplayed(out io.Writer, p *lab.PoolReplay) {
	detection := "–"
	if l := p.Later; l != nil {
		detection = fmt.Sprintf("%s (from %s to %s)", lab.SignedDuration(l.Median), lab.SignedDuration(l.Min), lab.SignedDuration(l.Max))
	}
	fmt.Fprintf(out, "  %s\t%d\t%d\t%d\t%d\t%s\n", p.Pool, p.Recorded, p.Caught, p.Missed, p.False, detection)
}

func printTrip(out io.Writer, pool string, t *lab.ReplayedTrip) {
	switch {
	case t.Incident == "":
		end := "to the end"
		if !t.Until.IsZero() {
			end = "for " + t.Until.Sub(t.Replayed).Round(time.Second).String()
		}
		fmt.Fprintf(out, "  %s  %s would have tripped %s, bad since %s: false\n", stamp(t.Replayed), pool, end, stamp(t.Since))
	case t.Replayed.IsZero():
		fmt.Fprintf(out, "  %s  %s tripped (%s): missed\n", stamp(t.Tripped), pool, t.Incident)
	case t.Later == nil:
		fmt.Fprintf(out, "  %s  %s tripped (%s): caught, it would still have been tripped\n", stamp(t.Tripped), pool, t.Incident)
	default:
		fmt.Fprintf(out, "  %s  %s tripped (%s): caught, %s\n", stamp(t.Tripped), pool, t.Incident, lab.SignedDuration(*t.Later))
	}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }
