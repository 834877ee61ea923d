package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/internal/client"
	"dhow.dev/dhow/internal/pki"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/dhow/v1/dhowv1connect"
	"dhow.dev/dhow/proto/spec"
	"dhow.dev/dhow/proto/wire"
)

// fake is a cluster in memory, as far as the command line sees one: objects
// with versions, a change feed, artifacts and logs. What the leader and the
// nodes do is up to the test.
type fake struct {
	tell string // the servers that each answer names
	dhowv1connect.UnimplementedObjectServiceHandler
	dhowv1connect.UnimplementedArtifactServiceHandler
	dhowv1connect.UnimplementedLogServiceHandler
	dhowv1connect.UnimplementedClusterServiceHandler
	dhowv1connect.UnimplementedAuthServiceHandler
	dhowv1connect.UnimplementedFunctionServiceHandler
	dhowv1connect.UnimplementedUsageServiceHandler

	mu      sync.Mutex
	objects map[string]*dhowv1.Object
	feed    []*dhowv1.WatchEvent // revision i+1
	changed chan struct{}        // closed at each change
	calls   []string
	uploads int
	lines   map[string][]*dhowv1.LogLine // by instance
	refuse  error                        // what every call answers, when set
	// What Call answers, and what Usage does, one after the other.
	function func(c *dhowv1.FunctionCall) (*dhowv1.FunctionResult, error)
	usage    []*dhowv1.UsageResponse
	// Called after a workload was applied, in a goroutine of its own.
	onApply func(w *dhowv1.Workload)
	// Called while Apply holds the lock, before versions are compared.
	race func()

	addr, ca, file string
}

// newFake starts one, and a context file that leads there.
func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{objects: map[string]*dhowv1.Object{}, changed: make(chan struct{}), lines: map[string][]*dhowv1.LogLine{}}
	ca, err := pki.NewCA("test", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	creds, err := ca.Issue(t.TempDir(), time.Now, pki.Identity{Cluster: "test", Kind: pki.Server, Name: "s1"}, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	opt := connect.WithInterceptors(wire.Server(func(_ context.Context, p string, err error) { t.Logf("%s: %v", p, err) }), counter{f})
	mux.Handle(dhowv1connect.NewObjectServiceHandler(f, opt))
	mux.Handle(dhowv1connect.NewArtifactServiceHandler(f, opt))
	mux.Handle(dhowv1connect.NewLogServiceHandler(f, opt))
	mux.Handle(dhowv1connect.NewClusterServiceHandler(f, opt))
	mux.Handle(dhowv1connect.NewAuthServiceHandler(f, opt))
	mux.Handle(dhowv1connect.NewFunctionServiceHandler(f, opt))
	mux.Handle(dhowv1connect.NewUsageServiceHandler(f, opt))
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.tell != "" {
			w.Header().Set(wire.ServersHeader, f.tell)
		}
		mux.ServeHTTP(w, r)
	}))
	srv.EnableHTTP2 = true
	srv.TLS = creds.ServerTLS()
	srv.TLS.NextProtos = []string{"h2"}
	srv.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	f.addr, f.ca = srv.Listener.Addr().String(), string(pki.EncodeCert(ca.Certificate()))
	dir := t.TempDir()
	f.file = filepath.Join(dir, "dhow", "config.yaml")
	if err := client.Save(f.file, client.Context{Name: "test", Servers: []string{f.addr}, CA: f.ca, Token: "dhow_t_secret"}, true); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_CONFIG_HOME", dir)
	f.put(spec.Wrap(&dhowv1.Namespace{Meta: &dhowv1.Meta{Name: "default"}}))
	return f
}

// counter notes each call's name, and refuses all when it is told to.
type counter struct{ f *fake }

func (c counter) note(s connect.Spec) error {
	c.f.mu.Lock()
	defer c.f.mu.Unlock()
	c.f.calls = append(c.f.calls, s.Procedure[strings.LastIndexByte(s.Procedure, '/')+1:])
	return c.f.refuse
}

func (c counter) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		if err := c.note(r.Spec()); err != nil {
			return nil, wire.ToConnect(err)
		}
		return next(ctx, r)
	}
}

