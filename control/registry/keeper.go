package registry

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"dhow.dev/dhow/proto/spec"
)

const (
	// minAge is how long a blob without a record is kept: longer than an upload
	// takes until it is recorded.
	minAge       = time.Hour
	collectEvery = 10 * time.Minute
	retryFirst   = time.Second
	retryMost    = time.Minute
	pushTimeout  = 5 * time.Minute
	fetchAtOnce  = 4
)

// KeeperConfig of a Keeper.
type KeeperConfig struct {
	Store   *Store
	Peers   Peers
	Records Records
	Now     func() time.Time // nil: the store's
	Logger  *slog.Logger     // nil: the store's
}

// Keeper copies blobs to other servers, fetches what this one lacks and removes
// what nobody needs.
type Keeper struct {
	c       KeeperConfig
	flights singleflight.Group
	orphans Orphans
	stop    chan struct{} // closed when Run ends
}

// NewKeeper makes a Keeper.
func NewKeeper(c KeeperConfig) *Keeper {
	if c.Now == nil {
		c.Now = c.Store.c.Now
	}
	if c.Logger == nil {
		c.Logger = c.Store.c.Logger
	}
	return &Keeper{c: c, orphans: Orphans{}, stop: make(chan struct{})}
}

// Replicate returns when a majority of servers, this one included, has the blob
// on disk. Copies to the others go on after it.
func (k *Keeper) Replicate(ctx context.Context, digest string) error {
	if !k.c.Store.Has(digest) {
		return missing(digest, fs.ErrNotExist)
	}
	servers := k.c.Peers.Servers()
	all := len(servers) + 1
	need := all/2 + 1
	pushing, cancel := context.WithTimeout(context.WithoutCancel(ctx), pushTimeout)
	results := make(chan error, len(servers))
	var group sync.WaitGroup
	for _, server := range servers {
		group.Go(func() { results <- k.push(pushing, server, digest) })
	}
	done := make(chan struct{})
	go func() { group.Wait(); close(done) }()
	go func() {
		defer cancel()
		select {
		case <-done:
		case <-k.stop:
		}
	}()
	have := 1
	var errs []error
	for have < need {
		if len(errs) > all-need {
			return spec.Errorf(spec.CodeUnavailable, "artifact %s is on %d of %d servers, and a majority of %d is needed: bring servers back, then try again: %w",
				digest, have, all, need, errors.Join(errs...))
		}
		select {
		case <-ctx.Done():
			cancel()
			return spec.Errorf(spec.CodeTimeout, "artifact %s is on %d of %d servers, and a majority of %d is needed: %w", digest, have, all, need, ctx.Err())
		case err := <-results:
			if err != nil {
				errs = append(errs, err)
			} else {
				have++
			}
		}
	}
	return nil
}

func (k *Keeper) push(ctx context.Context, server, digest string) error {
	r, b, err := k.c.Store.Reader(digest, 0)
	if err != nil {
		return err
	}
	err = k.c.Peers.Put(ctx, server, digest, b.Size, r)
	_ = r.Close() // only read
	if err != nil {
		k.c.Logger.Debug("artifact not copied", "digest", digest, "server", server, "error", err)
		return spec.Errorf(spec.CodeOf(err), "%s: %w", server, err)
	}
	return nil
}

// Ensure fetches the blob from another server unless it is here.
func (k *Keeper) Ensure(ctx context.Context, digest string) error {
	if k.c.Store.Has(digest) {
		return nil
	}
	flight := k.flights.DoChan(digest, func() (any, error) {
		// The flight is others', too: it does not end with one caller.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pushTimeout)
		defer cancel()
		return nil, k.fetch(ctx, digest)
	})
	select {
	case r := <-flight:
		return r.Err
	case <-ctx.Done():
		return spec.Errorf(spec.CodeTimeout, "fetch artifact %s: %w", digest, ctx.Err())
	}
}

func (k *Keeper) fetch(ctx context.Context, digest string) error {
	servers := k.c.Peers.Servers()
	rand.Shuffle(len(servers), func(i, j int) { servers[i], servers[j] = servers[j], servers[i] })
	var errs []error
	for _, server := range servers {
		err := k.fetchFrom(ctx, server, digest)
		if err == nil {
			return nil
		}
		errs = append(errs, spec.Errorf(spec.CodeOf(err), "%s: %w", server, err))
		if spec.CodeOf(err) == spec.CodeExhausted || ctx.Err() != nil {
			break
		}
	}
	if len(errs) == 0 {
		return spec.Errorf(spec.CodeNotFound, "artifact %s is not on this server's disk, and there is no other server", digest)
	}
	return spec.Errorf(spec.CodeOf(errs[len(errs)-1]), "fetch artifact %s: %w", digest, errors.Join(errs...))
}

func (k *Keeper) fetchFrom(ctx context.Context, server, digest string) (err error) {
	body, err := k.c.Peers.Fetch(ctx, server, digest)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	w, err := k.c.Store.Create(digest, -1)
	if err != nil {
		return err
	}
	defer func() { _ = w.Close() }()
	if _, err := io.Copy(w, body); err != nil {
		return err
	}
	_, err = w.Commit()
	return err
}

// Run fetches and collects until the context ends.
func (k *Keeper) Run(ctx context.Context) error {
	defer close(k.stop)
	collect := time.NewTicker(collectEvery)
	defer collect.Stop()
	retry := time.NewTimer(0)
	defer retry.Stop()
	wait := retryFirst
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-collect.C:
		case <-k.c.Records.Changed():
		case <-k.c.Store.damaged:
		case <-retry.C:
		}
		if err := k.pass(ctx); err != nil && ctx.Err() == nil {
			k.c.Logger.Warn("artifacts are missing on this server", "retry", wait, "error", err)
			retry.Reset(wait)
			wait = min(2*wait, retryMost)
			continue
		}
		wait = retryFirst
	}
}

// pass does once what Run does again and again.
func (k *Keeper) pass(ctx context.Context) error {
	records, err := k.c.Records.Digests()
	if err != nil {
		return err
	}
	var blobs []Blob
	if err := k.c.Store.Walk(func(b Blob) error { blobs = append(blobs, b); return nil }); err != nil {
		return err
	}
	now := k.c.Now()
	fetch, remove := k.orphans.Decide(records, blobs, now, minAge)
	for _, d := range remove {
		removed, err := k.c.Store.deleteUnused(d, now.Add(-minAge))
		if err != nil {
			return err
		}
		if removed {
			k.c.Logger.Info("artifact removed", "digest", d)
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(fetchAtOnce)
	var mu sync.Mutex
	var errs []error
	for _, d := range fetch {
		group.Go(func() error {
			if err := k.Ensure(ctx, d); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
			return nil
		})
	}
	_ = group.Wait() // the errors are in errs
	return errors.Join(errs...)
}
