package configs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestGolden holds every rule: each testdata/invalid-*.yaml and
// warning-*.yaml is told exactly what the .txt beside it says.
func TestGolden(t *testing.T) {
	for _, kind := range []string{"invalid", "warning"} {
		files, err := filepath.Glob("testdata/" + kind + "-*.yaml")
		if err != nil || len(files) == 0 {
			t.Fatalf("no %s files: %v", kind, err)
		}
		for _, file := range files {
			name := strings.TrimSuffix(filepath.Base(file), ".yaml")
			t.Run(name, func(t *testing.T) {
				golden(t, "testdata/"+name+".txt", problems(t, kind, file))
			})
		}
	}
}

// problems gives what a file of that kind is told, one problem a line.
func problems(t *testing.T, kind, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse(filepath.Base(file), data, Options{BaseDir: "/etc/edgewatch"})
	if kind == "warning" {
		if err != nil {
			t.Fatalf("is refused: %v", err)
		}
		return Errors(c.Warnings).Error() + "\n"
	}
	if err == nil {
		t.Fatal("is accepted")
	}
	list, ok := errors.AsType[Errors](err)
	if !ok {
		t.Fatalf("the error is a %T: %[1]v", err)
	}
	for _, p := range list {
		if p.Line == 0 || p.Column == 0 {
			t.Errorf("no place in the file: %s", p)
		}
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the secret shows in %v", err)
	}
	return err.Error() + "\n"
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", file, diff)
	}
}