func (c counter) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (c counter) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		if err := c.note(conn.Spec()); err != nil {
			return wire.ToConnect(err)
		}
		return next(ctx, conn)
	}
}

func key(r *dhowv1.Ref) string {
	return spec.KindName(r.GetKind()) + "/" + r.GetNamespace() + "/" + r.GetName()
}

// put stores an object as the leader or a node would.
func (f *fake) put(o *dhowv1.Object) *dhowv1.Object {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.store(proto.CloneOf(o))
}

func (f *fake) store(o *dhowv1.Object) *dhowv1.Object {
	m, k := spec.MetaOf(o), key(spec.RefOf(o))
	if old := spec.MetaOf(f.objects[k]); old != nil {
		m.Uid, m.CreatedAt = old.Uid, old.CreatedAt
	} else if m.Uid == "" {
		m.Uid = "uid-" + m.Name
	}
	if m.CreatedAt == nil {
		m.CreatedAt = timestamppb.New(time.Now())
	}
	m.Version = uint64(len(f.feed) + 1)
	f.objects[k] = o
	f.emit(dhowv1.WatchEventType_WATCH_EVENT_TYPE_PUT, o)
	return o
}

func (f *fake) emit(t dhowv1.WatchEventType, o *dhowv1.Object) {
	f.feed = append(f.feed, &dhowv1.WatchEvent{Type: t, Object: o})
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fake) remove(r *dhowv1.Ref) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if o := f.objects[key(r)]; o != nil {
		delete(f.objects, key(r))
		f.emit(dhowv1.WatchEventType_WATCH_EVENT_TYPE_DELETE, o)
	}
}

func (f *fake) workload(name string) *dhowv1.Workload {
	f.mu.Lock()
	defer f.mu.Unlock()
	return proto.CloneOf(f.objects["workload/default/"+name].GetWorkload())
}

func (f *fake) Apply(_ context.Context, req *dhowv1.ApplyRequest) (*dhowv1.ApplyResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.race != nil {
		f.race()
	}
	for i, o := range req.GetObjects() {
		spec.Default(o)
		if err := spec.Validate(o); err != nil {
			return nil, err
		}
		for j, t := range o.GetWorkload().GetSpec().GetTemplate().GetTasks() {
			if d := t.GetWasm().GetArtifact(); d != "" && f.objects["artifact//"+d] == nil {
				path := "spec.template.tasks[0].wasm.artifact"
				if len(req.GetObjects()) > 1 {
					path = "objects[" + string(rune('0'+i)) + "]." + path
				}
				return nil, &spec.Error{Code: spec.CodeNotFound, Path: path, Message: "there is no artifact " + d + string(rune('0'+j))}
			}
		}
	}
	res := &dhowv1.ApplyResponse{}
	for _, o := range req.GetObjects() {
		old := f.objects[key(&dhowv1.Ref{Kind: spec.KindOf(o), Namespace: spec.MetaOf(o).GetNamespace(), Name: spec.MetaOf(o).GetName()})]
		if v := spec.MetaOf(o).GetVersion(); v != 0 && v != spec.MetaOf(old).GetVersion() {
			return nil, spec.Errorf(spec.CodeConflict, "version %d is not the stored one", v)
		}
		out := dhowv1.Outcome_OUTCOME_CHANGED
		m := spec.MetaOf(o)
		switch {
		case old == nil:
			out, m.Generation = dhowv1.Outcome_OUTCOME_CREATED, 1
		case req.GetCreateOnly():
			return nil, spec.Errorf(spec.CodeExists, "%s is there already", m.GetName())
		case written(old) == written(o):
			out, o = dhowv1.Outcome_OUTCOME_UNCHANGED, old
		default:
			m.Generation = spec.MetaOf(old).GetGeneration() + 1
			if w := o.GetWorkload(); w != nil {
				w.Status = old.GetWorkload().GetStatus()
			}
		}
		if !req.GetDryRun() && out != dhowv1.Outcome_OUTCOME_UNCHANGED {
			o = f.store(o)
		}
		res.Objects, res.Outcomes = append(res.Objects, o), append(res.Outcomes, out)
		if w := o.GetWorkload(); w != nil && f.onApply != nil && !req.GetDryRun() {
			go f.onApply(proto.CloneOf(w))
		}
	}
	res.Revision = uint64(len(f.feed))
	return res, nil
}

