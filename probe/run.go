package probe

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"time"
)

// run is one probe under way.
type run struct {
	p     *Prober
	res   Result
	also  []string // domains that the certificate is to cover beside the target's
	start time.Time
	end   time.Time // the one deadline; only the close may go beyond it

	phaseStart time.Time
	link       *link
	tls        *tls.Conn
	stream     *stream // the innermost one that we opened
	answered   bool    // a well-formed stream header was seen
	asked      bool    // the server asked for a client certificate and got ours
	stopped    bool    // the verdict is there; what follows is not timed
	found      []finding
}

// finding is one thing wrong, at the phase in which it was found.
type finding struct {
	fault
	phase Phase
	level Level
}

// begin starts the clock.
func (r *run) begin() {
	r.start = time.Now()
	r.res.Start, r.end = r.start, r.start.Add(r.p.o.Timeout)
}

// enter begins a phase.
func (r *run) enter(p Phase) {
	now := time.Now()
	r.leave(now)
	r.res.Phase, r.phaseStart = p, now
	r.res.Phases = append(r.res.Phases, PhaseTime{Phase: p})
	if r.stream != nil {
		r.stream.phase()
	}
}

func (r *run) leave(now time.Time) {
	if n := len(r.res.Phases); n > 0 {
		r.res.Phases[n-1].Took = now.Sub(r.phaseStart)
	}
}

// stop ends the timing.
func (r *run) stop() {
	if r.stopped {
		return
	}
	r.stopped = true
	now := time.Now()
	r.leave(now)
	r.res.Took = now.Sub(r.start)
}

// silences are the classes of a conversation in which nothing came. A server
// loses its patience with a machine that stands still, as we do with a server.
var silences = []Class{Timeout, Closed, Reset, Refused, Unreachable}

// fail notes a fault of the current phase; nil is fine.
func (r *run) fail(f *fault) {
	if f == nil {
		return
	}
	if slices.Contains(silences, f.class) { // always the last one
		r.stop()
		if late := r.start.Add(r.res.Took).Sub(r.end); late > maxLate {
			f = local("this machine noticed only %s after the deadline that nothing had come: it is too busy to judge (%s)", late, f.text)
		}
	}
	r.note("%s: %s: %s", r.res.Phase, f.class, f.text)
	r.found = append(r.found, finding{*f, r.res.Phase, r.levelOf(f)})
}

// levelOf is what a fault of the current phase means for the server. Down is
// said only while nothing proves that XMPP answers: before the server's stream
// header on a plain port, before anything of TLS on a direct TLS port.
func (r *run) levelOf(f *fault) Level {
	info := f.class.Info()
	level, blame := info.Level, f.blame
	if blame == Unclear {
		blame = info.Blame
	}
	switch {
	case f.class == StreamError:
		level = Degraded
		if l, ok := conditionLevels[f.condition]; ok {
			level = l
		}
	case level == Down && blame != Remote:
		level = Inconclusive
	case level == Down && (r.answered || r.res.Phase > PhaseStream && !r.res.Target.DirectTLS):
		level = Degraded
	case level == Down && r.res.Phase == PhaseTLS && r.link != nil && r.link.seen > 0:
		level = Degraded
	}
	return level
}

// remark adds a remark once.
func (r *run) remark(c Class) {
	if !slices.Contains(r.res.Remarks, c) {
		r.res.Remarks = append(r.res.Remarks, c)
	}
}

// note traces words of our own.
func (r *run) note(format string, args ...any) {
	if r.p.o.Trace != nil {
		r.p.o.Trace(Note, fmt.Appendf(nil, format, args...))
	}
}

// severity orders levels for the choice among several findings: a probe that
// could not be finished says less than one that found trouble, but nothing
// found before outweighs that it broke off.
var severity = map[Level]int{Up: 0, Degraded: 1, Inconclusive: 2, Down: 3}

// result settles class, level, blame and phase: the worst finding speaks, the
// first among equals, and the others stay as remarks and evidence.
func (r *run) result() Result {
	r.stop()
	if len(r.found) == 0 {
		r.res.Class, r.res.Level = OK, Up
		return r.res
	}
	worst := slices.MaxFunc(r.found, func(a, b finding) int { return severity[a.level] - severity[b.level] })
	r.res.Class, r.res.Condition, r.res.Level, r.res.Phase = worst.class, worst.condition, worst.level, worst.phase
	if r.res.Blame = worst.blame; r.res.Blame == Unclear {
		r.res.Blame = worst.class.Info().Blame
	}
	r.res.Error = worst.text
	for _, f := range r.found {
		if f.class != worst.class || f.phase != worst.phase {
			r.res.Error += "; " + f.text
			if f.class.Info().Remark {
				r.remark(f.class)
			}
		}
	}
	return r.res
}

