package winrm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"edgewatch/actions"
)

type management struct {
	c *Client
	r Route
}

// NewManagement is the preflight on the management host: the module and
// Set-CsSite's parameter are there, the sites can be read, the target pool and
// its server are in the topology, and the Central Management store is alive. A
// topology that cannot be read over the network logon (the double hop) is
// explained in the error. Nothing is changed.
func NewManagement(c *Client, r Route) actions.Task { return &management{c, r} }

// Target implements actions.Task.
func (m *management) Target() string { return m.c.Host() }

func (m *management) local() Script {
	return Script{Op: "Get-Command Set-CsSite", Module: true, Calls: []Call{callParameters()}}
}

func (m *management) store() Script {
	return Script{Op: "read the Central Management store", Module: true, Calls: []Call{
		{Cmdlet: "Get-CsManagementStoreReplicationStatus", Args: []Arg{Switch("CentralManagementStoreStatus")}, Into: "store", Pick: []string{"ActiveMasterFqdn"}},
		callSites(),
		callEdges(),
	}}
}

func (m *management) pool() Script {
	return Script{Op: "Get-CsPool", Module: true, Calls: []Call{
		{Cmdlet: "Get-CsPool", Args: []Arg{Value("Identity", m.r.PoolFQDN)}, Into: "pools", Pick: []string{"Identity", "Computers"}},
	}}
}

// Preview implements actions.Task.
func (m *management) Preview() []string {
	return show(slices.Concat(m.local().Calls, m.store().Calls, m.pool().Calls))
}

// Check implements actions.Task.
func (m *management) Check(ctx context.Context) (actions.Observation, error) {
	var have topology
	if err := m.c.Run(ctx, m.local(), &have); err != nil {
		return actions.Observation{}, err
	}
	parameter, err := m.r.parameter(have.Parameters)
	if err != nil {
		return actions.Observation{}, m.reject(m.local(), err, fmt.Sprintf("look at (Get-Command Set-CsSite).Parameters.Keys on %s and pin the parameter's name", m.c.Host()))
	}
	master, err := m.readStore(ctx, &have)
	if err != nil {
		return actions.Observation{}, err
	}
	s, err := m.c.ownSite(&m.r, have.Sites)
	if err != nil {
		return actions.Observation{}, err
	}
	if _, err := m.r.value(parameter, have.Edges); err != nil {
		return actions.Observation{}, m.reject(m.store(), err, "correct the pool's FQDN in the configuration, or publish the topology that has it")
	}
	if err := m.members(ctx); err != nil {
		return actions.Observation{}, err
	}
	return actions.Observation{Status: actions.Done, Detail: fmt.Sprintf("module %s, Set-CsSite -%s, Central Management store on %s, %s routes to %s%s",
		strings.Join(have.Module, ", "), parameter, master, bare(s.Identity), orNone(bare(s.XmppFederationRoute)), m.r.others(have.Sites))}, nil
}

func (m *management) reject(s Script, err error, next string) error {
	return m.c.failed(s, actions.Rejected, err, next)
}

// readStore reads what lies in the Central Management store and returns its
// active master.
func (m *management) readStore(ctx context.Context, have *topology) (string, error) {
	var a struct {
		topology
		Store []struct{ ActiveMasterFqdn string }
	}
	err := m.c.Run(ctx, m.store(), &a)
	if e, ok := errors.AsType[*actions.Error](err); ok {
		if _, typed := errors.AsType[*PSError](err); typed {
			// The module loaded and cmdlets run, only the store cannot be read:
			// most likely the logon does not reach SQL on another machine.
			e.Next = fmt.Sprintf("if the same cmdlet works at the console of %s, its network logon is not passed on to the SQL server (double hop): connect to a session configuration with RunAs, allow constrained delegation, use a scheduled task, or configure the host of the Central Management store instead; if it fails there too, bring the store back first", m.c.Host())
		}
	}
	if err != nil {
		return "", err
	}
	have.Sites, have.Edges = a.Sites, a.Edges
	for _, row := range a.Store {
		if strings.TrimSpace(row.ActiveMasterFqdn) != "" {
			return row.ActiveMasterFqdn, nil
		}
	}
	return "", m.reject(m.store(), errors.New("the Central Management store has no active master"),
		"bring the Central Management store back (moving it is a procedure of its own, never automated), then start again")
}

// members checks that the route's server belongs to the pool.
func (m *management) members(ctx context.Context) error {
	var a struct {
		Pools []struct{ Identity, Computers string }
	}
	if err := m.c.Run(ctx, m.pool(), &a); err != nil {
		return err
	}
	var computers []string
	for _, p := range a.Pools {
		computers = append(computers, strings.Fields(p.Computers)...)
	}
	if slices.ContainsFunc(computers, func(c string) bool { return same(c, m.r.server()) }) {
		return nil
	}
	if strings.EqualFold(m.r.server(), m.r.PoolFQDN) && len(computers) > 0 {
		return nil
	}
	return m.reject(m.pool(), fmt.Errorf("%s is not a computer of pool %s; its computers are %s", m.r.server(), m.r.PoolFQDN, orNone(strings.Join(computers, ", "))),
		"correct the servers of the pool in the configuration")
}

// Apply implements actions.Task: there is nothing to do.
func (m *management) Apply(context.Context) error { return nil }
