package configs

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// Duration is a length of time, written as in "500ms", "10s", "1h30m" or
// "14d" (days of 24 hours), and printed the same way.
type Duration struct{ time.Duration }

var errDuration = phrase("not a duration; write it like 500ms, 10s, 2h or 14d")

// ParseDuration reads a Duration. Negative ones and numbers without a unit
// are refused.
func ParseDuration(s string) (Duration, error) {
	if strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+") {
		return Duration{}, errDuration
	}
	var days time.Duration
	if n, rest, ok := strings.Cut(s, "d"); ok {
		v, err := strconv.ParseUint(n, 10, 32)
		if err != nil || v > math.MaxInt64/uint64(24*time.Hour) {
			return Duration{}, errDuration
		}
		days, s = time.Duration(v)*24*time.Hour, rest
		if rest == "" {
			return Duration{days}, nil
		}
		if rest[0] < '0' || rest[0] > '9' {
			return Duration{}, errDuration
		}
	}
	d, err := time.ParseDuration(s)
	if err != nil || days+d < 0 {
		return Duration{}, errDuration
	}
	return Duration{days + d}, nil
}

// String prints the duration in the shortest form ParseDuration reads: "90s"
// is "1m30s", two weeks are "14d".
func (d Duration) String() string {
	days := d.Duration / (24 * time.Hour)
	rest := d.Duration % (24 * time.Hour)
	s := rest.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	if days == 0 {
		return s
	}
	if rest == 0 {
		s = ""
	}
	return strconv.FormatInt(int64(days), 10) + "d" + s
}

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := ParseDuration(string(b))
	*d = v
	return err
}
