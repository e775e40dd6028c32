package configs

import (
	"fmt"
	"reflect"
	"strings"
)

// homes are the sections that know key, as paths: "federations[].probe".
func homes(key string) []string {
	var out []string
	var walk func(path string, t reflect.Type)
	walk = func(path string, t reflect.Type) {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		switch t.Kind() {
		case reflect.Slice:
			walk(path+"[]", t.Elem())
		case reflect.Map:
			walk(join(path, "NAME"), t.Elem())
		case reflect.Struct:
			for f := range t.Fields() {
				switch k := keyOf(f); k {
				case "":
				case key:
					out = append(out, path)
				default:
					walk(join(path, k), f.Type)
				}
			}
		default:
		}
	}
	walk("", reflect.TypeFor[Config]())
	return out
}

// belongs is the end of a message about a key that is unknown where it stands:
// the one section that has it, if there is one.
func belongs(key string) string {
	switch at := homes(key); {
	case len(at) != 1:
		return ""
	case at[0] == "":
		return " here: it belongs at the top of the file"
	default:
		return fmt.Sprintf(" here: it belongs below %s", strings.ReplaceAll(at[0], "[]", "[…]"))
	}
}
