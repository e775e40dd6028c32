package actionstest

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"
)

// object is what a cmdlet puts into the pipeline: properties that are strings,
// booleans, times or lists of strings.
type object map[string]any

// invocation is a cmdlet call as a host received it.
type invocation struct {
	cmdlet string
	args   map[string]string // by lower-case name, switches "true"/"false"
	named  map[string]string // the same by the name that was sent
	bare   []string          // positional values
}

// cmdlet is one that a host knows: its parameters, and what it does.
type cmdlet struct {
	parameters []string
	management bool // runs on a management host only
	edge       bool // runs on an Edge Server only
	run        func(e *Estate, ctx context.Context, host string, in invocation) ([]object, *Failure)
}

func (e *Estate) cmdlets() map[string]cmdlet {
	e.mu.Lock()
	route := slices.Clone(e.knobs.RouteParameters)
	e.mu.Unlock()
	windows := []string{"Name", "ComputerName", "Graceful", "NoWait", "Force", "Report"}
	return map[string]cmdlet{
		"get-command":          {parameters: []string{"Name"}, run: (*Estate).getCommand},
		"get-cswindowsservice": {parameters: []string{"Name", "ComputerName"}, edge: true, run: (*Estate).getServices},
		"stop-cswindowsservice": {parameters: windows, edge: true, run: func(e *Estate, ctx context.Context, host string, _ invocation) ([]object, *Failure) {
			return e.power(ctx, host, false)
		}},
		"start-cswindowsservice": {parameters: windows, edge: true, run: func(e *Estate, ctx context.Context, host string, _ invocation) ([]object, *Failure) {
			return e.power(ctx, host, true)
		}},
		"get-cssite":                             {parameters: []string{"Identity", "Filter"}, management: true, run: (*Estate).getSites},
		"set-cssite":                             {parameters: append(route, "Identity", "Force", "Confirm", "WhatIf"), management: true, run: (*Estate).setSite},
		"get-csservice":                          {parameters: []string{"EdgeServer", "PoolFqdn", "Identity"}, management: true, run: (*Estate).getEdges},
		"get-cspool":                             {parameters: []string{"Identity", "Site"}, management: true, run: (*Estate).getPool},
		"get-csmanagementstorereplicationstatus": {parameters: []string{"CentralManagementStoreStatus", "ReplicaFqdn"}, management: true, run: (*Estate).getReplication},
		"invoke-csmanagementstorereplication":    {parameters: []string{"ReplicaFqdn", "Force"}, management: true, run: (*Estate).invokeReplication},
	}
}

const (
	typeRuntime = "System.Management.Automation.RuntimeException"
	typeBinding = "System.Management.Automation.ParameterBindingException"
	typeUnknown = "System.Management.Automation.CommandNotFoundException"
)

// run executes one cmdlet on a host and logs it. Whether the module is there is
// the script's affair.
func (e *Estate) run(ctx context.Context, host, user string, in invocation) ([]object, *Failure) {
	out, failure := e.bind(ctx, host, in)
	c := Command{Host: host, User: user, Cmdlet: in.cmdlet, Args: maps.Clone(in.named), At: time.Now()}
	if failure != nil {
		c.Err = failure.ID
	}
	e.mu.Lock()
	e.log = append(e.log, c)
	e.mu.Unlock()
	return out, failure
}

