package probe_test

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"edgewatch/probe"
)

func TestMain(m *testing.M) {
	if asServer() {
		return
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		if code == 0 && everythingRan() {
			code = seen.verdict(os.Stderr)
		}
		os.Exit(code)
	}))
}

// everythingRan reports whether this was a run of all tests, where nothing may
// be missing.
func everythingRan() bool {
	for _, name := range []string{"test.run", "test.skip", "test.list", "test.fuzz"} {
		if f := flag.Lookup(name); f == nil || f.Value.String() != "" {
			return false
		}
	}
	return runtime.GOOS == "linux"
}

// catalogue is every case a real or hostile server, network or name server may
// present, and what each must come to: phase/class, :condition and +remark
// where they matter. All outcomes of a case must be shown; "|" parts those of
// which one is enough, since the kernel decides which it is.
var catalogue = map[int][]string{
	1:  {"connect/refused"},
	2:  {"connect/timeout"},
	3:  {"connect/reset|stream/reset"},
	4:  {"connect/unreachable"},
	5:  {"stream/timeout"},
	6:  {"stream/timeout"},
	7:  {"stream/closed"},
	8:  {"stream/not_xmpp"},
	9:  {"stream/not_xmpp"},
	10: {"stream/not_xmpp"},
	11: {"stream/closed", "stream/not_xmpp"},
	12: {"tls_stream/not_xmpp"},
	13: {"tls/tls_alert:unrecognized_name"},
	14: {"stream/bad_stream"},
	15: {"stream/bad_stream"},
	16: {"stream/bad_stream"},
	17: {"features/timeout"},
	18: {"features/reset"},
	19: {"features/closed"},
	20: {"features/stream_error:host-unknown"},
	21: {"features/stream_error:policy-violation"},
	22: {"features/stream_error:see-other-host"},
	23: {"features/stream_error:system-shutdown"},
	24: {"features/stream_error:resource-constraint"},
	25: {"features/stream_error:improper-addressing", "features/stream_error:invalid-namespace", "features/stream_error:undefined-condition"},
	26: {"features/stream_error:not-well-formed"},
	27: {"features/stream_error:connection-timeout"},
	28: {"starttls/no_starttls"},
	29: {"starttls/no_starttls"},
	30: {"features/too_large"},
	31: {"features/too_large"},
	32: {"stream/too_large"},
	33: {"stream/bad_xml", "features/bad_xml"},
	34: {"features/bad_xml"},
	35: {"starttls/starttls_failure"},
	36: {"starttls/closed", "starttls/reset", "starttls/timeout"},
	37: {"starttls/starttls_injection"},
	38: {"tls/closed"},
	39: {"tls/timeout"},
	40: {"tls/tls_alert:handshake_failure"},
	41: {"done/ok+weak_protocol"},
	42: {"done/ok"},
	43: {"tls_stream/tls_alert:certificate_required"},
	44: {"cert/cert_expired"},
	45: {"cert/cert_not_yet_valid"},
	46: {"cert/cert_wrong_name"},
	47: {"cert/cert_self_signed"},
	48: {"cert/cert_unknown_ca"},
	49: {"cert/cert_weak"},
	50: {"done/ok+cert_expiring"},
	51: {"tls_features/auth_required:not-authorized"},
	52: {"tls_stream/timeout", "tls_stream/closed", "tls_features/timeout", "tls_features/closed"},
	53: {"tls_features/no_auth_offered"},
	54: {"done/ok+close_unclean"},
	55: {"done/ok"},
	56: {"done/ok+dns_no_srv"},
	57: {"dns/nxdomain"},
	58: {"dns/no_service"},
	59: {"dns/servfail"},
	60: {"dns/refused", "dns/lame"},
	61: {"dns/timeout"},
	62: {"dns/no_address"},
	63: {"done/ok+srv_cname"},
	64: {"connect/refused"},
	65: {"connect/refused", "done/ok+backup_down"},
	66: {"connect/refused"},
	67: {"connect/refused|connect/local_error"},
	68: {"done/ok+no_starttls_service"},
	69: {"none/local_error", "connect/local_error", "stream/local_error", "tls_stream/local_error:unknown_ca"},
	70: {"done/ok+slow_connect"},
}

// ledger is what the tests of this run have shown.
type ledger struct {
	mu      sync.Mutex
	classes map[probe.Class]bool
	cases   map[int]map[string]bool // outcomes by case
}

