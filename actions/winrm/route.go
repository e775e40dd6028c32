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

// Route is where XMPP federation shall go: the facts of the target pool.
type Route struct {
	Site       string // of the target pool, "Site2" or "Site:Site2"
	PoolFQDN   string // internal FQDN of the target pool, as in the topology
	ServerFQDN string // of one Edge Server of that pool; default PoolFQDN
	From       string // site that the federation leaves, named in warnings; may be empty

	Parameter string // pin of Set-CsSite's parameter; "" detects it
	Value     string // pin of its value; "" takes it from Get-CsService -EdgeServer
}

// The two names that Set-CsSite's parameter has: the procedure's pages print
// the first, with a server's FQDN; the cmdlet reference has the second, with
// the identity of the pool's Edge service.
const (
	parameterPages     = "XmppExternalFederationRoute"
	parameterReference = "XmppFederationRoute"
)

type site struct{ Identity, XmppFederationRoute string }

type edgeService struct{ Identity, PoolFqdn, SiteId, XmppListeningPort, AccessEdgeExternalFqdn string }

// topology is what the management host answered.
type topology struct {
	Now        string
	Module     []string
	Parameters []string
	Sites      []site
	Edges      []edgeService
}

func callParameters() Call {
	return Call{Cmdlet: "Get-Command", Args: []Arg{Value("Name", "Set-CsSite")}, Into: "parameters", Each: "Parameters.Keys"}
}

func callSites() Call {
	return Call{Cmdlet: "Get-CsSite", Into: "sites", Pick: []string{"Identity", parameterReference}}
}

func callEdges() Call {
	return Call{Cmdlet: "Get-CsService", Args: []Arg{Switch("EdgeServer")}, Into: "edges",
		Pick: []string{"Identity", "PoolFqdn", "SiteId", "XmppListeningPort", "AccessEdgeExternalFqdn"}}
}

// bare strips the scope from an identity: all up to the last colon.
func bare(identity string) string {
	return strings.TrimSpace(identity[strings.LastIndexByte(identity, ':')+1:])
}

func same(a, b string) bool { return strings.EqualFold(bare(a), bare(b)) }

func (r *Route) server() string {
	if r.ServerFQDN == "" {
		return r.PoolFQDN
	}
	return r.ServerFQDN
}

// reached reports whether a site's route leads to the target pool. What
// Get-CsSite prints after a server's FQDN was written is not documented, so
// the pool, the server and the pin are all taken for the target.
func (r *Route) reached(route string) bool {
	if bare(route) == "" {
		return false
	}
	return same(route, r.PoolFQDN) || same(route, r.server()) || r.Value != "" && same(route, r.Value)
}

// site finds the route's own site among those read.
func (r *Route) site(sites []site) (site, bool) {
	i := slices.IndexFunc(sites, func(s site) bool { return same(s.Identity, r.Site) })
	if i < 0 {
		return site{}, false
	}
	return sites[i], true
}

// others names every other site that has a route.
func (r *Route) others(sites []site) string {
	var also []string
	for _, s := range sites {
		if strings.TrimSpace(s.XmppFederationRoute) != "" && !same(s.Identity, r.Site) {
			name := bare(s.Identity)
			if r.From != "" && same(s.Identity, r.From) {
				name += " (the site it leaves)"
			}
			also = append(also, name+" to "+bare(s.XmppFederationRoute))
		}
	}
	if len(also) == 0 {
		return ""
	}
	return "; another site keeps a route: " + strings.Join(also, ", ")
}

// parameter picks Set-CsSite's parameter from those it has.
func (r *Route) parameter(have []string) (string, error) {
	wanted := []string{parameterReference, parameterPages}
	if r.Parameter != "" {
		wanted = []string{r.Parameter}
	}
	for _, w := range wanted {
		if i := slices.IndexFunc(have, func(h string) bool { return strings.EqualFold(h, w) }); i >= 0 {
			return have[i], nil
		}
	}
	return "", fmt.Errorf("Set-CsSite has no parameter %s", strings.Join(wanted, " or "))
}

// value is what the parameter is set to.
func (r *Route) value(parameter string, edges []edgeService) (string, error) {
	i := slices.IndexFunc(edges, func(e edgeService) bool { return same(e.PoolFqdn, r.PoolFQDN) || same(e.Identity, r.PoolFQDN) })
	switch {
	case r.Value != "":
		return r.Value, nil
	case i < 0:
		known := make([]string, len(edges))
		for i, e := range edges {
			known[i] = e.PoolFqdn
		}
		return "", fmt.Errorf("Get-CsService -EdgeServer knows no pool %s; it knows %s", r.PoolFQDN, strings.Join(known, ", "))
	case strings.EqualFold(parameter, parameterPages):
		return r.server(), nil
	}
	return edges[i].Identity, nil
}

func (r *Route) set(parameter, value string) Call {
	return Call{Cmdlet: "Set-CsSite", Args: []Arg{Value("Identity", bare(r.Site)), Value(parameter, value), Switch("Force"), Off("Confirm")}}
}

// SetRoute is step 3. It is an actions.Task.
type SetRoute struct {
	c *Client
	r Route

	mu      sync.Mutex
	written time.Time
}

var _ actions.Task = (*SetRoute)(nil)

