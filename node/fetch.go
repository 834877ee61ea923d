package node

import (
	"context"
	"io"
	"net"

	"connectrpc.com/connect"

	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
)

// fetch reads an artifact from any server.
func (n *Node) fetch(ctx context.Context, digest string, offset int64) (io.ReadCloser, error) {
	st, err := n.client.Artifacts.Fetch(ctx, &dhowv1.FetchRequest{Digest: digest, Offset: uint64(offset)})
	if err != nil {
		return nil, err
	}
	return &fetched{st: st}, nil
}

// fetched is a stream of chunks as a reader.
type fetched struct {
	st   *connect.ServerStreamForClient[dhowv1.FetchResponse]
	rest []byte
}

// Read reads from the chunk at hand, or the next one.
func (f *fetched) Read(p []byte) (int, error) {
	for len(f.rest) == 0 {
		if !f.st.Receive() {
			if err := f.st.Err(); err != nil {
				return 0, err
			}
			return 0, io.EOF
		}
		f.rest = f.st.Msg().GetChunk()
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

// Close ends the stream.
func (f *fetched) Close() error { return f.st.Close() }

// advertise is the gossip address that others are told.
func advertise(host, bind string) string {
	h, port, err := net.SplitHostPort(bind)
	if err != nil {
		return "" // gossip says what is wrong with it
	}
	if ip := net.ParseIP(h); ip != nil && !ip.IsUnspecified() {
		return ""
	}
	return net.JoinHostPort(host, port)
}
