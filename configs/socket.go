package configs

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
)

// Socket reads where the edgewatch of a configuration listens, and nothing
// else: who asks a running edgewatch must be able to whatever else is wrong
// with its file by now. "" is no socket. When the file does not tell, or it
// cannot be read for sure, the error is of type Errors; one that has no file
// is an fs error.
func Socket(path string) (string, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("read configuration: %w", err)
	}
	base, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return "", fmt.Errorf("find base directory: %w", err)
	}
	src := &source{name: path, base: base, at: map[string]position{}}
	var c Config
	if !src.decode(data, &c) || src.wrong("socket") || src.meantSocket() {
		return "", src.errors()
	}
	return c.Socket, nil
}

// meantSocket reports whether the file has a key that is none and was probably
// meant to be socket: the default would lead to another edgewatch then.
func (s *source) meantSocket() bool {
	var keys []string
	for field := range reflect.TypeFor[Config]().Fields() {
		keys = append(keys, keyOf(field))
	}
	return !s.given("socket") && slices.ContainsFunc(s.problems, func(p Problem) bool {
		return !slices.Contains(keys, p.Path) && nearest(p.Path, keys) == "socket"
	})
}
