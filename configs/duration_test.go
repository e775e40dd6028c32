package configs

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDuration(t *testing.T) {
	const day = 24 * time.Hour
	for _, tt := range []struct {
		in    string
		want  time.Duration
		print string
	}{
		{"0", 0, "0s"},
		{"0s", 0, "0s"},
		{"500ms", 500 * time.Millisecond, "500ms"},
		{"10s", 10 * time.Second, "10s"},
		{"60s", time.Minute, "1m"},
		{"90s", 90 * time.Second, "1m30s"},
		{"120m", 2 * time.Hour, "2h"},
		{"1h0m5s", time.Hour + 5*time.Second, "1h0m5s"},
		{"24h", day, "1d"},
		{"14d", 14 * day, "14d"},
		{"1d12h", 36 * time.Hour, "1d12h"},
		{"0d5s", 5 * time.Second, "5s"},
		{"1d0h10m", day + 10*time.Minute, "1d10m"},
	} {
		d, err := ParseDuration(tt.in)
		if err != nil || d.Duration != tt.want || d.String() != tt.print {
			t.Errorf("ParseDuration(%q) = %s (%d), %v; want %s (%d)", tt.in, d, d.Duration, err, tt.print, tt.want)
		}
	}
	for _, in := range []string{"", "10", "-5s", "+5s", "1.5d", "d", "1dd", "1d-2h", "1d+2h", "5s1d", "1 d", "soon", "200000d", "106751d24h", "99999999999h"} {
		if d, err := ParseDuration(in); err == nil {
			t.Errorf("ParseDuration(%q) = %s, want an error", in, d)
		}
	}
}

// TestDurationRoundTrip: what is printed is read as the same.
func TestDurationRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := Duration{time.Duration(rapid.Int64Min(0).Draw(t, "ns"))}
		got, err := ParseDuration(want.String())
		if err != nil || got != want {
			t.Fatalf("ParseDuration(%q) = %d, %v; want %d", want, got.Duration, err, want.Duration)
		}
	})
}
