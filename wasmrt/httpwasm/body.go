package httpwasm

import (
	"errors"
	"io"
)

// errTooLarge ends a guest, or the next handler's read, when a body that must
// be kept is larger than Config.MaxBody.
var errTooLarge = errors.New("the body is larger than what is kept of one")

// kept is a body that is read by two, each from its start: what one has read
// is kept for the other.
type kept struct {
	source io.Reader
	bytes  []byte
	most   int
	end    error // of the source, io.EOF in the end
}

// read reads at a position, from what is kept or else from the source.
func (k *kept) read(p []byte, at int) (int, error) {
	if at < len(k.bytes) {
		return copy(p, k.bytes[at:]), nil
	}
	if k.end != nil {
		return 0, k.end
	}
	// One byte more than may be kept tells a body that fits from one that does
	// not.
	p = p[:min(len(p), k.most-len(k.bytes)+1)]
	n, err := k.source.Read(p)
	if len(k.bytes)+n > k.most {
		n, err = k.most-len(k.bytes), errTooLarge
	}
	k.bytes = append(k.bytes, p[:n]...)
	k.end = err
	return n, err
}

// keptReader is one of the two readers.
type keptReader struct {
	*kept
	at    int
	close func() error
}

func (r *keptReader) Read(p []byte) (int, error) {
	n, err := r.read(p, r.at)
	r.at += n
	return n, err
}

func (r *keptReader) Close() error {
	if r.close == nil {
		return nil
	}
	return r.close()
}

// bounded is a body that a guest writes.
type bounded struct {
	bytes []byte
	most  int
}

func (b *bounded) Write(p []byte) (int, error) {
	if len(p) > b.most-len(b.bytes) {
		return 0, errTooLarge
	}
	b.bytes = append(b.bytes, p...)
	return len(p), nil
}
