package winrm

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"edgewatch/actions"
)

const (
	replicationPatience = 2 * time.Minute  // for a replica that was told to replicate
	replicationPause    = 10 * time.Second // between two looks
	clockSkew           = 2 * time.Second  // between the management host and the store's master
)

type replica struct {
	ReplicaFqdn        string
	UpToDate           bool
	LastUpdateCreation string
	LastStatusReport   string
}

type replication struct {
	c        *Client
	replicas []string
	need     int
	written  func() (at time.Time, doubtful bool)
	patience time.Duration
	pause    time.Duration

	mu   sync.Mutex
	told map[string]*telling // replicas that were told to replicate, once each
}

// telling is a replica that was told to replicate.
type telling struct {
	before  replica // as it stood then
	renewed bool    // it was seen behind since, or with another update or report
}

// NewReplication verifies that the Edge Servers of the target have the
// configuration which holds the route: each of the replicas is up to date, and
// its last update was created no earlier than written, on the servers' clock.
// Where that is zero and doubtful, a run that ended may have written the route at
// a time that nobody knows, so that each replica must have replicated after it was
// told to; where it is zero alone, or written is nil, up to date is enough. At least
// need of them must be, all when it is 0: a server whose services did not come up has
// no replica that could be, and start-services has named it. A replica that is
// behind is told to replicate, once. Ask only when the replicas' services run.
func NewReplication(c *Client, replicas []string, need int, written func() (at time.Time, doubtful bool)) actions.Task {
	if written == nil {
		written = func() (time.Time, bool) { return time.Time{}, false }
	}
	return &replication{c: c, replicas: slices.Clone(replicas), need: need, written: written,
		patience: replicationPatience, pause: replicationPause, told: map[string]*telling{}}
}

// Target implements actions.Task.
func (t *replication) Target() string { return t.c.Host() }

func (t *replication) status() Script {
	return Script{Op: "Get-CsManagementStoreReplicationStatus", Module: true, Calls: []Call{
		{Cmdlet: "Get-CsManagementStoreReplicationStatus", Into: "replicas", Pick: []string{"ReplicaFqdn", "UpToDate", "LastUpdateCreation", "LastStatusReport"}},
	}}
}

func invoke(replica string) Call {
	return Call{Cmdlet: "Invoke-CsManagementStoreReplication", Args: []Arg{Value("ReplicaFqdn", replica)}}
}

func (t *replication) tell(replica string) Script {
	return Script{Op: "Invoke-CsManagementStoreReplication", Module: true, Writes: true, Calls: []Call{invoke(replica)}}
}

// Preview implements actions.Task.
func (t *replication) Preview() []string {
	calls := t.status().Calls
	for _, r := range t.replicas {
		calls = append(calls, invoke(r))
	}
	return show(calls)
}

// Check implements actions.Task.
func (t *replication) Check(ctx context.Context) (actions.Observation, error) {
	behind, err := t.behind(ctx)
	if err != nil {
		return actions.Observation{}, err
	}
	o := actions.Observation{Status: actions.Done, Detail: fmt.Sprintf("%d of %d replicas up to date", len(t.replicas)-len(behind), len(t.replicas))}
	if len(behind) > 0 {
		if !t.enough(behind) {
			o.Status = actions.Pending
		}
		words := make([]string, len(behind))
		for i, r := range behind {
			words[i] = r.ReplicaFqdn
			if at, _ := t.written(); r.UpToDate && at.IsZero() {
				words[i] += " (up to date, but the route may be newer than that)"
			}
		}
		o.Detail += "; behind: " + strings.Join(words, ", ")
	}
	return o, nil
}

// enough reports whether no more replicas are behind than may be.
func (t *replication) enough(behind []replica) bool {
	return len(behind) == 0 || t.need > 0 && len(t.replicas)-len(behind) >= t.need
}

// behind are the replicas that are not up to date, by the names that they were
// asked for.
func (t *replication) behind(ctx context.Context) ([]replica, error) {
	var a struct{ Replicas []replica }
	if err := t.c.Run(ctx, t.status(), &a); err != nil {
		return nil, err
	}
	var behind []replica
	for _, name := range t.replicas {
		i := slices.IndexFunc(a.Replicas, func(r replica) bool { return same(r.ReplicaFqdn, name) })
		if i < 0 {
			return nil, t.c.failed(t.status(), actions.Rejected, fmt.Errorf("there is no replica %s", name),
				"correct the server's FQDN in the configuration, or publish the topology that has it")
		}
		r := a.Replicas[i]
		r.ReplicaFqdn = name
		if !t.current(r) {
			behind = append(behind, r)
		}
	}
	return behind, nil
}

// current reports whether the replica has the snapshot that holds the route or
// a later one; up to date alone may speak of the one before.
func (t *replication) current(r replica) bool {
	renewed := t.renewed(r)
	at, doubtful := t.written()
	switch {
	case !r.UpToDate:
		return false
	case at.IsZero():
		return renewed || !doubtful
	}
	created, err := time.Parse(time.RFC3339Nano, r.LastUpdateCreation)
	return err == nil && !created.Before(at.Add(-clockSkew))
}

// renewed reports whether what r tells comes after it was told to replicate,
// which deletes the status that was known of it.
func (t *replication) renewed(r replica) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	told := t.told[r.ReplicaFqdn]
	if told == nil {
		return false
	}
	told.renewed = told.renewed || !r.UpToDate || r != told.before
	return told.renewed
}

// Apply implements actions.Task: it tells each replica that is behind to
// replicate, once in the life of the task, and waits some time for it.
func (t *replication) Apply(ctx context.Context) error {
	behind, err := t.behind(ctx)
	if err != nil {
		return err
	}
	for _, r := range behind {
		if !t.first(r) {
			continue
		}
		if err := t.c.Run(ctx, t.tell(r.ReplicaFqdn), nil); err != nil {
			t.untold(r, err)
			return err
		}
	}
	await(ctx, t.patience, t.pause, func(ctx context.Context) bool {
		left, err := t.behind(ctx)
		return err == nil && t.enough(left)
	})
	return nil
}

// first notes that r is told to replicate, and reports whether it has to be: it was
// not yet, by this run or as far as can be seen by one before.
func (t *replication) first(r replica) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.told[r.ReplicaFqdn] != nil {
		return false
	}
	if at, doubtful := t.written(); doubtful && at.IsZero() && !r.UpToDate { // an earlier run has told it: what it has next is new
		t.told[r.ReplicaFqdn] = &telling{before: r, renewed: true}
		return false
	}
	t.told[r.ReplicaFqdn] = &telling{before: r}
	return true
}

// untold takes first back where err says that r was not told after all.
func (t *replication) untold(r replica, err error) {
	if actions.KindOf(err) == actions.Indeterminate {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.told, r.ReplicaFqdn)
}