func (f *fake) Get(_ context.Context, req *dhowv1.GetRequest) (*dhowv1.GetResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o := f.objects[key(req.GetRef())]
	if o == nil {
		return nil, spec.Errorf(spec.CodeNotFound, "there is no %s %q", spec.KindName(req.GetRef().GetKind()), req.GetRef().GetName())
	}
	return &dhowv1.GetResponse{Object: o, Revision: uint64(len(f.feed))}, nil
}

func selected(s *dhowv1.Selector, o *dhowv1.Object) bool {
	m := spec.MetaOf(o)
	for k, v := range s.GetLabels() {
		if m.GetLabels()[k] != v {
			return false
		}
	}
	workload := o.GetInstance().GetSpec().GetWorkload()
	if e := o.GetEvent(); e != nil {
		workload, _, _ = strings.Cut(e.GetRegarding().GetName(), "-")
	}
	return spec.KindOf(o) == s.GetKind() &&
		(s.GetNamespace() == "" || s.GetNamespace() == m.GetNamespace()) &&
		(s.GetName() == "" || s.GetName() == m.GetName()) &&
		(s.GetWorkload() == "" || s.GetWorkload() == workload) &&
		(s.GetNode() == "" || s.GetNode() == o.GetInstance().GetSpec().GetNode())
}

func (f *fake) all(sels ...*dhowv1.Selector) []*dhowv1.Object {
	var out []*dhowv1.Object
	for _, o := range f.objects {
		if slices.ContainsFunc(sels, func(s *dhowv1.Selector) bool { return selected(s, o) }) {
			out = append(out, o)
		}
	}
	sort.Slice(out, func(i, j int) bool { return key(spec.RefOf(out[i])) < key(spec.RefOf(out[j])) })
	return out
}

// List answers pages of two, so that every test pages.
func (f *fake) List(_ context.Context, req *dhowv1.ListRequest) (*dhowv1.ListResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	objs := f.all(req.GetSelector())
	at := slices.IndexFunc(objs, func(o *dhowv1.Object) bool { return key(spec.RefOf(o)) > req.GetContinue() })
	if at < 0 {
		at = len(objs)
	}
	objs = objs[at:]
	res := &dhowv1.ListResponse{Objects: objs, Revision: uint64(len(f.feed))}
	if len(objs) > 2 {
		res.Objects = objs[:2]
		res.Continue = key(spec.RefOf(objs[1]))
	}
	return res, nil
}

