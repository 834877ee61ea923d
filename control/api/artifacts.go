package api

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	"dhow.dev/dhow/control/auth"
	"dhow.dev/dhow/control/registry"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
	"dhow.dev/dhow/proto/wire"
)

// wasmType is the media type of a core wasm module.
const wasmType = "application/wasm"

// artifacts is the ArtifactService.
type artifacts struct{ *API }

// Upload stores a blob on a majority of the servers, then records it.
func (a artifacts) Upload(ctx context.Context, in *connect.ClientStream[dhowv1.UploadRequest]) (*dhowv1.UploadResponse, error) {
	// Who may not upload learns it before sending anything.
	if err := mayUpload(ctx); err != nil {
		return nil, err
	}
	wire.Arrived(ctx)
	guard := wire.ReadGuard(ctx, a.c.ReadTimeout)
	next := func() bool {
		guard.Start()
		defer guard.Stop()
		return in.Receive()
	}
	if !next() {
		if err := in.Err(); err != nil {
			return nil, broken(err)
		}
		return nil, spec.Errorf(spec.CodeInvalid, "the upload is empty: send its header first")
	}
	h := in.Msg().GetHeader()
	if h == nil {
		return nil, spec.Errorf(spec.CodeInvalid, "the upload's first message must be its header")
	}
	if why := spec.CheckDigest(h.GetDigest()); why != "" {
		return nil, &spec.Error{Code: spec.CodeInvalid, Path: "header.digest", Message: why}
	}
	if len(h.GetFile()) > spec.MaxText {
		return nil, &spec.Error{Code: spec.CodeInvalid, Path: "header.file", Message: "is too long"}
	}
	if h.GetLocal() {
		if err := allowed(ctx, auth.VerbPeer); err != nil {
			return nil, err
		}
		return a.take(in, next, h)
	}
	if err := allowed(ctx, auth.VerbUpload); err != nil {
		return nil, err
	}
	if h.GetSize() == 0 {
		return nil, spec.Errorf(spec.CodeInvalid, "%s is empty: a wasm module has at least 8 bytes", fileName(h))
	}
	if h.GetSize() > uint64(a.c.MaxBlob) {
		return nil, spec.Errorf(spec.CodeExhausted, "%s has %d bytes; at most %d are taken", fileName(h), h.GetSize(), a.c.MaxBlob)
	}
	if have, err := a.recorded(h.GetDigest()); err != nil || have != nil && a.c.Blobs.Has(h.GetDigest()) {
		return &dhowv1.UploadResponse{Artifact: have}, err
	}
	if res, err := a.take(in, next, h); err != nil {
		return res, err
	}
	if err := a.c.Copies.Replicate(ctx, h.GetDigest()); err != nil {
		return nil, err
	}
	art := &dhowv1.Artifact{
		Meta: &dhowv1.Meta{Name: h.GetDigest(), Uid: a.c.NewUID()},
		Size: h.GetSize(), MediaType: wasmType, File: h.GetFile(),
	}
	res, err := a.c.Store.Propose(ctx, &dhowv1.Proposal{
		Time:    timestamppb.New(a.c.Now()),
		Changes: []*dhowv1.Change{{Op: &dhowv1.Change_Put{Put: spec.Wrap(art)}}},
	})
	if err != nil {
		return nil, err
	}
	return &dhowv1.UploadResponse{Artifact: res.GetObjects()[0].GetArtifact()}, nil
}

func mayUpload(ctx context.Context) error {
	if allowed(ctx, auth.VerbPeer) == nil {
		return nil
	}
	return allowed(ctx, auth.VerbUpload)
}

func fileName(h *dhowv1.UploadHeader) string {
	if h.GetFile() != "" {
		return h.GetFile()
	}
	return h.GetDigest()
}

// recorded is the artifact of a digest, nil when there is none.
func (a artifacts) recorded(digest string) (*dhowv1.Artifact, error) {
	v := a.c.Store.View()
	defer v.Close()
	ob, err := v.Get(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_ARTIFACT, Name: digest})
	if spec.CodeOf(err) == spec.CodeNotFound {
		return nil, nil
	}
	return ob.GetArtifact(), err
}

