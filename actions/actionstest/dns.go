package actionstest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// DNSConfig is what a DNSServer starts with.
type DNSConfig struct {
	Zones []DNSZone
	Keys  []DNSKey
}

// DNSZone is a zone as its file would hold it.
type DNSZone struct {
	Name    string
	Records []string // zone-file lines such as "xmpp 300 A 192.0.2.1"; an SOA record is made up if there is none
}

// DNSKey is a TSIG key that may send updates.
type DNSKey struct {
	Name      string
	Algorithm string   // as in dns.HmacSHA256, which is the default when empty
	Secret    string   // base64
	Grant     []string // names it may change; nil means every name
}

// DNSFault is a way for a DNSServer to go wrong.
type DNSFault uint8

// The faults. Those that speak of updates do nothing to queries.
const (
	DNSHealthy      DNSFault = iota
	DNSHang                  // takes the message, never answers
	DNSRefuse                // REFUSED
	DNSServFail              // SERVFAIL
	DNSLame                  // answers queries without authority
	DNSDropAnswer            // carries the update out and closes the connection without an answer
	DNSUnsigned              // carries the update out and answers NOERROR without a signature
	DNSForge                 // carries nothing out and answers NOERROR without a signature
	DNSBadSignature          // carries the update out and answers with a signature that does not verify
	DNSIgnore                // carries nothing out and answers NOERROR with a good signature
	DNSGarbage               // carries the update out and answers another question
)

// DNSServer is an authoritative name server on loopback, UDP and TCP on one
// port. It takes TSIG-signed dynamic updates (RFC 2136) and answers as BIND
// does. Its methods may be called from any goroutine, those that change
// something while it serves too.
type DNSServer struct {
	addr string
	keys map[string]DNSKey

	servers []*dns.Server // by TCP, and by UDP

	ctx  context.Context // ends hanging handlers and the follower; never used for a request
	stop context.CancelFunc
	wg   sync.WaitGroup
	once sync.Once
	poke chan struct{} // the followed server changed, or Hold was released

	mu           sync.Mutex // guards all below
	zones        map[string]*dnsZone
	changed      chan struct{} // closed and replaced whenever a zone changes
	followers    []*DNSServer
	secondary    bool
	held         bool
	queryFault   DNSFault
	updateFault  DNSFault
	clock        time.Duration
	beforeUpdate func()
	afterUpdate  func(DNSUpdate)
	lose         int           // answers to changes
	lag          time.Duration // of a secondary
	updates      []DNSUpdate
}

// ListenDNS starts a server on addr, e.g. "127.0.0.1:0". The caller closes it.
func ListenDNS(addr string, cfg DNSConfig) (*DNSServer, error) {
	s, err := newDNS(cfg)
	if err != nil {
		return nil, err
	}
	l, p, err := listenBoth(addr)
	if err != nil {
		return nil, err
	}
	if err := s.start(l, p); err != nil {
		return nil, err
	}
	return s, nil
}

// ServeDNS starts a server on whatever l accepts, by TCP alone. The caller
// closes it, and l with it.
func ServeDNS(l net.Listener, cfg DNSConfig) (*DNSServer, error) {
	s, err := newDNS(cfg)
	if err != nil {
		return nil, err
	}
	if err := s.start(l, nil); err != nil {
		return nil, err
	}
	return s, nil
}

func newDNS(cfg DNSConfig) (*DNSServer, error) {
	s := &DNSServer{keys: map[string]DNSKey{}, zones: map[string]*dnsZone{}, poke: make(chan struct{}, 1), changed: make(chan struct{})}
	for _, z := range cfg.Zones {
		parsed, err := parseZone(z)
		if err != nil {
			return nil, err
		}
		s.zones[parsed.name] = parsed
	}
	for _, k := range cfg.Keys {
		if k.Algorithm == "" {
			k.Algorithm = dns.HmacSHA256
		}
		k.Name, k.Algorithm = dns.CanonicalName(k.Name), dns.CanonicalName(k.Algorithm)
		k.Grant = slices.Clone(k.Grant)
		for i, g := range k.Grant {
			k.Grant[i] = dns.CanonicalName(g)
		}
		s.keys[k.Name] = k
	}
	return s, nil
}

