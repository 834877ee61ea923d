package control

import (
	"context"

	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// artifactRecords tells the registry's keeper which artifacts the state lists.
type artifactRecords struct {
	server  *Server
	changed chan struct{}
}

func newArtifactRecords(s *Server) *artifactRecords {
	return &artifactRecords{server: s, changed: make(chan struct{}, 1)}
}

// Changed implements registry.Records.
func (r *artifactRecords) Changed() <-chan struct{} { return r.changed }

// Digests implements registry.Records.
func (r *artifactRecords) Digests() (map[string]bool, error) {
	objs, err := state{r.server.store}.Objects(dhowv1.Kind_KIND_ARTIFACT)
	digests := make(map[string]bool, len(objs))
	for _, o := range objs {
		digests[o.GetArtifact().GetMeta().GetName()] = true
	}
	return digests, err
}

// Run tells of changes until ctx ends.
func (r *artifactRecords) Run(ctx context.Context) error {
	return r.server.follow(ctx, dhowv1.Kind_KIND_ARTIFACT, func([]*dhowv1.WatchEvent) {
		select {
		case r.changed <- struct{}{}:
		default:
		}
	})
}

// state is the store, as the registry's collector wants it.
type state struct{ *store.Store }

// Objects lists all objects of the kinds, as of one moment.
func (s state) Objects(kinds ...dhowv1.Kind) ([]*dhowv1.Object, error) {
	view := s.View()
	defer view.Close()
	var all []*dhowv1.Object
	for _, kind := range kinds {
		objs, _, err := view.List(&dhowv1.Selector{Kind: kind}, "", 0)
		if err != nil {
			return nil, err
		}
		all = append(all, objs...)
	}
	return all, nil
}
