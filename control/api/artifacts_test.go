package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"testing"
	"time"

	"dhow.dev/dhow/control/api"
	"dhow.dev/dhow/control/registry"
	"dhow.dev/dhow/internal/client"
	"dhow.dev/dhow/internal/pki"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
)

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func module(size int) []byte {
	b := bytes.Repeat([]byte{7}, size)
	copy(b, "\x00asm\x01\x00\x00\x00")
	return b
}

// upload sends a header and content in two chunks.
func upload(ctx context.Context, c *client.Client, h *dhowv1.UploadHeader, content []byte) (*dhowv1.UploadResponse, error) {
	out, err := c.Artifacts.Upload(ctx)
	if err != nil {
		return nil, err
	}
	parts := []*dhowv1.UploadRequest{{Part: &dhowv1.UploadRequest_Header{Header: h}}}
	for _, half := range [][]byte{content[:len(content)/2], content[len(content)/2:]} {
		parts = append(parts, &dhowv1.UploadRequest{Part: &dhowv1.UploadRequest_Chunk{Chunk: half}})
	}
	for _, p := range parts {
		if err := out.Send(p); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
	}
	return out.CloseAndReceive()
}

func header(content []byte) *dhowv1.UploadHeader {
	return &dhowv1.UploadHeader{Digest: digestOf(content), Size: uint64(len(content)), File: "app.wasm"}
}

func fetch(ctx context.Context, c *client.Client, req *dhowv1.FetchRequest) ([]byte, uint64, error) {
	in, err := c.Artifacts.Fetch(ctx, req)
	if err != nil {
		return nil, 0, err
	}
	var out []byte
	var size uint64
	for in.Receive() {
		out = append(out, in.Msg().Chunk...)
		size += in.Msg().Size
	}
	return out, size, in.Err()
}

func TestUploadStatFetch(t *testing.T) {
	w := newWorld(t)
	c := w.as(w.token("d", dhowv1.Role_ROLE_DEPLOYER, time.Hour))
	content := module(700_001)
	res, err := upload(t.Context(), c, header(content), content)
	if err != nil {
		t.Fatal(err)
	}
	if a := res.Artifact; a.Meta.Name != digestOf(content) || a.Size != 700_001 || a.File != "app.wasm" || a.MediaType == "" {
		t.Errorf("recorded %v", a)
	}
	if len(w.peers.replicated) != 1 {
		t.Errorf("copied to a majority: %v", w.peers.replicated)
	}
	if again, err := upload(t.Context(), c, header(content), content); err != nil || again.Artifact.GetMeta().GetUid() != res.Artifact.Meta.Uid {
		t.Errorf("again: %v %v", again, err)
	}
	absent := "sha256:" + hex.EncodeToString(make([]byte, 32))
	stat, err := c.Artifacts.Stat(t.Context(), &dhowv1.StatRequest{Digests: []string{absent, digestOf(content)}})
	if err != nil || len(stat.Artifacts) != 1 {
		t.Errorf("%v %v", stat, err)
	}
	node := w.asMachine(pki.Node, "n1")
	for _, offset := range []uint64{0, 1, 300_000, 700_000, 700_001} {
		got, size, err := fetch(t.Context(), node, &dhowv1.FetchRequest{Digest: digestOf(content), Offset: offset})
		if err != nil || size != 700_001 || !bytes.Equal(got, content[offset:]) {
			t.Errorf("offset %d: %d of %d bytes: %v", offset, len(got), size, err)
		}
	}
	_, _, err = fetch(t.Context(), node, &dhowv1.FetchRequest{Digest: absent})
	wantCode(t, err, spec.CodeNotFound, absent)
	// Another server has it.
	w.peers.blobs = map[string]string{absent: "content elsewhere"}
	got, size, err := fetch(t.Context(), node, &dhowv1.FetchRequest{Digest: absent, Offset: 8})
	if err != nil || string(got) != "elsewhere" || size != 17 {
		t.Errorf("%q %d %v", got, size, err)
	}
	_, _, err = fetch(t.Context(), node, &dhowv1.FetchRequest{Digest: absent, Local: true})
	wantCode(t, err, spec.CodeNotFound)
}

