package actions

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestSecretNeverPrints(t *testing.T) {
	s := NewSecret("hunter2")
	b, err := json.Marshal(map[string]any{"a": s, "b": &s})
	if err != nil {
		t.Fatal(err)
	}
	shown := string(b) + fmt.Sprintf("%v %s %+v %#v %q %v", s, s, s, s, s, struct{ S Secret }{s}) + s.LogValue().String()
	if strings.Contains(shown, "hunter2") {
		t.Errorf("the secret shows in %s", shown)
	}
	if s.Reveal() != "hunter2" {
		t.Errorf("Reveal = %q", s.Reveal())
	}
}