// start serves on l and, where there is one, p. What was started is closed
// when something fails.
func (s *DNSServer) start(l net.Listener, p net.PacketConn) error {
	s.addr = l.Addr().String()
	s.ctx, s.stop = context.WithCancel(context.Background())
	accept := func(h dns.Header) dns.MsgAcceptAction {
		if h.Bits&(1<<15) != 0 {
			return dns.MsgIgnore
		}
		return dns.MsgAccept // the library's own function refuses every UPDATE
	}
	secrets := map[string]string{}
	for name, k := range s.keys {
		secrets[name] = k.Secret
	}
	s.servers = []*dns.Server{{Listener: l, Handler: dns.HandlerFunc(s.serve), TsigSecret: secrets, MsgAcceptFunc: accept}}
	if p != nil {
		s.servers = append(s.servers, &dns.Server{PacketConn: p, Handler: dns.HandlerFunc(s.serve), TsigSecret: secrets, MsgAcceptFunc: accept})
	}
	for _, srv := range s.servers {
		started := make(chan struct{})
		srv.NotifyStartedFunc = func() { close(started) }
		failed := make(chan error, 1)
		s.wg.Go(func() { failed <- srv.ActivateAndServe() })
		select {
		case <-started:
		case err := <-failed:
			s.Close()
			return fmt.Errorf("serve DNS on %s: %w", s.addr, err)
		}
	}
	return nil
}

// listenBoth opens TCP and UDP on the same port. A free port of one need not
// be free in the other, so several are tried when addr leaves the choice.
func listenBoth(addr string) (net.Listener, net.PacketConn, error) {
	var lc net.ListenConfig
	var err error
	for range 20 {
		var l net.Listener
		if l, err = lc.Listen(context.Background(), "tcp", addr); err != nil {
			return nil, nil, fmt.Errorf("listen for DNS: %w", err)
		}
		var p net.PacketConn
		if p, err = lc.ListenPacket(context.Background(), "udp", l.Addr().String()); err == nil {
			return l, p, nil
		}
		_ = l.Close()
	}
	return nil, nil, fmt.Errorf("listen for DNS: %w", err)
}

// Addr is where the server listens, host:port, for UDP and TCP.
func (s *DNSServer) Addr() string { return s.addr }

// Close stops the server and returns when nothing of it runs any more. It
// may be called twice.
func (s *DNSServer) Close() {
	s.once.Do(func() {
		s.stop()
		// Only "not started" can come back, after a start that failed.
		for _, srv := range s.servers {
			_ = srv.Shutdown()
		}
		s.wg.Wait()
	})
}

// FailQueries makes the server answer every query with f, until it is told
// DNSHealthy.
func (s *DNSServer) FailQueries(f DNSFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queryFault = f
}

// FailUpdates makes the server treat every UPDATE with f, until it is told
// DNSHealthy.
func (s *DNSServer) FailUpdates(f DNSFault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.updateFault = f
}

// SetClock sets the server's clock ahead of the machine's by d.
func (s *DNSServer) SetClock(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = d
}

// BeforeUpdate has f called whenever an UPDATE has arrived and nothing was
// done about it yet: the moment in which somebody else may be faster.
func (s *DNSServer) BeforeUpdate(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beforeUpdate = f
}

// AfterUpdate has f called whenever an UPDATE was judged, before it is
// answered. It may ask and change the server.
func (s *DNSServer) AfterUpdate(f func(DNSUpdate)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.afterUpdate = f
}

// LoseAnswers makes the server carry the next n UPDATEs that change something
// out and close the connection instead of answering.
func (s *DNSServer) LoseAnswers(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lose = n
}

