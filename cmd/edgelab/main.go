// Command edgelab is edgewatch on a whole Edge estate in one process: Edge
// pools, name servers, Windows hosts and a Slack, all on loopback, and the
// real product that watches over them. It needs nothing but itself.
//
// Without arguments it takes the first pool down, tells what happens, and
// stays up for play. With --scenario and --exit it plays one scenario, or all,
// prints one line of JSON for each and ends with 0 or 1.
//
// "edgelab simulate" plays the product against a simulated estate in virtual
// time, thousands of stories of it; see package integration/sim.
//
// "edgelab replay" runs the rounds that a real edgewatch recorded against the
// thresholds of another configuration.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/rs/zerolog"

	"edgewatch/integration/lab"
	"edgewatch/integration/sim"
)

// exitUsage is the exit code of a wrong command line, as edgewatch has it.
const exitUsage = 64

const usageText = `Usage:
  edgelab                    the lab: the first pool dies, edgewatch fails it over, and you play on
  edgelab --scenario NAME    another scenario; --list says what each is about
  edgelab --scenario NAME --exit
                             played headless and judged, summed up in one line of JSON; all plays all
  edgelab simulate …         thousands of stories in virtual time; edgelab simulate --help
  edgelab replay …           recorded rounds against other thresholds; edgelab replay --help

Exit codes: 0 all was as it should be; 1 it was not; 64 wrong usage

`

// options are the command line.
type options struct {
	scenario string
	exit     bool
	list     bool
	version  bool
	dir      string
	after    time.Duration
	limit    time.Duration
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "simulate" {
		sim.Main(os.Args[2:], os.Stdout, os.Stderr)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := dispatch(ctx, lab.NewBubble(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// dispatch runs the subcommand, and without one the lab.
func dispatch(ctx context.Context, in lab.Bubble, args []string, stdin io.Reader, out, errOut io.Writer) int {
	if len(args) > 0 && args[0] == "replay" {
		return replay(ctx, in, args[1:], out, errOut)
	}
	return run(ctx, args, stdin, out, errOut)
}

// run is main with everything it touches handed in. It returns the exit code.
func run(ctx context.Context, args []string, in io.Reader, out, errOut io.Writer) int {
	if len(args) == 2 && args[0] == watchdogWord {
		return child(ctx, args[1], in, errOut)
	}
	o, err := parse(args, out)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(errOut, "edgelab: %v\n\"edgelab --help\" tells more\n", err)
		return exitUsage
	}
	switch {
	case o.version:
		fmt.Fprintln(out, build())
		return 0
	case o.list:
		for _, s := range lab.Scenarios() {
			fmt.Fprintf(out, "%-17s%s\n", s.Name, s.About)
		}
		return 0
	case o.scenario == allScenarios && o.exit:
		return playAll(ctx, o, out, errOut)
	case o.scenario == allScenarios:
		fmt.Fprintf(errOut, "edgelab: --scenario %s wants --exit: nobody could follow them all\n", allScenarios)
		return exitUsage
	}
	scenario, err := lab.Find(o.scenario)
	if err != nil {
		fmt.Fprintf(errOut, "edgelab: %v\n\"edgelab --help\" tells more\n", err)
		return exitUsage
	}
	if o.exit {
		return tellReport(headless(ctx, o, scenario), out, errOut)
	}
	if err := show(ctx, o, scenario, in, out); err != nil {
		fmt.Fprintf(errOut, "edgelab: %v\n", err)
		return 1
	}
	return 0
}

// tellReport prints the report as one line of JSON and returns the exit code.
func tellReport(r lab.Report, out, errOut io.Writer) int {
	line, err := json.Marshal(r)
	if err != nil {
		fmt.Fprintf(errOut, "edgelab: print the report: %v\n", err)
		return 1
	}
	fmt.Fprintf(out, "%s\n", line)
	if !r.OK {
		return 1
	}
	return 0
}

func parse(args []string, out io.Writer) (options, error) {
	var o options
	fs := flag.NewFlagSet("edgelab", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.StringVar(&o.scenario, "scenario", "primary-down", "`NAME` of what happens; --list names them, all plays all of them")
	fs.BoolVar(&o.exit, "exit", false, "play the scenario, print one line of JSON and end")
	fs.BoolVar(&o.list, "list", false, "list the scenarios")
	fs.BoolVar(&o.version, "version", false, "print the version")
	fs.StringVar(&o.dir, "dir", "", "keep configuration, log and state in this `DIRECTORY`, which no other lab has used; default: one that is removed at the end")
	fs.DurationVar(&o.after, "after", 8*time.Second, "`TIME` in which all is well before the scenario begins")
	fs.DurationVar(&o.limit, "timeout", 45*time.Second, "`TIME` that a scenario may take with --exit")
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) || err == nil && fs.NArg() > 0 && fs.Arg(0) == "help" {
		fmt.Fprint(out, usageText)
		fs.SetOutput(out)
		fs.PrintDefaults()
		return o, flag.ErrHelp
	}
	if err == nil && fs.NArg() > 0 {
		err = stray(fs.Arg(0))
	}
	return o, err
}

// stray says what is probably meant by a word where there should be none.
func stray(word string) error {
	switch _, err := lab.Find(word); {
	case word == "list" || word == "version":
		return fmt.Errorf("there is no command %q: did you mean --%[1]s?", word)
	case word == allScenarios || err == nil:
		return fmt.Errorf("there is no command %q: did you mean --scenario %[1]s?", word)
	}
	return fmt.Errorf("there is no command %q: there are simulate and replay, and the lab without any", word)
}

// headless plays a scenario without a person. It fails only in its report.
func headless(ctx context.Context, o options, s lab.Scenario) lab.Report {
	ctx, cancel := context.WithTimeout(ctx, o.limit)
	defer cancel()
	failed := func(err error) lab.Report { return lab.Report{Scenario: s.Name, Error: err.Error()} }
	l, end, err := start(ctx, o, s)
	if err != nil {
		return failed(err)
	}
	report := l.Play(ctx, s)
	if err := end(); err != nil && report.OK {
		return failed(fmt.Errorf("end the lab: %w", err))
	}
	return report
}

// start starts a lab in the directory asked for, with the product's log
// beside its state. The func ends it and removes what shall not stay.
func start(ctx context.Context, o options, s lab.Scenario) (*lab.Lab, func() error, error) {
	dir, remove := o.dir, func() error { return nil }
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "edgelab-"); err != nil {
			return nil, nil, fmt.Errorf("make a directory: %w", err)
		}
		remove = func() error { return os.RemoveAll(dir) }
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, nil, fmt.Errorf("make the directory: %w", err)
	}
	logFile, err := os.OpenFile(logName(dir), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("open the log: %w", err), remove())
	}
	lo := lab.Options{Dir: dir, Log: zerolog.New(logFile).With().Timestamp().Logger()}
	if s.Setup != nil {
		s.Setup(&lo)
	}
	if s.Process {
		self, err := os.Executable()
		if err != nil {
			return nil, nil, errors.Join(fmt.Errorf("find this program: %w", err), logFile.Close(), remove())
		}
		lo.Watchdog, lo.Stderr = []string{self, watchdogWord}, logFile
	}
	l, err := lab.Start(ctx, lo)
	if err != nil {
		return nil, nil, errors.Join(err, logFile.Close(), remove())
	}
	return l, func() error { return errors.Join(l.Close(), logFile.Close(), remove()) }, nil
}

func logName(dir string) string { return filepath.Join(dir, "edgewatch.log") }