// converse is the whole conversation, from connect to close.
func (r *run) converse(ctx context.Context) *fault {
	if f := r.connect(ctx); f != nil {
		return f
	}
	defer func() { _ = r.link.Close() }()
	stop := context.AfterFunc(ctx, r.link.cut)
	defer stop()
	r.link.until(r.end)
	f := r.steps(ctx)
	r.stop()
	if f == nil {
		r.res.Phase = PhaseDone
	}
	if ctx.Err() == nil {
		r.goodbye(ctx, f)
	}
	return f
}

func (r *run) connect(ctx context.Context) *fault {
	r.enter(PhaseConnect)
	dctx, cancel := context.WithDeadline(ctx, r.end)
	defer cancel()
	addr := r.res.Target.Addr
	conn, err := r.dial(dctx, addr.String())
	took := time.Since(r.phaseStart)
	if err != nil {
		return connectFault(ctx, err, func() error { return r.routed(dctx, addr.String()) })
	}
	r.link = &link{Conn: conn}
	r.note("connected to %s in %s", addr, took)
	if slow := r.p.o.SlowConnect; slow > 0 && took >= slow {
		r.remark(SlowConnect)
	}
	return nil
}

func (r *run) dial(ctx context.Context, addr string) (net.Conn, error) {
	if r.p.o.Dial != nil {
		return r.p.o.Dial(ctx, "tcp", addr)
	}
	d := net.Dialer{KeepAlive: -1}
	return d.DialContext(ctx, "tcp", addr)
}

// routed asks this machine's routing table, without sending anything: a route
// that is missing here is our own fault, one missing farther on is not.
func (r *run) routed(ctx context.Context, addr string) error {
	if r.p.o.Dial != nil {
		return nil
	}
	var d net.Dialer
	c, err := d.DialContext(ctx, "udp", addr)
	if err != nil {
		if class, ok := errnoClass(err); ok && (class == Unreachable || class == LocalError) {
			return err
		}
		return nil
	}
	return c.Close()
}

// steps are the phases after connect.
func (r *run) steps(ctx context.Context) *fault {
	if !r.res.Target.DirectTLS {
		offered, f := r.open(ctx, r.link, PhaseStream, PhaseFeatures)
		if f != nil {
			return f
		}
		if f := r.starttls(ctx, offered); f != nil {
			return f
		}
	}
	if f := r.secure(ctx); f != nil {
		return f
	}
	r.judge()
	offered, f := r.open(ctx, r.tls, PhaseTLSStream, PhaseTLSFeatures)
	if f != nil {
		return r.afterTLS(f)
	}
	r.res.Features = offered.features()
	if !slices.Contains(r.res.Features, "dialback") && !slices.Contains(r.res.Features, "sasl:EXTERNAL") {
		return faultf(NoAuthOffered, "the server offers %q inside TLS", r.res.Features)
	}
	return nil
}

// afterTLS gives faults of the inner stream their meaning: a server that wants
// a certificate of ours is up, and one that turns ours down is our business.
func (r *run) afterTLS(f *fault) *fault {
	if f.class == StreamError && f.condition == "not-authorized" && r.p.o.ClientCert == nil {
		f.class = AuthRequired
		return f
	}
	return r.ourCert(f)
}

// certAlerts are the alerts by which a server turns a client certificate down.
var certAlerts = []string{"bad_certificate", "unsupported_certificate", "certificate_revoked",
	"certificate_expired", "certificate_unknown", "unknown_ca", "access_denied"}

func (r *run) ourCert(f *fault) *fault {
	if f.class == TLSAlert && r.asked && slices.Contains(certAlerts, f.condition) {
		f.class = LocalError
		f.text += ": it turned down our client certificate; check that certificate, its chain and its name"
	}
	return f
}

// starttls asks for TLS and checks that nothing was smuggled in before it.
func (r *run) starttls(ctx context.Context, offered element) *fault {
	r.enter(PhaseStartTLS)
	if offered.child(nsTLS, "starttls") == nil {
		return faultf(NoStartTLS, "the server offers %q without STARTTLS", offered.features())
	}
	if f := r.send(ctx, r.link, "<starttls xmlns='"+nsTLS+"'/>"); f != nil {
		return f
	}
	answer, err := r.stream.next()
	if err != nil {
		return streamFault(ctx, err, r.stream.seen, "the answer to STARTTLS")
	}
	switch {
	case isStreamError(answer):
		return streamError(answer)
	case answer.name.Space == nsTLS && answer.name.Local == "failure":
		return faultf(StartTLSFailure, "the server answered STARTTLS with a failure")
	case answer.name.Space != nsTLS || answer.name.Local != "proceed":
		return faultf(BadStream, "the server answered STARTTLS with the element %s", evidence(answer.name.Local))
	}
	if rest := r.stream.buffered(); len(rest) > 0 { // else it would only keep the buffer alive
		r.link.early = rest
	}
	r.stream = nil // plain text has no place any more
	if len(r.link.early) > 0 && !looksLikeTLS(r.link.early) {
		return faultf(StartTLSInjection, "plain text behind the STARTTLS go-ahead: %s", evidence(r.link.early))
	}
	return nil
}

