package peer

import "dhow.dev/dhow/proto/dhow/v1/dhowv1connect"

// Service is the PeerService's handler.
type Service struct {
	dhowv1connect.UnimplementedPeerServiceHandler
	c Config
}

// NewService makes the handler.
func NewService(c Config) *Service { return &Service{c: c} }
