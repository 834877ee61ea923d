package peer

import (
	"context"

	"dhow.dev/dhow/control/auth"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Service is the PeerService's handler. It never forwards: who calls wants the
// leader, and asks again when it has moved.
type Service struct{ c Config }

// NewService makes the handler.
func NewService(c Config) *Service { return &Service{c: c} }

func (s *Service) allowed(ctx context.Context) error {
	return auth.Authorize(s.c.Caller(ctx), auth.VerbPeer, 0)
}

// Propose implements PeerService.
func (s *Service) Propose(ctx context.Context, req *dhowv1.ProposeRequest) (*dhowv1.ProposeResponse, error) {
	if err := s.allowed(ctx); err != nil {
		return nil, err
	}
	if req.GetProposal() == nil {
		return nil, spec.Errorf(spec.CodeInvalid, "there is no proposal in the request")
	}
	res, err := s.c.Replica.Propose(ctx, req.GetProposal())
	if err != nil {
		return nil, err
	}
	return &dhowv1.ProposeResponse{Result: res}, nil
}

// ReadIndex implements PeerService.
func (s *Service) ReadIndex(ctx context.Context, _ *dhowv1.ReadIndexRequest) (*dhowv1.ReadIndexResponse, error) {
	if err := s.allowed(ctx); err != nil {
		return nil, err
	}
	index, err := s.c.Replica.ReadIndex(ctx)
	if err != nil {
		return nil, err
	}
	return &dhowv1.ReadIndexResponse{Index: index}, nil
}

// AddServer implements PeerService.
func (s *Service) AddServer(ctx context.Context, req *dhowv1.AddServerRequest) (*dhowv1.AddServerResponse, error) {
	if err := s.allowed(ctx); err != nil {
		return nil, err
	}
	if why := spec.CheckName(req.GetName()); why != "" {
		return nil, &spec.Error{Code: spec.CodeInvalid, Path: "name", Message: why}
	}
	if caller := s.c.Caller(ctx).Server; caller != req.GetName() {
		return nil, spec.Errorf(spec.CodeDenied, "server %s may add itself, not %s", caller, req.GetName())
	}
	if err := s.c.Replica.AddServer(ctx, req.GetName(), req.GetRaftAddress()); err != nil {
		return nil, err
	}
	s.c.Logger.InfoContext(ctx, "a server has joined", "server", req.GetName(), "raft", req.GetRaftAddress())
	return &dhowv1.AddServerResponse{}, nil
}

// RemovePeer implements PeerService.
func (s *Service) RemovePeer(ctx context.Context, req *dhowv1.RemovePeerRequest) (*dhowv1.RemovePeerResponse, error) {
	if err := s.allowed(ctx); err != nil {
		return nil, err
	}
	if err := s.c.Replica.RemoveServer(ctx, req.GetName()); err != nil {
		return nil, err
	}
	s.c.Logger.InfoContext(ctx, "a server was removed", "server", req.GetName(), "by", s.c.Caller(ctx).Subject)
	return &dhowv1.RemovePeerResponse{}, nil
}
