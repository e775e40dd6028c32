package app

import (
	"context"
	"slices"
	"time"

	"edgewatch/watchdog"
)

// readGone reads what federations that the journal knows and the configuration
// does not left.
func (a *App) readGone(ctx context.Context) (*watchdog.GoneFederations, error) {
	known, err := a.store.Federations(ctx)
	if err != nil {
		return nil, err
	}
	o := watchdog.GoneOptions{
		Journal: a.store, Lease: a.store.Lease, Wake: a.ring,
		Log: a.opts.Log.With().Str("component", "app").Logger(),
	}
	for _, name := range known {
		if a.cfg.Federation(name) == nil {
			o.Names = append(o.Names, name)
		}
	}
	for i := range a.cfg.Federations {
		if f := &a.cfg.Federations[i]; !slices.Contains(known, f.Name) {
			o.New = append(o.New, settings(f).Rules)
		}
	}
	return watchdog.ReadGone(ctx, o)
}

// How often it is tried to tell of what is gone, and how long a try may take.
const (
	goneEvery = time.Minute
	goneTime  = 30 * time.Second
)

// tellGone tells of it once the journal takes that.
func (a *App) tellGone(ctx context.Context) {
	tell := func() error {
		ctx, cancel := context.WithTimeout(ctx, goneTime)
		defer cancel()
		return a.gone.Tell(ctx)
	}
	for {
		err := tell()
		if err == nil || ctx.Err() != nil {
			return
		}
		a.opts.Log.Error().Err(err).Str("component", "app").Msg("what federations left that are no longer configured is told once the journal can be written")
		select {
		case <-time.After(goneEvery):
		case <-ctx.Done():
			return
		}
	}
}