func (f *fake) Watch(ctx context.Context, req *dhowv1.WatchRequest, out *connect.ServerStream[dhowv1.WatchResponse]) error {
	f.mu.Lock()
	at := int(req.GetRevision())
	if at == 0 {
		first := &dhowv1.WatchResponse{Synced: true, Revision: uint64(len(f.feed))}
		for _, o := range f.all(req.GetSelectors()...) {
			first.Events = append(first.Events, &dhowv1.WatchEvent{Type: dhowv1.WatchEventType_WATCH_EVENT_TYPE_PUT, Object: o})
		}
		at = len(f.feed)
		f.mu.Unlock()
		if err := out.Send(first); err != nil {
			return err
		}
	} else {
		f.mu.Unlock()
	}
	for {
		f.mu.Lock()
		news, changed := f.feed[at:], f.changed
		at = len(f.feed)
		f.mu.Unlock()
		msg := &dhowv1.WatchResponse{Revision: uint64(at)}
		for _, e := range news {
			if slices.ContainsFunc(req.GetSelectors(), func(s *dhowv1.Selector) bool { return selected(s, e.GetObject()) }) {
				msg.Events = append(msg.Events, e)
			}
		}
		if len(msg.GetEvents()) > 0 {
			if err := out.Send(msg); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *fake) Delete(_ context.Context, req *dhowv1.DeleteRequest) (*dhowv1.DeleteResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	res := &dhowv1.DeleteResponse{}
	for _, r := range req.GetRefs() {
		o := f.objects[key(r)]
		if o == nil {
			return nil, spec.Errorf(spec.CodeNotFound, "there is no %s %q", spec.KindName(r.GetKind()), r.GetName())
		}
		res.Outcomes = append(res.Outcomes, dhowv1.Outcome_OUTCOME_DELETED)
		if !req.GetDryRun() {
			delete(f.objects, key(r))
			f.emit(dhowv1.WatchEventType_WATCH_EVENT_TYPE_DELETE, o)
		}
	}
	return res, nil
}

func (f *fake) Stat(_ context.Context, req *dhowv1.StatRequest) (*dhowv1.StatResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	res := &dhowv1.StatResponse{}
	for _, d := range req.GetDigests() {
		if o := f.objects["artifact//"+d]; o != nil {
			res.Artifacts = append(res.Artifacts, o.GetArtifact())
		}
	}
	return res, nil
}

func (f *fake) Upload(_ context.Context, in *connect.ClientStream[dhowv1.UploadRequest]) (*dhowv1.UploadResponse, error) {
	var head *dhowv1.UploadHeader
	h, n := sha256.New(), uint64(0)
	for in.Receive() {
		if x := in.Msg().GetHeader(); x != nil {
			head = x
		}
		_, _ = h.Write(in.Msg().GetChunk())
		n += uint64(len(in.Msg().GetChunk()))
	}
	if err := in.Err(); err != nil {
		return nil, err
	}
	digest := spec.DigestPrefix + hex.EncodeToString(h.Sum(nil))
	if digest != head.GetDigest() || n != head.GetSize() {
		return nil, spec.Errorf(spec.CodeInvalid, "the content has the digest %s, not %s", digest, head.GetDigest())
	}
	f.mu.Lock()
	f.uploads++
	f.mu.Unlock()
	o := f.put(spec.Wrap(&dhowv1.Artifact{Meta: &dhowv1.Meta{Name: digest}, Size: n, File: head.GetFile()}))
	return &dhowv1.UploadResponse{Artifact: o.GetArtifact()}, nil
}

func (f *fake) Logs(ctx context.Context, req *dhowv1.LogsRequest, out *connect.ServerStream[dhowv1.LogsResponse]) error {
	q := req.GetQuery()
	f.mu.Lock()
	lines := f.lines[q.GetRef().GetName()]
	f.mu.Unlock()
	if n := int(q.GetTail()); n > 0 && n < len(lines) {
		lines = lines[len(lines)-n:]
	}
	for _, l := range lines {
		if s := q.GetSince(); s != nil && l.GetTime().AsTime().Before(s.AsTime()) {
			continue
		}
		if err := out.Send(&dhowv1.LogsResponse{Lines: []*dhowv1.LogLine{l}}); err != nil {
			return err
		}
	}
	if q.GetFollow() {
		<-ctx.Done()
	}
	return nil
}

func (f *fake) Info(context.Context, *dhowv1.InfoRequest) (*dhowv1.InfoResponse, error) {
	return &dhowv1.InfoResponse{ClusterId: "test", Server: "s1", Leader: "s1", Version: "0.1.0", Revision: 7, Servers: []*dhowv1.Server{
		{Name: "s1", ApiAddress: "10.0.0.1:7400", RaftAddress: "10.0.0.1:7401", Leader: true, Voter: true, State: "alive", Version: "0.1.0"},
		{Name: "s2", ApiAddress: "10.0.0.2:7400", RaftAddress: "10.0.0.2:7401", Voter: true, State: "failed", Version: "0.1.0", Zone: "b"},
	}}, nil
}

func (f *fake) StateHash(context.Context, *dhowv1.StateHashRequest) (*dhowv1.StateHashResponse, error) {
	return &dhowv1.StateHashResponse{Revision: 7, Hash: []byte{1, 0xab}}, nil
}

func (f *fake) WhoAmI(context.Context, *dhowv1.WhoAmIRequest) (*dhowv1.WhoAmIResponse, error) {
	return &dhowv1.WhoAmIResponse{Subject: "token/t", Role: dhowv1.Role_ROLE_ADMIN}, nil
}

func (f *fake) RemoveServer(_ context.Context, req *dhowv1.RemoveServerRequest) (*dhowv1.RemoveServerResponse, error) {
	if req.GetName() != "s2" {
		return nil, spec.Errorf(spec.CodeNotFound, "there is no server %q", req.GetName())
	}
	return &dhowv1.RemoveServerResponse{}, nil
}

func (f *fake) Call(_ context.Context, req *dhowv1.CallRequest) (*dhowv1.CallResponse, error) {
	c := req.GetCall()
	f.mu.Lock()
	o, answer := f.objects[key(c.GetRef())], f.function
	f.mu.Unlock()
	if o == nil {
		return nil, spec.Errorf(spec.CodeNotFound, "there is no %s %s", spec.KindName(c.GetRef().GetKind()), c.GetRef().GetName())
	}
	res, err := answer(c)
	if err != nil {
		return nil, err
	}
	return &dhowv1.CallResponse{Result: res, Instance: c.GetRef().GetName() + "-0-aaaaa", Node: "n1"}, nil
}

func (f *fake) Functions(_ context.Context, req *dhowv1.FunctionsRequest) (*dhowv1.FunctionsResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if ref := req.GetQuery().GetRef(); f.objects[key(ref)] == nil {
		return nil, spec.Errorf(spec.CodeNotFound, "there is no %s %s", spec.KindName(ref.GetKind()), ref.GetName())
	}
	return &dhowv1.FunctionsResponse{Functions: []*dhowv1.Function{
		{Name: "add", Params: []string{"i32", "i32"}, Results: []string{"i32"}}, {Name: "shout"},
	}}, nil
}

func (f *fake) Usage(context.Context, *dhowv1.UsageRequest) (*dhowv1.UsageResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.usage) == 0 {
		return &dhowv1.UsageResponse{}, nil
	}
	out := f.usage[0]
	if len(f.usage) > 1 {
		f.usage = f.usage[1:]
	}
	return out, nil
}

func (f *fake) Why(_ context.Context, req *dhowv1.WhyRequest) (*dhowv1.WhyResponse, error) {
	return &dhowv1.WhyResponse{Explanations: []*dhowv1.Explanation{{
		Ref: &dhowv1.Ref{Kind: dhowv1.Kind_KIND_INSTANCE, Name: req.GetRef().GetName() + "-0-aaaaa"}, Summary: "pending: no node has room",
		Refusals: []*dhowv1.Refusal{
			{Node: "n1", Filter: "memory", Message: "wants 1Gi, 512Mi is free"},
			{Node: "n2"},
		},
	}}}, nil
}

func (f *fake) CreateToken(_ context.Context, req *dhowv1.CreateTokenRequest) (*dhowv1.CreateTokenResponse, error) {
	o := f.put(spec.Wrap(&dhowv1.Token{
		Meta: &dhowv1.Meta{Name: req.GetName()}, Role: req.GetRole(), Description: req.GetDescription(),
		ExpiresAt: timestamppb.New(time.Now().Add(req.GetTtl().AsDuration() + time.Second)),
	}))
	return &dhowv1.CreateTokenResponse{Token: o.GetToken(), Secret: "dhow_" + req.GetName() + "_secret"}, nil
}

// result is what a run of dhow left.
type result struct {
	code     int
	out, err string
}

// dhow runs the command line in process.
func dhow(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var out, errs strings.Builder
	code := run(ctx, args, strings.NewReader(stdin), &out, &errs)
	return result{code, out.String(), errs.String()}
}

// until runs dhow until its output has the text, then interrupts it.
func until(t *testing.T, text string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out := &tripwire{text: text, trip: cancel}
	var errs strings.Builder
	code := run(ctx, args, strings.NewReader(""), out, &errs)
	return result{code, out.String(), errs.String()}
}

// tripwire calls trip when what was written contains the text.
type tripwire struct {
	mu   sync.Mutex
	b    strings.Builder
	text string
	trip func()
}

func (w *tripwire) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.b.Write(p)
	if strings.Contains(w.b.String(), w.text) {
		w.trip()
	}
	return len(p), nil
}

func (w *tripwire) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.b.String()
}

var _ io.Writer = (*tripwire)(nil)

// unused finds an address that nobody listens on.
func unused(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
