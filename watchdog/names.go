package watchdog

import (
	"fmt"
	"strconv"
	"strings"
)

// Incidents are named "contoso-7" and their failovers "contoso-7.1". A name is
// never given twice, because everybody who reads the journal tells them apart
// by it. The next number therefore follows from the names that stand there, and
// not from what the state makes of the entries.
const (
	incidentMark = "-"
	chainMark    = "."
)

// numberOf is the number that ends the name, behind the last mark; 0 when there
// is none.
func numberOf(name, mark string) int {
	n, err := strconv.Atoi(name[strings.LastIndex(name, mark)+1:])
	if err != nil {
		return 0
	}
	return n
}

// nextIncident names the incident that an entry opens, or the open one.
func (s *step) nextIncident() string {
	if s.fold.incident != "" {
		return s.fold.incident
	}
	return fmt.Sprint(s.rules.Federation, incidentMark, s.fold.incidents+1)
}

// newest is the federation's newest incident, open or over; "" before the first.
func (f *fold) newest(federation string) string {
	if f.incidents == 0 {
		return ""
	}
	return fmt.Sprint(federation, incidentMark, f.incidents)
}

// nextChain names the next failover of the incident. The newest failover is of
// this incident or of an older one, as names go up.
func (s *step) nextChain(incident string) string {
	n := 0
	if c := s.fold.chain; c != nil && c.incident == incident {
		n = numberOf(c.ID, chainMark)
	}
	return fmt.Sprint(incident, chainMark, n+1)
}
