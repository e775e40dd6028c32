package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"edgewatch/watchdog"
	"edgewatch/watchdog/web"
)

// defaultSocket is where a running edgewatch listens unless its configuration
// says otherwise.
const defaultSocket = "/run/edgewatch/api.sock"

// remote are the flags of commands that talk to a running edgewatch.
type remote struct {
	socket     *string
	config     *string
	federation *string
}

func remoteFlags(cmd *cobra.Command) remote {
	return remote{
		socket:     cmd.Flags().String("socket", "", "unix socket `PATH` of the running edgewatch (default: the one in --config, else "+defaultSocket+")"),
		config:     cmd.Flags().StringP("config", "c", "", "configuration `FILE` that names the socket"),
		federation: federationFlag(cmd),
	}
}

// client connects to nobody yet.
func (r remote) client() (*web.Client, error) {
	switch {
	case *r.socket != "":
		return web.NewClient(*r.socket), nil
	case *r.config == "":
		return web.NewClient(defaultSocket), nil
	}
	cfg, err := load(*r.config)
	if err != nil {
		return nil, err
	}
	if cfg.Socket == "" {
		return nil, fmt.Errorf("%s switches the socket off: there is nothing to talk to", *r.config)
	}
	return web.NewClient(cfg.Socket), nil
}

func (t *tool) failoverCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "failover POOL REASON…",
		Short:   "Move federation to a pool now, whatever the probes say",
		GroupID: groupChange,
		Example: "  edgewatch failover EdgePool2 site 1 loses power tonight\n  edgewatch failover --to EdgePool2 --reason \"site 1 loses power tonight\"",
	}
	r := remoteFlags(cmd)
	to := cmd.Flags().String("to", "", "`POOL` that takes over")
	reason := reasonFlag(cmd)
	cmd.RunE = action(func(cmd *cobra.Command, args []string) error {
		return t.order(cmd.Context(), r, words(watchdog.VerbFailover, *to, args, *reason))
	})
	return cmd
}

func (t *tool) pauseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "pause DURATION REASON…",
		Short:   "No automatic failover for so long",
		GroupID: groupChange,
		Example: "  edgewatch pause 2h patching the Edge Servers\n  edgewatch pause --for 2h --reason \"patching the Edge Servers\"",
	}
	r := remoteFlags(cmd)
	length := cmd.Flags().String("for", "", "`DURATION` of the pause: 30m, 2h, 3d")
	reason := reasonFlag(cmd)
	cmd.RunE = action(func(cmd *cobra.Command, args []string) error {
		return t.order(cmd.Context(), r, words(watchdog.VerbPause, *length, args, *reason))
	})
	return cmd
}

func (t *tool) resumeCommand() *cobra.Command {
	return t.plainOrder(watchdog.VerbResume, "End the pause")
}

func (t *tool) ackCommand() *cobra.Command {
	return t.plainOrder(watchdog.VerbAck, "Seen: end the cool-down and what waits for a person")
}

// plainOrder is a command that takes nothing but a reason.
func (t *tool) plainOrder(verb watchdog.Verb, short string) *cobra.Command {
	cmd := &cobra.Command{Use: string(verb) + " [REASON…]", Short: short, GroupID: groupChange}
	r := remoteFlags(cmd)
	reason := reasonFlag(cmd)
	cmd.RunE = action(func(cmd *cobra.Command, args []string) error {
		return t.order(cmd.Context(), r, words(verb, "", args, *reason))
	})
	return cmd
}

func reasonFlag(cmd *cobra.Command) *string {
	return cmd.Flags().String("reason", "", "`WHY`, for the journal and the people who are told")
}

// words are what the same order is on Slack.
func words(verb watchdog.Verb, object string, args []string, reason string) []string {
	out := []string{string(verb)}
	if object != "" {
		out = append(out, object)
	}
	out = append(out, args...)
	return append(out, strings.Fields(reason)...)
}

// order parses an order as Slack does and gives it to the running edgewatch.
func (t *tool) order(ctx context.Context, r remote, words []string) error {
	req, err := watchdog.ParseRequest(words)
	if err != nil {
		return usage(err)
	}
	client, err := r.client()
	if err != nil {
		return err
	}
	cmd := req.Command
	cmd.Federation = *r.federation
	cmd.ID = "cli-" + rand.Text()
	answer, err := submit(ctx, client, cmd)
	if err != nil {
		return overSocket(err)
	}
	if !answer.Accepted {
		return &failure{exitRefused, fmt.Errorf("refused: %s", answer.Text)}
	}
	fmt.Fprintln(t.out, printable(answer.Text))
	if cmd.Verb == watchdog.VerbFailover {
		fmt.Fprintln(t.err, "\"edgewatch status\" shows how far it is")
	}
	return nil
}

// submitter is what submit asks; *web.Client is one.
type submitter interface {
	Submit(ctx context.Context, cmd watchdog.Command) (watchdog.Answer, error)
}

// submit gives cmd. When the answer is lost it is given once more under the
// same id, which is accepted once: the second answer then tells.
func submit(ctx context.Context, to submitter, cmd watchdog.Command) (watchdog.Answer, error) {
	answer, err := to.Submit(ctx, cmd)
	if !errors.Is(err, web.ErrUnsure) || ctx.Err() != nil {
		return answer, err
	}
	answer, again := to.Submit(ctx, cmd)
	if again == nil {
		return answer, nil
	}
	return answer, fmt.Errorf("%w; asked again: %s", err, again.Error())
}
