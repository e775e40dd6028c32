package sim

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"edgewatch/configs"
	"edgewatch/watchdog"
)

// Main is the command line of the simulator. It ends the process, with 0 when
// every promise was kept, 1 when one was broken and 2 when it was called
// wrongly: virtual time needs a *testing.T, and what gives one in an ordinary
// program does not return.
func Main(args []string, out, errOut io.Writer) {
	c, err := parse(args, errOut)
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case err != nil:
		os.Exit(2)
	}
	code := 2
	os.Args = os.Args[:1]
	testing.Main(regexp.MatchString, []testing.InternalTest{{Name: "TestSim", F: func(t *testing.T) {
		code = c.run(t, out, errOut)
		os.Exit(code)
	}}}, nil, nil)
}

// commandLine is what was asked for.
type commandLine struct {
	Options
	json bool
}

func parse(args []string, errOut io.Writer) (*commandLine, error) {
	c := &commandLine{}
	var config, federation, form string
	fs := flag.NewFlagSet("edgelab simulate", flag.ContinueOnError)
	fs.SetOutput(errOut)
	fs.StringVar(&config, "config", "", "simulate the federation of this `file` instead of the shipped example; no secret is read")
	fs.StringVar(&federation, "f", "", "`name` of the federation, when the file has several")
	fs.IntVar(&c.Seeds, "seeds", 200, "play so `many` stories")
	fs.Uint64Var(&c.From, "from", 1, "the first `seed`; the same seed is the same story")
	fs.DurationVar(&c.Life, "life", 40*time.Minute, "how long things go wrong in a story, in virtual time")
	fs.IntVar(&c.Workers, "workers", runtime.GOMAXPROCS(0), "play so `many` at the same time")
	fs.StringVar(&form, "o", "text", "text or json")
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	err := func() error {
		switch {
		case fs.NArg() > 0:
			return fmt.Errorf("unknown argument %q", fs.Arg(0))
		case form != "text" && form != "json":
			return fmt.Errorf("-o %s: text or json", form)
		case c.Seeds < 1:
			return errors.New("--seeds must be at least 1")
		case c.Life < time.Minute || c.Life > 24*time.Hour:
			return errors.New("--life must be from 1m to 24h")
		case config == "":
			return nil
		}
		var err error
		c.Federation, err = load(config, federation)
		return err
	}()
	if err != nil {
		fmt.Fprintf(errOut, "edgelab simulate: %v\n", err)
		return nil, err
	}
	c.json = form == "json"
	return c, nil
}

// load takes a federation of an operator's configuration. Whatever its mode
// is, it is simulated in mode auto.
func load(file, name string) (*configs.Federation, error) {
	cfg, err := configs.Load(file)
	if err != nil {
		return nil, err
	}
	f := &cfg.Federations[0]
	if name != "" {
		if f = cfg.Federation(name); f == nil {
			return nil, fmt.Errorf("%s has no federation %q", file, name)
		}
	} else if len(cfg.Federations) > 1 {
		return nil, fmt.Errorf("%s has several federations: say which with -f", file)
	}
	f.Mode = watchdog.ModeAuto
	return f, nil
}

// run simulates and prints, and answers the exit code.
func (c *commandLine) run(t *testing.T, out, errOut io.Writer) int {
	t.Helper()
	report, err := Run(t, c.Options)
	if err != nil {
		fmt.Fprintf(errOut, "edgelab simulate: %v\n", err)
		return 2
	}
	if c.json {
		line, err := json.Marshal(report)
		if err != nil {
			fmt.Fprintf(errOut, "edgelab simulate: print the report: %v\n", err)
			return 2
		}
		fmt.Fprintf(out, "%s\n", line)
	} else {
		report.print(out)
	}
	if len(report.Violations) > 0 {
		return 1
	}
	return 0
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
	fmt.Fprintf(out, "%d seeds from %d: %s of virtual time in %s, %d automatic failovers, %d crashes and restarts, %d violations\n",
		r.Seeds, r.From, r.Virtual, r.Took, r.Failovers, r.Crashes, len(r.Violations))
}
