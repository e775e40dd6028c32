package probe_test

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"edgewatch/probe"
)

// inNamespace marks the test binary that runs in a network namespace.
const inNamespace = "EDGEWATCH_TEST_NAMESPACE"

// TestNoRoute proves that an address this machine has no route to is our own
// fault: case 4 and 69. It runs again in a network namespace of its own, from
// which no route leads anywhere.
func TestNoRoute(t *testing.T) {
	if os.Getenv(inNamespace) == "" {
		againInNamespace(t)
		return
	}
	for addr, evidence := range map[string]string{
		"192.0.2.1:5269":     "no route",
		"[2001:db8::1]:5269": "", // no address to come from, on some kernels
	} {
		r := probe.New(probe.Options{}).Probe(t.Context(), target(addr))
		want{number: 69, phase: probe.PhaseConnect, class: probe.LocalError, level: probe.Inconclusive, evidence: evidence}.check(t, r)
		if r.Blame != probe.Local {
			t.Errorf("%s: blame %s, want %s", addr, r.Blame, probe.Local)
		}
	}
}

// againInNamespace runs the test once more, alone, in a network namespace of
// its own.
func againInNamespace(t *testing.T) {
	t.Helper()
	again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	again.Env = append(os.Environ(), inNamespace+"=1")
	again.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	if os.Getuid() != 0 {
		again.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
	}
	out, err := again.CombinedOutput()
	if again.ProcessState == nil {
		cannot(t, "no network namespace can be made here:", err)
	}
	if err != nil {
		t.Errorf("in a network namespace: %v\n%s", err, out)
	}
}

// TestDeadHost proves that a host of which the last hop hears nothing any more
// is unreachable by its own fault, and called so well before the time limit:
// case 4. Its network is one end of a cable in a network namespace, whose
// other end nobody listens at.
func TestDeadHost(t *testing.T) {
	t.Parallel()
	if os.Getenv(inNamespace) == "" {
		if os.Getuid() != 0 {
			cannot(t, "only root can lay a cable in a network namespace")
		}
		againInNamespace(t)
		seen.shows(t, 4, probe.PhaseConnect, probe.Unreachable, "", nil)
		return
	}
	ip, err := exec.LookPath("ip")
	if err != nil {
		cannot(t, "no ip program here:", err)
	}
	for _, args := range []string{
		"link set lo up", "link add near type veth peer name far", "addr add 192.0.2.1/24 dev near", "link set near up", "link set far up",
	} {
		if out, err := exec.CommandContext(t.Context(), ip, strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	r := probe.New(probe.Options{SlowConnect: -1}).Probe(t.Context(), target("192.0.2.77:5269"))
	want{number: 4, phase: probe.PhaseConnect, class: probe.Unreachable, level: probe.Down, evidence: "no route to host"}.check(t, r)
}

// cannot skips a test whose means are missing here; with CI=true it fails.
func cannot(t *testing.T, why ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why...)
	}
	t.Skip(why...)
}
