package configs

import (
	"bytes"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"edgewatch/actions"
)

// Struct tags steer the decoder and the JSON Schema alike:
//
//	yaml      key, as the YAML library reads it
//	default   value set before decoding, as it would be written
//	required  "true": the key must be given
//	enum      words allowed, separated by commas
//	min, max  limits of a number or duration, inclusive
//	port      added to an address that is written without one
//	check     form of a string, see forms
//	secret    on an actions.Secret: the key that _file and _env are added to
//	optional  "true" on an actions.Secret: neither key has to be given
//	prefix    what a secret begins with
//	form      "base64": how a secret is written
//	pem       what a file holds: ca, cert or key

// decode reads data into c and collects every problem. It reports whether
// there is anything that the rules between values could be asked of.
func (s *source) decode(data []byte, c *Config) bool {
	s.at[""] = position{1, 1}
	if len(data) > maxSize {
		s.bad("", "the file is larger than 256 KiB: is it the configuration?")
		return false
	}
	data, ok := plainText(data)
	if !ok {
		s.bad("", "the file is UTF-16, which Notepad calls Unicode: save it as UTF-8")
		return false
	}
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		s.syntax(err)
		return false
	}
	var body ast.Node
	for _, doc := range file.Docs {
		switch {
		case doc.Body == nil || doc.Body.Type() == ast.CommentType:
		case body != nil:
			s.report(false, place(doc.Body), "", "a second YAML document: there can be only one")
			return false
		default:
			body = doc.Body
		}
	}
	if body == nil {
		s.bad("", "the file is empty")
		return false
	}
	v := reflect.ValueOf(c).Elem()
	s.defaults(v)
	s.value("", body, v, "")
	return true
}

// plainText is data without what editors of Windows add: a byte order mark, and
// carriage returns, which the parser counts as lines. It is not for UTF-16.
func plainText(data []byte) (text []byte, ok bool) {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return nil, false
	}
	return bytes.ReplaceAll(bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")), []byte("\r\n"), []byte("\n")), true
}

// syntax reports that the file is no YAML. Only the place and the kind of
// the mistake are told: what stands there may be a secret.
func (s *source) syntax(err error) {
	if e, ok := errors.AsType[yaml.Error](err); ok && e.GetToken() != nil {
		s.report(false, at(e.GetToken()), "", "not valid YAML: "+inWords(e.GetMessage()))
		return
	}
	s.bad("", "not valid YAML")
}

// inWords is what the parser says of the mistakes that are made most, in words
// that help.
func inWords(message string) string {
	switch message {
	case "found character '\t' that cannot start any token":
		return "a tab stands where only spaces may"
	case "non-map value is specified", "unexpected key name":
		return "there is no KEY: VALUE; maybe a colon is missing, or a space behind it"
	}
	return message
}

func at(t *token.Token) position {
	if t == nil || t.Position == nil {
		return position{1, 1}
	}
	return position{t.Position.Line, t.Position.Column}
}

// place is where a node begins: a mapping at its first key.
func place(n ast.Node) position {
	if pairs, ok := mapping(n); ok && len(pairs) > 0 {
		return at(pairs[0].Key.GetToken())
	}
	return at(n.GetToken())
}

// defaults sets what the default tags of v and of the structs in it say.
func (s *source) defaults(v reflect.Value) {
	for i := range v.NumField() {
		field, f := v.Type().Field(i), v.Field(i)
		if word, ok := field.Tag.Lookup("default"); ok {
			if err := setText(f, word); err != nil {
				panic(fmt.Sprintf("configs: default of %s: %v", field.Name, err))
			}
			continue
		}
		if isStruct(f) {
			s.defaults(f)
		}
	}
}

// isStruct reports whether v is one of the sections of the configuration, as
// opposed to a value that merely is a struct in Go.
func isStruct(v reflect.Value) bool {
	if v.Kind() != reflect.Struct || !v.CanSet() {
		return false
	}
	_, text := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr())
	return !text && v.Type() != reflect.TypeFor[actions.Secret]()
}

// value decodes node into v. tag is that of the field v belongs to.
func (s *source) value(path string, node ast.Node, v reflect.Value, tag reflect.StructTag) {
	if !s.plain(path, node) {
		return
	}
	switch {
	case v.Kind() == reflect.Pointer:
		p := reflect.New(v.Type().Elem())
		if isStruct(p.Elem()) {
			s.defaults(p.Elem())
		}
		s.value(path, node, p.Elem(), tag)
		v.Set(p)
	case isStruct(v):
		s.section(path, node, v)
	case v.Kind() == reflect.Slice:
		s.list(path, node, v, tag)
	case v.Kind() == reflect.Map:
		s.table(path, node, v)
	default:
		s.scalar(path, node, v, tag)
	}
}

// plain refuses nothing-at-all and the parts of YAML that make a file hard
// to read and to point into.
func (s *source) plain(path string, node ast.Node) bool {
	switch node.Type() {
	case ast.NullType:
		s.bad(path, "has no value: give it one or take the key out")
	case ast.AnchorType, ast.AliasType, ast.MergeKeyType, ast.TagType, ast.DirectiveType:
		s.bad(path, "anchors, aliases, merge keys and tags are not supported: write the value out")
	default:
		return true
	}
	return false
}

