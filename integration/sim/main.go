package sim

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"edgewatch/configs"
	"edgewatch/watchdog"
)

// Main is the command line of the simulator. It ends the process, with 0 when
// every promise was kept, 1 when one was broken or the configuration cannot be
// simulated and 64 when it was called wrongly: virtual time needs a *testing.T,
// and what gives one in an ordinary program does not return.
func Main(args []string, out, errOut io.Writer) {
	c, err := parse(args, out)
	if err == nil {
		err = c.load()
	}
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(0)
	}
	if err != nil {
		os.Exit(complain(err, errOut))
	}
	if c.mutants {
		os.Exit(c.findMutants(out, errOut))
	}
	code := 1
	// Every bubble leaves little behind: to collect it less often saves a
	// quarter of the time.
	debug.SetGCPercent(400)
	os.Args = os.Args[:1]
	testing.Main(regexp.MatchString, []testing.InternalTest{{Name: "TestSim", F: func(t *testing.T) {
		code = c.run(t, out, errOut)
		os.Exit(code)
	}}}, nil, nil)
}

// exitUsage is the exit code of a wrong command line, as edgewatch has it.
const exitUsage = 64

// usageError is what is wrong with the command line.
type usageError struct{ error }

// complain tells what went wrong and answers the exit code.
func complain(err error, errOut io.Writer) int {
	fmt.Fprintf(errOut, "edgelab simulate: %v\n", err)
	if _, ok := errors.AsType[usageError](err); !ok {
		return 1
	}
	fmt.Fprintln(errOut, "\"edgelab simulate --help\" tells more")
	return exitUsage
}

// mutantSeeds is within how many stories every defect has to be found.
const mutantSeeds = 2000

const usage = `Usage: edgelab simulate [--seeds N | --years N | --mutants] [-c FILE] [-o json]

Plays the product in virtual time against an estate in which everything goes
wrong, and holds it to what it promises. The federation of --config is played in
mode auto, whatever its mode is there.

Exit codes: 0 every promise was kept; 1 one was broken, a defect that was put in
was not found, or the configuration cannot be simulated; 64 wrong usage

`

// commandLine is what was asked for.
type commandLine struct {
	Options
	config     string
	federation string
	json       bool
	years      float64
	mutants    bool
	only       string
}

// parse reads the command line. Its errors are of type usageError, or
// flag.ErrHelp when help was asked for and printed.
func parse(args []string, out io.Writer) (*commandLine, error) {
	c := &commandLine{}
	var form string
	fs := flag.NewFlagSet("edgelab simulate", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&c.config, "config", "", "simulate the federation of this `FILE` instead of the shipped example, in mode auto; no secret is read")
	fs.StringVar(&c.config, "c", "", "short for --config `FILE`")
	fs.StringVar(&c.federation, "federation", "", "`NAME` of the federation, when the file has several")
	fs.StringVar(&c.federation, "f", "", "short for --federation `NAME`")
	fs.IntVar(&c.Seeds, "seeds", 200, "play `N` stories; with --mutants at most so many for each defect, there 2000")
	fs.Float64Var(&c.years, "years", 0, "instead of stories, play the faults of `N` years one by one and print figures")
	fs.Uint64Var(&c.From, "from", 1, "the first seed is `N`; the same seed is the same story")
	fs.DurationVar(&c.Life, "life", 40*time.Minute, "`TIME` in which things go wrong in a story, in virtual time")
	fs.IntVar(&c.Workers, "workers", runtime.GOMAXPROCS(0), "play `N` at the same time")
	fs.IntVar(&c.everyDisk, "disk", 5, "every `N`th seed keeps its journal in a real file, the others in memory; 0: none does")
	fs.BoolVar(&c.Witness, "witness", false, "give the federation a witness: another edgewatch that must see the pool down too")
	fs.BoolVar(&c.first, "first", false, "end at the first violation")
	fs.BoolVar(&c.mutants, "mutants", false, "build the product with one defect after another and see that each is found; in the source tree, with Go")
	fs.StringVar(&c.only, "only", "", "of the defects, those whose names contain this `TEXT`")
	fs.StringVar(&form, "o", "text", "`FORM` of the output: text or json")
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(out, usage)
		fs.SetOutput(out)
		fs.PrintDefaults()
		return nil, err
	}
	if err == nil {
		err = c.check(fs, form)
	}
	if err != nil {
		return nil, usageError{err}
	}
	c.json = form == "json"
	return c, nil
}

// check holds the command line to what can be done.
func (c *commandLine) check(fs *flag.FlagSet, form string) error {
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if c.mutants && !given["seeds"] {
		c.Seeds = mutantSeeds
	}
	switch {
	case fs.NArg() > 0:
		return fmt.Errorf("unknown argument %q", fs.Arg(0))
	case form != "text" && form != "json":
		return fmt.Errorf("-o %s: text or json", form)
	case c.Seeds < 1:
		return errors.New("--seeds must be at least 1")
	case given["years"] && (!(c.years > 0) || math.IsInf(c.years, 1)):
		return errors.New("--years must be more than 0")
	case c.Life < time.Minute || c.Life > 24*time.Hour:
		return errors.New("--life must be from 1m to 24h")
	case c.everyDisk < 0:
		return errors.New("--disk must not be negative")
	}
	return c.useless(given)
}

