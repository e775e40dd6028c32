package lab

import (
	"os"
	"sync"
	"testing"
	"testing/synctest"
)

// Bubble runs f under virtual time, in a testing/synctest bubble, and returns
// when f and every goroutine that it started have ended. Time begins on
// 2000-01-01 there and moves only while all of them wait, so that a year
// passes in seconds with the shipped code, clocks of libraries included.
type Bubble func(f func())

// NewBubble returns a Bubble for an ordinary program: a bubble wants a
// *testing.T, so the first one starts the testing package's main, which then
// stays for the process's lifetime and owns os.Args from there on. Call it
// once, in main, after the command line was read. A test has a T of its own
// and uses that; a benchmark, which has none, may call NewBubble.
func NewBubble() Bubble {
	jobs := make(chan func(t *testing.T))
	var host sync.Once
	return func(f func()) {
		host.Do(func() {
			os.Args = os.Args[:1]                                         // the rest is not for package testing
			every := func(_, _ string) (bool, error) { return true, nil } // whatever the command line says to run
			go testing.Main(every, []testing.InternalTest{{Name: "Bubble", F: func(t *testing.T) {
				for job := range jobs { // for ever: at its end, testing.Main ends the process
					job(t)
				}
			}}}, nil, nil)
		})
		done := make(chan struct{})
		jobs <- func(t *testing.T) {
			defer close(done)
			synctest.Test(t, func(*testing.T) { f() })
		}
		<-done
	}
}