func TestUploadRefusals(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.MaxBlob = 1 << 20 })
	c := w.as(w.admin)
	good := module(1000)
	with := func(f func(*dhowv1.UploadHeader)) *dhowv1.UploadHeader {
		h := header(good)
		f(h)
		return h
	}
	text := bytes.Repeat([]byte("not wasm "), 100)
	component := append([]byte("\x00asm\x0d\x00\x01\x00"), make([]byte, 100)...)
	newer := append([]byte("\x00asm\x02\x00\x00\x00"), make([]byte, 100)...)
	big := module(2 << 20)
	for name, tc := range map[string]struct {
		header  *dhowv1.UploadHeader
		content []byte
		code    spec.Code
		says    string
	}{
		"no header":       {nil, good, spec.CodeInvalid, "header"},
		"no digest":       {with(func(h *dhowv1.UploadHeader) { h.Digest = "" }), good, spec.CodeInvalid, "digest"},
		"a path":          {with(func(h *dhowv1.UploadHeader) { h.Digest = "sha256:../../../../etc/passwd" }), good, spec.CodeInvalid, "digest"},
		"another digest":  {with(func(h *dhowv1.UploadHeader) { h.Digest = digestOf(text) }), good, spec.CodeInvalid, "sha256"},
		"truncated":       {header(good), good[:999], spec.CodeInvalid, ""},
		"longer":          {header(good), append(bytes.Clone(good), 1), spec.CodeInvalid, ""},
		"empty":           {header(nil), nil, spec.CodeInvalid, "empty"},
		"four bytes":      {header(good[:4]), good[:4], spec.CodeInvalid, "4 bytes"},
		"not wasm":        {header(text), text, spec.CodeInvalid, "app.wasm is not a wasm module"},
		"a component":     {header(component), component, spec.CodeInvalid, "component"},
		"a newer version": {header(newer), newer, spec.CodeInvalid, "version"},
		"too large":       {header(big), big, spec.CodeExhausted, "1048576"},
		"a server's":      {with(func(h *dhowv1.UploadHeader) { h.Local = true }), good, spec.CodeDenied, "token/admin"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := upload(t.Context(), c, tc.header, tc.content)
			wantCode(t, err, tc.code, tc.says)
			left := 0
			if err := w.blobs.Walk(func(registry.Blob) error { left++; return nil }); err != nil || left > 0 {
				t.Errorf("%d blobs left: %v", left, err)
			}
		})
	}
	_, err := upload(t.Context(), w.as(w.token("v", dhowv1.Role_ROLE_VIEWER, time.Hour)), header(good), good)
	wantCode(t, err, spec.CodeDenied, "token/v")
}

// An upload that has no majority is not recorded, so that nothing runs what
// may be lost.
func TestUploadWithoutMajority(t *testing.T) {
	w := newWorld(t)
	w.peers.fail = spec.Errorf(spec.CodeUnavailable, "1 of 3 servers has it")
	content := module(1000)
	_, err := upload(t.Context(), w.as(w.admin), header(content), content)
	wantCode(t, err, spec.CodeUnavailable, "1 of 3")
	if stat, err := w.as(w.admin).Artifacts.Stat(t.Context(), &dhowv1.StatRequest{Digests: []string{digestOf(content)}}); err != nil || len(stat.Artifacts) != 0 {
		t.Error(stat, err)
	}
}

// Between servers a blob is only stored.
func TestUploadBetweenServers(t *testing.T) {
	w := newWorld(t)
	content := []byte("anything a server has")
	h := header(content)
	h.Local = true
	if _, err := upload(t.Context(), w.asMachine(pki.Server, "s2"), h, content); err != nil {
		t.Fatal(err)
	}
	if !w.blobs.Has(h.Digest) || len(w.peers.replicated) != 0 {
		t.Error("kept here only:", w.blobs.Has(h.Digest), w.peers.replicated)
	}
}

