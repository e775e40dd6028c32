package configs

import (
	"cmp"
	"encoding"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
)

// text is a scalar as it was written, without its quotes.
func text(node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

// kindOf names what a node is, for messages.
func kindOf(node ast.Node) string {
	switch node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "keys with values"
	case *ast.SequenceNode:
		return "a list"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	case *ast.BoolNode:
		return "true or false"
	}
	return "a text"
}

// scalar decodes a single value.
func (s *source) scalar(path string, node ast.Node, v reflect.Value, tag reflect.StructTag) {
	word, ok := text(node)
	if !ok {
		s.bad(path, "wants %s, not %s", wants(v), kindOf(node))
		return
	}
	_, quoted := node.(*ast.StringNode)
	_, truth := node.(*ast.BoolNode)
	switch v.Kind() {
	case reflect.Bool, reflect.Int, reflect.Float64:
		if quoted || truth != (v.Kind() == reflect.Bool) {
			s.bad(path, "wants %s, not %s", wants(v), kindOf(node))
			return
		}
	case reflect.String:
		if truth {
			s.bad(path, "wants a text; put %s in quotes if it is meant as one", word)
			return
		}
	default: // has a text form of its own
	}
	if port := tag.Get("port"); port != "" {
		word = withPort(word, port)
	}
	if err := setText(v, word); err != nil {
		s.bad(path, "%q is %s", word, err)
		return
	}
	s.limits(path, v, tag)
	s.form(path, v, tag)
}

// wants names what a value must be, for messages.
func wants(v reflect.Value) string {
	switch v.Interface().(type) {
	case Duration:
		return "a duration like 10s or 14d"
	case netip.Addr:
		return "an IP address"
	case netip.AddrPort:
		return "an IP address with a port"
	case Canary:
		return "an IP address with a port, or a URL like dns://198.51.100.53?name=example.com"
	}
	switch v.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	default:
		return "a text"
	}
}

// whole refuses 012, which readers take for twelve or for ten.
var whole = regexp.MustCompile(`^-?(0|[1-9][0-9]*)$`)

// setText sets v from a scalar as it was written. Its error ends the
// sentence "… is".
func setText(v reflect.Value, word string) error {
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr()); ok {
		err := u.UnmarshalText([]byte(word))
		if a, ok := u.(*netip.AddrPort); ok && a.Port() == 0 {
			err = errors.New("port 0")
		}
		if err == nil || isPhrase(err) {
			return err
		}
		return fmt.Errorf("not %s", wants(v))
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(word)
		return nil
	case reflect.Bool:
		b, err := strconv.ParseBool(word)
		v.SetBool(b)
		if err != nil {
			return errors.New("not true or false")
		}
		return nil
	case reflect.Int:
		n, err := strconv.Atoi(word)
		if err != nil || !whole.MatchString(word) {
			return errors.New("not a whole number")
		}
		v.SetInt(int64(n))
		return nil
	case reflect.Float64:
		f, err := strconv.ParseFloat(word, 64)
		if err != nil || f != f {
			return errors.New("not a number")
		}
		v.SetFloat(f)
		return nil
	default:
		panic("configs: no way to decode " + v.Type().String())
	}
}

// withPort adds the port to an address written without one.
func withPort(word, port string) string {
	bare := word
	if inner, ok := strings.CutPrefix(word, "["); ok && strings.HasSuffix(inner, "]") && strings.Count(inner, "]") == 1 { // both, or a zone swallows the port
		bare = inner[:len(inner)-1]
	}
	if a, err := netip.ParseAddr(bare); err == nil {
		n, _ := strconv.ParseUint(port, 10, 16)
		return netip.AddrPortFrom(a, uint16(n)).String()
	}
	return word
}

// limits holds the enum, min and max tags.
func (s *source) limits(path string, v reflect.Value, tag reflect.StructTag) {
	if list := tag.Get("enum"); list != "" {
		words := strings.Split(list, ",")
		for _, w := range words {
			if v.String() == w {
				return
			}
		}
		s.bad(path, "%q is none of %s%s", v.String(), strings.Join(words, ", "), didYouMean(v.String(), words))
		return
	}
	for _, end := range []string{"min", "max"} {
		word := tag.Get(end)
		if word == "" {
			continue
		}
		limit := reflect.New(v.Type()).Elem()
		if err := setText(limit, word); err != nil {
			panic(fmt.Sprintf("configs: %s of %s: %v", end, path, err))
		}
		switch c := compare(v, limit); {
		case end == "min" && c < 0:
			s.bad(path, "must be at least %s", word)
		case end == "max" && c > 0:
			s.bad(path, "must be at most %s", word)
		}
	}
}

func compare(a, b reflect.Value) int {
	if d, ok := reflect.TypeAssert[Duration](a); ok {
		return cmp.Compare(d.Duration, b.Interface().(Duration).Duration)
	}
	if a.Kind() == reflect.Float64 {
		return cmp.Compare(a.Float(), b.Float())
	}
	return cmp.Compare(a.Int(), b.Int())
}
