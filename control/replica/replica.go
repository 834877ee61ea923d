package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Log keeps entries and a few stable values; what it has returned from is on
// the disk.
type Log interface {
	First() (uint64, error)
	Last() (uint64, error)
	Get(index uint64) ([]byte, error)
	Append(first uint64, entries [][]byte) error
	DeleteRange(lo, hi uint64) error
	StableSet(key, value []byte) error
	StableGet(key []byte) ([]byte, error)
}

// FSM is the state that the log's entries make.
type FSM interface {
	// Apply is deterministic, and skips entries that the state has.
	Apply(index, term uint64, data []byte) []*dhowv1.ProposalResult
	Applied() (index, term uint64)
	// Checkpoint makes the state durable and writes it as a new directory of
	// flat files; Restore replaces the state by such a directory.
	Checkpoint(dir string) error
	Restore(dir string) error
}

// Config of a Replica.
type Config struct {
	// Name of this server, for ever.
	Name string
	// Address other servers reach it at.
	Address string
	// Bootstrap makes a new cluster of this server alone, unless it has been a
	// member of one.
	Bootstrap bool
	// Dir is where snapshots are kept, on the state's file system.
	Dir string
	Log Log
	FSM FSM
	// Listener takes the other servers' connections, Dial makes ours. The
	// listener is closed by Shutdown.
	Listener net.Listener
	Dial     func(ctx context.Context, addr string) (net.Conn, error)
	Logger   *slog.Logger
	// Clock defaults to time.Now.
	Clock func() time.Time
	// HeartbeatTimeout is how long a follower waits for its leader before it
	// stands for election. Default 300 ms.
	HeartbeatTimeout time.Duration
	// After so many entries or bytes of log a snapshot is taken, and the log
	// cut to half as much. Default 8,192 and 32 MiB.
	SnapshotEntries uint64
	SnapshotBytes   uint64
}

func (c Config) withDefaults() Config {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = time.Now //nolint:forbidigo // the default clock
	}
	if c.HeartbeatTimeout == 0 {
		c.HeartbeatTimeout = 300 * time.Millisecond
	}
	if c.SnapshotEntries == 0 {
		c.SnapshotEntries = 8192
	}
	if c.SnapshotBytes == 0 {
		c.SnapshotBytes = 32 << 20
	}
	return c
}

// Replica is this server's part in the agreement.
type Replica struct {
	c     Config
	raft  *raft.Raft
	logs  *logStore
	snaps *snapshotStore
	trans *transport
	pipe  *pipeline
	reads reads
	lead  leads

	notify  chan bool
	closing chan struct{}
	stop    sync.Once
	running sync.WaitGroup
}

// Open starts taking part. It fails when state, log and snapshots do not fit
// together.
func Open(c Config) (*Replica, error) {
	c = c.withDefaults()
	r := &Replica{
		c: c, logs: newLogStore(c.Log),
		notify:  make(chan bool, 64),
		closing: make(chan struct{}),
	}
	r.lead.changed = make(chan struct{})
	r.reads.r = r
	hc := newHCLog(c.Logger, c.Clock)
	var err error
	if r.snaps, err = openSnapshots(c.Dir, c.FSM); err != nil {
		return nil, err
	}
	if err := recoverState(c.FSM, r.logs, r.snaps); err != nil {
		return nil, err
	}
	r.trans = newTransport(c, hc)
	rc := raftConfig(c)
	rc.Logger = hc
	rc.NotifyCh = r.notify
	if err := r.start(rc); err != nil {
		return nil, errors.Join(err, r.trans.Close())
	}
	r.pipe = newPipeline(r)
	for _, loop := range []func(){r.watchLeadership, r.pipe.collect, r.pipe.complete, r.compact} {
		r.running.Go(loop)
	}
	if cs := r.configuration(); len(cs) == 1 && string(cs[0].ID) == c.Name {
		r.trans.elect()
	}
	return r, nil
}

func raftConfig(c Config) *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(c.Name)
	rc.HeartbeatTimeout = c.HeartbeatTimeout
	rc.ElectionTimeout = c.HeartbeatTimeout
	// Nothing depends on the lease being short: reads are confirmed.
	rc.LeaderLeaseTimeout = c.HeartbeatTimeout
	rc.CommitTimeout = 50 * time.Millisecond
	rc.MaxAppendEntries = 32
	rc.BatchApplyCh = true
	rc.NoSnapshotRestoreOnStart = true
	rc.NoLegacyTelemetry = true
	// Snapshots are taken when compact says so.
	rc.SnapshotInterval = 24 * time.Hour
	rc.SnapshotThreshold = 1 << 62
	return rc
}

