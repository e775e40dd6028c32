package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"edgewatch/configs"
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

// reach are the flags given that say which edgewatch is asked.
func (r remote) reach() string {
	text := ""
	if *r.socket != "" {
		text += " --socket " + quoted(*r.socket)
	}
	if *r.config != "" {
		text += " -c " + quoted(*r.config)
	}
	return text
}

// which are those, and the one that says which federation.
func (r remote) which() string {
	if *r.federation == "" {
		return r.reach()
	}
	return " -f " + quoted(*r.federation) + r.reach()
}

// planned are the flags that a plan of the same federation wants, which is made
// from a configuration. Whoever gave a socket has hardly one at its usual place.
func (r remote) planned() string {
	text := ""
	if *r.federation != "" {
		text += " -f " + quoted(*r.federation)
	}
	switch {
	case *r.config != "":
		text += " -c " + quoted(*r.config)
	case *r.socket != "":
		text += " -c FILE"
	}
	return text
}

// quoted is word as a shell takes it for one.
func quoted(word string) string {
	plain := func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(`_-./:@%+=,`, r)
	}
	if strings.IndexFunc(word, func(r rune) bool { return !plain(r) }) < 0 {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// client connects to nobody yet.
func (r remote) client() (*web.Client, error) {
	switch {
	case *r.socket != "":
		return web.NewClient(*r.socket), nil
	case *r.config == "":
		return web.NewClient(defaultSocket), nil
	}
	socket, err := configs.Socket(*r.config)
	if err != nil {
		return nil, noSocket{unread(err)}
	}
	if socket == "" {
		return nil, noSocket{fmt.Errorf("%s switches the socket off: there is nothing to talk to", *r.config)}
	}
	return web.NewClient(socket), nil
}

// noSocket is an error of a configuration that does not tell where the running
// edgewatch listens. Nothing is known of that edgewatch then.
type noSocket struct{ err error }

// Error implements error.
func (n noSocket) Error() string { return n.err.Error() }

// Unwrap gives the cause.
func (n noSocket) Unwrap() error { return n.err }

// hint is what to do about it.
func (noSocket) hint() string {
	return "the running edgewatch was not asked: it is reached with --socket PATH, by default " + defaultSocket
}

// known is err, with the federations that there are when it says that there is
// no such one. An edgewatch that is too old to name them is asked for them.
func known(ctx context.Context, client *web.Client, federation string, err error) error {
	_, named := errors.AsType[watchdog.NoFederationError](err)
	if named || federation == "" || !errors.Is(err, watchdog.ErrNoFederation) {
		return err
	}
	snaps, serr := client.Status(ctx, "")
	if serr != nil || len(snaps) == 0 {
		return err
	}
	return watchdog.NoFederationError{Name: federation, Known: federations(snaps)}
}

func federations(snaps []*watchdog.Snapshot) []string {
	names := make([]string, len(snaps))
	for i, s := range snaps {
		names[i] = s.Federation
	}
	return names
}

// submitter is what submit asks; *web.Client is one.
type submitter interface {
	Submit(ctx context.Context, cmd watchdog.Command) (watchdog.Answer, error)
}

// submit gives cmd. When the answer is lost, again is called and it is given once
// more under the same id, which is accepted once: the second answer then tells.
func submit(ctx context.Context, to submitter, cmd watchdog.Command, again func()) (watchdog.Answer, error) {
	answer, err := to.Submit(ctx, cmd)
	if !errors.Is(err, web.ErrUnsure) || ctx.Err() != nil {
		return answer, err
	}
	again()
	answer, second := to.Submit(ctx, cmd)
	if second == nil || errors.Is(second, web.ErrUnsure) {
		return answer, second
	}
	return answer, fmt.Errorf("%w; asked again: %s", err, second.Error())
}
