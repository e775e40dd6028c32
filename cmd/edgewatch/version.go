package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the linker in release builds.
var version string

// build says what this binary was made from.
type build struct{ version, revision string }

func buildOf() build {
	b := build{version: version, revision: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b.named()
	}
	if b.version == "" {
		b.version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.revision = s.Value
		}
	}
	return b.named()
}

// named is b with a version in any case.
func (b build) named() build {
	if b.version == "" || b.version == "(devel)" {
		b.version = "devel"
	}
	return b
}

func (t *tool) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Print the version",
		GroupID: groupAlone,
		Args:    noArgs,
		RunE: action(func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(t.out, versionLine())
			return err
		}),
	}
}

func versionLine() string {
	b := buildOf()
	return fmt.Sprintf("edgewatch %s (revision %s, %s %s/%s)", b.version, b.revision, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
