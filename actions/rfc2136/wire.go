package rfc2136

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/miekg/dns"

	"edgewatch/actions"
)

// fudge is the clock difference in seconds that RFC 8945 recommends to allow.
const fudge = 300

// dial opens a TCP connection that is torn when ctx ends. Everything goes
// over TCP, which RFC 7766 demands of every server: an answer is complete
// and cannot be forged from off the path. The caller calls the returned
// function once it is done.
func (u *Updater) dial(ctx context.Context, server, op string) (*dns.Conn, func(), error) {
	c, err := u.zone.Dial(ctx, "tcp", server)
	if err != nil {
		return nil, nil, &actions.Error{Kind: actions.Transient, Host: server, Op: op, Err: cause(ctx, err),
			Next: "check that the server runs and that TCP to it is open from here"}
	}
	conn := &dns.Conn{Conn: c}
	// The library knows no ctx: its end has to become a deadline.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	return conn, func() { stop(); conn.Close() }, nil
}

// cause is err, or the reason why ctx ended when that is what tore the
// connection.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	return err
}

// bounded is ctx for one conversation.
func (u *Updater) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, u.zone.Timeout, fmt.Errorf("no answer within %s", u.zone.Timeout))
}

// update sends m signed, on a connection of its own: the library feeds the
// MAC of an earlier exchange into the next one on the same connection. A nil
// error means that the server answered NOERROR and that its signature holds.
// *rcodeError stands in the tree when the server refused.
func (u *Updater) update(ctx context.Context, m *dns.Msg) error {
	ctx, cancel := u.bounded(ctx)
	defer cancel()
	conn, done, err := u.dial(ctx, u.zone.Server, u.op())
	if err != nil {
		return err
	}
	defer done()
	conn.TsigSecret = map[string]string{u.zone.TSIG.Name: u.zone.TSIG.Secret.Reveal()}
	m.SetTsig(u.zone.TSIG.Name, u.algorithm, fudge, time.Now().Unix())
	if err := conn.WriteMsg(m); err != nil {
		// Over TCP a message that was not written whole cannot be executed.
		return u.fail(actions.Transient, fmt.Errorf("send: %w", cause(ctx, err)), "")
	}
	r, err := conn.ReadMsg()
	if r == nil {
		return u.fail(actions.Indeterminate, fmt.Errorf("sent, and the answer was lost: %w", cause(ctx, err)), nextLook)
	}
	return u.judge(m, r, err)
}

const nextLook = "look at the zone before doing anything else: the update may have been applied"

// rcodeError is an UPDATE that the server refused.
type rcodeError struct {
	rcode int
	text  string
}

func (e *rcodeError) Error() string {
	if e.text == "" {
		return dns.RcodeToString[e.rcode]
	}
	return dns.RcodeToString[e.rcode] + ": " + e.text
}

// judge classes the answer r to the signed request m. err is what the
// library said about r.
func (u *Updater) judge(m, r *dns.Msg, err error) error {
	if r.Id != m.Id || !r.Response || r.Opcode != dns.OpcodeUpdate {
		return u.fail(actions.Indeterminate, errors.New("what came back is no answer to the update"), nextLook)
	}
	// A server that refuses before it knows the key cannot sign, so these are
	// believed unsigned: they claim that nothing was changed, and every
	// success is seen by a Check of its own.
	switch r.Rcode {
	case dns.RcodeNotAuth:
		return u.notAuth(r)
	case dns.RcodeRefused:
		return u.refused(r.Rcode, "the server does not let this key change these records",
			"grant key "+u.zone.TSIG.Name+" the right to change them (BIND: update-policy or allow-update, Knot: acl) and check that this server is the primary")
	case dns.RcodeServerFailure:
		return u.fail(actions.Transient, &rcodeError{r.Rcode, "the server could not carry the update out"},
			"look into the server's log: its zone may be unloaded, frozen or not writable on disk")
	case dns.RcodeFormatError, dns.RcodeNotImplemented:
		return u.refused(r.Rcode, "the server does not understand dynamic updates", "check that it is the primary and that updates are enabled")
	}
	switch {
	case r.IsTsig() == nil && err == nil:
		return u.fail(actions.Indeterminate, fmt.Errorf("the answer %s to a signed update is not signed: it may be forged", dns.RcodeToString[r.Rcode]), nextLook)
	case err != nil:
		return u.fail(actions.Indeterminate, fmt.Errorf("the answer %s does not carry a valid signature, it may be forged: %w", dns.RcodeToString[r.Rcode], err), nextLook)
	}
	switch r.Rcode {
	case dns.RcodeSuccess:
		return nil
	case dns.RcodeNotZone:
		return u.refused(r.Rcode, "a record lies outside the zone", "correct the names or the zone in the configuration")
	case dns.RcodeNXRrset, dns.RcodeYXRrset, dns.RcodeYXDomain, dns.RcodeNameError:
		return u.refused(r.Rcode, "the records are not what the update requires them to be", "compare the zone with the configuration")
	}
	return u.fail(actions.AskHuman, &rcodeError{rcode: r.Rcode}, "look into the server's log")
}

// notAuth tells the reasons of NOTAUTH apart. The library gives the same
// error for all of them; the TSIG record of the answer has the difference.
func (u *Updater) notAuth(r *dns.Msg) error {
	t := r.IsTsig()
	if t == nil || t.Error == 0 {
		return u.refused(r.Rcode, "the server does not serve this zone, or does not accept this key for it",
			"check that zone "+u.zone.Name+" and this server belong together, and that key "+u.zone.TSIG.Name+" is configured there")
	}
	switch t.Error {
	case dns.RcodeBadKey:
		return u.refused(r.Rcode, fmt.Sprintf("BADKEY: the server does not accept key %s with %s here", u.zone.TSIG.Name, u.algorithm),
			"compare the key's name and algorithm with the server's configuration, and what it grants the key")
	case dns.RcodeBadSig:
		return u.refused(r.Rcode, "BADSIG: the secret of key "+u.zone.TSIG.Name+" is not the server's", "copy the secret from the server's configuration again")
	case dns.RcodeBadTime:
		return u.refused(r.Rcode, "BADTIME: "+clocks(t, time.Now()), "set the clock of this machine or of the server (NTP), then try again")
	}
	return u.refused(r.Rcode, fmt.Sprintf("TSIG error %d", t.Error), "look into the server's log")
}

// clocks puts the difference between the server's clock, which a BADTIME
// answer carries as a 48-bit number, and ours in words.
func clocks(t *dns.TSIG, now time.Time) string {
	b, err := hex.DecodeString(t.OtherData)
	if err != nil || len(b) != 6 {
		return "the clocks of this machine and of the server differ too much; the server did not say its time"
	}
	var sec int64
	for _, x := range b {
		sec = sec<<8 | int64(x)
	}
	server := time.Unix(sec, 0).UTC()
	d := now.Sub(server).Round(10 * time.Second)
	word := "ahead of"
	if d < 0 {
		d, word = -d, "behind"
	}
	return fmt.Sprintf("the server's clock says %s, this machine's clock is about %s %s it; at most %ds are allowed",
		server.Format(time.RFC3339), d, word, fudge)
}

func (u *Updater) op() string { return "UPDATE " + trim(u.zone.Name) }

func (u *Updater) fail(kind actions.Kind, err error, next string) error {
	return &actions.Error{Kind: kind, Host: u.zone.Server, Op: u.op(), Next: next, Err: err}
}

func (u *Updater) refused(rcode int, text, next string) error {
	return u.fail(actions.Rejected, &rcodeError{rcode, text}, next)
}
