package extism

import (
	"context"

	"dhow.dev/dhow/wasmrt"
)

// Take returns a copy of the block that a plugin names, for host functions of
// the embedder's own (by custom in the module extism:host/user), to which plugins pass
// handles. The error says that there is no such block.
func Take(c wasmrt.Caller, handle uint64) ([]byte, error) {
	s := sessionOf(c.Instance())
	if s == nil {
		return nil, errNoPlugin
	}
	return s.copyOf(s.kernel.Memory(), handle, maxInt)
}

// Give puts bytes into a new block of the plugin's and returns its handle, 0 if
// there are no bytes. The error says that there is no room.
func Give(ctx context.Context, c wasmrt.Caller, b []byte) (uint64, error) {
	s := sessionOf(c.Instance())
	h, _ := ctx.Value(hostKey{}).(*Host)
	if s == nil || h == nil {
		return 0, errNoPlugin
	}
	s.arena.most = h.c.MaxMemory
	return s.put(s.kernel.Memory(), b)
}
