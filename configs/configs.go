// Package configs is the configuration of edgewatch: one YAML file, decoded
// strictly into Config. All problems of a file are reported at once, each
// with its line, column, path and, for a mistyped key, the key that was
// probably meant. Secrets are never in the file: it names files or
// environment variables, which LoadSecrets reads.
//
// The package owns the schema and its rules and knows nothing of the packages
// that the values are handed to. Beside it lie the example files, the JSON
// Schema, the systemd unit and the Slack app manifest.
package configs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"edgewatch/actions"
	"edgewatch/watchdog"
)

// maxSize limits a configuration file; a longer one is some other file, and
// the YAML library takes long over it.
const maxSize = 256 << 10

// Config is a configuration that was read and found valid. File names in it
// are absolute, names of DNS are lower case and without a final dot.
type Config struct {
	// File that holds the journal, what rounds found and how far Slack was told; a lock file is beside it.
	State string `yaml:"state" default:"/var/lib/edgewatch/edgewatch.db" check:"path"`
	// How long rounds are kept in it.
	History History `yaml:"history"`
	// Unix socket that the command line talks to.
	Socket string `yaml:"socket" default:"/run/edgewatch/api.sock" check:"path"`
	// Where edgewatch answers over the network.
	Listen Listen `yaml:"listen"`
	// How the log is written.
	Log Log `yaml:"log"`
	// Where people are told and may command. Left out, there is no Slack.
	Slack *Slack `yaml:"slack,omitempty"`
	// The federations to keep alive.
	Federations []Federation `yaml:"federations" required:"true"`

	// Warnings are what is allowed and still deserves a look, in the order of
	// the file.
	Warnings []Problem `yaml:"-"`

	src *source
}

// Options say how Parse reads.
type Options struct {
	// BaseDir is what relative file names are relative to. Empty means the
	// working directory.
	BaseDir string
}

// Load reads and validates the file. Relative file names in it are relative
// to its directory. An error that concerns its content is of type Errors.
// Files that the configuration names are not touched: see LoadSecrets.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, data, Options{BaseDir: filepath.Dir(path)})
}

// Parse validates data; name is what its problems are reported under. An
// error is of type Errors and holds all problems.
func Parse(name string, data []byte, o Options) (*Config, error) {
	base, err := filepath.Abs(o.BaseDir)
	if err != nil {
		return nil, fmt.Errorf("find base directory: %w", err)
	}
	src := &source{name: name, base: base, at: map[string]position{}}
	c := &Config{src: src}
	if src.decode(data, c) {
		c.inherit()
		c.validate()
	}
	c.Warnings = src.warnings()
	if errs := src.errors(); len(errs) > 0 {
		return nil, errs
	}
	return c, nil
}

// Show prints the configuration in effect, defaults and inherited values
// included, as YAML that Parse accepts. Secrets are not in it; where one is
// referred to, the line ends in "# <secret>".
func (c *Config) Show() ([]byte, error) {
	comments := yaml.CommentMap{}
	c.eachSecret(func(r secret) {
		if r.used() == "" {
			return
		}
		comments["$."+r.used()] = []*yaml.Comment{yaml.LineComment(" " + r.into.Interface().(actions.Secret).String())}
	})
	var b bytes.Buffer
	if err := yaml.NewEncoder(&b, yaml.WithComment(comments), yaml.IndentSequence(true)).Encode(c); err != nil {
		return nil, fmt.Errorf("print configuration: %w", err)
	}
	return b.Bytes(), nil
}

// Federation returns the federation of that name, or nil.
func (c *Config) Federation(name string) *Federation {
	for i := range c.Federations {
		if c.Federations[i].Name == name {
			return &c.Federations[i]
		}
	}
	return nil
}

// Pool returns the pool of that name, or nil.
func (f *Federation) Pool(name string) *Pool {
	for i := range f.Pools {
		if f.Pools[i].Name == name {
			return &f.Pools[i]
		}
	}
	return nil
}

// ManagementOf returns where Set-CsSite runs for the pool: the pool's own
// management host, else the federation's.
func (f *Federation) ManagementOf(p *Pool) Management {
	if p.Management != nil {
		return *p.Management
	}
	return f.Management
}

// acts reports whether edgewatch may change anything by itself or on request.
func (f *Federation) acts() bool {
	return f.Mode == watchdog.ModeApprove || f.Mode == watchdog.ModeAuto
}
