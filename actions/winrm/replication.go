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
}

type replication struct {
	c        *Client
	replicas []string
	need     int
	since    func() time.Time
	patience time.Duration
	pause    time.Duration

	mu   sync.Mutex
	told map[string]bool // replicas that were told to replicate, once each
}

// NewReplication verifies that the Edge Servers of the target have the
// configuration which holds the route: each of the replicas is up to date, and
// its last update was created no earlier than since, on the servers' clock. A
// nil since or a zero time asks for up to date only. At least need of them must
// be, all when it is 0: a server whose services did not come up has no replica
// that could be, and start-services has named it. A replica that is behind is
// told to replicate, once. Ask only when the replicas' services run.
func NewReplication(c *Client, replicas []string, need int, since func() time.Time) actions.Task {
	return &replication{c: c, replicas: slices.Clone(replicas), need: need, since: since,
		patience: replicationPatience, pause: replicationPause, told: map[string]bool{}}
}

// Target implements actions.Task.
func (t *replication) Target() string { return t.c.Host() }

func (t *replication) status() Script {
	return Script{Op: "Get-CsManagementStoreReplicationStatus", Module: true, Calls: []Call{
		{Cmdlet: "Get-CsManagementStoreReplicationStatus", Into: "replicas", Pick: []string{"ReplicaFqdn", "UpToDate", "LastUpdateCreation"}},
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
		if t.need <= 0 || len(t.replicas)-len(behind) < t.need {
			o.Status = actions.Pending
		}
		o.Detail += "; behind: " + strings.Join(behind, ", ")
	}
	return o, nil
}

// behind names the replicas that are not up to date.
func (t *replication) behind(ctx context.Context) ([]string, error) {
	var a struct{ Replicas []replica }
	if err := t.c.Run(ctx, t.status(), &a); err != nil {
		return nil, err
	}
	var since time.Time
	if t.since != nil {
		since = t.since()
	}
	var behind []string
	for _, name := range t.replicas {
		i := slices.IndexFunc(a.Replicas, func(r replica) bool { return same(r.ReplicaFqdn, name) })
		if i < 0 {
			return nil, t.c.failed(t.status(), actions.Rejected, fmt.Errorf("there is no replica %s", name),
				"correct the server's FQDN in the configuration, or publish the topology that has it")
		}
		if !a.Replicas[i].current(since) {
			behind = append(behind, name)
		}
	}
	return behind, nil
}

// current reports whether the replica has the snapshot of since or a later
// one; up to date alone may speak of the one before.
func (r *replica) current(since time.Time) bool {
	if !r.UpToDate || since.IsZero() {
		return r.UpToDate
	}
	created, err := time.Parse(time.RFC3339Nano, r.LastUpdateCreation)
	return err == nil && !created.Before(since.Add(-clockSkew))
}

// Apply implements actions.Task: it tells each replica that is behind to
// replicate, once in the life of the task, and waits some time for it.
func (t *replication) Apply(ctx context.Context) error {
	behind, err := t.behind(ctx)
	if err != nil {
		return err
	}
	for _, name := range behind {
		if !t.first(name) {
			continue
		}
		if err := t.c.Run(ctx, t.tell(name), nil); err != nil {
			return err
		}
	}
	await(ctx, t.patience, t.pause, func(ctx context.Context) bool {
		left, err := t.behind(ctx)
		return err == nil && len(left) == 0
	})
	return nil
}

func (t *replication) first(name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	first := !t.told[name]
	t.told[name] = true
	return first
}
