package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"edgewatch/watchdog/app"
)

func (t *tool) backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "backup FILE",
		Short:   "Copy the state file as it is now, while edgewatch runs or not",
		GroupID: groupAlone,
		Long: "Writes all that the state file holds to the new FILE, which needs no other beside it, and\n" +
			"verifies its hash chain. edgewatch may run meanwhile and is not held up. A FILE that\n" +
			"exists is not overwritten. FILE is a backup when this ends with 0, and only then.\n\n" +
			"To restore it: stop edgewatch, move the state file and what begins with its name (-wal,\n" +
			"-shm) away, put FILE in its place, owned by the user that edgewatch runs as, and start.",
		Example: "  edgewatch backup /backup/edgewatch-$(date +%F).db\n  edgewatch backup --state /var/lib/edgewatch/edgewatch.db now.db",
		Args:    cobra.ArbitraryArgs,
	}
	file := configFlag(cmd)
	state := cmd.Flags().String("state", "", "the state `FILE` to copy (default: the one in --config)")
	form := outputFlag(cmd)
	cmd.RunE = action(func(cmd *cobra.Command, args []string) error {
		asJSON, err := wantsJSON(*form)
		if err != nil {
			return err
		}
		if len(args) != 1 || args[0] == "" {
			return usage(errors.New("say where to, in one word: backup FILE"))
		}
		if cmd.Flags().Changed("state") && cmd.Flags().Changed("config") {
			return usage(errors.New("--state and --config both say which state file: give one"))
		}
		from := *state
		if from == "" {
			cfg, err := load(*file)
			if err != nil {
				return fmt.Errorf("no backup was made: %w", err)
			}
			from = cfg.State
		}
		return t.backup(cmd.Context(), from, args[0], asJSON)
	})
	return cmd
}

func (t *tool) backup(ctx context.Context, from, to string, asJSON bool) error {
	head, err := app.Backup(ctx, from, to)
	if err != nil {
		return err
	}
	return t.printHead(to, head, asJSON)
}

// printHead tells that the journal in the state file at path is whole, and how
// far it goes.
func (t *tool) printHead(path string, head app.JournalHead, asJSON bool) error {
	if asJSON {
		return t.printJSON(head)
	}
	if head.Seq == 0 {
		_, err := fmt.Fprintf(t.out, "%s is whole: its journal is empty\n", printable(path))
		return err
	}
	_, err := fmt.Fprintf(t.out, "%s is whole: %d entries, the newest of %s, newest hash %s\n",
		printable(path), head.Seq, head.At.UTC().Format("2006-01-02 15:04:05Z"), head.Hash)
	return err
}
