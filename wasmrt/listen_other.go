//go:build !unix

package wasmrt

import (
	"errors"
	"net"
)

// conn cannot be had here: a guest's accept fails.
type conn struct{ socket }

func (*files) connect(c net.Conn) (*conn, error) {
	return nil, errors.Join(errors.ErrUnsupported, c.Close())
}

func (*conn) rights() uint64                      { return 0 }
func (*conn) read(wasiCall, []byte) (int, errno)  { return 0, errnoNotsup }
func (*conn) write(wasiCall, []byte) (int, errno) { return 0, errnoNotsup }
func (*conn) peek(wasiCall, []byte) (int, errno)  { return 0, errnoNotsup }
func (*conn) shutdown(uint32) errno               { return errnoNotsup }
func (*conn) ready(byte) bool                     { return true }
func (*conn) close() error                        { return nil }
