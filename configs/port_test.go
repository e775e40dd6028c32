package configs

import "testing"

func TestWithPort(t *testing.T) {
	t.Parallel()
	for word, want := range map[string]string{
		"192.0.2.53":         "192.0.2.53:53",
		"192.0.2.53:54":      "192.0.2.53:54",
		"[2001:db8::53]":     "[2001:db8::53]:53",
		"[2001:db8::53]:54":  "[2001:db8::53]:54",
		"fe80::53%eth0":      "[fe80::53%eth0]:53",
		"[fe80::53%eth0]:54": "[fe80::53%eth0]:54",
		"[":                  "[",
		"[2001:db8::53":      "[2001:db8::53", // left for whoever says what is wrong
	} {
		if got := withPort(word, "53"); got != want {
			t.Errorf("%s: got %s, want %s", word, got, want)
		}
	}
}
