package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"dhow.dev/dhow/internal/client"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
	"dhow.dev/dhow/proto/wire"
)

// maxModule is what nodes take at most.
const maxModule = 256 << 20

// module is a wasm file on this machine.
type module struct {
	path, digest string
	size         int64
}

// hashModule reads a file once, refuses what can never run as it is used, and
// finds its digest.
func hashModule(path string, use moduleUse) (module, error) {
	f, err := os.Open(path)
	if err != nil {
		return module{}, spec.Errorf(spec.CodeInvalid, "%w", err)
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	switch {
	case err != nil:
		return module{}, spec.Errorf(spec.CodeInvalid, "%w", err)
	case !info.Mode().IsRegular():
		return module{}, spec.Errorf(spec.CodeInvalid, "%s is no file", path)
	case info.Size() > maxModule:
		return module{}, spec.Errorf(spec.CodeInvalid, "%s has %s; a module has at most %s", path, spec.ShowBytes(uint64(info.Size())), spec.ShowBytes(maxModule))
	}
	data := make([]byte, info.Size())
	if _, err := io.ReadFull(f, data); err != nil {
		return module{}, spec.Errorf(spec.CodeInvalid, "read %s: %w", path, err)
	}
	if err := checkModule(path, data, use); err != nil {
		return module{}, err
	}
	sum := sha256.Sum256(data)
	return module{path: path, digest: spec.DigestPrefix + hex.EncodeToString(sum[:]), size: int64(len(data))}, nil
}

// upload sends modules that the cluster does not have yet.
func (a *app) upload(ctx context.Context, c *client.Client, modules ...module) error {
	var digests []string
	byDigest := map[string]module{}
	for _, m := range modules {
		if _, twice := byDigest[m.digest]; !twice {
			digests = append(digests, m.digest)
		}
		byDigest[m.digest] = m
	}
	if len(digests) == 0 {
		return nil
	}
	res, err := c.Artifacts.Stat(ctx, &dhowv1.StatRequest{Digests: digests})
	if err != nil {
		return timedOut(ctx, err)
	}
	for _, have := range res.GetArtifacts() {
		delete(byDigest, have.GetMeta().GetName())
	}
	for _, d := range digests {
		if m, missing := byDigest[d]; missing {
			if _, err := a.uploadOne(ctx, c, m); err != nil {
				return timedOut(ctx, err)
			}
		}
	}
	return nil
}

// uploadOne streams a file, with progress when it takes a while.
func (a *app) uploadOne(ctx context.Context, c *client.Client, m module) (*dhowv1.Artifact, error) {
	f, err := os.Open(m.path)
	if err != nil {
		return nil, spec.Errorf(spec.CodeInvalid, "%w", err)
	}
	defer func() { _ = f.Close() }()
	name := filepath.Base(m.path)
	stream, err := c.Artifacts.Upload(ctx)
	if err != nil {
		return nil, err
	}
	line, start := a.progress(), a.now()
	defer line.Clear()
	err = stream.Send(&dhowv1.UploadRequest{Part: &dhowv1.UploadRequest_Header{
		Header: &dhowv1.UploadHeader{Digest: m.digest, Size: uint64(m.size), File: name},
	}})
	sent, buf := int64(0), make([]byte, wire.ChunkSize)
	for err == nil {
		n, rerr := io.ReadFull(f, buf)
		if n > 0 {
			err = stream.Send(&dhowv1.UploadRequest{Part: &dhowv1.UploadRequest_Chunk{Chunk: buf[:n]}})
			sent += int64(n)
		}
		if rerr != nil {
			if !errors.Is(rerr, io.EOF) && !errors.Is(rerr, io.ErrUnexpectedEOF) {
				err = spec.Errorf(spec.CodeInvalid, "read %s: %w", m.path, rerr)
			}
			break
		}
		if a.now().Sub(start) > progressAfter {
			line.Update(fmt.Sprintf("%s: uploading %s of %s (%d%%)", name, spec.ShowBytes(uint64(sent)), spec.ShowBytes(uint64(m.size)), 100*sent/max(m.size, 1)))
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	// After a failed Send, this tells why.
	res, err := stream.CloseAndReceive()
	if err != nil {
		return nil, fmt.Errorf("upload %s: %w", m.path, err)
	}
	return res.GetArtifact(), nil
}
