package main

import (
	"context"
	"errors"
	"fmt"

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
