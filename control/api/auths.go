package api

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/control/auth"
	"dhow.dev/dhow/internal/pki"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// How long tokens are good for, unless the caller says otherwise.
const (
	accessTTL = 365 * 24 * time.Hour
	joinTTL   = 24 * time.Hour
	maxTTL    = 10 * 365 * 24 * time.Hour
)

// auths is the AuthService.
type auths struct{ *API }

// CreateToken makes a token and shows its secret, once.
func (a auths) CreateToken(ctx context.Context, req *dhowv1.CreateTokenRequest) (*dhowv1.CreateTokenResponse, error) {
	if err := allowed(ctx, auth.VerbCreateToken); err != nil {
		return nil, err
	}
	ttl := accessTTL
	fingerprint := ""
	switch req.GetRole() {
	case dhowv1.Role_ROLE_JOIN_NODE, dhowv1.Role_ROLE_JOIN_SERVER:
		ttl, fingerprint = joinTTL, a.c.CA.Fingerprint()
	default:
	}
	if d := req.GetTtl(); d != nil {
		ttl = d.AsDuration()
		if d.CheckValid() != nil || ttl <= 0 || ttl > maxTTL {
			return nil, &spec.Error{Code: spec.CodeInvalid, Path: "ttl", Message: "must be more than 0 and at most 10 years"}
		}
	}
	now := a.c.Now()
	secret := auth.New(req.GetName(), fingerprint)
	t := &dhowv1.Token{
		Meta: &dhowv1.Meta{Name: req.GetName()}, Role: req.GetRole(), SecretHash: secret.Hash(),
		ExpiresAt: timestamppb.New(now.Add(ttl)), Description: req.GetDescription(),
	}
	if err := spec.Validate(spec.Wrap(t)); err != nil {
		return nil, err
	}
	t.Meta.Uid = a.c.NewUID()
	res, err := a.c.Store.Propose(ctx, &dhowv1.Proposal{
		Time:    timestamppb.New(now),
		Changes: []*dhowv1.Change{{Op: &dhowv1.Change_Put{Put: spec.Wrap(t)}, Expect: &dhowv1.Expect{Absent: true}}},
	})
	if err != nil {
		return nil, err
	}
	return &dhowv1.CreateTokenResponse{Token: publicToken(res.GetObjects()[0].GetToken()), Secret: secret.String()}, nil
}

// WhoAmI says who the caller is taken for.
func (a auths) WhoAmI(ctx context.Context, _ *dhowv1.WhoAmIRequest) (*dhowv1.WhoAmIResponse, error) {
	if err := allowed(ctx, auth.VerbWhoAmI); err != nil {
		return nil, err
	}
	id := Caller(ctx)
	return &dhowv1.WhoAmIResponse{Subject: id.Subject, Role: id.Role}, nil
}

// Join trades a join token and a signing request for a certificate.
func (a auths) Join(ctx context.Context, req *dhowv1.JoinRequest) (*dhowv1.JoinResponse, error) {
	now := a.c.Now()
	id, err := a.tokens.verify(ctx, req.GetToken(), now)
	if err != nil {
		return nil, err
	}
	who := pki.Identity{Cluster: a.c.CA.Cluster(), Name: req.GetName()}
	if why := spec.CheckName(req.GetName()); why != "" {
		return nil, &spec.Error{Code: spec.CodeInvalid, Path: "name", Message: why}
	}
	if want := req.GetRole(); want != dhowv1.Role_ROLE_UNSPECIFIED && want != id.Role {
		return nil, spec.Errorf(spec.CodeDenied, "the token is for %s, and this is to %s: `dhow token create --role %s` makes the right one",
			auth.RoleName(id.Role), auth.RoleName(want), auth.RoleName(want))
	}
	var caKey []byte
	switch id.Role {
	case dhowv1.Role_ROLE_JOIN_NODE:
		who.Kind = pki.Node
		if err := auth.Authorize(id, auth.VerbJoinNode, 0); err != nil {
			return nil, err
		}
	default:
		who.Kind = pki.Server
		if err := auth.Authorize(id, auth.VerbJoinServer, 0); err != nil {
			return nil, err
		}
		if err := a.freeServer(req.GetName()); err != nil {
			return nil, err
		}
		if caKey, err = a.c.CA.Key(); err != nil {
			return nil, err
		}
	}
	cert, err := a.c.CA.Sign(req.GetCsr(), who, now, hosts(who)...)
	if err != nil {
		return nil, err
	}
	if who.Kind == pki.Node {
		if err := a.joinNode(ctx, req, now); err != nil {
			return nil, err
		}
	}
	return &dhowv1.JoinResponse{
		Certificate: cert, Ca: a.c.CA.Certificate(), CaKey: caKey, GossipKey: a.c.Cluster.GossipKey(),
		Servers: a.c.Cluster.APIs(), Gossip: a.c.Cluster.Gossip(), ClusterId: a.c.CA.Cluster(),
	}, nil
}

