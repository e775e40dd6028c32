// Command edgewatch keeps XMPP federation of Lync and Skype for Business Edge
// pools alive: "edgewatch run" is the watchdog, the other subcommands are its
// operator's tools. Its exit codes:
//
//	 0  done; probe: the server answers
//	 1  failed, or not confirmed; probe: the server is down
//	 3  not known: the probe was inconclusive, a command may or may not have
//	    been accepted, or a running edgewatch was reached and did not answer
//	 4  refused by the running edgewatch, which says why; nothing changed
//	 5  not authorised to use the socket
//	 6  no running edgewatch was reached; nothing changed
//	64  wrong usage; an order that wants --yes where nobody can be asked
//	75  edgewatch is stopping; nothing changed, try again later
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"edgewatch/configs"
	"edgewatch/watchdog"
)

func main() {
	a := newTool(os.Stdin, os.Stdout, os.Stderr)
	os.Exit(a.execute(context.Background(), os.Args[1:]))
}

// tool is one invocation of the program: where it writes, and how.
type tool struct {
	in       io.Reader
	asks     bool // in is a person at a terminal
	out, err io.Writer
	style    style
	args     []string // the command line
	reach    string   // the flags that say which edgewatch was asked
}

func newTool(in, out, stderr *os.File) *tool {
	return &tool{in: in, asks: isTerminal(in), out: out, err: stderr, style: styleOf(out)}
}

// execute runs the command line and returns the exit code.
func (t *tool) execute(ctx context.Context, args []string) int {
	t.args = args
	root := t.root()
	root.SetArgs(args)
	root.SetOut(t.out)
	root.SetErr(t.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	f, ok := errors.AsType[*failure](err)
	if !ok {
		// What cobra itself finds wrong is wrong with the command line.
		f = &failure{code: exitUsage, err: err}
	}
	t.complain(f)
	return f.code
}

// complain tells what went wrong on stderr.
func (t *tool) complain(f *failure) {
	if f.err == nil {
		return
	}
	if problems, ok := errors.AsType[configs.Errors](f.err); ok {
		fmt.Fprintln(t.err, printableLines(problems.Error()))
	} else {
		fmt.Fprintln(t.err, "edgewatch: "+printable(f.err.Error()))
	}
	if lost, ok := errors.AsType[noSocket](f.err); ok {
		fmt.Fprintln(t.err, "edgewatch: "+lost.hint())
	}
	if f.code == exitUsage {
		fmt.Fprintln(t.err, "\"edgewatch --help\" and \"edgewatch COMMAND --help\" tell more")
	}
}

const exitHelp = `Exit codes:
   0  done; probe: the server answers
   1  failed, or not confirmed; probe: the server is down
   3  not known: the probe was inconclusive, a command may or may not have been accepted,
      or a running edgewatch was reached and did not answer
   4  refused by the running edgewatch, which says why; nothing changed
   5  not authorised to use the socket
   6  no running edgewatch was reached; nothing changed
  64  wrong usage; an order that wants --yes where nobody can be asked
  75  edgewatch is stopping; nothing changed, try again later`

func (t *tool) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "edgewatch",
		Short: "Automatic failover of XMPP federation between Edge pools",
		Long: "edgewatch probes the Edge pool that hosts XMPP federation, moves federation to the\n" +
			"next pool when it is down, proves the result and tells people.\n\n" + exitHelp,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs,
		Version:       versionLine(),
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.RunE = action(func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return usage(unknown(cmd, args[0]))
		}
		return usage(nothingSaid())
	})
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if word := t.mistyped(cmd); word != "" {
			return usage(unknown(cmd, word))
		}
		return usage(flagFault(err))
	})
	root.SuggestionsMinimumDistance = 2
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddGroup(
		&cobra.Group{ID: groupService, Title: "The service and its configuration:"},
		&cobra.Group{ID: groupRead, Title: "Look at a running edgewatch:"},
		&cobra.Group{ID: groupChange, Title: "Command a running edgewatch:"},
		&cobra.Group{ID: groupAlone, Title: "Without a running edgewatch:"},
	)
	root.AddCommand(
		t.runCommand(), t.configCommand(),
		t.statusCommand(), t.whyCommand(), t.historyCommand(),
		t.planCommand(), t.probeCommand(), t.backupCommand(), t.versionCommand(),
	)
	root.AddCommand(t.orderCommands()...)
	return root
}

// nothingSaid is the error of a command line without a command.
func nothingSaid() error {
	words := []string{"run", "status", "why", "history"}
	for _, v := range watchdog.Verbs() {
		words = append(words, string(v.Verb))
	}
	return fmt.Errorf("say what to do: %s, plan, probe, backup, config or version", strings.Join(words, ", "))
}

// unknown says that cmd has no command of that name.
func unknown(cmd *cobra.Command, word string) error {
	if near := cmd.SuggestionsFor(word); len(near) > 0 {
		return fmt.Errorf("there is no command %q: did you mean %q?", word, near[0])
	}
	return fmt.Errorf("there is no command %q", word)
}

// mistyped is the word that stands where cmd, of whose flags one is unknown,
// wants the name of a command, which may know that flag. "" when there is none.
func (t *tool) mistyped(cmd *cobra.Command) string {
	after := 0
	if cmd.HasParent() {
		after = slices.Index(t.args, cmd.Name()) + 1
	}
	if !cmd.HasSubCommands() || after >= len(t.args) || strings.HasPrefix(t.args[after], "-") {
		return ""
	}
	return t.args[after]
}

// flagFault tells what a flag takes, in words instead of a parser's.
func flagFault(err error) error {
	if missing, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		flag := missing.GetFlag()
		kind, _ := pflag.UnquoteUsage(flag)
		return fmt.Errorf("--%s wants a value: --%[1]s %s", flag.Name, kind)
	}
	if none, ok := errors.AsType[*pflag.NotExistError](err); ok && none.GetSpecifiedShortnames() != "" {
		return fmt.Errorf("there is no flag -%s, as which -%s is read: a word that begins with a dash goes behind --", none.GetSpecifiedName(), none.GetSpecifiedShortnames())
	}
	wrong, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return err
	}
	takes := ""
	switch flag := wrong.GetFlag(); flag.Value.Type() {
	case "bool":
		takes = "true or false, or nothing"
	case "int":
		takes = "a whole number"
	case "duration":
		takes = "a time with its unit, such as 500ms, 10s or 5m"
	default:
		return err
	}
	return fmt.Errorf("--%s takes %s, not %q", wrong.GetFlag().Name, takes, wrong.GetValue())
}

// noArgs refuses words behind a command that takes none.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	_, err := strconv.Atoi(args[0])
	switch number := cmd.Flags().Lookup("number"); {
	case number != nil && err == nil:
		hint = ": -n " + args[0] + " says how many entries"
	case cmd.Flags().Lookup("federation") != nil:
		hint = ": -f NAME says which federation"
	case cmd.Flags().Lookup("config") != nil:
		hint = ": -c FILE says which configuration"
	}
	return usage(fmt.Errorf("%s takes no argument, and was given %q%s", cmd.Name(), args[0], hint))
}

// The groups of the help text.
const (
	groupService = "service"
	groupRead    = "read"
	groupChange  = "change"
	groupAlone   = "alone"
)
