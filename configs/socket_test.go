package configs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSocketInSpiteOfMistakes: only what says where the socket is has to be
// right, and a socket that was probably meant is never taken for the default.
func TestSocketInSpiteOfMistakes(t *testing.T) {
	t.Parallel()
	const def = "/run/edgewatch/api.sock"
	for name, tt := range map[string]struct{ text, want, problem string }{
		"a valid file":      {"socket: api.sock\nfederations: []\n", "DIR/api.sock", ""},
		"mistakes all over": {"socket: /tmp/x.sock\nlisen: {}\nfederations: 7\n", "/tmp/x.sock", ""},
		"not given":         {"mode: 3\n", def, ""},
		"switched off":      {"socket: ''\nmode: 3\n", "", ""},
		"mistyped":          {"sockt: /tmp/x.sock\n", "", `sockt: unknown key (did you mean "socket"?)`},
		"no text":           {"socket: [1]\n", "", "socket: "},
		"twice":             {"socket: /tmp/a.sock\nsocket: /tmp/b.sock\n", "", "socket: given twice"},
		"no YAML":           {"socket: /tmp/x.sock\n\t- x: [\n", "", "not valid YAML"},
		"empty":             {"", "", "the file is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "edgewatch.yaml")
			if err := os.WriteFile(file, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := Socket(file)
			if tt.problem != "" {
				if _, ok := errors.AsType[Errors](err); !ok || !strings.Contains(err.Error(), tt.problem) {
					t.Errorf("error %v, want %q", err, tt.problem)
				}
				return
			}
			if want := strings.Replace(tt.want, "DIR", dir, 1); got != want || err != nil {
				t.Errorf("%q, %v; want %q", got, err, want)
			}
		})
	}
	if _, err := Socket(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}