// Edit replaces the records of name and type by hand, as somebody with an
// editor would, and counts the serial up. No lines delete them.
func (s *DNSServer) Edit(zone, name, rtype string, lines ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, ok := s.zones[dns.CanonicalName(zone)]
	if !ok {
		return fmt.Errorf("zone %s is not served", zone)
	}
	t, ok := dns.StringToType[rtype]
	if !ok {
		return fmt.Errorf("unknown record type %q", rtype)
	}
	z := old.clone()
	z.deleteSet(z.absolute(name), t)
	for _, line := range lines {
		if err := z.parse(line); err != nil {
			return err
		}
	}
	z.bump()
	s.storeLocked(z)
	return nil
}

// Records returns the values at name and type without owner and TTL, sorted.
func (s *DNSServer) Records(name, rtype string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	name = dns.CanonicalName(name)
	z := s.zoneLocked(name)
	if z == nil {
		return nil
	}
	var out []string
	for _, rr := range z.sets[name][dns.StringToType[rtype]] {
		out = append(out, value(rr))
	}
	slices.Sort(out)
	return out
}

// Serial is the zone's serial, 0 if it is not served.
func (s *DNSServer) Serial(zone string) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if z := s.zones[dns.CanonicalName(zone)]; z != nil {
		return z.serial()
	}
	return 0
}

// Synced waits until the zone's serial is at least serial.
func (s *DNSServer) Synced(ctx context.Context, zone string, serial uint32) error {
	for {
		s.mu.Lock()
		changed := s.changed
		s.mu.Unlock()
		if s.Serial(zone) >= serial {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for serial %d of %s on %s: %w", serial, zone, s.addr, context.Cause(ctx))
		}
	}
}

// Updates is the log of every UPDATE the server judged, oldest first.
func (s *DNSServer) Updates() []DNSUpdate {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.updates)
}

// Follow makes s a secondary: it takes over all zones of primary now, and
// again after each of its changes once delay has passed. Call it once.
func (s *DNSServer) Follow(primary *DNSServer, delay time.Duration) error {
	s.mu.Lock()
	already := s.secondary
	s.secondary, s.lag = true, delay
	s.mu.Unlock()
	if already {
		return errors.New("the server follows another one already")
	}
	s.copyZones(primary)
	primary.mu.Lock()
	primary.followers = append(primary.followers, s)
	primary.mu.Unlock()
	s.wg.Go(func() { s.follow(primary) })
	return nil
}

// Lag changes how long a secondary takes to follow.
func (s *DNSServer) Lag(delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lag = delay
}

func (s *DNSServer) follow(primary *DNSServer) {
	for {
		select {
		case <-s.poke:
		case <-s.ctx.Done():
			return
		}
		s.mu.Lock()
		lag := s.lag
		s.mu.Unlock()
		select {
		case <-time.After(lag):
		case <-s.ctx.Done():
			return
		}
		s.copyZones(primary)
	}
}

// Hold keeps a secondary at the zone version it has until it is released.
func (s *DNSServer) Hold(on bool) {
	s.mu.Lock()
	s.held = on
	s.mu.Unlock()
	if !on {
		s.wake()
	}
}

func (s *DNSServer) wake() {
	select {
	case s.poke <- struct{}{}:
	default: // a wake-up waits already
	}
}

func (s *DNSServer) copyZones(primary *DNSServer) {
	primary.mu.Lock()
	zones := make([]*dnsZone, 0, len(primary.zones))
	for _, z := range primary.zones {
		zones = append(zones, z) // zones are replaced, never changed
	}
	primary.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held {
		return
	}
	for _, z := range zones {
		s.storeLocked(z)
	}
}

// storeLocked puts a new version of a zone in place and tells the followers.
func (s *DNSServer) storeLocked(z *dnsZone) {
	s.zones[z.name] = z
	close(s.changed)
	s.changed = make(chan struct{})
	for _, f := range s.followers {
		f.wake()
	}
}

// zoneLocked is the zone with the longest name that name lies in.
func (s *DNSServer) zoneLocked(name string) *dnsZone {
	var best *dnsZone
	for _, z := range s.zones {
		if dns.IsSubDomain(z.name, name) && (best == nil || len(z.name) > len(best.name)) {
			best = z
		}
	}
	return best
}
