package replica

import (
	"context"
	"encoding/binary"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

const (
	// maxProposal is the largest proposal taken.
	maxProposal = 8 << 20
	// An entry takes at most so many proposals, and no more once it has so
	// many bytes.
	maxBatch      = 512
	maxBatchBytes = 256 << 10
	// inFlight entries at most are written, replicated or applied while the
	// next collects.
	inFlight = 3
	// maxQueue bytes wait; more are refused.
	maxQueue = 64 << 20
)

// pipeline makes one entry of all proposals that wait together.
type pipeline struct {
	r    *Replica
	wake chan struct{}
	sent chan *entry

	mu     sync.Mutex
	queue  []*waiting
	bytes  int
	closed error
	// entries with so many proposals are in flight.
	entries, flying int
}

// waiting is one proposal.
type waiting struct {
	data []byte
	gone atomic.Bool
	done chan outcome
}

type outcome struct {
	result *dhowv1.ProposalResult
	err    error
}

// entry is several proposals in flight.
type entry struct {
	waiting []*waiting
	future  raft.ApplyFuture
}

func newPipeline(r *Replica) *pipeline {
	return &pipeline{
		r: r, wake: make(chan struct{}, 1),
		sent: make(chan *entry, inFlight),
	}
}

// Propose gets p agreed upon and applied here. CodeNotLeader when another
// server leads: nothing was written. CodeUnavailable and CodeTimeout: it may
// have been.
func (r *Replica) Propose(ctx context.Context, p *dhowv1.Proposal) (*dhowv1.ProposalResult, error) {
	data, err := proto.Marshal(p)
	if err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "the proposal cannot be encoded: %w", err)
	}
	if len(data) > maxProposal {
		return nil, spec.Errorf(spec.CodeExhausted, "the request is %d bytes large; the most is %d: split it", len(data), maxProposal)
	}
	if err := r.waitLead(ctx); err != nil {
		return nil, err
	}
	w := &waiting{data: data, done: make(chan outcome, 1)}
	if err := r.pipe.put(w); err != nil {
		return nil, err
	}
	select {
	case o := <-w.done:
		return o.result, o.err
	case <-ctx.Done():
		w.gone.Store(true)
		return nil, spec.Errorf(spec.CodeTimeout, "the write was not confirmed in time; it may have been done: %w", ctx.Err())
	}
}

func (p *pipeline) put(w *waiting) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed != nil {
		return p.closed
	}
	if p.bytes > maxQueue {
		return spec.Errorf(spec.CodeUnavailable, "the server is overloaded: try again later")
	}
	p.queue = append(p.queue, w)
	p.bytes += len(w.data)
	p.signal()
	return nil
}

func (p *pipeline) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// take removes a batch from the queue; nil when it is empty, or too short to
// be worth a write of its own while others are in flight.
func (p *pipeline) take() []*waiting {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.entries == inFlight || len(p.queue) < p.flying && p.bytes < maxBatchBytes {
		return nil
	}
	n, size := 0, 0
	for n < len(p.queue) && n < maxBatch && (n == 0 || size+len(p.queue[n].data) <= maxBatchBytes) {
		size += len(p.queue[n].data)
		n++
	}
	if n == 0 {
		return nil
	}
	batch := make([]*waiting, 0, n)
	for _, w := range p.queue[:n] {
		if !w.gone.Load() {
			batch = append(batch, w)
		}
	}
	rest := copy(p.queue, p.queue[n:])
	clear(p.queue[rest:])
	p.queue = p.queue[:rest]
	p.bytes -= size
	if len(batch) > 0 {
		p.entries++
		p.flying += len(batch)
	}
	return batch
}

func (p *pipeline) idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue) == 0 && p.entries == 0
}

// fail refuses all that waits, and all that comes.
func (p *pipeline) fail(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = err
	for _, w := range p.queue {
		w.done <- outcome{err: err}
	}
	p.queue = nil
}

// collect sends batches to Raft, so that a few are in flight.
func (p *pipeline) collect() {
	defer close(p.sent)
	for {
		select {
		case <-p.wake:
		case <-p.r.closing:
			return
		}
		// Those who were just answered come back at once: let them.
		runtime.Gosched()
		for {
			batch := p.take()
			if batch == nil {
				break
			}
			if len(batch) > 0 {
				p.sent <- &entry{waiting: batch, future: p.r.raft.ApplyLog(raft.Log{Data: encodeCommand(batch)}, 0)}
			}
		}
	}
}

// encodeCommand joins marshalled proposals to a Command, without decoding.
func encodeCommand(batch []*waiting) []byte {
	size := 0
	for _, w := range batch {
		size += len(w.data) + 1 + binary.MaxVarintLen32
	}
	b := make([]byte, 0, size)
	for _, w := range batch {
		b = protowire.AppendTag(b, 1, protowire.BytesType)
		b = protowire.AppendBytes(b, w.data)
	}
	return b
}

// complete hands out results, in order.
func (p *pipeline) complete() {
	for e := range p.sent {
		err := mapError(e.future.Error())
		a, _ := e.future.Response().(applied)
		if err == nil && len(a.results) != len(e.waiting) {
			err = spec.Errorf(spec.CodeInternal, "entry %d with %d proposals had %d results", a.index, len(e.waiting), len(a.results))
			if len(a.results) == 1 && a.results[0].GetCode() != "" {
				err = spec.Errorf(spec.Code(a.results[0].GetCode()), "%s", a.results[0].GetMessage())
			}
		}
		for i, w := range e.waiting {
			if err != nil {
				w.done <- outcome{err: err}
			} else {
				w.done <- outcome{result: a.results[i]}
			}
		}
		p.landed(e)
		if err == nil && p.idle() && p.r.others() > 0 {
			p.nudge()
		}
	}
}

func (p *pipeline) landed(e *entry) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.entries--
	p.flying -= len(e.waiting)
	p.signal()
}

// nudge tells followers at once that the last entry is committed. Raft tells
// them with the next entry, or after CommitTimeout, which would be the latency
// of every watcher on a follower; an empty entry costs a fraction of that.
func (p *pipeline) nudge() { p.r.raft.Barrier(0) }
