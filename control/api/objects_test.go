package api_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"dhow.dev/dhow/internal/client"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func apply(o ...*dhowv1.Object) *dhowv1.ApplyRequest { return &dhowv1.ApplyRequest{Objects: o} }

func TestApplyStampsAndReads(t *testing.T) {
	w := newWorld(t)
	c := w.as(w.admin)
	ctx := t.Context()
	digest := w.artifact("\x00asm\x01\x00\x00\x00")
	in := workload("web", digest)
	in.GetWorkload().Meta.Uid = "mine"
	in.GetWorkload().Meta.Generation = 77
	in.GetWorkload().Status = &dhowv1.WorkloadStatus{Ready: 12}
	res, err := c.Objects.Apply(ctx, apply(in))
	if err != nil {
		t.Fatal(err)
	}
	got := res.GetObjects()[0].GetWorkload()
	if got.Meta.Uid == "mine" || got.Meta.Uid == "" || got.Meta.Generation != 1 || got.Meta.CreatedAt == nil || got.Meta.Namespace != "default" || got.Status.GetReady() != 0 {
		t.Errorf("the server stamps uid, generation, time and namespace, and writes no status: %v", got)
	}
	if res.Outcomes[0] != dhowv1.Outcome_OUTCOME_CREATED || got.Spec.GetReplicas() != 1 {
		t.Errorf("outcome %v, replicas %d", res.Outcomes[0], got.Spec.GetReplicas())
	}
	again, err := c.Objects.Apply(ctx, apply(workload("web", digest)))
	if err != nil {
		t.Fatal(err)
	}
	if again.Outcomes[0] != dhowv1.Outcome_OUTCOME_UNCHANGED || again.Objects[0].GetWorkload().Meta.Uid != got.Meta.Uid {
		t.Errorf("applying the same again: %v", again)
	}
	read, err := c.Objects.Get(ctx, &dhowv1.GetRequest{Ref: &dhowv1.Ref{Kind: dhowv1.Kind_KIND_WORKLOAD, Name: "web"}})
	if err != nil {
		t.Fatal(err)
	}
	if !proto.Equal(read.Object.GetWorkload(), got) {
		t.Errorf("read %v, wrote %v", read.Object, got)
	}
}

func TestApplyRefusals(t *testing.T) {
	w := newWorld(t)
	c := w.as(w.admin)
	digest := w.artifact("\x00asm\x01\x00\x00\x00")
	missing := "sha256:" + strings.Repeat("0", 64)
	bad := workload("web", digest)
	bad.GetWorkload().Spec.Replicas = proto.Uint32(200_000)
	far := workload("web", digest)
	far.GetWorkload().Meta.Namespace = "elsewhere"
	versioned := workload("web", digest)
	versioned.GetWorkload().Meta.Version = 3
	many := make([]*dhowv1.Object, 10_001)
	for i := range many {
		many[i] = spec.Wrap(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: "x"}})
	}
	for name, tc := range map[string]struct {
		req  *dhowv1.ApplyRequest
		code spec.Code
		says []string
	}{
		"nothing":           {apply(), spec.CodeInvalid, []string{"objects", "empty"}},
		"an empty object":   {apply(&dhowv1.Object{}), spec.CodeInvalid, []string{"kind"}},
		"no meta":           {apply(spec.Wrap(&dhowv1.Workload{})), spec.CodeInvalid, []string{"metadata"}},
		"an instance":       {apply(spec.Wrap(&dhowv1.Instance{Meta: &dhowv1.Meta{Name: "i"}})), spec.CodeInvalid, []string{"instance", "workload"}},
		"a token":           {apply(spec.Wrap(&dhowv1.Token{Meta: &dhowv1.Meta{Name: "t"}})), spec.CodeInvalid, []string{"dhow token create"}},
		"an artifact":       {apply(spec.Wrap(&dhowv1.Artifact{Meta: &dhowv1.Meta{Name: digest}})), spec.CodeInvalid, []string{"dhow push"}},
		"a field":           {apply(bad), spec.CodeInvalid, []string{"spec.replicas"}},
		"the second of two": {apply(workload("ok", digest), bad), spec.CodeInvalid, []string{"objects[1].spec.replicas"}},
		"a namespace":       {apply(far), spec.CodeNotFound, []string{"metadata.namespace", "elsewhere"}},
		"an artifact's use": {apply(workload("web", missing)), spec.CodeNotFound, []string{"tasks[0]", missing, "dhow push"}},
		"twice":             {apply(workload("web", digest), workload("web", digest)), spec.CodeInvalid, []string{"objects[1]", "objects[0]"}},
		"too many":          {apply(many...), spec.CodeExhausted, []string{"10000"}},
		"a version of none": {apply(versioned), spec.CodeNotFound, []string{"web"}},
		"an unknown node":   {apply(spec.Wrap(&dhowv1.Node{Meta: &dhowv1.Meta{Name: "n9"}})), spec.CodeNotFound, []string{"n9"}},
	} {
		t.Run(name, func(t *testing.T) {
			before := w.store.Revision()
			_, hash, err := w.store.Hash()
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Objects.Apply(t.Context(), tc.req)
			wantCode(t, err, tc.code, tc.says...)
			_, after, err := w.store.Hash()
			if err != nil {
				t.Fatal(err)
			}
			if w.store.Revision() > before+1 || !slices.Equal(hash, after) {
				t.Error("a refused call changed the state")
			}
		})
	}
}

