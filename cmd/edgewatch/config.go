package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/spf13/cobra"

	"edgewatch/configs"
	"edgewatch/watchdog"
)

// defaultConfig is where the configuration is looked for.
func defaultConfig() string {
	if runtime.GOOS == "windows" {
		return filepath.Join(os.Getenv("ProgramData"), "edgewatch", "edgewatch.yaml")
	}
	return "/etc/edgewatch/edgewatch.yaml"
}

// configFlag adds --config to cmd.
func configFlag(cmd *cobra.Command) *string {
	return cmd.Flags().StringP("config", "c", defaultConfig(), "configuration `FILE`")
}

// load reads and validates the configuration.
func load(file string) (*configs.Config, error) {
	cfg, err := configs.Load(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil, unread(err)
	}
	return cfg, err
}

// unread is err, which kept the configuration from being read, with what to do
// about it.
func unread(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w – write one there, or name another with --config", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w – run this as a user that may read it", err)
	}
	return err
}

func (t *tool) configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Check and show the configuration",
		GroupID: groupService,
		Args:    cobra.ArbitraryArgs,

		SuggestionsMinimumDistance: 2,
		RunE: action(func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage(unknown(cmd, args[0]))
			}
			return usage(errors.New("say what to do: config check, config show or config schema"))
		}),
	}
	cmd.AddCommand(t.configCheckCommand(), t.configShowCommand(), &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration, for editors",
		Args:  noArgs,
		RunE: action(func(*cobra.Command, []string) error {
			_, err := t.out.Write(configs.Schema())
			return err
		}),
	})
	return cmd
}

func (t *tool) configCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Find every mistake of a configuration at once",
		Long: "Prints every mistake as file:line:column: path: message, those of the secrets and\n" +
			"certificates that it names too, and what deserves a look as a warning. It contacts\n" +
			"nobody. Run it as the user that edgewatch runs as, who must be able to read the secrets.",
		Args: noArgs,
	}
	file := configFlag(cmd)
	bare := cmd.Flags().Bool("without-secrets", false, "do not read the files and variables that the configuration names")
	cmd.RunE = action(func(*cobra.Command, []string) error { return t.checkConfig(*file, *bare) })
	return cmd
}

func (t *tool) checkConfig(file string, bare bool) error {
	cfg, err := load(file)
	if err == nil && !bare {
		err = cfg.LoadSecrets()
	}
	warnings := 0
	if cfg != nil {
		warnings = len(cfg.Warnings)
		for _, p := range cfg.Warnings {
			fmt.Fprintln(t.out, printable(p.String()))
		}
	}
	if problems, ok := errors.AsType[configs.Errors](err); ok {
		fmt.Fprintln(t.out, printableLines(problems.Error()))
		fmt.Fprintln(t.out, sum(problems, warnings))
		return &failure{code: exitFailed}
	}
	if err != nil {
		return err
	}
	for _, f := range cfg.Federations {
		fmt.Fprintf(t.out, "%s: ok: federation %s, mode %s, %s\n", printable(file), f.Name, f.Mode, plural(len(f.Pools), "pool"))
		fmt.Fprintf(t.out, "  %s\n  %s\n", f.Detection(), f.Witnessed())
	}
	fmt.Fprintln(t.out, sum(nil, warnings))
	return nil
}

// sum is the last line of a check.
func sum(problems configs.Errors, warnings int) string {
	text := plural(len(problems), "problem")
	separator := ", "
	if len(problems) > 0 && !slices.ContainsFunc(problems, func(p configs.Problem) bool { return !p.Absent }) {
		text += ", all of them files that are not there: --without-secrets checks the rest"
		separator = "; "
	}
	if warnings > 0 {
		text += separator + plural(warnings, "warning")
	}
	return text
}

func (t *tool) configShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print the configuration in effect, defaults included, without secrets",
		Args:  noArgs,
	}
	file := configFlag(cmd)
	cmd.RunE = action(func(*cobra.Command, []string) error {
		cfg, err := load(*file)
		if err != nil {
			return err
		}
		text, err := cfg.Show()
		if err != nil {
			return err
		}
		_, err = t.out.Write(text)
		return err
	})
	return cmd
}

func plural(n int, what string) string { return watchdog.Count(n, what, what+"s") }
