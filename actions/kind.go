package actions

import "slices"

// PlanKind is which documented procedure a plan follows. Names never change:
// they stand in journals. The zero value means Failover.
type PlanKind string

// The kinds.
const (
	Failover   PlanKind = "failover"   // the source is down or not known to be well
	Failback   PlanKind = "failback"   // back to a restored pool, by the failback's own page: nothing is stopped
	Switchover PlanKind = "switchover" // a planned move away from a source that is well; the failover's steps
)

// PlanKinds lists the kinds.
func PlanKinds() []PlanKind { return []PlanKind{Failover, Failback, Switchover} }

// String is the kind's name, "failover" for the zero value.
func (k PlanKind) String() string {
	if k == "" {
		return string(Failover)
	}
	return string(k)
}

// Known reports whether k is one of PlanKinds or the zero value.
func (k PlanKind) Known() bool { return k == "" || slices.Contains(PlanKinds(), k) }

// Steps lists the steps of the kind in documented order. A failback starts the
// services of the restored pool before federation moves, and stops nothing.
func (k PlanKind) Steps() []StepName {
	if k == Failback {
		return []StepName{Preflight, StartServices, SetRoute, DNSRecords, CheckPort, Verify}
	}
	return []StepName{Preflight, StopServices, SetRoute, DNSRecords, CheckPort, StartServices, Verify}
}

// planned reports whether the source is well, so that a move that changed
// nothing yet leaves federation where it is.
func (k PlanKind) planned() bool { return k == Failback || k == Switchover }