func TestApplyFieldErrorsArriveOneByOne(t *testing.T) {
	w := newWorld(t)
	bad := workload("web", "nonsense")
	bad.GetWorkload().Spec.Replicas = proto.Uint32(200_000)
	_, err := w.as(w.admin).Objects.Apply(t.Context(), apply(bad))
	var paths []string
	for _, e := range spec.Errors(err) {
		paths = append(paths, e.Path)
	}
	if !slices.Contains(paths, "spec.replicas") || len(paths) < 2 {
		t.Errorf("want each field's error by itself, got %q: %v", paths, err)
	}
}

func TestApplyExpectations(t *testing.T) {
	w := newWorld(t)
	c := w.as(w.admin)
	ns := func(version uint64, label string) *dhowv1.Object {
		return spec.Wrap(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: "team", Version: version, Labels: map[string]string{"l": label}}})
	}
	res, err := c.Objects.Apply(t.Context(), &dhowv1.ApplyRequest{Objects: []*dhowv1.Object{ns(0, "a")}, CreateOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	v := res.Objects[0].GetNamespace().Meta.Version
	_, err = c.Objects.Apply(t.Context(), &dhowv1.ApplyRequest{Objects: []*dhowv1.Object{ns(0, "b")}, CreateOnly: true})
	wantCode(t, err, spec.CodeExists, "team")
	if _, err := c.Objects.Apply(t.Context(), apply(ns(v, "b"))); err != nil {
		t.Fatal(err)
	}
	_, err = c.Objects.Apply(t.Context(), apply(ns(v, "c")))
	wantCode(t, err, spec.CodeConflict, "team")
	_, err = c.Objects.Apply(t.Context(), &dhowv1.ApplyRequest{Objects: []*dhowv1.Object{ns(v, "c")}, DryRun: true})
	wantCode(t, err, spec.CodeConflict, "team")
}

func TestApplyNamespaceAndItsWorkloadAtOnce(t *testing.T) {
	w := newWorld(t)
	in := workload("web", w.artifact("\x00asm\x01\x00\x00\x00"))
	in.GetWorkload().Meta.Namespace = "new"
	_, err := w.as(w.admin).Objects.Apply(t.Context(), apply(in, spec.Wrap(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: "new"}})))
	if err != nil {
		t.Fatal(err)
	}
}

func TestDryRunChangesNothing(t *testing.T) {
	w := newWorld(t)
	c := w.as(w.admin)
	digest := w.artifact("\x00asm\x01\x00\x00\x00")
	dry := func(o *dhowv1.Object) *dhowv1.ApplyResponse {
		t.Helper()
		rev := w.store.Revision()
		res, err := c.Objects.Apply(t.Context(), &dhowv1.ApplyRequest{Objects: []*dhowv1.Object{o}, DryRun: true})
		if err != nil {
			t.Fatal(err)
		}
		if w.store.Revision() != rev {
			t.Fatal("a dry run wrote something")
		}
		return res
	}
	if got := dry(workload("web", digest)); got.Outcomes[0] != dhowv1.Outcome_OUTCOME_CREATED || got.Objects[0].GetWorkload().Spec.GetReplicas() != 1 {
		t.Errorf("new: %v", got)
	}
	if _, err := c.Objects.Apply(t.Context(), apply(workload("web", digest))); err != nil {
		t.Fatal(err)
	}
	if got := dry(workload("web", digest)); got.Outcomes[0] != dhowv1.Outcome_OUTCOME_UNCHANGED {
		t.Errorf("same: %v", got)
	}
	more := workload("web", digest)
	more.GetWorkload().Spec.Replicas = proto.Uint32(3)
	if got := dry(more); got.Outcomes[0] != dhowv1.Outcome_OUTCOME_CHANGED || got.Objects[0].GetWorkload().Meta.Generation != 2 {
		t.Errorf("changed: %v", got)
	}
}

