package probe

import (
	"context"
	"time"
)

// PartnerResult is what a partner's server meets when it looks for a domain:
// the SRV records, the addresses behind them, and what answers there. The zero
// PartnerResult is Inconclusive.
type PartnerResult struct {
	Domain   string          `json:"domain"`
	From     string          `json:"from"`
	Start    time.Time       `json:"start"`
	Took     time.Duration   `json:"took"`
	Services []Lookup        `json:"services"`           // the SRV lookups, as DNS answered
	Fallback bool            `json:"fallback,omitempty"` // no SRV: the domain itself on port 5269 was taken
	Targets  []PartnerTarget `json:"targets,omitempty"`  // best priority first
	Phase    Phase           `json:"phase"`              // PhaseDNS when nobody was found to ask, else the worst target's
	Class    Class           `json:"class"`              // OK, or what is wrong with the worst of the best targets
	Blame    Blame           `json:"blame"`
	Level    Level           `json:"level"`
	Remarks  []Class         `json:"remarks,omitempty"`
	Error    string          `json:"error,omitempty"`
}

// PartnerTarget is one SRV record, or the domain itself, followed to the end.
type PartnerTarget struct {
	SRV
	DirectTLS bool     `json:"direct_tls,omitempty"` // from _xmpps-server
	Class     Class    `json:"class"`                // OK, or why there is no address to probe
	Error     string   `json:"error,omitempty"`
	Remarks   []Class  `json:"remarks,omitempty"`
	Lookups   []Lookup `json:"lookups"` // AAAA and A
	Results   []Result `json:"results,omitempty"`
}

// Partner looks at domain as the server of a partner called from would: SRV
// records, then addresses, then a probe of every address. It ends within the
// resolver's and the prober's timeouts, several addresses at a time.
func (p *Prober) Partner(ctx context.Context, r *Resolver, domain, from string) PartnerResult {
	v := &partnerView{p: p, r: r, res: PartnerResult{Domain: plainDomain(domain), From: plainDomain(from), Start: time.Now()}}
	v.look(ctx)
	v.res.Took = time.Since(v.res.Start)
	return v.res
}
