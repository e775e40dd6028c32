package rfc2136

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"

	"edgewatch/actions"
)

// recordsTask is documented steps 4 and 5 on one zone.
type recordsTask struct {
	updater *Updater
	wanted  Wanted
	invalid error

	mu   sync.Mutex
	held time.Duration // how long caches may keep what this task saw replaced
}

var _ actions.Task = (*recordsTask)(nil)

// Target implements actions.Task.
func (t *recordsTask) Target() string { return "zone " + trim(t.updater.zone.Name) }

// Preview implements actions.Task: the input for nsupdate(1) that does by
// hand what Apply does. Apply requires the values it reads a moment before;
// offline the values of AddressSet.From stand in for them.
func (t *recordsTask) Preview() []string { return t.updater.script(t.wanted) }

// Check asks every authoritative server. Done means that all of them hold
// what is wanted (but for Zone.MaySilent of them that gave no answer), Partly
// that one of them does in the newest version of the zone, or that the primary
// does or cannot be asked: what it took reaches partners sooner or later.
func (t *recordsTask) Check(ctx context.Context) (actions.Observation, error) {
	if t.invalid != nil {
		return actions.Observation{}, t.updater.fail(actions.Rejected, t.invalid, "correct the configuration")
	}
	rs := t.updater.readEach(ctx, t.updater.zone.Authoritative, t.wanted)
	o, err := t.weigh(rs)
	if err == nil && o.Status == actions.Pending {
		if held, asked := t.taken(ctx, rs); held || !asked {
			o.Status, o.Unsure = actions.Partly, !held
		}
	}
	return o, err
}

// taken reports whether any server holds what is wanted, be it a primary that the
// world does not ask, and whether the primary could be asked. Another server that
// lags behind has taken nothing: what it holds was before.
func (t *recordsTask) taken(ctx context.Context, rs []reading) (held, asked bool) {
	zone := &t.updater.zone
	if !slices.Contains(zone.Authoritative, zone.Server) {
		rs = append(rs, t.updater.readEach(ctx, []string{zone.Server}, t.wanted)...)
	}
	for _, r := range rs {
		if r.err != nil {
			continue
		}
		edits, err := r.view.plan(t.wanted, t.updater.op())
		held = held || err == nil && len(edits) == 0 && (r.server == zone.Server || !r.view.outdated(rs))
		asked = asked || err == nil && r.server == zone.Server
	}
	return held, asked
}

func (t *recordsTask) weigh(rs []reading) (actions.Observation, error) {
	var words []string
	var errs []error
	answered, behind, broken, silent := 0, 0, 0, 0
	for _, r := range rs {
		if r.err != nil {
			// A server that refuses is named, and does not stop Apply: the
			// preflight has already demanded that all answer.
			if actions.KindOf(r.err) == actions.Transient {
				silent++
			} else {
				broken++
			}
			errs = append(errs, r.err)
			words = append(words, fmt.Sprintf("%s: no usable answer (%v)", r.server, reason(r.err)))
			continue
		}
		answered++
		edits, err := r.view.plan(t.wanted, "compare zone "+trim(t.updater.zone.Name))
		switch {
		case err != nil && !r.view.outdated(rs):
			return actions.Observation{}, err
		case err != nil:
			behind++
			words = append(words, fmt.Sprintf("%s serial %d: lags behind (%v)", r.server, r.view.serial, reason(err)))
			continue
		case len(edits) > 0:
			behind++
			t.replaces(r.view, edits)
		}
		words = append(words, r.view.describe(t.wanted, edits))
	}
	if answered == 0 {
		return actions.Observation{}, errs[0]
	}
	o := actions.Observation{Status: actions.Pending}
	if behind == 0 && broken == 0 && silent <= t.updater.zone.MaySilent {
		o.Status = actions.Done
	}
	t.mu.Lock()
	if t.held > 0 {
		words = append(words, fmt.Sprintf("resolvers may keep the old records for up to %s", t.held))
	}
	t.mu.Unlock()
	o.Detail = strings.Join(words, "; ")
	return o, nil
}

// replaces remembers how long caches may keep what edits replace.
func (t *recordsTask) replaces(v *view, edits []edit) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, e := range edits {
		if e.changes() {
			t.held = max(t.held, v.ttl(e.set))
		}
	}
}

