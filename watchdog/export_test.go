package watchdog

// Break makes the machine panic on orders of that verb while a failover runs,
// until mend is called.
func Break(v Verb) (mend func()) {
	rows := transitions[FailingOver]
	whole := rows[eventName(v)]
	rows[eventName(v)] = row{do: func(*step) { panic("broken by a test") }}
	return func() { rows[eventName(v)] = whole }
}
