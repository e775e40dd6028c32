package watchdog

// Sentence tells the entry to a person in one plain sentence, without its
// time. Slack, history and the lab's narration all use it.
func (e Entry) Sentence() string { panic("todo") }

// Headline tells the snapshot to a person in one plain sentence, e.g.
// "EdgePool1 is down, failing over to EdgePool2 (step set-route)".
func (s *Snapshot) Headline() string { panic("todo") }