// start runs Raft; the library panics on a hole in the log.
func (r *Replica) start(rc *raft.Config) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = spec.Errorf(spec.CodeInternal, "the log is damaged: empty the data directory and join again: %v", p)
		}
	}()
	if r.c.Bootstrap {
		has, err := raft.HasExistingState(r.logs, r.logs, r.snaps)
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		if !has {
			one := raft.Configuration{Servers: []raft.Server{{ID: rc.LocalID, Address: raft.ServerAddress(r.c.Address)}}}
			if err := raft.BootstrapCluster(rc, r.logs, r.logs, r.snaps, r.trans, one); err != nil {
				return fmt.Errorf("bootstrap: %w", err)
			}
		}
	}
	r.raft, err = raft.NewRaft(rc, &fsm{r: r}, r.logs, r.logs, r.snaps, r.trans)
	if err != nil {
		return fmt.Errorf("start raft: %w", err)
	}
	r.raft.RegisterObserver(raft.NewObserver(nil, false, func(o *raft.Observation) bool {
		if _, ok := o.Data.(raft.LeaderObservation); ok {
			r.lead.broadcast()
		}
		return false
	}))
	return nil
}

// recoverState restores the newest snapshot when the state is behind it, and
// refuses a state that has what the log has not.
func recoverState(f FSM, logs *logStore, snaps *snapshotStore) error {
	metas, err := snaps.List()
	if err != nil {
		return err
	}
	var snapshot uint64
	applied, term := f.Applied()
	if len(metas) > 0 {
		snapshot = metas[0].Index
		if applied < snapshot {
			if err := f.Restore(snaps.data(metas[0].ID)); err != nil {
				return fmt.Errorf("restore snapshot %s: %w", metas[0].ID, err)
			}
			applied, term = f.Applied()
		}
	}
	last, err := logs.LastIndex()
	if err != nil {
		return err
	}
	if applied > max(last, snapshot) {
		return spec.Errorf(spec.CodeInternal, "the log ends at %d, but the state has applied %d: entries were lost: empty the data directory and join again", last, applied)
	}
	if applied > snapshot {
		var l raft.Log
		if err := logs.GetLog(applied, &l); err != nil {
			return spec.Errorf(spec.CodeInternal, "the log is damaged: empty the data directory and join again: %w", err)
		}
		if l.Term != term {
			return spec.Errorf(spec.CodeInternal, "entry %d of the log is of term %d, but the state has applied one of term %d: they do not belong together", applied, l.Term, term)
		}
	}
	return nil
}

// Shutdown hands leadership over, if this server leads and others can, and
// stops. The context bounds the handing over.
func (r *Replica) Shutdown(ctx context.Context) error {
	var err error
	r.stop.Do(func() {
		if r.raft.State() == raft.Leader && r.others() > 0 {
			if e := wait(ctx, r.raft.LeadershipTransfer()); e != nil {
				r.c.Logger.Info("leadership was not handed over", "err", e)
			}
		}
		close(r.closing)
		err = r.raft.Shutdown().Error()
		r.pipe.fail(errStopping())
		r.running.Wait()
		err = errors.Join(err, r.trans.Close())
	})
	return err
}

// others counts the other voters.
func (r *Replica) others() int {
	n := 0
	for _, s := range r.configuration() {
		if s.Suffrage == raft.Voter && string(s.ID) != r.c.Name {
			n++
		}
	}
	return n
}

func (r *Replica) configuration() []raft.Server {
	f := r.raft.GetConfiguration()
	if f.Error() != nil {
		return nil
	}
	return f.Configuration().Servers
}

// wait waits for a future, or no longer than the context.
func wait(ctx context.Context, f raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- f.Error() }()
	select {
	case err := <-done:
		return mapError(err)
	case <-ctx.Done():
		return spec.Errorf(spec.CodeTimeout, "no answer from a majority of servers: %w", ctx.Err())
	}
}

func errStopping() error { return spec.Errorf(spec.CodeUnavailable, "the server is stopping") }

// mapError gives Raft's errors their code. NotLeader promises that nothing was
// written.
func mapError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*spec.Error](err); ok {
		return err
	}
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return spec.Errorf(spec.CodeNotLeader, "this server does not lead: %w", err)
	case errors.Is(err, raft.ErrLeadershipLost):
		return spec.Errorf(spec.CodeUnavailable, "this server lost the lead; the write may have been done: %w", err)
	case errors.Is(err, raft.ErrRaftShutdown):
		return errStopping()
	}
	return spec.Errorf(spec.CodeUnavailable, "the servers did not agree: %w", err)
}
