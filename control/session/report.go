package session

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"

	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/control/auth"
	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

const (
	// One call's reports and events.
	maxReports = 10_000
	maxEvents  = 1000
)

// ReportStatus implements AgentService. Reports about instances that are not
// the node's own are refused and change nothing.
func (h *Hub) ReportStatus(ctx context.Context, req *dhowv1.ReportStatusRequest) (*dhowv1.ReportStatusResponse, error) {
	id := h.c.Caller(ctx)
	if err := auth.Authorize(id, auth.VerbSession, 0); err != nil {
		return nil, err
	}
	if len(req.GetReports()) > maxReports || len(req.GetEvents()) > maxEvents {
		return nil, spec.Errorf(spec.CodeExhausted, "%d reports and %d events are too many for one call: at most %d and %d", len(req.GetReports()), len(req.GetEvents()), maxReports, maxEvents)
	}
	res := &dhowv1.ReportStatusResponse{}
	c := &reported{done: make(chan struct{})}
	if err := h.collect(id.Node, req, c, res); err != nil {
		return nil, err
	}
	if len(c.changes) == 0 {
		return res, nil
	}
	if err := h.reports.do(ctx, c); err != nil {
		return nil, err
	}
	res.Refused = append(res.Refused, c.refused...)
	return res, nil
}

// collect makes changes of what the node says.
func (h *Hub) collect(node string, req *dhowv1.ReportStatusRequest, c *reported, res *dhowv1.ReportStatusResponse) error {
	v := h.c.Store.View()
	defer v.Close()
	for i, r := range req.GetReports() {
		if r.GetRef().GetName() == "" || r.GetStatus() == nil {
			return &spec.Error{Code: spec.CodeInvalid, Path: fmt.Sprintf("reports[%d]", i), Message: "names no instance, or has no status"}
		}
		if foreign(v, node, r.GetRef()) {
			res.Refused = append(res.Refused, r.GetRef())
			continue
		}
		c.changes = append(c.changes, &dhowv1.Change{Op: &dhowv1.Change_Instance{Instance: &dhowv1.InstanceReport{Ref: r.GetRef(), Node: node, Status: r.GetStatus()}}})
	}
	for i, e := range req.GetEvents() {
		ref := e.GetRegarding()
		own := ref.GetKind() == dhowv1.Kind_KIND_NODE && ref.GetName() == node ||
			ref.GetKind() == dhowv1.Kind_KIND_INSTANCE && !foreign(v, node, ref)
		if !own {
			return spec.Errorf(spec.CodeDenied, "events[%d]: node %s may not speak about %s %q", i, node, spec.KindName(ref.GetKind()), ref.GetName())
		}
		ev, err := h.event(node, e)
		if err != nil {
			return fmt.Errorf("events[%d]: %w", i, err)
		}
		c.changes = append(c.changes, &dhowv1.Change{Op: &dhowv1.Change_Put{Put: spec.Wrap(ev)}})
	}
	return nil
}

// foreign tells whether the instance is certainly another node's. One that is
// not known here may have been made a moment ago; the proposal decides.
func foreign(v *store.View, node string, ref *dhowv1.Ref) bool {
	o, err := v.Get(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: ref.GetNamespace(), Name: ref.GetName(), Uid: ref.GetUid()})
	n := o.GetInstance().GetSpec().GetNode()
	return err == nil && n != "" && n != node
}

// event makes the object of a node's event. Its name follows from what it
// says, so that one that is sent again is stored once.
func (h *Hub) event(node string, e *dhowv1.Event) (*dhowv1.Event, error) {
	if e.GetReason() == "" || len(e.GetReason()) > spec.MaxName || len(e.GetMessage()) > spec.MaxText {
		return nil, spec.Errorf(spec.CodeInvalid, "the reason must have 1 to %d bytes, the message at most %d", spec.MaxName, spec.MaxText)
	}
	at := e.GetTime()
	if at == nil || at.CheckValid() != nil {
		at = timestamppb.New(h.c.Now())
	}
	ref := e.GetRegarding()
	hash := sha256.New()
	_, _ = fmt.Fprintf(hash, "%s\x00%s\x00%s\x00%d\x00%s\x00%s", node, ref.GetNamespace(), ref.GetUid(), at.AsTime().UnixNano(), e.GetReason(), e.GetMessage())
	sum := hex.EncodeToString(hash.Sum(nil))
	ns := ref.GetNamespace()
	if ns == "" {
		ns = spec.DefaultNamespace
	}
	return &dhowv1.Event{
		Meta:      &dhowv1.Meta{Name: ref.GetName() + "." + sum[:12], Namespace: ns, Uid: sum[:32]},
		Regarding: ref, Type: e.GetType(), Reason: e.GetReason(), Message: e.GetMessage(), Source: node, Time: at,
	}, nil
}

