package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync"
	"time"

	"dhow.dev/dhow/control/auth"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// maxVerified bounds the cache. A cluster has fewer tokens in use.
const maxVerified = 4096

// tokens verifies access tokens. What was verified is kept until any Token
// object changes or its own end, so that a call costs one hash.
type tokens struct {
	store Store
	reads Reads

	mu       sync.RWMutex
	verified map[[sha256.Size]byte]verified
	// Counts changes of Token objects, so that a verification that began
	// before a change is not kept after it.
	era uint64
	// Only while run follows the changes is anything kept.
	live bool
}

type verified struct {
	id  auth.Identity
	end time.Time // zero for none
}

func newTokens(s Store, r Reads) *tokens {
	return &tokens{store: s, reads: r, verified: map[[sha256.Size]byte]verified{}}
}

// verify tells who holds the token.
func (t *tokens) verify(ctx context.Context, secret string, now time.Time) (auth.Identity, error) {
	key := sha256.Sum256([]byte(secret))
	t.mu.RLock()
	v, ok := t.verified[key]
	era := t.era
	t.mu.RUnlock()
	if ok && (v.end.IsZero() || now.Before(v.end)) {
		return v.id, nil
	}
	var end time.Time
	lookup := func(name string) (*dhowv1.Token, error) {
		tok, err := t.lookup(ctx, name)
		if e := tok.GetExpiresAt(); e != nil {
			end = e.AsTime()
		}
		return tok, err
	}
	id, err := auth.Verify(secret, lookup, now)
	if err != nil {
		return auth.Identity{}, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.live && t.era == era {
		if len(t.verified) >= maxVerified {
			clear(t.verified)
		}
		t.verified[key] = verified{id, end}
	}
	return id, nil
}

// lookup finds a stored token. One that this server does not have may have
// been made a moment ago through another, so the state is brought up to date
// before the answer is no.
func (t *tokens) lookup(ctx context.Context, name string) (*dhowv1.Token, error) {
	tok, err := t.get(name)
	if spec.CodeOf(err) != spec.CodeNotFound {
		return tok, err
	}
	index, err := t.reads.ReadIndex(ctx)
	if err != nil {
		return nil, spec.Errorf(spec.CodeUnavailable, "token %q is not known here, and the leader cannot be asked: %w", name, err)
	}
	if err := t.store.WaitRevision(ctx, index); err != nil {
		return nil, err
	}
	return t.get(name)
}

func (t *tokens) get(name string) (*dhowv1.Token, error) {
	v := t.store.View()
	defer v.Close()
	o, err := v.Get(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_TOKEN, Name: name})
	if err != nil {
		return nil, err
	}
	return o.GetToken(), nil
}

// run forgets what was verified whenever a token changes.
func (t *tokens) run(ctx context.Context) error {
	for {
		w, err := t.store.Watch(t.store.Revision(), &dhowv1.Selector{Kind: dhowv1.Kind_KIND_TOKEN})
		if err != nil {
			return err
		}
		// Whatever changed before the watch began was not seen.
		t.forget(true)
		for err == nil {
			var events []*dhowv1.WatchEvent
			events, _, err = w.Next(ctx)
			if len(events) > 0 {
				t.forget(true)
			}
		}
		w.Close()
		t.forget(false)
		if ctx.Err() != nil {
			return nil
		}
		if spec.CodeOf(err) != spec.CodeTooOld && !errors.Is(err, context.Canceled) {
			return err
		}
	}
}

func (t *tokens) forget(live bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.live = live
	t.era++
	clear(t.verified)
}
