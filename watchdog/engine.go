package watchdog

// Engine runs one federation.
type Engine struct{}
