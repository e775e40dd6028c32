package main

import (
	_ "embed"
	"encoding/json"
	"net/netip"
	"time"

	"edgewatch/probe"
)

// probeSchema is the JSON Schema of what "probe -o json" prints.
//
//go:embed probe.schema.json
var probeSchema []byte

// resultJSON is what "probe HOST -o json" prints of one address, an object a
// line: every key is always there, but for at, which only --watch needs, and
// condition. It is held to probeSchema and changes only by additions.
type resultJSON struct {
	At        time.Time          `json:"at,omitzero"` // when the round began
	Target    string             `json:"target"`
	Domain    string             `json:"domain"`
	Up        bool               `json:"up"`
	Level     probe.Level        `json:"level"`
	Phase     probe.Phase        `json:"phase"`
	Class     probe.Class        `json:"class"`
	Condition string             `json:"condition,omitempty"`
	Remarks   []probe.Class      `json:"remarks"`
	Blame     probe.Blame        `json:"blame"`
	Error     string             `json:"error"`
	Took      float64            `json:"took_seconds"`
	Phases    map[string]float64 `json:"phases"`
	Cert      *certJSON          `json:"cert"`
	TLS       *probe.TLS         `json:"tls"`
	Features  []string           `json:"features"`
}

type certJSON struct {
	NotAfter time.Time     `json:"not_after"`
	Days     int           `json:"days"`
	Names    []string      `json:"names"`
	Issuer   string        `json:"issuer"`
	Problems []probe.Class `json:"problems"`
}

// partnerJSON is what "probe --srv DOMAIN -o json" prints.
type partnerJSON struct {
	probe.PartnerResult
	Took     float64      `json:"took_seconds"`
	Services []lookupJSON `json:"services"`
	Targets  []targetJSON `json:"targets"`
	Answers  []answerJSON `json:"answers"` // one per name server
	Agree    bool         `json:"agree"`   // whether those that know tell the same
	Drift    *driftJSON   `json:"drift"`   // null without a configuration

	Nanoseconds struct{} `json:"took,omitzero"` // hides that of the embedded result
}

// lookupJSON is one DNS question and its answer.
type lookupJSON struct {
	probe.Lookup
	Took float64 `json:"took_seconds"`

	Nanoseconds struct{} `json:"took,omitzero"` // likewise
}

// targetJSON is one SRV record followed to the end.
type targetJSON struct {
	probe.PartnerTarget
	Lookups []lookupJSON `json:"lookups"`
	Results []resultJSON `json:"results"`
}

// answerJSON is what one name server has partners find.
type answerJSON struct {
	Server  string      `json:"server"`
	Class   probe.Class `json:"class"`
	Error   string      `json:"error"`
	LeadsTo string      `json:"leads_to"` // pool; "" for none, and without a configuration
	Finds   []findJSON  `json:"finds"`
}

// findJSON is one target a name server leads to.
type findJSON struct {
	probe.SRV
	DirectTLS bool         `json:"direct_tls"`
	Addresses []netip.Addr `json:"addresses"`
}

// driftJSON holds where DNS leads against the pool that carries federation.
type driftJSON struct {
	Federation string `json:"federation"`
	Active     string `json:"active"`   // pool that carries federation; "" when it is not known
	LeadsTo    string `json:"leads_to"` // pool the partner's eye was led to; "" for none
	Drifted    bool   `json:"drifted"`  // a name server leads elsewhere
	Why        string `json:"why"`
}

func resultsForScripts(results []probe.Result, now time.Time) []resultJSON {
	out := make([]resultJSON, len(results))
	for i := range results {
		out[i] = resultForScripts(&results[i], now)
	}
	return out
}

func resultForScripts(r *probe.Result, now time.Time) resultJSON {
	out := resultJSON{
		Target: r.Target.Addr.String(), Domain: r.Target.Domain, Up: r.Level.Answers(), Level: r.Level, Phase: r.Phase,
		Class: r.Class, Condition: r.Condition, Remarks: some(r.Remarks), Blame: r.Blame, Error: r.Error,
		Took: r.Took.Seconds(), Phases: make(map[string]float64, len(r.Phases)), TLS: r.TLS, Features: some(r.Features),
	}
	for _, p := range r.Phases {
		out.Phases[p.Phase.String()] += p.Took.Seconds()
	}
	if c := r.Cert; c != nil {
		out.Cert = &certJSON{NotAfter: c.NotAfter, Days: c.Days(now), Names: some(c.Names), Issuer: c.Issuer, Problems: some(c.Problems)}
	}
	return out
}

func lookupsForScripts(lookups []probe.Lookup) []lookupJSON {
	out := make([]lookupJSON, len(lookups))
	for i, l := range lookups {
		out[i] = lookupJSON{Lookup: l, Took: l.Took.Seconds()}
	}
	return out
}

func (w *partnerProbe) forScripts(now time.Time) partnerJSON {
	out := partnerJSON{
		PartnerResult: w.res, Took: w.res.Took.Seconds(), Services: lookupsForScripts(w.res.Services), Targets: make([]targetJSON, len(w.res.Targets)),
		Answers: make([]answerJSON, len(w.views)), Agree: probe.Agree(w.views), Drift: w.drift,
	}
	for i, t := range w.res.Targets {
		out.Targets[i] = targetJSON{PartnerTarget: t, Lookups: lookupsForScripts(t.Lookups), Results: resultsForScripts(t.Results, now)}
	}
	for i, v := range w.views {
		a := answerJSON{Server: v.Server, Class: v.Class, Error: v.Error, Finds: make([]findJSON, len(v.Targets))}
		if w.eye != nil {
			a.LeadsTo = w.eye.LeadsTo(v.Targets)
		}
		for j, t := range v.Targets {
			f := findJSON{SRV: t.SRV, DirectTLS: t.DirectTLS, Addresses: []netip.Addr{}}
			for _, l := range t.Lookups {
				f.Addresses = append(f.Addresses, l.Addrs...)
			}
			a.Finds[j] = f
		}
		out.Answers[i] = a
	}
	return out
}

// printLines prints one object a line.
func (t *tool) printLines(results []resultJSON) error {
	enc := json.NewEncoder(t.out)
	enc.SetEscapeHTML(false)
	for _, r := range results {
		if err := enc.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

// some is list as JSON wants it: empty rather than null.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