func (e *Estate) bind(ctx context.Context, host string, in invocation) ([]object, *Failure) {
	known, ok := e.cmdlets()[strings.ToLower(in.cmdlet)]
	if !ok {
		return nil, &Failure{ID: "CommandNotFoundException", Type: typeUnknown, Category: "ObjectNotFound", Message: "Die Benennung \"" + in.cmdlet + "\" wurde nicht als Name eines Cmdlet erkannt."}
	}
	for name := range in.named {
		if !slices.ContainsFunc(known.parameters, func(p string) bool { return strings.EqualFold(p, name) }) {
			return nil, &Failure{ID: "NamedParameterNotFound," + in.cmdlet, Type: typeBinding, Category: "InvalidArgument", Message: "Es wurde kein Parameter gefunden, der dem Parameternamen \"" + name + "\" entspricht."}
		}
	}
	e.mu.Lock()
	failure, failing := e.knobs.Fail[in.cmdlet]
	doubleHop := e.knobs.DoubleHop
	e.mu.Unlock()
	manager := slices.ContainsFunc(e.management, func(m string) bool { return strings.EqualFold(m, host) })
	switch {
	case failing:
		return nil, &failure
	case known.management && !manager, known.management && doubleHop:
		return nil, &Failure{ID: "ConnectionFailure," + in.cmdlet, Type: "Microsoft.Rtc.Common.Data.DataException", Category: "ResourceUnavailable",
			Message: "Verbindung mit dem zentralen Verwaltungsspeicher nicht möglich."}
	case known.edge && manager:
		return nil, &Failure{ID: "NotAnEdge," + in.cmdlet, Type: "System.InvalidOperationException", Category: "InvalidOperation", Message: "this host has no Edge services"}
	}
	return known.run(e, ctx, host, in)
}

func (e *Estate) getCommand(_ context.Context, _ string, in invocation) ([]object, *Failure) {
	c, ok := e.cmdlets()[strings.ToLower(in.args["name"])]
	if !ok {
		return nil, &Failure{ID: "CommandNotFoundException,Microsoft.PowerShell.Commands.GetCommandCommand", Type: typeUnknown, Category: "ObjectNotFound", Message: in.args["name"]}
	}
	return []object{{"Name": in.args["name"], "Parameters.Keys": append(slices.Clone(c.parameters), "Verbose", "Debug", "ErrorAction")}}, nil
}

func (e *Estate) getServices(_ context.Context, host string, _ invocation) ([]object, *Failure) {
	var out []object
	for _, s := range e.Services(host) {
		out = append(out, object{"Name": s.Name, "DisplayName": s.DisplayName, "RoleName": s.RoleName, "Status": s.Status})
	}
	return out, nil
}

// power stops or starts every service of an Edge Server.
func (e *Estate) power(ctx context.Context, host string, up bool) ([]object, *Failure) {
	status, pending, hook := stopped, stopPending, e.hooks.OnStop
	if up {
		status, pending, hook = running, startPending, e.hooks.OnStart
	}
	e.mu.Lock()
	s := e.servers[strings.ToLower(host)]
	if s == nil {
		e.mu.Unlock()
		return nil, &Failure{ID: "NoServices", Type: "System.InvalidOperationException", Category: "ObjectNotFound", Message: host}
	}
	e.settleLocked(s)
	work, settle, dead := e.knobs.Work, e.knobs.Settle, slices.Clone(e.knobs.Dead)
	for i := range s.services {
		isDead := up && slices.Contains(dead, host+"/"+s.services[i].Name)
		if s.services[i].Status != status && !isDead {
			s.services[i].Status = pending
		}
	}
	s.pending = time.Now().Add(work + settle)
	e.mu.Unlock()
	if hook != nil {
		hook(host)
	}
	if work > 0 {
		t := time.NewTimer(work)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
		}
	}
	return nil, nil
}

func (e *Estate) getSites(_ context.Context, _ string, in invocation) ([]object, *Failure) {
	e.mu.Lock()
	defer e.mu.Unlock()
	row := func(s Site) object {
		return object{"Identity": "Site:" + s.Name, "SiteId": s.ID, "DisplayName": s.Name, "XmppFederationRoute": s.Route}
	}
	if id, ok := in.args["identity"]; ok {
		s := e.siteLocked(id)
		if s == nil {
			return nil, &Failure{ID: "MissingItem,Microsoft.Rtc.Management.Xds.GetOcsSiteCmdlet", Type: "Microsoft.Rtc.Management.ManagementException", Category: "ObjectNotFound", Message: id}
		}
		return []object{row(*s)}, nil
	}
	var out []object
	for _, s := range e.sites {
		out = append(out, row(s))
	}
	return out, nil
}