func mapping(node ast.Node) ([]*ast.MappingValueNode, bool) {
	switch n := node.(type) {
	case *ast.MappingNode:
		return n.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}, true
	}
	return nil, false
}

// pairs gives the keys of a mapping that are usable, each once, and notes
// where they stand.
func (s *source) pairs(path string, node ast.Node) ([]pair, bool) {
	nodes, ok := mapping(node)
	if !ok {
		s.bad(path, "wants keys with values below it, not %s", kindOf(node))
		return nil, false
	}
	var out []pair
	seen := map[string]position{}
	for _, n := range nodes {
		where := at(n.Key.GetToken())
		if n.Key.IsMergeKey() {
			s.report(false, where, path, "anchors, aliases, merge keys and tags are not supported: write the value out")
			continue
		}
		key, ok := text(n.Key)
		if !ok {
			s.report(false, where, path, "not a usable key")
			continue
		}
		p := pair{key, join(path, key), where, n.Value}
		if first, dup := seen[key]; dup {
			s.report(false, where, p.path, fmt.Sprintf("given twice: first in line %d", first.line))
			continue
		}
		seen[key] = where
		out = append(out, p)
	}
	return out, true
}

type pair struct {
	key, path string
	where     position
	value     ast.Node
}

// note remembers where the value of p stands: a scalar itself, all else at
// its key.
func (s *source) note(p pair) {
	switch p.value.(type) {
	case ast.ScalarNode:
		if p.value.Type() != ast.NullType {
			s.at[p.path] = at(p.value.GetToken())
			return
		}
	}
	s.at[p.path] = p.where
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// section decodes a mapping into a struct.
func (s *source) section(path string, node ast.Node, v reflect.Value) {
	pairs, ok := s.pairs(path, node)
	if !ok {
		return
	}
	fields := map[string]int{}
	var keys []string
	for i := range v.NumField() {
		if key := keyOf(v.Type().Field(i)); key != "" {
			fields[key] = i
			keys = append(keys, key)
		}
	}
	meant := map[string]bool{}
	for _, p := range pairs {
		i, ok := fields[p.key]
		if !ok {
			message, key := unknown(p.key, keys)
			meant[key] = true
			s.report(false, p.where, p.path, message)
			continue
		}
		s.note(p)
		s.value(p.path, p.value, v.Field(i), v.Type().Field(i).Tag)
	}
	s.missing(path, v, meant)
}

// missing reports the keys that v, which stands at path, must have and the
// file does not give, also in sections that it leaves out altogether. Keys
// that were meant and mistyped have been reported.
func (s *source) missing(path string, v reflect.Value, meant map[string]bool) {
	for i := range v.NumField() {
		key := keyOf(v.Type().Field(i))
		if key == "" || meant[key] || s.given(join(path, key)) {
			continue
		}
		if v.Type().Field(i).Tag.Get("required") == "true" {
			s.bad(join(path, key), "is missing")
		}
		if isStruct(v.Field(i)) {
			s.missing(join(path, key), v.Field(i), nil)
		}
	}
}

// keyOf is the YAML key of a field, "" if it has none.
func keyOf(f reflect.StructField) string {
	key, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
	if key == "-" {
		return ""
	}
	return key
}

// unknown is the message about a key that does not exist, and the key that
// was probably meant. The value is never told.
func unknown(key string, keys []string) (message, meant string) {
	if slices.Contains(keys, key+"_file") {
		return fmt.Sprintf("secrets do not belong in this file: use %s_file or %[1]s_env, and change the one that was written here", key), ""
	}
	meant = nearest(key, keys)
	low := strings.ToLower(key)
	for _, word := range []string{"password", "passwd", "secret", "token"} {
		if strings.Contains(low, word) && !strings.Contains(meant, word) {
			return "unknown key; secrets do not belong in this file anyway: they are named by keys that end in _file or _env", ""
		}
	}
	if meant == "" {
		return "unknown key" + belongs(key), ""
	}
	return "unknown key" + didYouMean(key, keys), meant
}

// list decodes a sequence into a slice.
func (s *source) list(path string, node ast.Node, v reflect.Value, tag reflect.StructTag) {
	seq, ok := node.(*ast.SequenceNode)
	if !ok {
		s.bad(path, "wants a list, not %s", kindOf(node))
		return
	}
	v.Set(reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values)))
	for i, n := range seq.Values {
		item := fmt.Sprintf("%s[%d]", path, i)
		s.at[item] = place(n)
		if isStruct(v.Index(i)) {
			s.defaults(v.Index(i))
		}
		s.value(item, n, v.Index(i), tag)
	}
	if len(seq.Values) == 0 && tag.Get("required") == "true" {
		s.bad(path, "is empty")
	}
}

// table decodes a mapping with free keys into a map.
func (s *source) table(path string, node ast.Node, v reflect.Value) {
	pairs, ok := s.pairs(path, node)
	if !ok {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, p := range pairs {
		if _, problem := forms["name"]("", p.key); problem != "" {
			s.report(false, p.where, p.path, problem)
			continue
		}
		s.note(p)
		item := reflect.New(v.Type().Elem()).Elem()
		s.defaults(item)
		s.value(p.path, p.value, item, "")
		v.SetMapIndex(reflect.ValueOf(p.key), item)
	}
}
