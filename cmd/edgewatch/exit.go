package main

import (
	"errors"
	"io/fs"
	"net"
	"os"

	"github.com/spf13/cobra"

	"edgewatch/watchdog"
	"edgewatch/watchdog/web"
)

// The exit codes; see the package's documentation.
const (
	exitDone        = 0
	exitFailed      = 1
	exitUnsure      = 3
	exitRefused     = 4
	exitDenied      = 5
	exitUnreachable = 6
	exitUsage       = 64
	exitLater       = 75
)

// failure ends the program with a code. Without an error everything that is
// to be said was said.
type failure struct {
	code int
	err  error
}

// Error implements error.
func (f *failure) Error() string {
	if f.err == nil {
		return ""
	}
	return f.err.Error()
}

// Unwrap gives the cause.
func (f *failure) Unwrap() error { return f.err }

// usage marks what is wrong with the command line.
func usage(err error) error { return &failure{exitUsage, err} }

// action is the body of a command. Its errors that are no failure yet end
// with exitFailed.
func action(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		err := f(cmd, args)
		if _, ok := errors.AsType[*failure](err); ok || err == nil {
			return err
		}
		return &failure{exitFailed, err}
	}
}

// overSocket classes an error of a web.Client.
func overSocket(err error) error {
	if err == nil {
		return nil
	}
	code := exitFailed
	_, system := errors.AsType[*os.SyscallError](err)
	_, network := errors.AsType[net.Error](err)
	switch {
	case errors.Is(err, web.ErrUnsure), errors.Is(err, web.ErrNoAnswer):
		code = exitUnsure
	case errors.Is(err, watchdog.ErrStopping):
		code = exitLater
	case errors.Is(err, watchdog.ErrNoFederation):
		code = exitUsage
	case errors.Is(err, fs.ErrPermission):
		code = exitDenied
	case errors.Is(err, web.ErrNoDaemon), system, network:
		code = exitUnreachable
	}
	return &failure{code, err}
}
