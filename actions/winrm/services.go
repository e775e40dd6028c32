package winrm

import (
	"context"
	"fmt"
	"path"
	"strings"
	"time"

	"edgewatch/actions"
)

// service is a row of Get-CsWindowsService.
type service struct{ Name, DisplayName, RoleName, Status string }

// Values of service.Status; they are an enum's names, the same in every
// language.
const (
	stopped = "Stopped"
	running = "Running"
)

func getServices() Script {
	return Script{Op: "Get-CsWindowsService", Module: true, Calls: []Call{
		{Cmdlet: "Get-CsWindowsService", Into: "services", Pick: []string{"Name", "DisplayName", "RoleName", "Status"}},
	}}
}

// services reads the Cs services of a host. None at all is an error: nothing
// may be concluded from an empty list.
func (c *Client) services(ctx context.Context) ([]service, error) {
	var a struct{ Services []service }
	s := getServices()
	if err := c.Run(ctx, s, &a); err != nil {
		return nil, err
	}
	if len(a.Services) == 0 {
		return nil, c.failed(s, actions.Rejected, fmt.Errorf("no Cs service is known there"),
			fmt.Sprintf("check that %s is an Edge Server and that its deployment was finished", c.o.Host))
	}
	return a.Services, nil
}

// observe says whether every service has the status.
func observe(services []service, want string) actions.Observation {
	var other []string
	for _, s := range services {
		if s.Status != want {
			other = append(other, s.Name+" "+s.Status)
		}
	}
	o := actions.Observation{Status: actions.Done, Detail: fmt.Sprintf("%d of %d services %s", len(services)-len(other), len(services), want)}
	if len(other) > 0 {
		o.Status = actions.Pending
		o.Detail += "; " + strings.Join(other, ", ")
	}
	return o
}

const (
	settleTimeout = time.Minute     // how long Apply waits for services to leave a pending state
	settlePause   = 1 * time.Second // between two looks
)

// await looks until done or for the given time, and tells nobody what it saw:
// the Check that follows every Apply does. Errors are left to it too.
func await(ctx context.Context, limit, pause time.Duration, done func(context.Context) bool) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if done(ctx) {
			return
		}
		t.Reset(pause)
	}
}

// power is the task that stops or starts all Cs services of one server.
type power struct {
	c      *Client
	cmdlet string
	want   string
}

// NewStopServices is step 2 on one Edge Server: Stop-CsWindowsService. It is
// done when every Cs service there is Stopped.
func NewStopServices(c *Client) actions.Task {
	return &power{c, "Stop-CsWindowsService", stopped}
}

// NewStartServices is step 7 on one Edge Server: Start-CsWindowsService. It is
// done when every Cs service there is Running.
func NewStartServices(c *Client) actions.Task {
	return &power{c, "Start-CsWindowsService", running}
}

func (p *power) script() Script {
	return Script{Op: p.cmdlet, Module: true, Writes: true, Calls: []Call{{Cmdlet: p.cmdlet}}}
}

// Target implements actions.Task.
func (p *power) Target() string { return p.c.Host() }

// Preview implements actions.Task.
func (p *power) Preview() []string { return show(p.script().Calls) }

// Check implements actions.Task.
func (p *power) Check(ctx context.Context) (actions.Observation, error) {
	services, err := p.c.services(ctx)
	if err != nil {
		return actions.Observation{}, err
	}
	return observe(services, p.want), nil
}

// Apply implements actions.Task. The cmdlet waits for the services; where it
// came back early, Apply waits a little longer.
func (p *power) Apply(ctx context.Context) error {
	if err := p.c.Run(ctx, p.script(), nil); err != nil {
		return err
	}
	await(ctx, settleTimeout, settlePause, func(ctx context.Context) bool {
		o, err := p.Check(ctx)
		return err == nil && o.Status == actions.Done
	})
	return nil
}

// DefaultProxy is the display name of the XMPP proxy, whose short name is not
// documented.
const DefaultProxy = "*XMPP*Proxy*"

type ready struct {
	c     *Client
	proxy string
}

// NewReady is the preflight on one Edge Server of the target pool: the account
// can log on and run cmdlets, and the Cs services are there, the XMPP proxy
// among them. Proxy is the pattern of its display name, without case; ""
// means DefaultProxy. Whether the services run is not asked: step 7 starts them.
func NewReady(c *Client, proxy string) actions.Task {
	if proxy == "" {
		proxy = DefaultProxy
	}
	return &ready{c, proxy}
}

// Target implements actions.Task.
func (r *ready) Target() string { return r.c.Host() }

// Preview implements actions.Task.
func (r *ready) Preview() []string { return show(getServices().Calls) }

// Check implements actions.Task.
func (r *ready) Check(ctx context.Context) (actions.Observation, error) {
	services, err := r.c.services(ctx)
	if err != nil {
		return actions.Observation{}, err
	}
	up := 0
	var proxy string
	for _, s := range services {
		if s.Status == running {
			up++
		}
		if ok, err := path.Match(strings.ToLower(r.proxy), strings.ToLower(s.DisplayName)); err != nil || ok {
			proxy = s.DisplayName
		}
	}
	if proxy == "" {
		return actions.Observation{}, r.c.failed(getServices(), actions.Rejected,
			fmt.Errorf("none of %d Cs services has a display name like %q", len(services), r.proxy),
			fmt.Sprintf("enable XMPP federation for the pool of %s in Topology Builder, or configure the name of its XMPP proxy service", r.c.Host()))
	}
	return actions.Observation{Status: actions.Done,
		Detail: fmt.Sprintf("logon works; %d Cs services, %d Running; %s is there", len(services), up, proxy)}, nil
}

// Apply implements actions.Task: there is nothing to do.
func (r *ready) Apply(context.Context) error { return nil }

func show(calls []Call) []string {
	lines := make([]string, len(calls))
	for i, c := range calls {
		lines[i] = c.show()
	}
	return lines
}
