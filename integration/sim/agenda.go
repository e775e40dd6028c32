package sim

import (
	"slices"
	"sync"
	"time"

	"edgewatch/watchdog"
)

// agenda is what is still to happen, in order; and what waits for an entry of
// the journal.
type agenda struct {
	mu    sync.Mutex
	items []item
	armed []*fault
	woken chan struct{}
}

type item struct {
	at   time.Time
	what func()
}

func (a *agenda) add(at time.Time, what func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	i := len(a.items)
	for i > 0 && a.items[i-1].at.After(at) {
		i--
	}
	a.items = slices.Insert(a.items, i, item{at, what})
	a.wakeLocked()
}

// next is when the first thing is due.
func (a *agenda) next() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.items) == 0 {
		return time.Now()
	}
	return a.items[0].at
}

func (a *agenda) pop() func() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.items) == 0 || a.items[0].at.After(time.Now()) {
		return func() {}
	}
	first := a.items[0]
	a.items = a.items[1:]
	return first.what
}

func (a *agenda) len() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.items)
}

func (a *agenda) empty() bool { return a.len() == 0 }

func (a *agenda) clear() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.items, a.armed = nil, nil
}

// arm lets f begin when an entry comes that it waits for.
func (a *agenda) arm(f *fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.armed = append(a.armed, f)
}

func (a *agenda) unarm() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.armed = nil
}

// due takes out what waited for e.
func (a *agenda) due(e watchdog.Entry) []*fault {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []*fault
	a.armed = slices.DeleteFunc(a.armed, func(f *fault) bool {
		if !f.when(e) {
			return false
		}
		out = append(out, f)
		return true
	})
	return out
}

func (a *agenda) wakeLocked() {
	select {
	case a.woken <- struct{}{}:
	default:
	}
}