// send writes one piece of our side of the stream.
func (r *run) send(ctx context.Context, w interface{ Write([]byte) (int, error) }, s string) *fault {
	if r.p.o.Trace != nil {
		r.p.o.Trace(Sent, []byte(s))
	}
	if _, err := w.Write([]byte(s)); err != nil {
		seen := 0
		if r.stream != nil {
			seen = r.stream.seen
		}
		return streamFault(ctx, err, seen, "room to send")
	}
	return nil
}

// open opens a stream over conn and returns the features that the server
// offers in it.
func (r *run) open(ctx context.Context, conn net.Conn, header, features Phase) (element, *fault) {
	r.enter(header)
	s := newStream(conn, r.p.o.Trace)
	t := r.res.Target
	if f := r.send(ctx, conn, "<?xml version='1.0'?><stream:stream xmlns='"+nsServer+"' xmlns:stream='"+nsStream+
		"' xmlns:db='jabber:server:dialback' from='"+t.From+"' to='"+t.Domain+"' version='1.0'>"); f != nil {
		return element{}, f
	}
	r.stream = s
	if conn != net.Conn(r.link) {
		quickAck(r.link.Conn)
	}
	if f := r.opened(ctx, s); f != nil {
		return element{}, f
	}
	r.enter(features)
	for {
		e, err := s.next()
		if err != nil {
			return element{}, streamFault(ctx, err, s.seen, "the stream features")
		}
		switch {
		case isStreamError(e):
			return element{}, streamError(e)
		case e.name.Space == nsStream && e.name.Local == "features":
			return e, nil
		default:
			return element{}, faultf(BadStream, "the element %s came instead of the stream features", evidence(e.name.Local))
		}
	}
}

// opened reads and judges the server's header.
func (r *run) opened(ctx context.Context, s *stream) *fault {
	other, err := s.sniff()
	if err != nil {
		return streamFault(ctx, err, s.seen, "the stream header"+r.hint(err, s))
	}
	if other != "" {
		return faultf(NotXMPP, "%s", other)
	}
	h, err := s.header()
	if err != nil {
		return streamFault(ctx, err, s.seen, "the stream header")
	}
	if h.name.Local == "html" {
		return faultf(NotXMPP, "an HTML page")
	}
	poor := h.poor()
	if h.name.Space == nsStream && h.name.Local == "stream" {
		r.answered = true
	}
	if poor == "" {
		r.headerNotes(h)
		return nil
	}
	// An error in a synthetic header tells more than the header's poverty.
	r.link.until(earlier(r.end, time.Now().Add(errorGrace)))
	e, err := s.next()
	r.link.until(r.end)
	if err == nil && (isStreamError(e) || r.answered && e.name.Local == "error") {
		r.enter(r.res.Phase + 1)
		return streamError(e)
	}
	if err != nil && isTimeout(err) {
		s.retry()
	}
	if f := cancelled(ctx); f != nil {
		return f
	}
	return faultf(BadStream, "%s", poor)
}

// hint adds what a connection that closed without a byte may be.
func (r *run) hint(err error, s *stream) string {
	if s.seen == 0 && !isTimeout(err) && r.res.Phase == PhaseStream {
		return " (a port for direct TLS does this)"
	}
	return ""
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// poor says what a federation server's header lacks.
func (h header) poor() string {
	switch {
	case h.name.Space != nsStream || h.name.Local != "stream":
		return fmt.Sprintf("the answer is the element %s in the namespace %s, not an XMPP stream", evidence(h.name.Local), evidence(h.name.Space))
	case h.content != nsServer:
		return fmt.Sprintf("the stream is of the namespace %s, not %s", evidence(h.content), nsServer)
	case h.version == "":
		return "the stream has no version: a server older than XMPP 1.0"
	case len(h.version) < 2 || h.version[:2] != "1.":
		return "the stream has the version " + evidence(h.version)
	}
	return ""
}

// headerNotes keeps what is odd about a header and breaks nothing.
func (r *run) headerNotes(h header) {
	if h.id == "" {
		r.res.Notes = append(r.res.Notes, "the stream header has no id")
	}
	if h.from != "" && plainDomain(h.from) != r.res.Target.Domain {
		r.res.Notes = append(r.res.Notes, "the stream header is from "+evidence(h.from))
	}
}

func isStreamError(e element) bool { return e.name.Space == nsStream && e.name.Local == "error" }

func streamError(e element) *fault {
	f := &fault{class: StreamError}
	var text string
	f.condition, text = e.condition()
	f.text = "the server sent the stream error " + f.condition
	if text != "" {
		f.text += ": " + evidence(text)
	}
	return f
}
