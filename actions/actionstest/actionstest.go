// Package actionstest has the counterparts of a plan as real servers on
// loopback: Windows hosts that speak WinRM and run Cs cmdlets against a model
// of an Edge estate, and authoritative DNS servers that take updates. They
// speak the real protocols, are made to fail in the ways that were seen, and
// need no *testing.T, so tests, the lab and the documentation share them.
package actionstest
