package sim

import (
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"edgewatch/actions"
	"edgewatch/configs"
)

// world is the estate as it really is, and what goes wrong in it. Every draw
// is a function of the seed, of what it is for and of how often that was
// drawn before: goroutines that run at the same moment do not change it.
type world struct {
	seed  uint64
	begin time.Time
	f     *configs.Federation

	mu    sync.Mutex
	drawn map[string]uint64
	pools []*pool
	hosts map[string]*host // by internal name, management hosts too
	route map[string]string
	zones map[string]*zone // by the name of their task; not changed once they are open
	log   []*look          // newest last

	witnesses []*witness
	heard     []heard // what they said, newest last

	cut      bool          // our own line is dead
	loss     float64       // share of packets that our own line loses
	local    bool          // our own probes fail on our own machine
	frozen   time.Time     // our process stands still until then
	clock    time.Duration // how far our wall clock is off
	diskFull bool

	diskHangs time.Time // whatever is written takes until then

	touched          bool // somebody changed a route by hand
	edited           bool // … or DNS
	strange          bool // the record holds what somebody set, addresses of no pool
	listensWithRoute bool // a proxy listens only while the route of its site points at its pool
	op               int  // numbers service operations
}

type pool struct {
	configs.Pool
	hosts   []*host
	pathCut bool // nothing of ours reaches it, and partners do
	turns   []turn
}

// host is a Windows host.
type host struct {
	name    string
	pool    *pool // nil for a management host
	power   bool
	running bool
	hung    bool    // accepts connections and never answers
	answers float64 // share of streams that are answered
	slow    int     // how many times slower services start and stop

	stoppedBy string    // the failover that stopped its services, which nobody has started since
	stoppedAt time.Time // when that was sent
	tried     time.Time // when a failover last looked whether it has to start them
	busy      time.Time
	pending   int // the service operation that is under way

	winrm winrmFault
	lies  int    // so many changes to come are answered with success and not made
	loses int    // so many changes to come are made and their answers lost
	late  int    // so many changes to come are made a while after their answers were lost …
	abort bool   // … and somebody aborts the failover meanwhile
	heavy bool   // one came late, and since then what is read of it may come late, too
	dies  func() // when it is told to change something, which it does not
}

// winrmFault is what WinRM of a host does.
type winrmFault int

const (
	winrmWorks winrmFault = iota
	winrmHangs
	winrmRefuses
	winrmReads // and changes nothing
)

// look is one round of ours, with the truth beside it.
type look struct {
	at       time.Time
	pools    map[string]*looked
	canaries int
	own      bool // something of ours was broken meanwhile
}

type looked struct {
	asked   int
	down    int // were not served, by the pool's own fault
	excused int // could not be reached by us alone, with nothing to tell us
	lost    int // were served, but our line lost the probe
}

func newWorld(e *estate, seed uint64) *world {
	w := &world{
		seed: seed, begin: time.Now(), f: e.f, drawn: map[string]uint64{}, hosts: map[string]*host{},
		route: map[string]string{}, zones: map[string]*zone{},
	}
	for _, p := range e.f.Pools {
		wp := &pool{Pool: p}
		for _, s := range p.Servers {
			h := &host{name: s.FQDN, pool: wp, power: true, running: true, answers: 1, slow: 1}
			w.hosts[h.name] = h
			wp.hosts = append(wp.hosts, h)
		}
		if m := e.f.ManagementOf(&p).Host; w.hosts[m] == nil {
			w.hosts[m] = &host{name: m, power: true, slow: 1}
		}
		w.pools = append(w.pools, wp)
	}
	w.route[e.f.Pools[0].Site] = e.f.Pools[0].Name
	for _, url := range e.f.Witnesses.URLs {
		w.witnesses = append(w.witnesses, &witness{url: url, phase: w.between("phase of "+url, -e.f.Probe.Interval.Duration, 0)})
	}
	w.note()
	return w
}

// draw is a number in [0, 1). The caller holds the lock.
func (w *world) draw(what string) float64 {
	n := w.drawn[what]
	w.drawn[what] = n + 1
	h := fnv.New64a()
	h.Write([]byte(what))
	return float64(mix(w.seed^mix(h.Sum64()+n*0x9e3779b97f4a7c15))>>11) / (1 << 53)
}

// between draws a duration.
func (w *world) between(what string, least, most time.Duration) time.Duration {
	return least + time.Duration(w.draw(what)*float64(most-least))
}

// mix is the finalizer of splitmix64.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

