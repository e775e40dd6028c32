package main

import (
	_ "embed"
	"time"

	"edgewatch/probe"
)

// probeSchema is the JSON Schema of what "probe -o json" prints.
//
//go:embed probe.schema.json
var probeSchema []byte

// probeJSON is what "probe HOST -o json" prints; with --watch, one a line.
type probeJSON struct {
	Host    string       `json:"host"` // as it was asked for
	At      time.Time    `json:"at"`
	Level   probe.Level  `json:"level"`
	Results []resultJSON `json:"results"` // one per address
}

// resultJSON is one result for scripts: every key is always there, but for
// condition. It is held to probeSchema and changes only by additions.
type resultJSON struct {
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
	Took    float64      `json:"took_seconds"`
	Targets []targetJSON `json:"targets"`

	// Durations are seconds here, as everywhere in this output.
	Nanoseconds struct{} `json:"took,omitzero"`
}

// targetJSON is one SRV record followed to the end.
type targetJSON struct {
	probe.PartnerTarget
	Results []resultJSON `json:"results"`
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

func partnerForScripts(r probe.PartnerResult, now time.Time) partnerJSON {
	out := partnerJSON{PartnerResult: r, Took: r.Took.Seconds(), Targets: make([]targetJSON, len(r.Targets))}
	for i, t := range r.Targets {
		out.Targets[i] = targetJSON{PartnerTarget: t, Results: resultsForScripts(t.Results, now)}
	}
	return out
}

// some is list as JSON wants it: empty rather than null.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