// NewSetRoute is step 3 on the management host: Set-CsSite moves the route of
// the target's site to the target pool. It is done when Get-CsSite reads so.
func NewSetRoute(c *Client, r Route) *SetRoute { return &SetRoute{c: c, r: r} }

// WrittenAt is when Apply wrote the route, by the host's clock, or before when it
// cannot have been written where the answer was lost; zero if this task has not.
func (t *SetRoute) WrittenAt() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.written
}

// Written is WrittenAt, and whether the route may have been written at a time that
// nobody knows: an earlier run of the chain may have set it, and none has seen it
// replicated. Before is what those runs came to.
func (t *SetRoute) Written(before actions.Progress) (at time.Time, doubtful bool) {
	seen := before.Task(actions.Verify, t.Target())
	return t.WrittenAt(), before.Applied(actions.SetRoute) && seen != actions.Finished && seen != actions.Already
}

// Target implements actions.Task.
func (t *SetRoute) Target() string { return t.c.Host() }

// Preview implements actions.Task. Where the parameter is not pinned it shows
// the form of the procedure's pages.
func (t *SetRoute) Preview() []string {
	parameter, value := t.r.Parameter, t.r.Value
	if parameter == "" {
		parameter = parameterPages
	}
	if value == "" && parameter == parameterPages {
		value = t.r.server()
	}
	if value == "" {
		value = "EdgeServer:" + t.r.PoolFQDN
	}
	lines := []string{t.r.set(parameter, value).show()}
	if t.r.Parameter == "" && t.r.Value == "" {
		other := t.r.set(parameterReference, "EdgeServer:"+t.r.PoolFQDN).show()
		lines = append(lines, "# or, where that is the parameter that Set-CsSite has:", other)
	}
	return lines
}

func (t *SetRoute) fail(kind actions.Kind, err error, next string) error {
	return t.c.failed(Script{Op: "Set-CsSite"}, kind, err, next)
}

// Check implements actions.Task. Its detail names every other site that keeps
// a route.
func (t *SetRoute) Check(ctx context.Context) (actions.Observation, error) {
	var have topology
	if err := t.c.Run(ctx, t.look(), &have); err != nil {
		return actions.Observation{}, err
	}
	s, err := t.c.ownSite(&t.r, have.Sites)
	if err != nil {
		return actions.Observation{}, err
	}
	o := actions.Observation{Status: actions.Pending, Detail: fmt.Sprintf("%s routes to %s", bare(s.Identity), orNone(bare(s.XmppFederationRoute)))}
	if t.r.reached(s.XmppFederationRoute) {
		o.Status = actions.Done
	}
	o.Detail += t.r.others(have.Sites)
	return o, nil
}

func (c *Client) ownSite(r *Route, sites []site) (site, error) {
	s, ok := r.site(sites)
	if ok {
		return s, nil
	}
	known := make([]string, len(sites))
	for i, s := range sites {
		known[i] = bare(s.Identity)
	}
	return site{}, c.failed(Script{Op: "Get-CsSite"}, actions.Rejected, fmt.Errorf("there is no site %q; there are %s", bare(r.Site), orNone(strings.Join(known, ", "))),
		"correct the site's name in the configuration")
}

func orNone(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// Apply implements actions.Task: read, compare, write. The script that writes
// compares once more on the host, so that a route which somebody changed
// meanwhile is left alone.
func (t *SetRoute) Apply(ctx context.Context) error {
	var have topology
	if err := t.c.Run(ctx, t.read(), &have); err != nil {
		return err
	}
	s, err := t.c.ownSite(&t.r, have.Sites)
	if err != nil {
		return err
	}
	if t.r.reached(s.XmppFederationRoute) {
		return nil
	}
	parameter, err := t.r.parameter(have.Parameters)
	if err != nil {
		return t.fail(actions.Rejected, err, fmt.Sprintf("look at (Get-Command Set-CsSite).Parameters.Keys on %s and pin the parameter's name", t.c.Host()))
	}
	value, err := t.r.value(parameter, have.Edges)
	if err != nil {
		return t.fail(actions.Rejected, err, "correct the pool's FQDN in the configuration")
	}
	var done Answer
	if err := t.c.Run(ctx, t.write(parameter, value, s.XmppFederationRoute), &done); err != nil {
		if began, perr := time.Parse(time.RFC3339Nano, have.Now); perr == nil && actions.KindOf(err) == actions.Indeterminate {
			t.wrote(began)
		}
		return err
	}
	at, err := time.Parse(time.RFC3339Nano, done.Now)
	if err != nil {
		return t.fail(actions.Indeterminate, fmt.Errorf("the host's clock: %w", err), "")
	}
	t.wrote(at)
	return nil
}

func (t *SetRoute) wrote(at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.written = at
}

func (t *SetRoute) look() Script {
	return Script{Op: "Get-CsSite", Module: true, Calls: []Call{callSites()}}
}

func (t *SetRoute) read() Script {
	return Script{Op: "Get-CsSite", Module: true, Calls: []Call{callParameters(), callSites(), callEdges()}}
}

func (t *SetRoute) write(parameter, value, was string) Script {
	return Script{Op: "Set-CsSite", Module: true, Writes: true, Calls: []Call{
		{Cmdlet: "Get-CsSite", Args: []Arg{Value("Identity", bare(t.r.Site))}, Still: &Still{Property: parameterReference, Was: was}},
		t.r.set(parameter, value),
	}}
}
