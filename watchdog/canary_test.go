package watchdog

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Each canary that does not answer says why, not only the last one.
func TestJudgeCanaries(t *testing.T) {
	t.Parallel()
	late, gone := errors.New("dns/timeout"), errors.New("dns/nxdomain")
	names := []string{"192.0.2.1:443", "dns://192.0.2.53:53?name=example.com"}
	for name, c := range map[string]struct {
		errs []error
		min  int
		want CanaryStatus
	}{
		"all":      {[]error{nil, nil}, 1, CanaryStatus{Good: 2, Total: 2, OK: true}},
		"one":      {[]error{late, nil}, 1, CanaryStatus{Good: 1, Total: 2, OK: true, Why: "1 of 2 canaries answer (192.0.2.1:443: dns/timeout)"}},
		"too few":  {[]error{nil, gone}, 2, CanaryStatus{Good: 1, Total: 2, Why: "1 of 2 canaries answer, 2 must (dns://192.0.2.53:53?name=example.com: dns/nxdomain)"}},
		"none":     {[]error{late, gone}, 1, CanaryStatus{Total: 2, Why: "0 of 2 canaries answer, 1 must (192.0.2.1:443: dns/timeout; dns://192.0.2.53:53?name=example.com: dns/nxdomain)"}},
		"no rules": {nil, 0, CanaryStatus{OK: true}},
	} {
		list := names
		if c.errs == nil {
			list = nil
		}
		if d := cmp.Diff(c.want, judgeCanaries(list, c.errs, c.min)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
	}
}