func TestApplyNodeWritesOnlyWhatUsersWrite(t *testing.T) {
	w := newWorld(t)
	w.put(&dhowv1.Node{Meta: &dhowv1.Meta{Name: "n1"}, Info: &dhowv1.NodeInfo{Os: "linux"}})
	res, err := w.as(w.admin).Objects.Apply(t.Context(), apply(spec.Wrap(&dhowv1.Node{
		Meta: &dhowv1.Meta{Name: "n1", Labels: map[string]string{"disk": "ssd"}}, Spec: &dhowv1.NodeSpec{Cordoned: true},
		Info: &dhowv1.NodeInfo{Os: "plan9"}, Session: &dhowv1.NodeSession{Connected: true},
	})))
	if err != nil {
		t.Fatal(err)
	}
	n := res.Objects[0].GetNode()
	if n.Info.Os != "linux" || n.Session.GetConnected() || !n.Spec.Cordoned || n.Meta.Labels["disk"] != "ssd" {
		t.Errorf("got %v", n)
	}
}

func TestListPagesAreOfOneRevision(t *testing.T) {
	w := newWorld(t)
	c := w.as(w.admin)
	for i := range 25 {
		w.put(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: fmt.Sprintf("ns-%02d", i)}})
	}
	sel := &dhowv1.Selector{Kind: dhowv1.Kind_KIND_NAMESPACE}
	first, err := c.Objects.List(t.Context(), &dhowv1.ListRequest{Selector: sel, Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Objects) != 10 || first.Continue == "" {
		t.Fatalf("%d objects, continue %q", len(first.Objects), first.Continue)
	}
	w.put(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: "zz-later"}})
	names := map[string]bool{}
	res := first
	for {
		for _, o := range res.Objects {
			names[o.GetNamespace().Meta.Name] = true
		}
		if res.Revision != first.Revision {
			t.Fatalf("a page of revision %d after one of %d: a watch from it would miss changes", res.Revision, first.Revision)
		}
		if res.Continue == "" {
			break
		}
		if res, err = c.Objects.List(t.Context(), &dhowv1.ListRequest{Selector: sel, Limit: 10, Continue: res.Continue}); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 25 {
		if !names[fmt.Sprintf("ns-%02d", i)] {
			t.Errorf("ns-%02d is missing", i)
		}
	}
	_, err = c.Objects.List(t.Context(), &dhowv1.ListRequest{Selector: &dhowv1.Selector{Kind: dhowv1.Kind_KIND_WORKLOAD}, Continue: first.Continue})
	wantCode(t, err, spec.CodeInvalid, "continue")
	for _, bad := range []string{"!", "AA", "AQ", "AQAAAAAAAAAAAAAAAAAA", strings.Repeat("A", 1000)} {
		_, err = c.Objects.List(t.Context(), &dhowv1.ListRequest{Selector: sel, Continue: bad})
		wantCode(t, err, spec.CodeInvalid, "continue")
	}
}

func TestListOfLargeObjectsComesInPages(t *testing.T) {
	w := newWorld(t)
	c := w.as(w.admin)
	for i := range 40 {
		w.put(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: fmt.Sprintf("big-%d", i), Annotations: map[string]string{"a": strings.Repeat("x", 1<<20)}}})
	}
	objs, _, err := c.List(t.Context(), &dhowv1.Selector{Kind: dhowv1.Kind_KIND_NAMESPACE})
	if err != nil {
		t.Fatal(err)
	}
	if len(objs) != 41 {
		t.Errorf("%d objects", len(objs))
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	err = c.Watch(ctx, []*dhowv1.Selector{{Kind: dhowv1.Kind_KIND_NAMESPACE}}, 0, func(m *dhowv1.WatchResponse, _ bool) error {
		n += len(m.Events)
		if m.Synced {
			cancel()
		}
		return nil
	})
	if n != 41 {
		t.Errorf("%d events: %v", n, err)
	}
}

