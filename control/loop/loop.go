// Package loop runs the planner on the leader: watch, plan, propose, repeat.
// In the room: Core, one pass as a pure function of what it was given, and
// Loop, the goroutine around it. It decides nothing itself.
package loop

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/control/plan"
	"dhow.dev/dhow/control/plan/liveness"
	"dhow.dev/dhow/control/store"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// Store is what the loop needs of the state; *store.Store is one.
type Store interface {
	View() *store.View
	Watch(from uint64, sels ...*dhowv1.Selector) (*store.Watcher, error)
	Propose(ctx context.Context, p *dhowv1.Proposal) (*dhowv1.ProposalResult, error)
}

// Facts is where gossip's knowledge comes from.
type Facts interface {
	// Facts returns what is known now.
	Facts() liveness.Facts
	// Changed gets a value soon after the facts changed.
	Changed() <-chan struct{}
}

// Config of a Loop.
type Config struct {
	Store  Store
	Facts  Facts            // nil: no gossip; sessions alone tell
	Clock  func() time.Time // nil: time.Now
	Logger *slog.Logger     // nil: none
}

// Loop plans while this server leads.
type Loop struct{ config Config }

// New makes a Loop.
func New(c Config) *Loop {
	if c.Clock == nil {
		c.Clock = time.Now //nolint:forbidigo // the default, named here and nowhere else
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return &Loop{config: c}
}

// Run plans as the leader of the term until the context ends, or the state
// cannot be read. Call it once all entries of earlier terms are applied here;
// the context must end when this server's leadership of the term does.
func (l *Loop) Run(ctx context.Context, term uint64) error {
	r := &run{Loop: l, term: term, batches: make(chan batch)}
	defer r.close()
	for {
		if err := r.start(ctx); err != nil {
			return err
		}
		g, gctx := errgroup.WithContext(ctx)
		g.Go(func() error { return r.follow(gctx) })
		g.Go(func() error { return r.plan(gctx) })
		err := g.Wait()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch spec.CodeOf(err) {
		case spec.CodeTooOld:
			l.config.Logger.Warn("the planner fell behind the state and reads it anew", "term", term)
			continue
		case spec.CodeConflict, spec.CodeExists, spec.CodeNotFound, spec.CodeInvalid, spec.CodeExhausted:
			// It was not done, for certain: plan anew from what is there.
			l.config.Logger.Warn("a plan was refused, and is made anew", "term", term, "error", err)
		case spec.CodeNotLeader, spec.CodeUnavailable, spec.CodeTimeout:
			l.config.Logger.Info("it is not known what became of a plan", "term", term, "error", err)
			if err := l.barrier(ctx, term); err != nil {
				return err
			}
			continue
		default:
			return err
		}
		if r.refusals++; r.refusals > quickRetries {
			if err := pause(ctx, retryDelay); err != nil {
				return err
			}
		}
	}
}

// barrier waits until every proposal that was made before it has been applied
// here or never will be: one that does nothing comes after them in the log.
// Mostly the leadership is over, and the context ends it.
func (l *Loop) barrier(ctx context.Context, term uint64) error {
	for {
		if err := pause(ctx, barrierDelay); err != nil {
			return err
		}
		_, err := l.config.Store.Propose(ctx, &dhowv1.Proposal{Time: timestamppb.New(l.config.Clock()), Term: term})
		switch spec.CodeOf(err) {
		case "":
			return nil
		case spec.CodeNotLeader, spec.CodeUnavailable, spec.CodeTimeout:
		default:
			return err
		}
	}
}

// So often in a row is a refused plan made anew at once, and then only now and
// then: the disk may be full for long.
const (
	quickRetries = 2
	retryDelay   = time.Second
	barrierDelay = 100 * time.Millisecond
)

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run is one leadership.
type run struct {
	*Loop
	term    uint64
	core    *Core
	watch   *store.Watcher
	batches chan batch
	// How many plans in a row were refused.
	refusals int
}

// batch is what a watch returned.
type batch struct {
	events   []*dhowv1.WatchEvent
	revision uint64
}

// start reads the whole state and begins to watch it.
func (r *run) start(ctx context.Context) error {
	r.close()
	v := r.config.Store.View()
	defer v.Close()
	r.core = NewCore(r.term)
	sels, err := load(ctx, v, r.core.Load)
	if err != nil {
		return err
	}
	r.watch, err = r.config.Store.Watch(v.Revision(), sels...)
	return err
}

// load reads all objects that planning wants.
func load(ctx context.Context, v *store.View, take func([]*dhowv1.Object, uint64)) ([]*dhowv1.Selector, error) {
	const page = 4096
	var sels []*dhowv1.Selector
	for _, k := range plan.Kinds() {
		sel := &dhowv1.Selector{Kind: k}
		sels = append(sels, sel)
		for next := ""; ; {
			objs, more, err := v.List(sel, next, page)
			if err != nil {
				return nil, err
			}
			take(objs, v.Revision())
			if next = more; next == "" {
				break
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
		}
	}
	return sels, nil
}

func (r *run) close() {
	if r.watch != nil {
		r.watch.Close()
		r.watch = nil
	}
}

// follow hands over what the watch returns. While a plan is being proposed,
// what happens meanwhile gathers in the feed and comes in one.
func (r *run) follow(ctx context.Context) error {
	for {
		events, revision, err := r.watch.Next(ctx)
		if err != nil {
			return err
		}
		select {
		case r.batches <- batch{events, revision}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// plan proposes what has to change, as soon as it has.
func (r *run) plan(ctx context.Context) error {
	var facts <-chan struct{}
	if f := r.config.Facts; f != nil {
		facts = f.Changed()
		r.core.SetFacts(f.Facts())
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wake, err := r.pass(ctx)
		if err != nil {
			return err
		}
		var alarm <-chan time.Time
		if !wake.IsZero() {
			// The clock may be another than the timer's; at the latest in a
			// minute it is read again.
			timer.Reset(min(max(wake.Sub(r.config.Clock()), 0), time.Minute))
			alarm = timer.C
		}
		select {
		case b := <-r.batches:
			r.core.Apply(b.events, b.revision)
		case <-facts:
			r.core.SetFacts(r.config.Facts.Facts())
		case <-alarm:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// pass plans and proposes until there is nothing left to do.
func (r *run) pass(ctx context.Context) (wake time.Time, err error) {
	for {
		p, wake := r.core.Pass(r.config.Clock())
		if p == nil {
			return wake, nil
		}
		began := r.config.Clock()
		res, err := r.config.Store.Propose(ctx, p)
		if err != nil {
			return time.Time{}, err
		}
		r.refusals = 0
		r.config.Logger.Debug("planned", "changes", len(p.GetChanges()), "revision", res.GetRevision(), "took", r.config.Clock().Sub(began))
		if err := r.applied(ctx, res); err != nil {
			return time.Time{}, err
		}
		if !r.core.Dirty() {
			return wake, nil
		}
	}
}

// applied waits until the Core has seen what its proposal did.
func (r *run) applied(ctx context.Context, res *dhowv1.ProposalResult) error {
	effect := false
	for _, o := range res.GetOutcomes() {
		effect = effect || o != dhowv1.Outcome_OUTCOME_UNCHANGED
	}
	if !effect {
		// What was to be done had been done, or its object removed, meanwhile.
		// No event will come of it; those of the meantime will.
		return nil
	}
	for r.core.Revision() < res.GetRevision() {
		select {
		case b := <-r.batches:
			r.core.Apply(b.events, b.revision)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Why explains, from the state of any server, where an instance or a
// workload's instances could not go.
func Why(ctx context.Context, s interface{ View() *store.View }, ref *dhowv1.Ref) ([]*dhowv1.Explanation, error) {
	v := s.View()
	defer v.Close()
	core := NewCore(0)
	if _, err := load(ctx, v, core.Load); err != nil {
		return nil, err
	}
	if _, err := v.Get(ref); err != nil {
		return nil, err
	}
	return core.Why(ref), nil
}
