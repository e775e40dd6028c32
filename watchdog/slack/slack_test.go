package slack

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"edgewatch/actions"
	"edgewatch/probe"
	"edgewatch/watchdog"
	"edgewatch/watchdog/slack/slacktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const channel = "C0EDGE"

// store is a journal and its cursors in memory.
type store struct {
	mu       sync.Mutex
	entries  []watchdog.Entry
	cursor   []byte
	saves    int
	failSave int // how many saves fail from now on
	failRead bool
	wake     chan struct{}
}

func newStore() *store { return &store{wake: make(chan struct{}, 1)} }

func (s *store) Append(_ context.Context, entries []watchdog.Entry) ([]watchdog.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range entries {
		entries[i].Seq = uint64(len(s.entries) + 1)
		s.entries = append(s.entries, entries[i])
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return entries, nil
}

func (s *store) Read(_ context.Context, federation string, after uint64, limit int) ([]watchdog.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failRead {
		return nil, fmt.Errorf("disk gone")
	}
	var out []watchdog.Entry
	for _, e := range s.entries {
		if e.Seq > after && (federation == "" || e.Federation == federation) && len(out) < limit {
			out = append(out, e)
		}
	}
	return out, nil
}

func (s *store) LoadCursor(context.Context, string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cursor, nil
}

func (s *store) SaveCursor(_ context.Context, _ string, data []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failSave > 0 {
		s.failSave--
		return fmt.Errorf("disk full")
	}
	s.saves++
	s.cursor = append([]byte(nil), data...)
	return nil
}

func (s *store) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

// after is how far the saved cursor is.
func (s *store) after(t *testing.T) uint64 {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cursor == nil {
		return 0
	}
	st, err := readState(s.cursor, channel)
	if err != nil {
		t.Error(err)
		return 0
	}
	return st.After
}

// desk is a Watchdog that remembers what it was asked.
type desk struct {
	mu    sync.Mutex
	got   []watchdog.Command
	snaps []*watchdog.Snapshot
	block chan struct{} // when set, Submit waits for it
	err   error
	store *store
}

func (d *desk) Snapshots() []*watchdog.Snapshot {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]*watchdog.Snapshot(nil), d.snaps...)
}

func (d *desk) Submit(ctx context.Context, cmd watchdog.Command) (watchdog.Answer, error) {
	if d.block != nil {
		select {
		case <-d.block:
		case <-ctx.Done():
			return watchdog.Answer{}, ctx.Err()
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return watchdog.Answer{}, d.err
	}
	d.got = append(d.got, cmd)
	return watchdog.Answer{Accepted: true, Text: fmt.Sprintf("%s %s accepted", cmd.Verb, cmd.Pool)}, nil
}

func (d *desk) History(ctx context.Context, federation string, n int) ([]watchdog.Entry, error) {
	all, err := d.store.Read(ctx, federation, 0, 1000)
	return all[max(0, len(all)-n):], err
}

func (d *desk) commands() []watchdog.Command {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]watchdog.Command(nil), d.got...)
}

// rig is a Slack of ours against a fake of theirs.
type rig struct {
	srv   *slacktest.Server
	store *store
	desk  *desk
	slack *Slack
	stop  func()
}

func newRig(t *testing.T) *rig {
	t.Helper()
	srv, err := slacktest.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	r := &rig{srv: srv, store: newStore(), stop: func() {}}
	r.desk = &desk{store: r.store, snaps: []*watchdog.Snapshot{{Federation: "contoso", Active: "EdgePool1", Incident: "contoso-7"}}}
	return r
}

func (r *rig) options() Options {
	return Options{
		AppToken: actions.NewSecret("xapp-1"), BotToken: actions.NewSecret("xoxb-1"), Channel: channel, Users: []string{"U0ANNA", "U0BERT"},
		APIURL: r.srv.URL(), Journal: r.store, Cursors: r.store, Watchdog: r.desk, Wake: r.store.wake, Log: zerolog.Nop(),
		Timing: Timing{
			RetryMin: 2 * time.Millisecond, RetryMax: 20 * time.Millisecond, Slow: 5 * time.Millisecond, Poll: 20 * time.Millisecond,
			Coalesce: time.Millisecond, Reconnect: 5 * time.Millisecond, Answer: 5 * time.Second,
		},
	}
}

// start runs a Slack with the rig's store until the test ends or stop is
// called.
func (r *rig) start(t *testing.T, change ...func(*Options)) {
	t.Helper()
	o := r.options()
	for _, c := range change {
		c(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Run(ctx)
	}()
	r.slack = s
	r.stop = sync.OnceFunc(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(15 * time.Second):
			t.Error("Run did not return")
		}
	})
	t.Cleanup(r.stop)
}

// add journals entries.
func (r *rig) add(t *testing.T, entries ...watchdog.Entry) {
	t.Helper()
	if _, err := r.store.Append(t.Context(), entries); err != nil {
		t.Fatal(err)
	}
}

