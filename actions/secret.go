package actions

import "log/slog"

// Secret is a credential that prints as "<secret>" wherever it is formatted,
// logged or marshalled. Only Reveal gives it out.
type Secret struct{ value string }

const hidden = "<secret>"

// NewSecret wraps value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the credential itself, for the one place that sends it.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether there is no credential.
func (s Secret) IsZero() bool { return s.value == "" }

// String implements fmt.Stringer.
func (s Secret) String() string { return hidden }

// GoString implements fmt.GoStringer, for %#v.
func (s Secret) GoString() string { return hidden }

// MarshalText implements encoding.TextMarshaler, for JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(hidden), nil }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue(hidden) }
