package probe_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"

	"edgewatch/probe"
)

// declared reads the words of all constants of type Class from the source.
func declared(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "class.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := spec.Type.(*ast.Ident); !ok || id.Name != "Class" {
			return true
		}
		for _, v := range spec.Values {
			lit, ok := v.(*ast.BasicLit)
			if !ok {
				t.Fatalf("constant %s is not a literal", spec.Names[0])
			}
			word, err := strconv.Unquote(lit.Value)
			if err != nil {
				t.Fatal(err)
			}
			words = append(words, word)
		}
		return true
	})
	return words
}

// TestClassesClosed proves that the table holds every class there is, once,
// and says what each means.
func TestClassesClosed(t *testing.T) {
	t.Parallel()
	rows := map[probe.Class]int{}
	for _, row := range probe.Classes() {
		rows[row.Class]++
		if len(row.Means) < 40 || !strings.HasSuffix(row.Means, ".") {
			t.Errorf("%s: %q is no sentence of help", row.Class, row.Means)
		}
		if strings.Trim(string(row.Class), "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("%q is not a word for labels", row.Class)
		}
		if row.Level == probe.Down && row.Blame != probe.Remote {
			t.Errorf("%s is down with blame %s", row.Class, row.Blame)
		}
		if len(row.Phases) == 0 || !slices.IsSorted(row.Phases) || len(slices.Compact(slices.Clone(row.Phases))) != len(row.Phases) {
			t.Errorf("%s strikes in %v", row.Class, row.Phases)
		}
		if row.Class.Meaning() != row.Means {
			t.Errorf("%s: Meaning differs from the table", row.Class)
		}
	}
	words := declared(t)
	if len(words) < 40 {
		t.Fatalf("only %d classes found in the source", len(words))
	}
	for _, w := range words {
		want := 1
		if w == "" {
			want = 0
		}
		if got := rows[probe.Class(w)]; got != want {
			t.Errorf("class %q has %d rows, want %d", w, got, want)
		}
		delete(rows, probe.Class(w))
	}
	for c := range rows {
		t.Errorf("row %q has no constant", c)
	}
	if i := probe.Class("made_up").Info(); i.Level != probe.Inconclusive || i.Means != "" {
		t.Errorf("an unknown class is %+v", i)
	}
}
