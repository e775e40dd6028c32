package main

import (
	"slices"
	"testing"
	"time"
)

// TestProbeAddresses proves that every way to write an address means that
// address and that port, or is wrong usage.
func TestProbeAddresses(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"192.0.2.1":             "192.0.2.1:5269",
		"192.0.2.1:9":           "192.0.2.1:9",
		"2001:db8::1":           "[2001:db8::1]:5269",
		"[2001:db8::1]":         "[2001:db8::1]:5269",
		"[2001:db8::1]:9":       "[2001:db8::1]:9",
		"fe80::1%eth0":          "[fe80::1%eth0]:5269",
		"[fe80::1%eth0]":        "[fe80::1%eth0]:5269",
		"[fe80::1%eth0]:9":      "[fe80::1%eth0]:9",
		"::ffff:192.0.2.1":      "192.0.2.1:5269",
		"[::ffff:192.0.2.1]:9":  "192.0.2.1:9",
		"[":                     "",
		"[]":                    "",
		"[2001:db8::1":          "",
		"2001:db8::1]":          "",
		"[fe80::1%eth0]:9]":     "",
		"192.0.2.1:0":           "",
		"192.0.2.1:65536":       "",
		"[2001:db8::1]:5269:9":  "",
		"[[2001:db8::1]]":       "",
		"[2001:db8::1%eth0]:-1": "",
		"http://192.0.2.1":      "",
		"xmpp://192.0.2.1:9":    "",
	} {
		got, err := addresses(t.Context(), host, time.Second, []string{"127.0.0.1:1"})
		switch {
		case want == "" && err == nil:
			t.Errorf("%s: got %v, want an error", host, got)
		case want != "" && (err != nil || len(got) != 1 || got[0].String() != want):
			t.Errorf("%s: got %v, %v, want %s", host, got, err, want)
		}
	}
}

func TestResolverAddresses(t *testing.T) {
	t.Parallel()
	got, err := resolverAddrs([]string{"192.0.2.53", "192.0.2.53:54", "2001:db8::53", "[2001:db8::53]", "[2001:db8::53]:54", "[fe80::53%eth0]:54", "fe80::53%eth0"})
	want := []string{"192.0.2.53:53", "192.0.2.53:54", "[2001:db8::53]:53", "[2001:db8::53]:53", "[2001:db8::53]:54", "[fe80::53%eth0]:54", "[fe80::53%eth0]:53"}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
}