var seen = ledger{classes: map[probe.Class]bool{}, cases: map[int]map[string]bool{}}

// outcome is a result in the words of the catalogue.
func outcome(p probe.Phase, c probe.Class, condition string) string {
	word := fmt.Sprintf("%s/%s", p, c)
	if condition != "" {
		word += ":" + condition
	}
	return word
}

// shows notes what a test got to see: the classes it really produced, and the
// case of the catalogue that it is, 0 for none. A row that claims a case and
// comes to something else fails.
func (l *ledger) shows(t *testing.T, number int, p probe.Phase, c probe.Class, condition string, remarks []probe.Class) {
	t.Helper()
	if t.Failed() {
		return
	}
	if !slices.Contains(c.Info().Phases, p) {
		t.Errorf("%s in the phase %s, which the table of classes does not know", c, p)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, class := range append([]probe.Class{c}, remarks...) {
		l.classes[class] = true
	}
	if number == 0 {
		return
	}
	for _, want := range catalogue[number] {
		for one := range strings.SplitSeq(want, "|") {
			word, remark, remarked := strings.Cut(one, "+")
			if word == outcome(p, c, condition) && (!remarked || slices.Contains(remarks, probe.Class(remark))) {
				if l.cases[number] == nil {
					l.cases[number] = map[string]bool{}
				}
				l.cases[number][want] = true
				return
			}
		}
	}
	t.Errorf("this is no test of case %d: it comes to %s %v, not %v", number, outcome(p, c, condition), remarks, catalogue[number])
}

// verdict is the exit code of a run of all tests: 1 when a class of the table
// or a case of the catalogue was shown by none.
func (l *ledger) verdict(w io.Writer) int {
	code := 0
	miss := func(format string, args ...any) {
		fmt.Fprintf(w, format+"\n", args...)
		code = 1
	}
	for _, row := range probe.Classes() {
		if !l.classes[row.Class] {
			miss("no test produces the class %s", row.Class)
		}
	}
	for _, number := range slices.Sorted(maps.Keys(catalogue)) {
		for _, want := range catalogue[number] {
			if !l.cases[number][want] {
				miss("no test shows case %d, %s", number, want)
			}
		}
	}
	return code
}

// TestCatalogueIsWhole holds the list of cases and the words in it.
func TestCatalogueIsWhole(t *testing.T) {
	t.Parallel()
	for number := range 70 {
		if len(catalogue[number+1]) == 0 {
			t.Errorf("case %d is missing", number+1)
		}
	}
	if len(catalogue) != 70 {
		t.Errorf("%d cases", len(catalogue))
	}
	for number, wants := range catalogue {
		for one := range strings.SplitSeq(strings.Join(wants, "|"), "|") {
			word, remark, _ := strings.Cut(one, "+")
			phase, class, _ := strings.Cut(word, "/")
			class, _, _ = strings.Cut(class, ":")
			var p probe.Phase
			if err := p.UnmarshalText([]byte(phase)); err != nil || probe.Class(class).Meaning() == "" {
				t.Errorf("case %d: %s: %v", number, one, err)
			}
			if info := probe.Class(remark).Info(); remark != "" && !info.Remark {
				t.Errorf("case %d: %s is no remark", number, remark)
			}
		}
	}
}

// TestLedger proves that what no test shows is missed: it cannot be fooled by
// a row that claims another's case, nor by a class that was only named.
func TestLedger(t *testing.T) {
	t.Parallel()
	l := ledger{classes: map[probe.Class]bool{}, cases: map[int]map[string]bool{}}
	for _, row := range probe.Classes() {
		l.classes[row.Class] = true
	}
	for number, wants := range catalogue {
		l.cases[number] = map[string]bool{}
		for _, want := range wants {
			l.cases[number][want] = true
		}
	}
	if l.verdict(io.Discard) != 0 {
		t.Error("a full ledger misses something")
	}
	delete(l.classes, probe.TLSFailed)
	if l.verdict(io.Discard) == 0 {
		t.Error("a class that no test produces is not missed")
	}
	l.classes[probe.TLSFailed] = true
	delete(l.cases[36], "starttls/reset")
	if l.verdict(io.Discard) == 0 {
		t.Error("a case that is shown by halves is not missed")
	}
}
