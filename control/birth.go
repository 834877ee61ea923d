package control

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/control/auth"
	"dhow.dev/dhow/internal/client"
	"dhow.dev/dhow/internal/pki"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/dhow/v1/dhowv1connect"
	"dhow.dev/dhow/proto/spec"
)

const (
	adminTTL   = 365 * 24 * time.Hour
	retryAfter = 200 * time.Millisecond
)

// AdminToken is the first token of a new cluster, for its owner.
type AdminToken struct {
	// Secret is empty unless this start made the cluster.
	Secret string
}

// Ready is closed when the server is a member of a cluster that has a leader,
// and its state has caught up.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Admin is the token made at the cluster's birth; empty if that was earlier.
// Valid once Ready.
func (s *Server) Admin() AdminToken { return s.admin }

// Context is how a client reaches the cluster with the given token.
func (s *Server) Context(name, token string) client.Context {
	return client.Context{Name: name, Servers: s.contextServers(), CA: string(pki.EncodeCert(s.id.ca.Certificate())), Token: token, Namespace: "default"}
}

// contextServers are where a client begins: it learns of the others itself.
func (s *Server) contextServers() []string {
	if list := s.apiList(); len(list) > 0 {
		return list
	}
	return []string{s.config.advertised(s.apiListener)}
}

// settle finishes a birth or a join, whatever was interrupted, and then tells
// that the server is ready.
func (s *Server) settle(ctx context.Context) error {
	steps := []func(context.Context) error{s.catchUp}
	switch {
	case s.id.born:
		steps = append(steps, s.furnish)
	case s.id.pending:
		steps = append([]func(context.Context) error{s.enlist}, steps...)
	}
	for _, step := range steps {
		if err := s.persist(ctx, step); err != nil {
			return err
		}
	}
	if s.id.born || s.id.pending {
		if err := s.id.settled(s.config); err != nil {
			return err
		}
	}
	s.readyOnce.Do(func() { close(s.ready) })
	return nil
}

// persist tries a step until it is done; what cannot be reached may come.
func (s *Server) persist(ctx context.Context, step func(context.Context) error) error {
	for {
		err := step(ctx)
		code := spec.CodeOf(err)
		if err == nil || ctx.Err() != nil || code == spec.CodeDenied || code == spec.CodeInvalid {
			return err
		}
		s.config.Logger.Debug("not ready yet", "error", err)
		select {
		case <-time.After(retryAfter): //nolint:forbidigo // a pause between calls to other machines
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// enlist has the leader make this server a member.
func (s *Server) enlist(ctx context.Context) error {
	c, err := client.New(client.Options{Servers: s.id.servers, TLS: s.id.creds.ClientTLS()})
	if err != nil {
		return err
	}
	defer c.Close()
	return enlistWith(ctx, c.Peers, s.config.Name, s.config.advertised(s.raftListener))
}

func enlistWith(ctx context.Context, peers dhowv1connect.PeerServiceClient, name, raft string) error {
	_, err := peers.AddServer(ctx, &dhowv1.AddServerRequest{Name: name, RaftAddress: raft})
	return err
}

// catchUp waits until this state has all that was written before.
func (s *Server) catchUp(ctx context.Context) error {
	index, err := s.peers.ReadIndex(ctx)
	if err != nil {
		return err
	}
	return s.store.WaitRevision(ctx, index)
}

// furnish gives a new cluster its first namespace and its owner's token. A
// start after a crash in between makes a new token of the same name.
func (s *Server) furnish(ctx context.Context) error {
	now := timestamppb.New(s.config.Clock())
	token := auth.New("admin", "")
	put := func(o *dhowv1.Object, m *dhowv1.Meta) *dhowv1.Change {
		m.Uid, m.CreatedAt = pki.NewClusterID(), now
		return &dhowv1.Change{Op: &dhowv1.Change_Put{Put: o}}
	}
	space := &dhowv1.Namespace{Meta: &dhowv1.Meta{Name: "default"}}
	admin := &dhowv1.Token{
		Meta: &dhowv1.Meta{Name: token.Name}, Role: dhowv1.Role_ROLE_ADMIN, SecretHash: token.Hash(),
		ExpiresAt: timestamppb.New(s.config.Clock().Add(adminTTL)), Description: "made at the cluster's birth",
	}
	_, err := s.store.Propose(ctx, &dhowv1.Proposal{Time: now, Changes: []*dhowv1.Change{
		put(spec.Wrap(space), space.Meta), put(spec.Wrap(admin), admin.Meta),
	}})
	if err == nil {
		s.admin = AdminToken{Secret: token.String()}
	}
	return err
}

// JoinToken makes a token with which a node or server may join.
func (s *Server) JoinToken(ctx context.Context, role dhowv1.Role, ttl time.Duration) (string, error) {
	now := s.config.Clock()
	token := auth.New("join-"+pki.NewClusterID()[:8], s.id.ca.Fingerprint())
	obj := &dhowv1.Token{
		Meta: &dhowv1.Meta{Name: token.Name, Uid: pki.NewClusterID(), CreatedAt: timestamppb.New(now)},
		Role: role, SecretHash: token.Hash(), ExpiresAt: timestamppb.New(now.Add(ttl)), Description: "made by the server itself",
	}
	_, err := s.store.Propose(ctx, &dhowv1.Proposal{Time: timestamppb.New(now), Changes: []*dhowv1.Change{
		{Op: &dhowv1.Change_Put{Put: spec.Wrap(obj)}, Expect: &dhowv1.Expect{Absent: true}},
	}})
	return token.String(), err
}