func TestTokenHashesNeverLeave(t *testing.T) {
	w := newWorld(t)
	c := w.as(w.admin)
	sel := &dhowv1.Selector{Kind: dhowv1.Kind_KIND_TOKEN}
	made, err := c.Auth.CreateToken(t.Context(), &dhowv1.CreateTokenRequest{Name: "t", Role: dhowv1.Role_ROLE_VIEWER})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.Objects.Get(t.Context(), &dhowv1.GetRequest{Ref: &dhowv1.Ref{Kind: dhowv1.Kind_KIND_TOKEN, Name: "t"}})
	if err != nil {
		t.Fatal(err)
	}
	list, err := c.Objects.List(t.Context(), &dhowv1.ListRequest{Selector: sel})
	if err != nil {
		t.Fatal(err)
	}
	toks := []*dhowv1.Token{made.Token, got.Object.GetToken()}
	for _, o := range list.Objects {
		toks = append(toks, o.GetToken())
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_ = c.Watch(ctx, []*dhowv1.Selector{sel}, 0, func(m *dhowv1.WatchResponse, _ bool) error {
		for _, e := range m.Events {
			toks = append(toks, e.Object.GetToken())
		}
		if m.Synced {
			if _, err := c.Auth.CreateToken(ctx, &dhowv1.CreateTokenRequest{Name: "u", Role: dhowv1.Role_ROLE_VIEWER}); err != nil {
				t.Error(err)
			}
		}
		if len(m.Events) > 0 && m.Events[len(m.Events)-1].Object.GetToken().GetMeta().GetName() == "u" {
			cancel()
		}
		return nil
	})
	if len(toks) < 7 {
		t.Fatalf("%d tokens seen", len(toks))
	}
	for _, tok := range toks {
		if len(tok.GetSecretHash()) > 0 {
			t.Errorf("the hash of %s left the server", tok.Meta.Name)
		}
	}
	v := w.store.View()
	defer v.Close()
	o, err := v.Get(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_TOKEN, Name: "t"})
	if err != nil || len(o.GetToken().SecretHash) == 0 {
		t.Errorf("the stored hash must stay: %v %v", o, err)
	}
}

func TestDelete(t *testing.T) {
	w := newWorld(t)
	c := w.as(w.admin)
	digest := w.artifact("\x00asm\x01\x00\x00\x00")
	for _, ns := range []string{"full", "bare"} {
		w.put(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: ns}})
	}
	in := workload("web", digest)
	in.GetWorkload().Meta.Namespace = "full"
	if _, err := c.Objects.Apply(t.Context(), apply(in)); err != nil {
		t.Fatal(err)
	}
	w.put(&dhowv1.Node{Meta: &dhowv1.Meta{Name: "alive"}})
	w.put(&dhowv1.Node{Meta: &dhowv1.Meta{Name: "lost"}})
	w.propose(
		&dhowv1.Change{Op: &dhowv1.Change_Liveness{Liveness: &dhowv1.NodeLivenessReport{Node: "alive", Liveness: &dhowv1.NodeLiveness{State: dhowv1.NodeState_NODE_STATE_READY}}}},
		&dhowv1.Change{Op: &dhowv1.Change_Liveness{Liveness: &dhowv1.NodeLivenessReport{Node: "lost", Liveness: &dhowv1.NodeLiveness{State: dhowv1.NodeState_NODE_STATE_LOST}}}},
	)
	w.put(&dhowv1.Instance{Meta: &dhowv1.Meta{Name: "web-0-aaaaa", Namespace: "full"}, Spec: &dhowv1.InstanceSpec{Workload: "web", Node: "alive", Desired: dhowv1.Desired_DESIRED_RUN}})
	del := func(refs ...*dhowv1.Ref) error {
		_, err := c.Objects.Delete(t.Context(), &dhowv1.DeleteRequest{Refs: refs})
		return err
	}
	ns := func(n string) *dhowv1.Ref { return &dhowv1.Ref{Kind: dhowv1.Kind_KIND_NAMESPACE, Name: n} }
	node := func(n string) *dhowv1.Ref { return &dhowv1.Ref{Kind: dhowv1.Kind_KIND_NODE, Name: n} }
	web := &dhowv1.Ref{Kind: dhowv1.Kind_KIND_WORKLOAD, Namespace: "full", Name: "web"}
	wantCode(t, del(), spec.CodeInvalid, "refs")
	wantCode(t, del(ns("nowhere")), spec.CodeNotFound, "nowhere")
	wantCode(t, del(ns("full")), spec.CodeInvalid, "not empty", "web")
	wantCode(t, del(ns("default")), spec.CodeInvalid, "default")
	wantCode(t, del(node("alive")), spec.CodeInvalid, "drain")
	wantCode(t, del(ns("bare"), ns("bare")), spec.CodeInvalid, "second time")
	wantCode(t, del(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_WORKLOAD, Namespace: "full", Name: "web", Uid: "another"}), spec.CodeNotFound)
	wantCode(t, del(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_ARTIFACT, Name: digest}), spec.CodeInvalid, "collected")
	wantCode(t, del(ns("bare"), ns("nowhere")), spec.CodeNotFound, "nowhere")
	if err := del(ns("bare"), node("lost")); err != nil {
		t.Fatal(err)
	}
	inst := &dhowv1.Ref{Kind: dhowv1.Kind_KIND_INSTANCE, Namespace: "full", Name: "web-0-aaaaa"}
	for range 2 {
		if err := del(inst); err != nil {
			t.Fatal(err)
		}
	}
	got, err := c.Objects.Get(t.Context(), &dhowv1.GetRequest{Ref: inst})
	if err != nil {
		t.Fatal(err)
	}
	if s := got.Object.GetInstance().Spec; s.Desired != dhowv1.Desired_DESIRED_STOP || s.StopReason == "" {
		t.Errorf("deleting an instance has the leader stop it: %v", s)
	}
	res, err := c.Objects.Delete(t.Context(), &dhowv1.DeleteRequest{Refs: []*dhowv1.Ref{web}, DryRun: true})
	if err != nil || res.Outcomes[0] != dhowv1.Outcome_OUTCOME_DELETED {
		t.Fatal(res, err)
	}
	if err := del(web); err != nil {
		t.Fatal(err)
	}
	wantCode(t, del(web), spec.CodeNotFound)
}

