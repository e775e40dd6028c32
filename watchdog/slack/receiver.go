package slack

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/websocket"
	api "github.com/slack-go/slack"
	"github.com/slack-go/slack/socketmode"
)

const (
	queueSize      = 64               // commands waiting for the worker, and answers waiting to be sent
	ackTimeout     = 2 * time.Second  // Slack gives 3 s
	maxGap         = 30               // in Timing.Reconnect: the longest wait before a websocket is opened
	handshake      = 10 * time.Second // for opening a websocket
	storm          = 3                // websockets that broke early in a row are trouble
	readLimitBytes = 1 << 20          // per envelope
	writeSize      = 32 << 10         // Slack drops acks that come in several frames
)

// receiver holds the websocket over which Slack sends commands and clicks.
// One goroutine reads, acknowledges and turns strangers away, one carries out:
// slack-go stops without a word when its events are not read. Those who may
// give commands and those who may not are answered apart, each by a goroutine
// that no command waits for.
type receiver struct {
	s        *Slack
	pacer    *pacer
	queue    chan job
	answers  chan answered // to those who may give commands
	refusals chan answered // to strangers
	envelope recent        // envelopes that were acknowledged and queued
	effects  recent        // what users did, so that it is done once
	helloAt  time.Time
	early    int // websockets in a row that broke soon after their hello
}

func newReceiver(s *Slack) *receiver {
	return &receiver{s: s, pacer: &pacer{client: s.http, min: s.o.Timing.Reconnect}, queue: make(chan job, queueSize),
		answers: make(chan answered, queueSize), refusals: make(chan answered, queueSize)}
}

// run keeps a websocket open until ctx ends.
func (r *receiver) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer r.s.connected.Store(false)
	wg.Go(func() { r.work(ctx) })
	wg.Go(func() { r.speak(ctx, r.answers) })
	wg.Go(func() { r.speak(ctx, r.refusals) })
	for ctx.Err() == nil {
		err := r.session(ctx)
		if ctx.Err() != nil {
			return
		}
		wait := r.s.o.Timing.RetryMin
		if err != nil {
			r.s.raise("commands", r.s.explain("open the websocket for commands", err))
			if k := classify(err); k == blocked || k == refused {
				wait = r.s.o.Timing.Slow
			}
		}
		sleep(ctx, wait)
	}
}

// session runs one slack-go client until it gives up, or until it would wait
// longer than we want before it tries again. It answers why.
func (r *receiver) session(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client := socketmode.New(
		api.New(r.s.o.BotToken.Reveal(), api.OptionAPIURL(r.s.o.APIURL), api.OptionAppLevelToken(r.s.o.AppToken.Reveal()), api.OptionHTTPClient(r.pacer)),
		socketmode.OptionDialer(dialer(r.s.http)), socketmode.OptionReadLimit(readLimitBytes),
	)
	done := make(chan error, 1)
	go func() { done <- client.RunContext(ctx) }()
	stable := time.NewTimer(0)
	defer stable.Stop()
	var last error
	for {
		select {
		case err := <-done:
			r.s.connected.Store(false)
			if last != nil && ctx.Err() != nil {
				return last
			}
			return err
		case <-stable.C:
			if r.s.connected.Load() {
				r.early = 0
				r.s.raise("commands", nil)
			}
		case evt := <-client.Events:
			if failed, ok := evt.Data.(*api.ConnectionErrorEvent); ok {
				last = failed.ErrorObj
				r.s.failed.Add(1)
				r.s.raise("commands", r.s.explain("open the websocket for commands", last))
				if failed.Backoff > maxGap*r.s.o.Timing.Reconnect && retryAfter(last) == 0 {
					cancel()
				}
				continue
			}
			r.event(ctx, client, evt, stable)
		}
	}
}

// event takes one event of slack-go. It never blocks for long.
func (r *receiver) event(ctx context.Context, client *socketmode.Client, evt socketmode.Event, stable *time.Timer) {
	switch evt.Type {
	case socketmode.EventTypeConnecting:
		if r.s.connected.Swap(false) {
			r.lost()
		}
	case socketmode.EventTypeHello:
		r.helloAt = time.Now()
		r.s.sockets.Add(1)
		r.s.connected.Store(true)
		if r.early < storm {
			r.s.raise("commands", nil)
		}
		stable.Reset(maxGap / 3 * r.s.o.Timing.Reconnect)
	case socketmode.EventTypeSlashCommand, socketmode.EventTypeInteractive:
		r.receive(ctx, client, evt)
	case socketmode.EventTypeEventsAPI:
		_ = r.ack(ctx, client, evt.Request, nil) // none is subscribed to; an ack keeps Slack from repeating it
	case socketmode.EventTypeErrorBadMessage, socketmode.EventTypeIncomingError, socketmode.EventTypeErrorWriteFailed:
		r.s.o.Log.Debug().Str("event", string(evt.Type)).Msg("slack websocket had trouble")
	default:
	}
}