func TestUploadThatStalls(t *testing.T) {
	w := newWorld(t, func(c *api.Config) { c.ReadTimeout = 100 * time.Millisecond })
	content := module(1000)
	out, err := w.as(w.admin).Artifacts.Upload(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Send(&dhowv1.UploadRequest{Part: &dhowv1.UploadRequest_Header{Header: header(content)}}); err != nil {
		t.Fatal(err)
	}
	chunk := &dhowv1.UploadRequest{Part: &dhowv1.UploadRequest_Chunk{Chunk: content[:10]}}
	for err == nil {
		wait := time.NewTimer(300 * time.Millisecond) // longer than the server's patience
		<-wait.C
		err = out.Send(chunk)
	}
	if _, err := out.CloseAndReceive(); err == nil {
		t.Error("an upload that stalled was taken")
	}
	if w.blobs.Has(digestOf(content)) {
		t.Error("it left a blob")
	}
}

func TestClusterService(t *testing.T) {
	w := newWorld(t)
	c := w.as(w.admin)
	info, err := c.Cluster.Info(t.Context(), &dhowv1.InfoRequest{})
	if err != nil || info.ClusterId != "testcluster" || info.Server != "s1" || info.Leader != "s1" || len(info.Servers) != 1 || info.Revision == 0 {
		t.Errorf("%v %v", info, err)
	}
	hash, err := c.Cluster.StateHash(t.Context(), &dhowv1.StateHashRequest{})
	if err != nil || len(hash.Hash) == 0 || hash.Revision != w.store.Revision() {
		t.Errorf("%v %v", hash, err)
	}
	_, err = c.Cluster.RemoveServer(t.Context(), &dhowv1.RemoveServerRequest{Name: "s1"})
	wantCode(t, err, spec.CodeInvalid, "only server")
	_, err = c.Cluster.RemoveServer(t.Context(), &dhowv1.RemoveServerRequest{Name: "s9"})
	wantCode(t, err, spec.CodeNotFound, "s9")
	w.peers.servers = []*dhowv1.Server{{Name: "s1"}, {Name: "s2"}}
	if _, err = c.Cluster.RemoveServer(t.Context(), &dhowv1.RemoveServerRequest{Name: "s2"}); err != nil || w.peers.removed[0] != "s2" {
		t.Error(err, w.peers.removed)
	}
}

func TestWhy(t *testing.T) {
	w := newWorld(t)
	c := w.as(w.admin)
	w.put(&dhowv1.Node{Meta: &dhowv1.Meta{Name: "small"}, Info: &dhowv1.NodeInfo{Runtimes: []string{"wasm"}, Allocatable: &dhowv1.ResourceList{Cpu: 1000, Memory: 1 << 20}}})
	w.propose(&dhowv1.Change{Op: &dhowv1.Change_Liveness{Liveness: &dhowv1.NodeLivenessReport{Node: "small", Liveness: &dhowv1.NodeLiveness{State: dhowv1.NodeState_NODE_STATE_READY}}}})
	w.put(&dhowv1.Workload{Meta: &dhowv1.Meta{Name: "web", Namespace: "default", Uid: "wu"}, Spec: &dhowv1.WorkloadSpec{}})
	w.put(&dhowv1.Revision{
		Meta: &dhowv1.Meta{Name: "web.1", Namespace: "default"}, Workload: "web", WorkloadUid: "wu", Number: 1,
		Template: &dhowv1.Template{Tasks: []*dhowv1.Task{{
			Name: "main", Source: &dhowv1.Task_Wasm{Wasm: &dhowv1.WasmSource{}},
			Resources: &dhowv1.Resources{Requests: &dhowv1.ResourceList{Memory: 1 << 30}},
		}}},
	})
	w.put(&dhowv1.Instance{Meta: &dhowv1.Meta{Name: "web-0-a", Namespace: "default"}, Spec: &dhowv1.InstanceSpec{
		Workload: "web", WorkloadUid: "wu", Revision: 1, Desired: dhowv1.Desired_DESIRED_RUN, Requests: &dhowv1.ResourceList{Memory: 1 << 30},
	}})
	for _, r := range []*dhowv1.Ref{{Kind: dhowv1.Kind_KIND_INSTANCE, Name: "web-0-a"}, {Kind: dhowv1.Kind_KIND_WORKLOAD, Name: "web"}} {
		res, err := c.Cluster.Why(t.Context(), &dhowv1.WhyRequest{Ref: r})
		if err != nil || len(res.Explanations) != 1 || len(res.Explanations[0].Refusals) != 1 {
			t.Fatalf("%v: %v %v", r, res, err)
		}
		if f := res.Explanations[0].Refusals[0]; f.Node != "small" || f.Filter != "memory" || f.Message == "" {
			t.Errorf("%v", f)
		}
	}
	_, err := c.Cluster.Why(t.Context(), &dhowv1.WhyRequest{Ref: &dhowv1.Ref{Kind: dhowv1.Kind_KIND_WORKLOAD, Name: "none"}})
	wantCode(t, err, spec.CodeNotFound, "none")
	_, err = c.Cluster.Why(t.Context(), &dhowv1.WhyRequest{Ref: &dhowv1.Ref{Kind: dhowv1.Kind_KIND_NODE, Name: "small"}})
	wantCode(t, err, spec.CodeInvalid, "ref.kind")
}