// told waits until the cursor is past the whole journal and nothing is left
// to edit.
func (r *rig) told(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		if r.settled(t) {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not told: cursor at %d, health %v, messages\n%s", r.store.after(t), r.slack.Health(), show(r.srv.Messages()))
		}
	}
}

func (r *rig) settled(t *testing.T) bool {
	t.Helper()
	r.store.mu.Lock()
	want, cursor := uint64(len(r.store.entries)), r.store.cursor
	r.store.mu.Unlock()
	if cursor == nil {
		return want == 0
	}
	st, err := readState(cursor, channel)
	if err != nil {
		t.Fatal(err)
	}
	for _, th := range st.Threads {
		if th.stale() || th.Open.stale() {
			return false
		}
	}
	return st.After == want
}

func (r *rig) connected(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := r.srv.Until(ctx, func() bool { return r.srv.Connected() > 0 }); err != nil {
		t.Fatal(err)
	}
}

// deadline is how long a test waits for something that must happen.
func deadline(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func show(msgs []slacktest.Message) string {
	var b strings.Builder
	for _, m := range msgs {
		fmt.Fprintf(&b, "%s thread=%q %v %q\n", m.TS, m.ThreadTS, m.Metadata["id"], m.Text)
	}
	return b.String()
}

// ids lists the messages as part:federation/seq, replies indented by ">".
func ids(msgs []slacktest.Message) []string {
	var out []string
	for _, m := range msgs {
		mark := ""
		if m.ThreadTS != "" {
			mark = ">"
		}
		out = append(out, fmt.Sprintf("%s%v:%v", mark, m.Metadata["part"], m.Metadata["id"]))
	}
	return out
}

func blocksOf(m slacktest.Message) string {
	var v any
	_ = json.Unmarshal(m.Blocks, &v)
	b, _ := json.MarshalIndent(v, "", " ")
	return string(b)
}

// story is a whole failover as the engine journals it.
func story(incident string) []watchdog.Entry {
	at := time.Now().UTC()
	addr := netip.MustParseAddrPort("192.0.2.1:5269")
	entry := func(kind watchdog.EntryKind, e watchdog.Entry) watchdog.Entry {
		e.Kind, e.Federation, e.Incident, e.At = kind, "contoso", incident, at
		return e
	}
	step := func(name actions.StepName, target string, phase actions.RecordPhase) watchdog.Entry {
		return entry(watchdog.KindStep, watchdog.Entry{Step: &actions.Record{Chain: incident + ".1", Step: name, Target: target, Phase: phase, Took: 1200 * time.Millisecond}})
	}
	return []watchdog.Entry{
		entry(watchdog.KindPool, watchdog.Entry{Pool: &watchdog.PoolChange{Pool: "EdgePool1", Tripped: true, Bad: 4, Since: at.Add(-45 * time.Second), Results: []probe.Result{
			{Target: probe.Target{Addr: addr, Domain: "contoso.com"}, Phase: probe.PhaseConnect, Class: probe.Refused, Level: probe.Down, Blame: probe.Remote, Error: "connection refused <!channel>"},
		}}}),
		entry(watchdog.KindDecision, watchdog.Entry{Decision: &watchdog.Decision{Will: watchdog.WillFailover, To: "EdgePool2", Because: "EdgePool1 is down and EdgePool2 is ready"}}),
		entry(watchdog.KindChain, watchdog.Entry{Chain: &watchdog.ChainStart{ID: incident + ".1", From: "EdgePool1", To: "EdgePool2", Trigger: "auto", Reason: "down", Detected: at.Add(-45 * time.Second)}}),
		step(actions.Preflight, "", actions.Started),
		step(actions.Preflight, "", actions.Already),
		step(actions.StopServices, "", actions.Started),
		step(actions.StopServices, "edge3", actions.Started),
		step(actions.StopServices, "edge4", actions.Started),
		step(actions.StopServices, "edge3", actions.Finished),
		step(actions.StopServices, "edge4", actions.Finished),
		step(actions.StopServices, "", actions.Finished),
		step(actions.SetRoute, "", actions.Started),
		step(actions.SetRoute, "site1", actions.Started),
		step(actions.SetRoute, "site1", actions.Finished),
		step(actions.SetRoute, "", actions.Finished),
		entry(watchdog.KindChainEnd, watchdog.Entry{ChainEnd: &watchdog.ChainEnd{ID: incident + ".1", Outcome: actions.Outcome{OK: true, Took: 31 * time.Second}}}),
		entry(watchdog.KindNotice, watchdog.Entry{Notice: &watchdog.Notice{Kind: watchdog.NoticeOldPoolBack, Pool: "EdgePool1", Text: "EdgePool1 answers again"}}),
	}
}

// toldStory is how Slack shows story: one message per incident, one reply per
// event, one per step.
var toldStory = []string{
	"incident:contoso/1", ">event:contoso/1", ">event:contoso/2", ">event:contoso/3", ">event:contoso/4",
	">event:contoso/6", ">event:contoso/12", ">event:contoso/16", ">event:contoso/17",
}
