package peer

import (
	"context"
	"errors"
	"io"

	"connectrpc.com/connect"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/spec"
	"dhow.dev/dhow/proto/wire"
)

// Put copies a blob to a server.
func (p *Peers) Put(ctx context.Context, server, digest string, size int64, r io.Reader) error {
	c, err := p.client(server)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out, err := c.Artifacts.Upload(ctx)
	if err != nil {
		return err
	}
	header := &dhowv1.UploadHeader{Digest: digest, Size: uint64(size), Local: true}
	err = out.Send(&dhowv1.UploadRequest{Part: &dhowv1.UploadRequest_Header{Header: header}})
	buf := make([]byte, wire.ChunkSize)
	for err == nil {
		var n int
		n, err = io.ReadFull(r, buf)
		if n > 0 {
			if serr := out.Send(&dhowv1.UploadRequest{Part: &dhowv1.UploadRequest_Chunk{Chunk: buf[:n]}}); serr != nil {
				err = serr
				if errors.Is(serr, io.EOF) {
					// It has answered already: it has the blob, or refuses it.
					break
				}
			}
		}
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	_, err = out.CloseAndReceive()
	return err
}

// Fetch reads a blob from a server, from its start.
func (p *Peers) Fetch(ctx context.Context, server, digest string) (io.ReadCloser, error) {
	body, _, err := p.fetch(ctx, server, digest, 0)
	return body, err
}

// FetchAny reads a blob from any other server that has it.
func (p *Peers) FetchAny(ctx context.Context, digest string, offset uint64) (io.ReadCloser, uint64, error) {
	var errs []error
	for _, server := range p.Servers() {
		body, size, err := p.fetch(ctx, server, digest, offset)
		if err == nil {
			return body, size, nil
		}
		if spec.CodeOf(err) != spec.CodeNotFound {
			errs = append(errs, err)
		}
	}
	if len(errs) > 0 {
		return nil, 0, spec.Errorf(spec.CodeUnavailable, "artifact %s is not on this server, and not all others answered: %w", digest, errors.Join(errs...))
	}
	return nil, 0, spec.Errorf(spec.CodeNotFound, "no server has the artifact %s: upload it again, with `dhow push`", digest)
}

func (p *Peers) fetch(ctx context.Context, server, digest string, offset uint64) (io.ReadCloser, uint64, error) {
	c, err := p.client(server)
	if err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	in, err := c.Artifacts.Fetch(ctx, &dhowv1.FetchRequest{Digest: digest, Offset: offset, Local: true})
	if err != nil {
		cancel()
		return nil, 0, err
	}
	b := &blob{in: in, cancel: cancel}
	if !in.Receive() {
		err := in.Err()
		_ = b.Close()
		if err == nil {
			err = spec.Errorf(spec.CodeUnavailable, "server %s ended the blob before it began", server)
		}
		return nil, 0, err
	}
	b.rest = in.Msg().GetChunk()
	return b, in.Msg().GetSize(), nil
}

// blob reads a stream of chunks.
type blob struct {
	in     *connect.ServerStreamForClient[dhowv1.FetchResponse]
	cancel context.CancelFunc
	rest   []byte
}

// Read implements io.Reader.
func (b *blob) Read(to []byte) (int, error) {
	for len(b.rest) == 0 {
		if !b.in.Receive() {
			if err := b.in.Err(); err != nil {
				return 0, err
			}
			return 0, io.EOF
		}
		b.rest = b.in.Msg().GetChunk()
	}
	n := copy(to, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// Close implements io.Closer.
func (b *blob) Close() error {
	b.cancel()
	_ = b.in.Close() // says only that it was cancelled
	return nil
}

// Logs is LogService.Logs on another server.
func (p *Peers) Logs(ctx context.Context, server string, q *dhowv1.LogQuery, send func([]*dhowv1.LogLine) error) error {
	c, err := p.client(server)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	in, err := c.Logs.Logs(ctx, &dhowv1.LogsRequest{Query: q})
	if err != nil {
		return err
	}
	for in.Receive() {
		if err := send(in.Msg().GetLines()); err != nil {
			return err
		}
	}
	return in.Err()
}