// take writes the chunks to this server's disk.
func (a artifacts) take(in *connect.ClientStream[dhowv1.UploadRequest], next func() bool, h *dhowv1.UploadHeader) (*dhowv1.UploadResponse, error) {
	if a.c.Blobs.Has(h.GetDigest()) {
		return &dhowv1.UploadResponse{}, nil
	}
	w, err := a.c.Blobs.Create(h.GetDigest(), int64(h.GetSize()))
	if err != nil {
		return nil, err
	}
	// After a commit this does nothing.
	defer func() { _ = w.Close() }()
	var head []byte
	sniffed := h.GetLocal()
	for next() {
		chunk := in.Msg().GetChunk()
		if !sniffed {
			if head = append(head, chunk[:min(len(chunk), 8-len(head))]...); len(head) == 8 {
				if err := sniff(head); err != nil {
					return nil, spec.Errorf(spec.CodeInvalid, "%s %w", fileName(h), err)
				}
				sniffed = true
			}
		}
		if _, err := w.Write(chunk); err != nil {
			return nil, err
		}
	}
	if err := in.Err(); err != nil {
		return nil, broken(err)
	}
	if !sniffed {
		return nil, spec.Errorf(spec.CodeInvalid, "%s is not a wasm module: it ends after %d bytes", fileName(h), len(head))
	}
	if _, err := w.Commit(); err != nil {
		return nil, err
	}
	return &dhowv1.UploadResponse{}, nil
}

// sniff tells what the first 8 bytes are, if not a core wasm module's.
func sniff(head []byte) error {
	switch {
	case !bytes.HasPrefix(head, []byte("\x00asm")):
		return errors.New("is not a wasm module: it does not begin with \\0asm")
	case bytes.Equal(head[4:], []byte{1, 0, 0, 0}):
		return nil
	case head[6] == 1 && head[7] == 0:
		return errors.New("is a WebAssembly component; dhow runs core modules of WASI preview 1: build it for wasip1")
	}
	return errors.New("is a wasm module of a version that dhow does not know")
}

// broken is why a client's stream ended, for the client.
func broken(err error) error {
	if connect.CodeOf(err) == connect.CodeDeadlineExceeded {
		return spec.Errorf(spec.CodeTimeout, "the next part of the upload did not arrive in time")
	}
	return err
}

// Stat tells which of the digests the cluster has.
func (a artifacts) Stat(ctx context.Context, req *dhowv1.StatRequest) (*dhowv1.StatResponse, error) {
	if err := allowed(ctx, auth.VerbFetch); err != nil {
		return nil, err
	}
	if len(req.GetDigests()) > maxObjects {
		return nil, checkCount("digests", len(req.GetDigests()))
	}
	v, err := a.view(ctx, false)
	if err != nil {
		return nil, err
	}
	defer v.Close()
	res := &dhowv1.StatResponse{}
	for _, d := range req.GetDigests() {
		if why := spec.CheckDigest(d); why != "" {
			return nil, &spec.Error{Code: spec.CodeInvalid, Path: "digests", Message: why}
		}
		ob, err := v.Get(&dhowv1.Ref{Kind: dhowv1.Kind_KIND_ARTIFACT, Name: d})
		if spec.CodeOf(err) == spec.CodeNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		res.Artifacts = append(res.Artifacts, ob.GetArtifact())
	}
	return res, nil
}

// Fetch streams a blob from this server's disk, or another's.
func (a artifacts) Fetch(ctx context.Context, req *dhowv1.FetchRequest, out *connect.ServerStream[dhowv1.FetchResponse]) error {
	if err := allowed(ctx, auth.VerbFetch); err != nil {
		return err
	}
	if why := spec.CheckDigest(req.GetDigest()); why != "" {
		return &spec.Error{Code: spec.CodeInvalid, Path: "digest", Message: why}
	}
	wire.Arrived(ctx)
	guard := wire.WriteGuard(ctx, a.c.WriteTimeout)
	body, size, err := a.open(ctx, req)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	buf, _ := a.chunks.Get().(*[]byte)
	defer a.chunks.Put(buf)
	for first := true; ; first = false {
		n, err := io.ReadFull(body, *buf)
		if n > 0 || first {
			res := &dhowv1.FetchResponse{Chunk: (*buf)[:n]}
			if first {
				res.Size = size
			}
			guard.Start()
			serr := out.Send(res)
			guard.Stop()
			if serr != nil {
				return serr
			}
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (a artifacts) open(ctx context.Context, req *dhowv1.FetchRequest) (io.ReadCloser, uint64, error) {
	body, blob, err := a.c.Blobs.Reader(req.GetDigest(), int64(min(req.GetOffset(), 1<<62)))
	if err == nil {
		return body, uint64(blob.Size), nil
	}
	if spec.CodeOf(err) != spec.CodeNotFound || req.GetLocal() {
		return nil, 0, err
	}
	return a.c.Peers.FetchAny(ctx, req.GetDigest(), req.GetOffset())
}

func newChunks() *sync.Pool {
	return &sync.Pool{New: func() any { b := make([]byte, wire.ChunkSize); return &b }}
}

var _ Blobs = (*registry.Store)(nil)
