package actionstest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// Site is a site of the topology.
type Site struct {
	ID    string // number, as Get-CsService prints it
	Name  string // "Site2"; Get-CsSite prints "Site:Site2"
	Route string // XmppFederationRoute; "" is none
}

// Pool is an Edge pool of the topology.
type Pool struct {
	FQDN         string // internal
	ExternalFQDN string // of the access edge
	Site         string // name of its site
	Servers      []string
}

// Service is one Cs service of an Edge Server.
type Service struct{ Name, DisplayName, RoleName, Status string }

// edgeServices are those of an Edge Server with XMPP federation. The short name
// of the XMPP proxy is not documented; this one is made up.
func edgeServices() []Service {
	return []Service{
		{"REPLICA", "Skype for Business Server Replica Replicator Agent", "", running},
		{"RTCCLSAGT", "Skype for Business Server Centralized Logging Service Agent", "", running},
		{"RTCSRV", "Skype for Business Server Access Edge", "EdgeServer", running},
		{"RTCDATAPROXY", "Skype for Business Server Web Conferencing Edge", "EdgeServer", running},
		{"RTCMRAUTH", "Skype for Business Server Audio/Video Authentication", "EdgeServer", running},
		{"RTCMEDIARELAY", "Skype for Business Server Audio/Video Edge", "EdgeServer", running},
		{"RTCXMPPPROXY", "Skype for Business Server XMPP Translating Gateway Proxy", "EdgeServer", running},
	}
}

const (
	running      = "Running"
	stopped      = "Stopped"
	startPending = "StartPending"
	stopPending  = "StopPending"
)

// Knobs change how an Estate behaves while it runs.
type Knobs struct {
	Modules         []string      // PowerShell modules that are installed
	RouteParameters []string      // Set-CsSite's parameters for the route
	Work            time.Duration // how long Stop- and Start-CsWindowsService take
	Settle          time.Duration // how long services stay pending after these came back
	StoreDown       bool          // the Central Management store has no active master
	DoubleHop       bool          // the store cannot be read over a network logon
	ReplicationLag  time.Duration // how long after Set-CsSite the status still speaks of the old snapshot
	Stuck           []string      // replicas that stay behind until they are told to replicate
	Dead            []string      // "server/SERVICE": services that do not start
	Fail            map[string]Failure
	ClockAhead      time.Duration // the servers' clock against ours
}

// Failure is an error that a cmdlet throws, as PowerShell types it. It is put
// into Knobs.Fail by the cmdlet's name.
type Failure struct{ ID, Type, Category, Message string }

// Command is one cmdlet that a host ran.
type Command struct {
	Host, User string
	Cmdlet     string
	Args       map[string]string // switches are "true" or "false", lists are joined with commas
	At         time.Time         // by our clock
	Err        string            // FullyQualifiedErrorId, if it failed
}

// Hooks are told of what cmdlets do, so that a lab can really stop and start
// servers. They are called without locks, before the cmdlet answers.
type Hooks struct {
	OnStop  func(server string)
	OnStart func(server string)
	OnRoute func(site, value string)
}

// server is the state of one Edge Server.
type server struct {
	services []Service
	pending  time.Time // until then statuses are pending
	told     time.Time // when it was told to replicate
}

// Estate is a model of the sites, Edge pools and the Central Management store
// of an organization. It is safe for concurrent use and shared by its hosts.
type Estate struct {
	hooks      Hooks
	pools      []Pool
	management []string

	mu      sync.Mutex
	knobs   Knobs
	sites   []Site
	servers map[string]*server
	created time.Time // of the newest snapshot of the store
	before  time.Time // of the one before
	log     []Command
}

// NewEstate returns an estate in which everything runs. Management names the
// hosts that may read and change the topology; every other host is the Edge
// Server of its name.
func NewEstate(sites []Site, pools []Pool, management []string, hooks Hooks) *Estate {
	start := time.Now().Add(-time.Hour)
	e := &Estate{
		hooks: hooks, pools: slices.Clone(pools), management: slices.Clone(management), sites: slices.Clone(sites),
		knobs:   Knobs{Modules: []string{"SkypeForBusiness"}, RouteParameters: []string{"XmppFederationRoute"}},
		servers: map[string]*server{}, created: start, before: start,
	}
	for _, p := range pools {
		for _, s := range p.Servers {
			e.servers[strings.ToLower(s)] = &server{services: edgeServices()}
		}
	}
	return e
}

// Set changes the knobs.
func (e *Estate) Set(change func(*Knobs)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	change(&e.knobs)
}

// Commands lists the cmdlets that were run, oldest first; named ones only, if
// names are given.
func (e *Estate) Commands(names ...string) []Command {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []Command
	for _, c := range e.log {
		if len(names) == 0 || slices.Contains(names, c.Cmdlet) {
			out = append(out, c)
		}
	}
	return out
}

// Route is the route of a site, as Get-CsSite prints it.
func (e *Estate) Route(site string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if s := e.siteLocked(site); s != nil {
		return s.Route
	}
	return ""
}

// SetRoute changes a route as an operator would, without a hook.
func (e *Estate) SetRoute(site, value string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.siteLocked(site)
	if s == nil {
		return fmt.Errorf("there is no site %s", site)
	}
	s.Route = value
	e.snapshotLocked()
	return nil
}

// Services are the services of an Edge Server as they are now.
func (e *Estate) Services(name string) []Service {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.servers[strings.ToLower(name)]
	if s == nil {
		return nil
	}
	e.settleLocked(s)
	return slices.Clone(s.services)
}

// Running reports whether all services of an Edge Server run.
func (e *Estate) Running(name string) bool {
	services := e.Services(name)
	return len(services) > 0 && !slices.ContainsFunc(services, func(s Service) bool { return s.Status != running })
}

// SetServices puts all services of an Edge Server into a status, without a
// hook.
func (e *Estate) SetServices(name, status string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.servers[strings.ToLower(name)]
	if s == nil {
		return fmt.Errorf("there is no Edge Server %s", name)
	}
	for i := range s.services {
		s.services[i].Status = status
	}
	s.pending = time.Time{}
	return nil
}

// settleLocked ends a pending state whose time is over.
func (e *Estate) settleLocked(s *server) {
	if time.Now().Before(s.pending) {
		return
	}
	for i := range s.services {
		switch s.services[i].Status {
		case stopPending:
			s.services[i].Status = stopped
		case startPending:
			s.services[i].Status = running
		}
	}
}

func (e *Estate) siteLocked(name string) *Site {
	name = name[strings.LastIndexByte(name, ':')+1:]
	for i := range e.sites {
		if strings.EqualFold(e.sites[i].Name, name) {
			return &e.sites[i]
		}
	}
	return nil
}

func (e *Estate) snapshotLocked() {
	e.before, e.created = e.created, time.Now()
}

// replicaLocked is a row of Get-CsManagementStoreReplicationStatus. A server that
// was told to replicate has a snapshot of that time, whatever holds up others.
func (e *Estate) replicaLocked(name string, s *server) object {
	e.settleLocked(s)
	created, upToDate := e.created, s.services[0].Status == running
	switch {
	case s.told.After(e.created):
		created = s.told
	case time.Since(e.created) < e.knobs.ReplicationLag:
		created, upToDate = e.before, true
	case slices.ContainsFunc(e.knobs.Stuck, func(n string) bool { return strings.EqualFold(n, name) }):
		upToDate = false
	}
	return object{"ReplicaFqdn": name, "UpToDate": upToDate, "LastUpdateCreation": created.Add(e.knobs.ClockAhead), "LastStatusReport": created.Add(e.knobs.ClockAhead)}
}
