package configs

import (
	_ "embed" // for the files below
	"slices"
)

//go:embed edgewatch.schema.json
var schema []byte

//go:embed edgewatch.example.yaml
var example []byte

// Schema returns the JSON Schema of the configuration, for editors. It knows
// keys, types, words and limits, and no rules between values.
func Schema() []byte { return slices.Clone(schema) }

// Example returns the example configuration with every key and its meaning.
func Example() []byte { return slices.Clone(example) }
