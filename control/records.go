package control

import (
	"context"

	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// artifactRecords tells the registry's keeper which artifacts the state lists.
type artifactRecords struct {
	store   *store.Store
	changed chan struct{}
}

func newArtifactRecords(s *store.Store) *artifactRecords {
	return &artifactRecords{store: s, changed: make(chan struct{}, 1)}
}

// Changed implements registry.Records.
func (r *artifactRecords) Changed() <-chan struct{} { return r.changed }

// Digests implements registry.Records.
func (r *artifactRecords) Digests() (map[string]bool, error) {
	view := r.store.View()
	defer view.Close()
	objs, _, err := view.List(&dhowv1.Selector{Kind: dhowv1.Kind_KIND_ARTIFACT}, "", 0)
	if err != nil {
		return nil, err
	}
	digests := make(map[string]bool, len(objs))
	for _, o := range objs {
		digests[o.GetArtifact().GetMeta().GetName()] = true
	}
	return digests, nil
}

// Run tells of changes until ctx ends.
func (r *artifactRecords) Run(ctx context.Context) error {
	for {
		w, err := r.store.Watch(r.store.Revision(), &dhowv1.Selector{Kind: dhowv1.Kind_KIND_ARTIFACT})
		if err != nil {
			return err
		}
		r.tell()
		err = r.follow(ctx, w)
		w.Close()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if spec.CodeOf(err) != spec.CodeTooOld {
			return err
		}
	}
}

func (r *artifactRecords) follow(ctx context.Context, w *store.Watcher) error {
	for {
		if _, _, err := w.Next(ctx); err != nil {
			return err
		}
		r.tell()
	}
}

func (r *artifactRecords) tell() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}
