package registry

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

// UnusedAfter is how long an artifact that no workload and no revision names is
// kept: a module that is pushed today may be deployed tomorrow.
const UnusedAfter = 24 * time.Hour

// State is what the collector needs of the replicated state.
type State interface {
	// Objects lists all objects of the kinds, as of one moment.
	Objects(kinds ...dhowv1.Kind) ([]*dhowv1.Object, error)
	Propose(ctx context.Context, p *dhowv1.Proposal) (*dhowv1.ProposalResult, error)
}

// Collector removes the records of unused artifacts, on the leader. Each
// server's Keeper then removes the blobs.
type Collector struct {
	State  State
	Now    func() time.Time
	Logger *slog.Logger
}

// Run collects until the context, which ends with the leadership, ends.
func (c *Collector) Run(ctx context.Context) error {
	unused := Unused{}
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	for {
		if err := c.pass(ctx, unused); err != nil && ctx.Err() == nil {
			c.Logger.Warn("unused artifacts not collected", "retry", collectEvery, "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (c *Collector) pass(ctx context.Context, unused Unused) error {
	objs, err := c.State.Objects(dhowv1.Kind_KIND_ARTIFACT, dhowv1.Kind_KIND_REVISION, dhowv1.Kind_KIND_WORKLOAD)
	if err != nil {
		return err
	}
	now := c.Now()
	for _, a := range unused.Decide(objs, now, UnusedAfter) {
		ref := &dhowv1.Ref{Kind: dhowv1.Kind_KIND_ARTIFACT, Name: a.GetMeta().GetName(), Uid: a.GetMeta().GetUid()}
		_, err := c.State.Propose(ctx, &dhowv1.Proposal{
			Time: timestamppb.New(now),
			// One that was pushed again meanwhile has another version, and stays.
			Changes: []*dhowv1.Change{{Op: &dhowv1.Change_Delete{Delete: ref}, Expect: &dhowv1.Expect{Version: a.GetMeta().GetVersion()}}},
		})
		switch {
		case spec.CodeOf(err) == spec.CodeConflict || spec.CodeOf(err) == spec.CodeNotFound:
		case err != nil:
			return err
		default:
			c.Logger.Info("unused artifact collected", "digest", ref.GetName(), "file", a.GetFile(), "bytes", a.GetSize())
		}
	}
	return nil
}

// Unused remembers which artifacts are unused, at which version and since when.
type Unused map[string]unusedSince

type unusedSince struct {
	version uint64
	since   time.Time
}

// Decide tells which artifacts have been unused for long enough, given all
// artifacts, workloads and revisions. It is pure but for the memory in u.
func (u Unused) Decide(objs []*dhowv1.Object, now time.Time, after time.Duration) []*dhowv1.Artifact {
	used := map[string]bool{}
	artifacts := map[string]*dhowv1.Artifact{}
	for _, o := range objs {
		if a := o.GetArtifact(); a != nil {
			artifacts[a.GetMeta().GetName()] = a
		}
		for _, t := range []*dhowv1.Template{o.GetWorkload().GetSpec().GetTemplate(), o.GetRevision().GetTemplate()} {
			for _, task := range t.GetTasks() {
				used[task.GetWasm().GetArtifact()] = true
			}
		}
	}
	var out []*dhowv1.Artifact
	for name, a := range artifacts {
		was, known := u[name]
		switch {
		case used[name]:
			delete(u, name)
		case !known || was.version != a.GetMeta().GetVersion() || was.since.After(now):
			u[name] = unusedSince{a.GetMeta().GetVersion(), now}
		case now.Sub(was.since) >= after:
			out = append(out, a)
		}
	}
	for name := range u {
		if artifacts[name] == nil {
			delete(u, name)
		}
	}
	slices.SortFunc(out, func(a, b *dhowv1.Artifact) int { return strings.Compare(a.GetMeta().GetName(), b.GetMeta().GetName()) })
	return out
}
