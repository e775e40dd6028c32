package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/rs/zerolog"
	"github.com/spf13/cobra"

	"edgewatch/actions"
	"edgewatch/configs"
	"edgewatch/watchdog"
	"edgewatch/watchdog/app"
)

func (t *tool) runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "run",
		Short:   "Watch, and fail over",
		GroupID: groupService,
		Long: "Runs the watchdog until SIGINT or SIGTERM. A failover that is running then is ended\n" +
			"first, with its services started again. A second signal ends at once and says what is\n" +
			"left undone. Under systemd it tells readiness, status and that its loops turn.",
		Args: noArgs,
	}
	file := configFlag(cmd)
	cmd.RunE = action(func(cmd *cobra.Command, _ []string) error {
		cfg, err := load(*file)
		if err == nil {
			err = cfg.LoadSecrets()
		}
		if problems, ok := errors.AsType[configs.Errors](err); ok {
			fmt.Fprintln(t.err, printableLines(problems.Error()))
			return fmt.Errorf("nothing was started: %s in the configuration %s – correct it, \"edgewatch config check -c %s\" shows when it is right", plural(len(problems), "problem"), *file, quoted(*file))
		}
		if err != nil {
			return fmt.Errorf("nothing was started: %w", err)
		}
		return serve(cmd.Context(), cfg, newLogger(os.Stderr, cfg.Log))
	})
	return cmd
}

// serve runs the watchdog to its end. When it returns early because of a
// second signal, the process must end.
func serve(ctx context.Context, cfg *configs.Config, log zerolog.Logger) error {
	// A log that nobody reads any more must not end a failover.
	signal.Ignore(syscall.SIGPIPE)
	stop := make(chan os.Signal, 2)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer signal.Stop(stop)

	b := buildOf()
	for _, p := range cfg.Warnings {
		log.Warn().Str("component", "config").Msg(p.String())
	}
	ready := make(chan struct{})
	a, err := app.New(ctx, cfg, app.Options{Log: log, Version: b.version, Revision: b.revision, Ready: func() { close(ready) }})
	if err != nil {
		return fmt.Errorf("nothing was started: %w", err)
	}
	log.Info().Str("component", "main").Str("version", b.version).Int("federations", len(cfg.Federations)).
		Str("health", a.HealthAddr()).Str("socket", cfg.Socket).Str("state", cfg.State).Msg("edgewatch starts")

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	n := newNotifier(a.Supervisor(), log)
	n.start(ready)
	defer n.stop()
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	err = await(stop, done, func(s os.Signal) {
		log.Info().Str("component", "main").Stringer("signal", s).Msg("edgewatch stops; a second signal ends it at once")
		n.stopping()
		cancel()
	}, func() string { return undone(a.Supervisor().Snapshots(), cfg) })
	if err != nil {
		return err
	}
	n.stop()
	log.Info().Str("component", "main").Msg("edgewatch stopped")
	return nil
}

// await waits for the end: the first signal begins it, a second one cuts it
// short. A further SIGHUP is no second signal: a closed terminal sends some.
func await(signals <-chan os.Signal, done <-chan error, begin func(os.Signal), undone func() string) error {
	stopping := false
	for {
		select {
		case err := <-done:
			return err
		case s := <-signals:
			if stopping && s != syscall.SIGHUP {
				return fmt.Errorf("ended at once by a second signal (%s). %s", s, undone())
			}
			if !stopping {
				stopping = true
				begin(s)
			}
		}
	}
}

// undone says what a process that ends now leaves behind.
func undone(snaps []*watchdog.Snapshot, cfg *configs.Config) string {
	var left []string
	for _, s := range snaps {
		if s.Chain != nil && s.Chain.Outcome == nil {
			left = append(left, unfinished(s.Chain, cfg.Federation(s.Federation)))
		}
	}
	if len(left) == 0 {
		return "No failover was running; nothing is left undone"
	}
	return strings.Join(left, ". ") + ". The next start takes it from there"
}

func unfinished(c *watchdog.ChainStatus, f *configs.Federation) string {
	text, at := fmt.Sprintf("Left undone: %s %s from %s to %s", c.Kind, c.ID, c.From, c.To), ""
	begun := map[actions.StepName]watchdog.StepState{}
	for _, s := range c.Steps {
		begun[s.Step] = s.State
		if s.State == watchdog.StepRunning {
			at = fmt.Sprintf(", in its step %s", s.Step)
		}
	}
	text += at
	stop, stops := begun[actions.StopServices]
	if !stops || stop == watchdog.StepWaiting || begun[actions.StartServices] == watchdog.StepDone {
		return text
	}
	var servers []string
	if f != nil && f.Pool(c.To) != nil {
		for _, s := range f.Pool(c.To).Servers {
			servers = append(servers, s.FQDN)
		}
	}
	return text + fmt.Sprintf("; the services of %s may be STOPPED: run Start-CsWindowsService on %s", c.To, strings.Join(servers, ", "))
}