func (w *world) poolNamed(name string) *pool {
	for _, p := range w.pools {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// behind names the hosts that answer on an address: its own behind DNS load
// balancing, all of the pool behind a hardware load balancer.
func (w *world) behind(addr netip.Addr) (*pool, []*host) {
	for _, p := range w.pools {
		for i, a := range p.Addresses {
			if a != addr {
				continue
			}
			if len(p.Addresses) == len(p.hosts) {
				return p, p.hosts[i : i+1]
			}
			return p, p.hosts
		}
	}
	return nil, nil
}

// serves reports whether a partner would be served on the address now.
func (w *world) serves(addr netip.Addr, what string) (served bool, by *host) {
	p, hosts := w.behind(addr)
	if p == nil || w.listensWithRoute && w.route[p.Site] != p.Name {
		return false, nil
	}
	for _, h := range hosts {
		by = h
		if h.power && h.running && !h.hung && (h.answers >= 1 || w.draw(what+" zombie") < h.answers) {
			return true, h
		}
	}
	return false, by
}

// up reports whether the pool as a whole serves partners.
func (w *world) up(p *pool) bool {
	return slices.ContainsFunc(p.Addresses, func(a netip.Addr) bool {
		ok, h := w.serves(a, "truth")
		return ok && h.answers >= 1
	})
}

// reached names the pool on which partners reach federation, "" when they do
// not: DNS leads there, it answers, and the route of its site points at it.
func (w *world) reached() string {
	for _, name := range w.leads() {
		if p := w.poolNamed(name); p != nil && w.up(p) && (w.touched || w.route[p.Site] == p.Name) {
			return name
		}
	}
	return ""
}

// end is the state of the world in a line.
func (w *world) end() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var parts []string
	for _, p := range w.pools {
		for _, h := range p.hosts {
			parts = append(parts, fmt.Sprintf("%s=%v", h.name, h.running))
		}
		parts = append(parts, fmt.Sprintf("route of %s=%s", p.Site, w.route[p.Site]))
	}
	return strings.Join(parts, " ") + fmt.Sprintf(" dns=%v", w.leads())
}

// looking is the round that began now. The caller holds the lock.
func (w *world) looking(at time.Time) *look {
	if n := len(w.log); n > 0 && w.log[n-1].at.Equal(at) {
		return w.log[n-1]
	}
	l := &look{at: at, pools: map[string]*looked{}}
	w.log = append(w.log, l)
	if len(w.log) > 1000 {
		w.log = slices.Clone(w.log[500:])
	}
	return l
}

// power gives a host power or takes it. With it come back the services.
func (w *world) setPower(h *host, on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if h.power == on {
		return
	}
	h.power, h.running, h.hung = on, on, false
	h.pending, h.busy = 0, time.Time{}
	if on {
		h.stoppedBy = ""
	}
	w.note()
}

// operate begins a change of a host's services that takes some time and then
// comes true, whoever still waits for it. One follows the other. The caller
// holds the lock.
func (w *world) operate(h *host, run bool, takes time.Duration, then func()) (id int, until time.Time) {
	w.op++
	id = w.op
	begin := time.Now()
	if h.pending != 0 && h.busy.After(begin) {
		begin = h.busy
	}
	h.busy, h.pending = begin.Add(takes), id
	time.AfterFunc(time.Until(h.busy), func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		if h.power && h.pending == id {
			h.pending = 0
			h.running = run
			then()
			w.note()
		}
	})
	return id, h.busy
}

// heal ends everything that goes wrong.
func (w *world) heal() {
	w.mu.Lock()
	hosts := make([]*host, 0, len(w.hosts))
	w.cut, w.loss, w.local, w.diskFull, w.diskHangs = false, 0, false, false, time.Time{}
	for _, h := range w.hosts {
		hosts = append(hosts, h)
		h.hung, h.answers, h.slow, h.winrm, h.lies, h.loses, h.late, h.abort, h.heavy, h.dies = false, 1, 1, winrmWorks, 0, 0, 0, false, false, nil
	}
	for _, p := range w.pools {
		p.pathCut = false
	}
	for _, z := range w.zones {
		z.refuse(false)
		z.primary.LoseAnswers(0)
		z.fail(secondaryLag, false)
	}
	for _, by := range w.witnesses {
		by.heal()
	}
	w.note()
	w.mu.Unlock()
	for _, h := range hosts {
		w.setPower(h, true)
	}
}

// mutating says whether a step changes the world.
func mutating(s actions.StepName) bool {
	switch s {
	case actions.StopServices, actions.SetRoute, actions.DNSRecords, actions.StartServices:
		return true
	case actions.Preflight, actions.CheckPort, actions.Verify:
	}
	return false
}
