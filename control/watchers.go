package control

import (
	"context"

	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// follow gives every change of a kind to f until ctx ends. Changes that were
// no longer kept are skipped, after f was told so with nil.
func (s *Server) follow(ctx context.Context, kind dhowv1.Kind, f func([]*dhowv1.WatchEvent)) error {
	for {
		w, err := s.store.Watch(s.store.Revision(), &dhowv1.Selector{Kind: kind})
		if err != nil {
			return err
		}
		f(nil)
		err = each(ctx, w, f)
		w.Close()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if spec.CodeOf(err) != spec.CodeTooOld {
			return err
		}
	}
}

func each(ctx context.Context, w *store.Watcher, f func([]*dhowv1.WatchEvent)) error {
	for {
		events, _, err := w.Next(ctx)
		if err != nil {
			return err
		}
		f(events)
	}
}

// checkNodes has gossip look at once after a node whose session ended, so
// that a dead one is not waited for.
func (s *Server) checkNodes(ctx context.Context) error {
	return s.follow(ctx, dhowv1.Kind_KIND_NODE, func(events []*dhowv1.WatchEvent) {
		for _, e := range events {
			node := e.GetObject().GetNode()
			if session := node.GetSession(); session != nil && !session.GetConnected() {
				s.members.CheckNode(node.GetMeta().GetName())
			}
		}
	})
}