// useless refuses flags that would say nothing beside the others.
func (c *commandLine) useless(given map[string]bool) error {
	dashed := func(name string) string { return strings.Repeat("-", min(len(name), 2)) + name }
	only := func(kind string, takes ...string) error {
		for _, name := range slices.Sorted(maps.Keys(given)) {
			if name != kind && !slices.Contains(takes, name) {
				return fmt.Errorf("%s has no use with --%s", dashed(name), kind)
			}
		}
		return nil
	}
	switch {
	case given["years"]:
		return only("years", "config", "c", "federation", "f", "from", "workers", "witness", "o")
	case c.mutants:
		return only("mutants", "seeds", "only")
	case given["only"]:
		return errors.New("--only has no use without --mutants")
	case c.federation != "" && c.config == "":
		return errors.New("-f has no use without --config")
	}
	return nil
}

// findMutants is --mutants, and answers the exit code.
func (c *commandLine) findMutants(out, errOut io.Writer) int {
	root, err := os.Getwd()
	if err == nil {
		_, err = os.Stat("go.mod")
	}
	if err != nil {
		fmt.Fprintf(errOut, "edgelab simulate: the defects are put into the source tree that this is run in: %v\n", err)
		return exitUsage
	}
	err = FindMutants(context.Background(), root, c.only, c.Seeds, out)
	if _, wrong := errors.AsType[usageError](err); wrong {
		return complain(err, errOut)
	}
	if err != nil {
		return 1 // it said which
	}
	return 0
}

// load takes a federation of an operator's configuration, when one is named.
// Whatever its mode is, it is simulated in mode auto.
func (c *commandLine) load() error {
	if c.config == "" {
		return nil
	}
	cfg, err := configs.Load(c.config)
	if err != nil {
		return err
	}
	known := make([]string, len(cfg.Federations))
	for i := range cfg.Federations {
		known[i] = cfg.Federations[i].Name
	}
	names := strings.Join(known, ", ")
	f := &cfg.Federations[0]
	if c.federation != "" {
		if f = cfg.Federation(c.federation); f == nil {
			return usageError{fmt.Errorf("%w: %q: known are %s", watchdog.ErrNoFederation, c.federation, names)}
		}
	} else if len(known) > 1 {
		return usageError{fmt.Errorf("%s has %s: say which with -f", c.config, names)}
	}
	f.Mode = watchdog.ModeAuto
	c.Federation = f
	return nil
}

// run simulates and prints, and answers the exit code.
func (c *commandLine) run(t *testing.T, out, errOut io.Writer) int {
	t.Helper()
	var report interface{ print(io.Writer) }
	var violations int
	var err error
	c.hung = func(v Violation) {
		r := Report{From: c.From, Violations: []Violation{v}}
		_ = c.show(&r, out)
		os.Exit(1)
	}
	c.progress = func(done int, found *Violation) { // of what takes minutes
		switch {
		case found != nil && c.Seeds >= 10_000: // else it is printed soon enough
			fmt.Fprintf(errOut, "seed %d, at %s: %s is broken: %s\n", found.Seed, found.At, found.Invariant, found.Text)
		case done%10_000 == 0 && done < c.Seeds:
			fmt.Fprintf(errOut, "%d of %d seeds\n", done, c.Seeds)
		}
	}
	if c.years > 0 {
		var r YearsReport
		r, err = Years(t, c.Options, c.years)
		report, violations = &r, len(r.Violations)
	} else {
		var r Report
		r, err = Run(t, c.Options)
		report, violations = &r, len(r.Violations)
	}
	if err != nil {
		return complain(err, errOut)
	}
	if err := c.show(report, out); err != nil {
		fmt.Fprintf(errOut, "edgelab simulate: print the report: %v\n", err)
		return 1
	}
	if violations > 0 {
		return 1
	}
	return 0
}

// show prints a report as was asked for.
func (c *commandLine) show(report interface{ print(io.Writer) }, out io.Writer) error {
	if c.json {
		return json.NewEncoder(out).Encode(report)
	}
	report.print(out)
	return nil
}

// print tells the report to a person: all of the first violation, a line of
// each other.
func (r *Report) print(out io.Writer) {
	for i, v := range r.Violations {
		fmt.Fprintf(out, "seed %d, at %s: %s is broken: %s\n", v.Seed, v.At, v.Invariant, v.Text)
		if i == 0 {
			fmt.Fprintf(out, "%s\n", strings.Join(v.Timeline, "\n"))
		}
	}
	fmt.Fprintf(out, "%s from %d: %s of virtual time in %s (%.0f hours a second), %s, %s, %s\n",
		watchdog.Count(r.Seeds, "seed", "seeds"), r.From, r.Virtual, r.Took, r.PerSecond, watchdog.Count(r.Failovers, "automatic failover", "automatic failovers"),
		watchdog.Count(r.Crashes, "crash and restart", "crashes and restarts"), watchdog.Count(len(r.Violations), "violation", "violations"))
}
