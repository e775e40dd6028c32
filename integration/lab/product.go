package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"edgewatch/configs"
	"edgewatch/watchdog"
	"edgewatch/watchdog/app"
	"edgewatch/watchdog/web"
)

// product is the edgewatch that watches over a lab, wherever it runs.
type product interface {
	// Snapshot is the newest; nil before there is one and while nothing runs.
	Snapshot(ctx context.Context) *watchdog.Snapshot
	History(ctx context.Context, n int) ([]watchdog.Entry, error)
	Submit(ctx context.Context, c watchdog.Command) (watchdog.Answer, error)
	// Ended is closed when it has ended without having been killed by the lab;
	// Err says how, then.
	Ended() <-chan struct{}
	Err() error
}

// ErrInside is the error of killing an edgewatch that runs in the lab's own
// process.
var ErrInside = errors.New("edgewatch runs inside this process, and cannot be killed alone")

// load reads the configuration that a lab wrote and builds the product.
func load(ctx context.Context, config string, log zerolog.Logger) (*app.App, error) {
	cfg, err := configs.Load(config)
	if err != nil {
		return nil, err
	}
	if err := cfg.LoadSecrets(); err != nil {
		return nil, err
	}
	return app.New(ctx, cfg, app.Options{Log: log, Version: "lab"})
}

// inside is an edgewatch in this process.
type inside struct {
	federation string
	app        *app.App
	ended      chan struct{}
	err        error // once ended is closed
}

func (p *inside) Snapshot(context.Context) *watchdog.Snapshot {
	for _, s := range p.app.Supervisor().Snapshots() {
		if s.Federation == p.federation {
			return s
		}
	}
	return nil
}

func (p *inside) History(ctx context.Context, n int) ([]watchdog.Entry, error) {
	return p.app.Supervisor().History(ctx, p.federation, n)
}

func (p *inside) Submit(ctx context.Context, c watchdog.Command) (watchdog.Answer, error) {
	return p.app.Supervisor().Submit(ctx, c)
}

func (p *inside) Ended() <-chan struct{} { return p.ended }
func (p *inside) Err() error             { return p.err }

// Watchdog is edgewatch as a process of its own: it runs what the lab's
// configuration says until ctx ends or in does, which the lab holds open for
// as long as it lives. A program whose path and first arguments are given as
// Options.Watchdog calls it.
func Watchdog(ctx context.Context, config string, in io.Reader, log io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // reading cannot be interrupted: it ends with in, or with the process
		_, _ = io.Copy(io.Discard, in)
		cancel()
	}()
	a, err := load(ctx, config, zerolog.New(log).With().Timestamp().Logger())
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

// outside is an edgewatch in a process of its own, which can be killed.
type outside struct {
	federation string
	argv       []string
	log        io.Writer
	client     *web.Client
	ended      chan struct{}

	mu     sync.Mutex
	life   *life // nil while killed
	broken error // once ended is closed
}

// life is one process from its start to its end.
type life struct {
	cmd    *exec.Cmd
	cancel context.CancelFunc
	gone   chan struct{}
	killed bool // guarded by outside.mu
}

func (p *outside) start(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.life != nil {
		return errors.New("start edgewatch: it runs already")
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, p.argv[0], p.argv[1:]...)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		cancel()
		return fmt.Errorf("start edgewatch: %w", err)
	}
	cmd.Stdout, cmd.Stderr = p.log, p.log
	cmd.Cancel = stdin.Close // it ends in good order then
	cmd.WaitDelay = 20 * time.Second
	if err := cmd.Start(); err != nil {
		cancel()
		return fmt.Errorf("start edgewatch: %w", err)
	}
	l := &life{cmd: cmd, cancel: cancel, gone: make(chan struct{})}
	p.life = l
	go func() {
		err := cmd.Wait()
		asked := ctx.Err() != nil
		cancel()
		p.mu.Lock()
		defer p.mu.Unlock()
		close(l.gone)
		if l.killed {
			return
		}
		if !asked {
			p.broken = fmt.Errorf("edgewatch ended by itself: %w", errors.Join(err, errors.New(cmd.ProcessState.String())))
		}
		close(p.ended)
	}()
	return nil
}

// kill ends the process as a power cut would, and returns when it is gone.
func (p *outside) kill() error {
	p.mu.Lock()
	l := p.life
	if l == nil {
		p.mu.Unlock()
		return errors.New("kill edgewatch: it does not run")
	}
	l.killed = true
	err := l.cmd.Process.Kill()
	p.mu.Unlock()
	if err != nil {
		return fmt.Errorf("kill edgewatch: %w", err)
	}
	<-l.gone
	p.mu.Lock()
	p.life = nil
	p.mu.Unlock()
	return nil
}

// end ends the process in good order.
func (p *outside) end() error {
	p.mu.Lock()
	l := p.life
	p.mu.Unlock()
	if l == nil {
		return nil
	}
	l.cancel()
	<-l.gone
	return p.Err()
}

func (p *outside) Snapshot(ctx context.Context) *watchdog.Snapshot {
	all, err := p.client.Status(ctx, p.federation)
	if err != nil || len(all) == 0 {
		return nil
	}
	return all[0]
}

func (p *outside) History(ctx context.Context, n int) ([]watchdog.Entry, error) {
	return p.client.History(ctx, p.federation, n)
}

func (p *outside) Submit(ctx context.Context, c watchdog.Command) (watchdog.Answer, error) {
	return p.client.Submit(ctx, c)
}

func (p *outside) Ended() <-chan struct{} { return p.ended }

func (p *outside) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.broken
}

// run starts the product and returns when it listens, or has been started as
// a process of its own.
func (l *Lab) run(o *Options) error {
	if len(o.Watchdog) > 0 {
		p := &outside{
			federation: l.Federation, argv: append(slices.Clip(o.Watchdog), l.Files.Config),
			log: o.Stderr, client: web.NewClient(l.Files.Socket), ended: make(chan struct{}),
		}
		if err := p.start(l.ctx); err != nil {
			return err
		}
		l.product = p
		l.cleanup(p.end)
		return nil
	}
	a, err := load(l.ctx, l.Files.Config, o.Log)
	if err != nil {
		return err
	}
	p := &inside{federation: l.Federation, app: a, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		p.err = a.Run(l.ctx)
	}()
	l.product = p
	l.cleanup(func() error {
		<-p.ended
		return p.err
	})
	return nil
}

// runWitness starts the witness in this process.
func (l *Lab) runWitness(o *Options) error {
	a, err := load(l.ctx, l.Files.Witness, o.Log.With().Str("process", "witness").Logger())
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- a.Run(l.ctx) }()
	l.cleanup(func() error { return <-ended })
	return nil
}

// KillWatchdog ends edgewatch as a power cut would; its state file stays. It
// is ErrInside unless edgewatch is a process of its own.
func (l *Lab) KillWatchdog() error {
	p, ok := l.product.(*outside)
	if !ok {
		return ErrInside
	}
	return p.kill()
}

// StartWatchdog starts edgewatch again after KillWatchdog, on the same state
// file.
func (l *Lab) StartWatchdog() error {
	p, ok := l.product.(*outside)
	if !ok {
		return ErrInside
	}
	return p.start(l.ctx)
}