func TestReadsAreLinearizableUnlessStale(t *testing.T) {
	w := newWorld(t)
	c := w.as(w.admin)
	ref := &dhowv1.Ref{Kind: dhowv1.Kind_KIND_NAMESPACE, Name: "default"}
	w.direct.leaderless.Store(true)
	_, err := c.Objects.Get(t.Context(), &dhowv1.GetRequest{Ref: ref})
	wantCode(t, err, spec.CodeUnavailable, "leader")
	if _, err := c.Objects.Get(t.Context(), &dhowv1.GetRequest{Ref: ref, Stale: true}); err != nil {
		t.Errorf("a stale read needs no leader: %v", err)
	}
	w.direct.leaderless.Store(false)
	// A server that is behind waits until it has what was acknowledged.
	w.direct.mu.Lock()
	w.direct.index++
	behind := w.direct.index
	w.direct.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = c.Objects.Get(ctx, &dhowv1.GetRequest{Ref: ref})
	wantCode(t, err, spec.CodeTimeout)
	w.store.Apply(behind, 1, nil)
	if _, err := c.Objects.Get(t.Context(), &dhowv1.GetRequest{Ref: ref}); err != nil {
		t.Error(err)
	}
}

func TestProtocols(t *testing.T) {
	w := newWorld(t)
	digest := w.artifact("\x00asm\x01\x00\x00\x00")
	for name, opts := range map[string]func(*client.Options){
		"connect":      func(*client.Options) {},
		"connect json": func(o *client.Options) { o.Connect = []connect.ClientOption{connect.WithProtoJSON()} },
		"connect h1":   func(o *client.Options) { o.HTTP1 = true },
		"grpc":         func(o *client.Options) { o.Connect = []connect.ClientOption{connect.WithGRPC()} },
		"grpc-web":     func(o *client.Options) { o.Connect = []connect.ClientOption{connect.WithGRPCWeb()} },
		"grpc-web h1":  func(o *client.Options) { o.HTTP1 = true; o.Connect = []connect.ClientOption{connect.WithGRPCWeb()} },
	} {
		t.Run(name, func(t *testing.T) {
			c := w.as(w.admin, opts)
			if _, err := c.Objects.Apply(t.Context(), apply(workload("web", digest))); err != nil {
				t.Fatal(err)
			}
			bad := workload("web", digest)
			bad.GetWorkload().Spec.Replicas = proto.Uint32(200_000)
			_, err := c.Objects.Apply(t.Context(), apply(bad))
			wantCode(t, err, spec.CodeInvalid, "spec.replicas")
			_, err = w.as("dhow_nobody_"+strings.Repeat("a", 32), opts).Objects.Apply(t.Context(), apply(bad))
			wantCode(t, err, spec.CodeUnknownUser, "nobody")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			synced := false
			_ = c.Watch(ctx, []*dhowv1.Selector{{Kind: dhowv1.Kind_KIND_WORKLOAD}}, 0, func(m *dhowv1.WatchResponse, _ bool) error {
				if synced = m.Synced; synced {
					cancel()
				}
				return nil
			})
			if !synced {
				t.Error("the watch did not come to its start")
			}
			err = c.Watch(t.Context(), []*dhowv1.Selector{{}}, 0, func(*dhowv1.WatchResponse, bool) error { return nil })
			wantCode(t, err, spec.CodeInvalid, "selectors[0].kind")
		})
	}
}
