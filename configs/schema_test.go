package configs

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/invopop/jsonschema"
)

var update = flag.Bool("update", false, "rewrite golden files and the JSON Schema")

// TestSchema keeps edgewatch.schema.json equal to the types: descriptions are
// their comments, limits their tags.
func TestSchema(t *testing.T) {
	r := &jsonschema.Reflector{
		Anonymous:                  true,
		FieldNameTag:               "yaml",
		RequiredFromJSONSchemaTags: true,
		ExpandedStruct:             true,
		Mapper:                     mapType,
	}
	if err := r.AddGoComments("edgewatch/configs", ".", jsonschema.WithFullComment()); err != nil {
		t.Fatal(err)
	}
	s := r.Reflect(&Config{})
	s.Title = "edgewatch configuration"
	seen := map[string]bool{}
	describe(t, s, s, reflect.TypeFor[Config](), seen)
	got, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		if err := os.WriteFile("edgewatch.schema.json", got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if !bytes.Equal(got, Schema()) {
		t.Errorf("edgewatch.schema.json is stale: run go test ./configs -update\n%s", cmp.Diff(string(Schema()), string(got)))
	}
}

func mapType(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[Duration]():
		return &jsonschema.Schema{Type: "string", Pattern: `^([0-9]+d)?([0-9.]+(ns|us|µs|ms|s|m|h))*$`}
	case reflect.TypeFor[netip.Addr](), reflect.TypeFor[netip.AddrPort](), reflect.TypeFor[Canary]():
		return &jsonschema.Schema{Type: "string"}
	}
	return nil
}

// describe puts what the tags of type t say into its schema, and into those of the
// sections in it.
func describe(t *testing.T, root, s *jsonschema.Schema, typ reflect.Type, seen map[string]bool) {
	t.Helper()
	if seen[typ.Name()] {
		return
	}
	seen[typ.Name()] = true
	s.Description = strings.ReplaceAll(s.Description, "\n", " ")
	for field := range typ.Fields() {
		key := keyOf(field)
		if key == "" {
			continue
		}
		p, ok := s.Properties.Get(key)
		if !ok {
			t.Fatalf("%s.%s is not in the schema", typ.Name(), field.Name)
		}
		if p.Description == "" {
			t.Errorf("%s.%s has no comment", typ.Name(), field.Name)
		}
		p.Description = strings.ReplaceAll(p.Description, "\n", " ")
		if field.Tag.Get("required") == "true" {
			s.Required = append(s.Required, key)
		}
		limit(p, field)
		elem := field.Type
		for elem.Kind() == reflect.Pointer || elem.Kind() == reflect.Slice || elem.Kind() == reflect.Map {
			elem = elem.Elem()
		}
		if d, ok := root.Definitions[elem.Name()]; ok && elem.Kind() == reflect.Struct {
			describe(t, root, d, elem, seen)
		}
	}
}

func limit(p *jsonschema.Schema, field reflect.StructField) {
	for _, word := range strings.FieldsFunc(field.Tag.Get("enum"), func(r rune) bool { return r == ',' }) {
		p.Enum = append(p.Enum, word)
	}
	number := field.Type.Kind() == reflect.Int || field.Type.Kind() == reflect.Float64
	if word, ok := field.Tag.Lookup("default"); ok {
		p.Default = word
		if number || field.Type.Kind() == reflect.Bool {
			p.Default = json.RawMessage(word)
		}
	}
	if number {
		p.Minimum = json.Number(field.Tag.Get("min"))
		p.Maximum = json.Number(field.Tag.Get("max"))
		return
	}
	for _, end := range []struct{ tag, word string }{{"min", "At least"}, {"max", "At most"}} {
		if word := field.Tag.Get(end.tag); word != "" {
			p.Description += " " + end.word + " " + word + "."
		}
	}
}
