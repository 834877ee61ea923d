package replica

import (
	"context"
	"time"

	"github.com/hashicorp/raft"

	"dhow.dev/dhow/proto/spec"
)

// caughtUp is how many entries a new server may lack when it becomes a voter.
const caughtUp = 128

// Server is a member of the cluster.
type Server struct {
	Name    string
	Address string
	Voter   bool
	Leader  bool
	// LastContact is when the leader last heard from it, and Index the last
	// entry it is known to hold. Only the leader knows; zero else.
	LastContact time.Time
	Index       uint64
}

// Servers are the members, as this server knows them.
func (r *Replica) Servers() []Server {
	leader, _ := r.Leader()
	leads := leader == r.c.Name
	var out []Server
	for _, s := range r.configuration() {
		v := Server{Name: string(s.ID), Address: string(s.Address), Voter: s.Suffrage == raft.Voter, Leader: string(s.ID) == leader}
		switch {
		case v.Name == r.c.Name:
			v.LastContact, v.Index = r.c.Clock(), r.raft.LastIndex()
		case leads:
			v.LastContact, v.Index = r.trans.progress(s.ID)
		}
		out = append(out, v)
	}
	return out
}

// AddServer makes a server a voting member, once it holds about all of the
// log, so that it never delays writes. Adding a member again is cheap. Leader
// only.
func (r *Replica) AddServer(ctx context.Context, name, addr string) error {
	if name == "" || addr == "" {
		return spec.Errorf(spec.CodeInvalid, "a server needs a name and an address")
	}
	if err := r.waitLead(ctx); err != nil {
		return err
	}
	id, address := raft.ServerID(name), raft.ServerAddress(addr)
	for _, s := range r.configuration() {
		switch {
		case s.ID == id && s.Address == address && s.Suffrage == raft.Voter:
			return nil
		case s.ID != id && s.Address == address:
			return spec.Errorf(spec.CodeConflict, "server %s is at %s already: remove it first", s.ID, addr)
		case s.ID == id && s.Suffrage == raft.Voter:
			// It moved. It has its log, and must not lose its vote meanwhile.
			return wait(ctx, r.raft.AddVoter(id, address, 0, 0))
		}
	}
	if err := wait(ctx, r.raft.AddNonvoter(id, address, 0, 0)); err != nil {
		return err
	}
	if err := r.waitCaughtUp(ctx, id); err != nil {
		return err
	}
	return wait(ctx, r.raft.AddVoter(id, address, 0, 0))
}

func (r *Replica) waitCaughtUp(ctx context.Context, id raft.ServerID) error {
	for {
		changed := r.trans.changed()
		_, index := r.trans.progress(id)
		last := r.raft.LastIndex()
		if index != 0 && index+caughtUp >= last {
			return nil
		}
		if r.raft.State() != raft.Leader {
			return spec.Errorf(spec.CodeNotLeader, "this server does not lead any more")
		}
		select {
		case <-changed:
		case <-r.closing:
			return errStopping()
		case <-ctx.Done():
			return spec.Errorf(spec.CodeTimeout, "server %s holds the log up to %d of %d; can it be reached?: %w", id, index, last, ctx.Err())
		}
	}
}

// RemoveServer removes a member; one that is none is no error. Leader only;
// the leader can remove itself.
func (r *Replica) RemoveServer(ctx context.Context, name string) error {
	if err := r.waitLead(ctx); err != nil {
		return err
	}
	servers := r.configuration()
	if len(servers) == 1 && string(servers[0].ID) == name {
		return spec.Errorf(spec.CodeInvalid, "server %s is the only one", name)
	}
	return wait(ctx, r.raft.RemoveServer(raft.ServerID(name), 0, 0))
}