func (e *Estate) setSite(_ context.Context, _ string, in invocation) ([]object, *Failure) {
	if in.args["confirm"] != "false" || in.args["force"] != "true" {
		return nil, &Failure{ID: "HostFunctionNotImplemented,Set-CsSite", Type: "System.Management.Automation.Host.HostException", Category: "NotImplemented", Message: "a prompt in a shell that nobody sees"}
	}
	e.mu.Lock()
	s := e.siteLocked(in.args["identity"])
	if s == nil {
		e.mu.Unlock()
		return nil, &Failure{ID: "MissingItem,Microsoft.Rtc.Management.Xds.SetOcsSiteCmdlet", Type: "Microsoft.Rtc.Management.ManagementException", Category: "ObjectNotFound", Message: in.args["identity"]}
	}
	value, set := "", false
	for _, p := range e.knobs.RouteParameters {
		if v, ok := in.args[strings.ToLower(p)]; ok {
			value, set = v, true
		}
	}
	if set && value != "" {
		pool := e.poolOf(value)
		if pool == "" {
			e.mu.Unlock()
			return nil, &Failure{ID: "InvalidRoute,Set-CsSite", Type: "Microsoft.Rtc.Management.ManagementException", Category: "InvalidData", Message: "no Edge service " + value}
		}
		value = "EdgeServer:" + pool
	}
	name := s.Name
	if set {
		s.Route = value
		e.snapshotLocked()
	}
	e.mu.Unlock()
	if set && e.hooks.OnRoute != nil {
		e.hooks.OnRoute(name, value)
	}
	return nil, nil
}

// poolOf finds the pool that a route names: its service identity, its FQDN or
// one of its servers.
func (e *Estate) poolOf(value string) string {
	value = value[strings.LastIndexByte(value, ':')+1:]
	for _, p := range e.pools {
		names := append([]string{p.FQDN}, p.Servers...)
		if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, value) }) {
			return p.FQDN
		}
	}
	return ""
}

func (e *Estate) getEdges(_ context.Context, _ string, in invocation) ([]object, *Failure) {
	if in.args["edgeserver"] != "true" {
		return nil, &Failure{ID: "NotModelled,Get-CsService", Type: typeRuntime, Category: "NotImplemented", Message: "only -EdgeServer is modelled"}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []object
	for _, p := range e.pools {
		site := p.Site
		if s := e.siteLocked(p.Site); s != nil && s.ID != "" {
			site = s.ID
		}
		out = append(out, object{"Identity": "EdgeServer:" + p.FQDN, "PoolFqdn": p.FQDN, "SiteId": "Site:" + site, "XmppListeningPort": "23456", "AccessEdgeExternalFqdn": p.ExternalFQDN})
	}
	return out, nil
}

func (e *Estate) getPool(_ context.Context, _ string, in invocation) ([]object, *Failure) {
	for _, p := range e.pools {
		if strings.EqualFold(p.FQDN, in.args["identity"]) {
			return []object{{"Identity": p.FQDN, "Computers": p.Servers, "Fqdn": p.FQDN, "Site": "Site:" + p.Site}}, nil
		}
	}
	return nil, &Failure{ID: "MissingItem,Microsoft.Rtc.Management.Xds.GetOcsPoolCmdlet", Type: "Microsoft.Rtc.Management.ManagementException", Category: "ObjectNotFound", Message: in.args["identity"]}
}

func (e *Estate) getReplication(_ context.Context, host string, in invocation) ([]object, *Failure) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if in.args["centralmanagementstorestatus"] == "true" {
		master := host
		if e.knobs.StoreDown {
			master = ""
		}
		return []object{{"ActiveMasterFqdn": master, "ActiveMasterLastHeartbeat": time.Now()}}, nil
	}
	var out []object
	for _, p := range e.pools {
		for _, name := range p.Servers {
			out = append(out, e.replicaLocked(name, e.servers[strings.ToLower(name)]))
		}
	}
	return out, nil
}

func (e *Estate) invokeReplication(_ context.Context, _ string, in invocation) ([]object, *Failure) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.servers[strings.ToLower(in.args["replicafqdn"])]
	if s == nil {
		return nil, &Failure{ID: "ReplicaNotFound", Type: "System.ArgumentException", Category: "InvalidArgument", Message: in.args["replicafqdn"]}
	}
	s.told = time.Now()
	return nil, nil
}