// reported is one call's changes on their way.
type reported struct {
	changes []*dhowv1.Change
	refused []*dhowv1.Ref
	err     error
	done    chan struct{}
}

// reports makes proposals of the changes of all calls that wait. The first
// goes at once; what arrives while proposals are under way goes together.
type reports struct {
	c    Config
	wake chan struct{}
	// ended is closed when run does not run any more.
	ended <-chan struct{}

	mu    sync.Mutex
	queue []*reported
}

func newReports(c Config, ended <-chan struct{}) *reports {
	return &reports{c: c, wake: make(chan struct{}, reporters), ended: ended}
}

func (r *reports) do(ctx context.Context, c *reported) error {
	r.mu.Lock()
	r.queue = append(r.queue, c)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		return ctx.Err()
	case <-r.ended:
		return errStopping()
	}
}

// run makes proposals until the context ends.
func (r *reports) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.wake:
		}
		for {
			batch := r.take()
			if len(batch) == 0 {
				break
			}
			r.write(ctx, batch)
			for _, c := range batch {
				close(c.done)
			}
		}
	}
}

func (r *reports) take() []*reported {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, size := 0, 0
	for n < len(r.queue) && (n == 0 || size+len(r.queue[n].changes) <= maxChanges) {
		size += len(r.queue[n].changes)
		n++
	}
	batch := r.queue[:n:n]
	if r.queue = r.queue[n:]; len(r.queue) == 0 {
		r.queue = nil
	}
	return batch
}

// write proposes the changes of several calls, and tells each what became of
// its own. A refusal takes all of a proposal with it, so then each call goes
// alone, and after that each change.
func (r *reports) write(ctx context.Context, batch []*reported) {
	p := &dhowv1.Proposal{Time: timestamppb.New(r.c.Now())}
	for _, c := range batch {
		p.Changes = append(p.Changes, c.changes...)
	}
	within, cancel := context.WithTimeout(ctx, proposeTimeout)
	res, err := r.c.Store.Propose(within, p)
	cancel()
	switch code := spec.CodeOf(err); {
	case err == nil:
		at := 0
		for _, c := range batch {
			c.settle(res.GetObjects(), at)
			at += len(c.changes)
		}
	case code != spec.CodeDenied && code != spec.CodeInvalid && code != spec.CodeNotFound && code != spec.CodeConflict:
		for _, c := range batch {
			c.err = err
		}
	case len(batch) > 1:
		for _, c := range batch {
			r.write(ctx, []*reported{c})
		}
	case len(p.Changes) > 1:
		r.each(ctx, batch[0])
	default:
		batch[0].refuse(p.Changes[0], err)
	}
}

// each proposes the changes of one call alone.
func (r *reports) each(ctx context.Context, c *reported) {
	for _, change := range c.changes {
		one := &reported{changes: []*dhowv1.Change{change}}
		r.write(ctx, []*reported{one})
		c.refused = append(c.refused, one.refused...)
		if one.err != nil {
			c.err = one.err
			return
		}
	}
}

// settle finds the instances that are no more.
func (c *reported) settle(objects []*dhowv1.Object, at int) {
	for i, change := range c.changes {
		if rep := change.GetInstance(); rep != nil && at+i < len(objects) && spec.KindOf(objects[at+i]) == dhowv1.Kind_KIND_UNSPECIFIED {
			c.refused = append(c.refused, rep.GetRef())
		}
	}
}

func (c *reported) refuse(change *dhowv1.Change, err error) {
	if rep := change.GetInstance(); rep != nil {
		c.refused = append(c.refused, rep.GetRef())
		return
	}
	c.err = err
}