// Apply reads the records on the primary and replaces them only if they are
// still what was read. Records that are as wanted are left alone.
func (t *recordsTask) Apply(ctx context.Context) error {
	u := t.updater
	if t.invalid != nil {
		return u.fail(actions.Rejected, t.invalid, "correct the configuration")
	}
	before, err := u.read(ctx, u.zone.Server, t.wanted)
	if err != nil {
		return err
	}
	edits, err := before.plan(t.wanted, u.op())
	if err != nil || len(edits) == 0 {
		return err
	}
	t.replaces(before, edits)
	err = u.update(ctx, u.message(edits))
	var refused *rcodeError
	switch {
	case err == nil:
		return t.confirm(ctx)
	case errors.As(err, &refused) && unmet(refused.rcode):
		return t.overtaken(ctx, before, refused)
	}
	return err
}

// unmet reports whether rcode says that a prerequisite does not hold.
func unmet(rcode int) bool {
	switch rcode {
	case dns.RcodeNXRrset, dns.RcodeYXRrset, dns.RcodeYXDomain, dns.RcodeNameError:
		return true
	}
	return false
}

// confirm looks whether an update that was answered NOERROR took effect:
// servers answer so too when they ignored a record.
func (t *recordsTask) confirm(ctx context.Context) error {
	u := t.updater
	after, err := u.read(ctx, u.zone.Server, t.wanted)
	if err != nil {
		return nil // the Check to come is the proof, and says why it cannot be had
	}
	edits, err := after.plan(t.wanted, u.op())
	if err != nil {
		return err
	}
	if len(edits) > 0 {
		return u.fail(actions.Indeterminate,
			fmt.Errorf("the server answered NOERROR and does not hold what was sent: %s", after.describe(t.wanted, edits)), nextLook)
	}
	return nil
}

// overtaken finds out what an unmet prerequisite means: the update was done
// already (by a run that lost the answer, or by another watchdog that wants
// the same), or somebody else changed the records.
func (t *recordsTask) overtaken(ctx context.Context, before *view, refused error) error {
	u := t.updater
	now, err := u.read(ctx, u.zone.Server, t.wanted)
	if err != nil {
		return u.fail(actions.Indeterminate, fmt.Errorf("%w, and the records could not be read again: %w", refused, err), nextLook)
	}
	edits, err := now.plan(t.wanted, u.op())
	switch {
	case err != nil:
		return err
	case len(edits) == 0:
		return nil
	case now.same(before, t.wanted):
		return u.fail(actions.Rejected, fmt.Errorf("%w, though the server still answers the same: a wildcard record or another view of the zone answers in place of the records", refused),
			"compare the zone's data with what the server answers, and give the names records of their own")
	}
	return u.fail(actions.Rejected, fmt.Errorf("the records were changed by somebody else since they were read (%w): %s", refused, now.describe(t.wanted, edits)),
		"find out who changed them, then start the step again")
}

// describe says in words what one server holds.
func (v *view) describe(w Wanted, edits []edit) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s serial %d: ", v.server, v.serial)
	if len(edits) == 0 {
		b.WriteString("as wanted")
	} else {
		b.WriteString("not as wanted")
	}
	if a := w.Address; a != nil {
		fmt.Fprintf(&b, ", %s has %s (TTL %s)", trim(a.Name), list(v.addrs(a.Name)), v.ttl(a.sets()...))
	}
	for _, s := range w.Services {
		key := set{s.owner(), dns.TypeSRV}
		records := strings.Join(rdata(v.sets[key]), ", ")
		if records == "" {
			records = "nothing"
		}
		fmt.Fprintf(&b, ", %s has %s (TTL %s)", trim(s.owner()), records, v.ttl(key))
	}
	return b.String()
}

// sets are those of the two types that the name should have.
func (a *AddressSet) sets() []set {
	var out []set
	for _, rtype := range []uint16{dns.TypeA, dns.TypeAAAA} {
		if len(a.records(rtype)) > 0 {
			out = append(out, set{a.Name, rtype})
		}
	}
	return out
}

// reason is the cause of err without the host and the operation that the
// sentence around it names already.
func reason(err error) error {
	if e, ok := errors.AsType[*actions.Error](err); ok {
		return e.Err
	}
	return err
}