// lost counts websockets that broke soon after they were opened.
func (r *receiver) lost() {
	if time.Since(r.helloAt) > maxGap/3*r.s.o.Timing.Reconnect {
		r.early = 0
		return
	}
	if r.early++; r.early >= storm {
		r.s.raise("commands", r.s.explain("keep the websocket for commands open", errBreaks))
	}
}

// receive acknowledges what a user did and queues it. What cannot be
// acknowledged or queued is not done, and Slack tells the user so.
func (r *receiver) receive(ctx context.Context, client *socketmode.Client, evt socketmode.Event) {
	req := evt.Request
	j, ok := newJob(evt)
	j.theirs = r.pacer.now()
	if !ok {
		_ = r.ack(ctx, client, req, nil)
		return
	}
	if no := r.s.stranger(j); no != "" {
		if r.ack(ctx, client, req, nil) == nil {
			r.reply(r.refusals, answered{j, r.s.refuse(j, no)})
		}
		return
	}
	known := r.envelope.has(req.EnvelopeID)
	if !known && len(r.queue) == cap(r.queue) {
		r.s.o.Log.Warn().Str("user", j.user).Msg("slack command refused, too many are waiting")
		if j.click == nil {
			_ = r.ack(ctx, client, req, map[string]string{"text": "edgewatch has too many commands waiting. Nothing was done; try again in a minute."})
		}
		return
	}
	if err := r.ack(ctx, client, req, nil); err != nil {
		r.s.o.Log.Warn().Err(err).Str("user", j.user).Msg("slack command not acknowledged, not carried out")
		return
	}
	if known {
		return
	}
	r.envelope.add(req.EnvelopeID)
	r.queue <- j // there is room, and nobody else sends
}

func (r *receiver) ack(ctx context.Context, client *socketmode.Client, req *socketmode.Request, payload any) error {
	ctx, cancel := context.WithTimeout(ctx, ackTimeout)
	defer cancel()
	return client.AckCtx(ctx, req.EnvelopeID, payload)
}

// dialer opens websockets the way c opens connections.
func dialer(c *http.Client) *websocket.Dialer {
	d := &websocket.Dialer{Proxy: http.ProxyFromEnvironment, HandshakeTimeout: handshake, WriteBufferSize: writeSize}
	if t, ok := c.Transport.(*http.Transport); ok && t != nil {
		d.Proxy, d.TLSClientConfig, d.NetDialContext = t.Proxy, t.TLSClientConfig, t.DialContext
	}
	return d
}

// pacer keeps slack-go from opening websockets in a storm: it opens the next
// one at once, thousands of times a second, when they break right away.
type pacer struct {
	client *http.Client
	min    time.Duration

	mu   sync.Mutex
	last time.Time
	gap  time.Duration
	date time.Time // Slack's time when the newest websocket was asked for
	seen time.Time // and ours then
}

// Do implements slack-go's HTTP client.
func (p *pacer) Do(req *http.Request) (*http.Response, error) {
	if strings.HasSuffix(req.URL.Path, "/apps.connections.open") {
		sleep(req.Context(), p.wait(time.Now()))
		if err := req.Context().Err(); err != nil {
			return nil, err
		}
	}
	resp, err := p.client.Do(req)
	if err != nil || resp.StatusCode != http.StatusOK {
		return resp, err
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.date, p.seen = date, time.Now()
	}
	return resp, nil
}

// now is Slack's time, to a few seconds, whatever our clock is set to; ours
// while Slack's is not known.
func (p *pacer) now() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.date.IsZero() {
		return time.Now()
	}
	return p.date.Add(time.Since(p.seen))
}

// wait is how long to wait before the next websocket may be opened: not at
// all after a quiet while, else longer each time.
func (p *pacer) wait(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := p.last.Add(p.gap)
	if p.last.IsZero() || now.Sub(p.last) > maxGap*p.min {
		p.gap, next = 0, now
	}
	p.gap = min(max(2*p.gap, p.min), maxGap*p.min)
	p.last = next
	if next.Before(now) {
		p.last = now
	}
	return max(0, next.Sub(now))
}

// recent remembers the newest strings it was given. Its zero is ready.
type recent struct {
	seen map[string]bool
	ring []string
	next int
}

const recentSize = 1024

func (r *recent) has(s string) bool { return r.seen[s] }

func (r *recent) add(s string) {
	if r.seen == nil {
		r.seen = map[string]bool{}
	}
	if r.seen[s] {
		return
	}
	if len(r.ring) < recentSize {
		r.ring = append(r.ring, s)
	} else {
		delete(r.seen, r.ring[r.next])
		r.ring[r.next] = s
		r.next = (r.next + 1) % recentSize
	}
	r.seen[s] = true
}
