//go:build !linux

package probe_test

// asServer is a matter of the benchmarks, which measure CPU on Linux.
func asServer() bool { return false }