// hosts are further names in a server's certificate, for tools that check what
// they dialled. Its addresses come with its first renewal.
func hosts(who pki.Identity) []string {
	if who.Kind == pki.Server {
		return []string{"localhost", "127.0.0.1", "::1"}
	}
	return nil
}

// joinNode records the node. One that is connected keeps its name; one that is
// not may come back with a new disk under its old name.
func (a auths) joinNode(ctx context.Context, req *dhowv1.JoinRequest, now time.Time) error {
	if err := a.catchUp(ctx); err != nil {
		return err
	}
	v := a.c.Store.View()
	defer v.Close()
	old, err := v.Get(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_NODE, Name: req.GetName()})
	if err != nil && spec.CodeOf(err) != spec.CodeNotFound {
		return err
	}
	if n := old.GetNode(); n.GetSession().GetConnected() {
		return spec.Errorf(spec.CodeExists, "a node named %q is connected (through server %s): choose another name, or stop that node first", req.GetName(), n.GetSession().GetServer())
	}
	p := &dhowv1.Proposal{Time: timestamppb.New(now)}
	if old == nil {
		n := &dhowv1.Node{Meta: &dhowv1.Meta{Name: req.GetName()}, Spec: &dhowv1.NodeSpec{}, Info: req.GetInfo()}
		if err := spec.Validate(spec.Wrap(n)); err != nil {
			return err
		}
		n.Meta.Uid = a.c.NewUID()
		p.Changes = []*dhowv1.Change{{Op: &dhowv1.Change_Put{Put: spec.Wrap(n)}, Expect: &dhowv1.Expect{Absent: true}}}
	} else if req.GetInfo() != nil {
		p.Changes = []*dhowv1.Change{{Op: &dhowv1.Change_Node{Node: &dhowv1.NodeReport{Node: req.GetName(), Info: req.GetInfo()}}}}
	} else {
		return nil
	}
	_, err = a.c.Store.Propose(ctx, p)
	return err
}

// freeServer refuses the name of a server that is a member.
func (a auths) freeServer(name string) error {
	for _, s := range a.c.Cluster.Servers() {
		if s.GetName() == name && s.GetState() != "failed" && s.GetState() != "left" {
			return spec.Errorf(spec.CodeExists, "a server named %q is in the cluster: choose another name, or remove it first (`dhow server remove %s`)", name, name)
		}
	}
	return nil
}

// Renew trades a certificate for a newer one.
func (a auths) Renew(ctx context.Context, req *dhowv1.RenewRequest) (*dhowv1.RenewResponse, error) {
	if err := allowed(ctx, auth.VerbRenew); err != nil {
		return nil, err
	}
	id := Caller(ctx)
	who := pki.Identity{Cluster: a.c.CA.Cluster(), Kind: pki.Server, Name: id.Server}
	if id.Node != "" {
		who.Kind, who.Name = pki.Node, id.Node
		v, err := a.view(ctx, false)
		if err != nil {
			return nil, err
		}
		_, err = v.Get(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_NODE, Name: id.Node})
		v.Close()
		if spec.CodeOf(err) == spec.CodeNotFound {
			return nil, spec.Errorf(spec.CodeDenied, "node %s was removed from the cluster: join anew with a join token", id.Node)
		}
		if err != nil {
			return nil, err
		}
	}
	cert, err := a.c.CA.Sign(req.GetCsr(), who, a.c.Now(), hosts(who)...)
	if err != nil {
		return nil, err
	}
	return &dhowv1.RenewResponse{Certificate: cert, Ca: a.c.CA.Certificate()}, nil
}
