package registry

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func artifact(name string, version uint64) *dhowv1.Object {
	return spec.Wrap(&dhowv1.Artifact{Meta: &dhowv1.Meta{Name: name, Uid: "u-" + name, Version: version}})
}

func uses(digest string) *dhowv1.Template {
	return &dhowv1.Template{Tasks: []*dhowv1.Task{{Source: &dhowv1.Task_Wasm{Wasm: &dhowv1.WasmSource{Artifact: digest}}}}}
}

// state is a tiny replicated state.
type state struct {
	mu      sync.Mutex
	objs    []*dhowv1.Object
	deleted []string
	refuse  spec.Code
}

func (s *state) Objects(...dhowv1.Kind) ([]*dhowv1.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.objs, nil
}

func (s *state) Propose(_ context.Context, p *dhowv1.Proposal) (*dhowv1.ProposalResult, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse != "" {
		return nil, spec.Errorf(s.refuse, "refused")
	}
	for _, c := range p.GetChanges() {
		if c.GetExpect().GetVersion() == 0 || c.GetDelete().GetUid() == "" {
			return nil, spec.Errorf(spec.CodeInvalid, "a delete of whatever is there")
		}
		s.deleted = append(s.deleted, c.GetDelete().GetName())
		for i, o := range s.objs {
			if spec.MetaOf(o).GetName() == c.GetDelete().GetName() {
				s.objs = append(s.objs[:i:i], s.objs[i+1:]...)
				break
			}
		}
	}
	return &dhowv1.ProposalResult{}, nil
}

func TestCollectorRemovesUnusedRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &state{objs: []*dhowv1.Object{
			artifact("by-workload", 1), artifact("by-revision", 2), artifact("unused", 3),
			spec.Wrap(&dhowv1.Workload{Meta: &dhowv1.Meta{Name: "w"}, Spec: &dhowv1.WorkloadSpec{Template: uses("by-workload")}}),
			spec.Wrap(&dhowv1.Revision{Meta: &dhowv1.Meta{Name: "w.1"}, Template: uses("by-revision")}),
		}}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		defer wg.Wait()
		defer cancel()
		c := &Collector{State: s, Now: time.Now, Logger: slog.New(slog.DiscardHandler)}
		wg.Go(func() { _ = c.Run(ctx) })
		gone := func() string {
			synctest.Wait()
			s.mu.Lock()
			defer s.mu.Unlock()
			return strings.Join(s.deleted, " ")
		}
		time.Sleep(UnusedAfter - time.Minute)
		if got := gone(); got != "" {
			t.Errorf("too early: %s", got)
		}
		s.mu.Lock()
		s.refuse = spec.CodeUnavailable
		s.mu.Unlock()
		time.Sleep(time.Hour)
		s.mu.Lock()
		s.refuse = ""
		s.mu.Unlock()
		time.Sleep(time.Hour)
		if got := gone(); got != "unused" {
			t.Errorf("removed %q", got)
		}
	})
}

func TestUnusedDecide(t *testing.T) {
	t0 := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	u := Unused{}
	check := func(why string, hours int, want string, objs ...*dhowv1.Object) {
		t.Helper()
		var got []string
		for _, a := range u.Decide(objs, t0.Add(time.Duration(hours)*time.Hour), 24*time.Hour) {
			got = append(got, a.GetMeta().GetName())
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v", why, got)
		}
	}
	a, b := artifact("a", 1), artifact("b", 1)
	inUse := spec.Wrap(&dhowv1.Revision{Meta: &dhowv1.Meta{Name: "w.1"}, Template: uses("a")})
	check("first seen", 0, "", a, b)
	check("not yet", 23, "", a, b)
	check("both", 24, "a b", a, b)
	check("used again", 25, "b", a, b, inUse)
	check("a new wait", 26, "", a)
	check("not yet", 49, "", a)
	check("pushed again: a new version, a new wait", 50, "", artifact("a", 9))
	check("in time", 74, "a", artifact("a", 9))
	check("a clock that went back", 10, "", artifact("a", 9))
	check("begins it anew", 33, "", artifact("a", 9))
	check("until", 34, "a", artifact("a", 9))
	check("b went and came: a new wait", 60, "a", artifact("a", 9), b)
}
