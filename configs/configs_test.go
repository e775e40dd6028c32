package configs

import (
	"testing"
	"time"
)

func TestMinimal(t *testing.T) {
	c, err := Load("minimal.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Federation("contoso").Probe.Interval.Duration; got != 10*time.Second {
		t.Errorf("interval = %s", got)
	}
	b, err := c.Show()
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", b)
	if _, err := Parse("shown", b, Options{}); err != nil {
		t.Errorf("what Show printed is refused: %v", err)
	}
}
