package wasm

import (
	"context"

	"dhow.dev/dhow/node/runtime"
	"dhow.dev/dhow/wasmrt"
)

// startService starts a command that runs for long and has the task's ports
// as listening sockets.
func (t *run) startService(ctx context.Context, c wasmrt.Config) (guest, runtime.Started, error) {
	listeners, started, err := listenAll(ctx, t.task)
	if err != nil {
		return nil, runtime.Started{}, err
	}
	shut := func() { _ = closeAll(listeners) } // nothing is left to be told
	c.Listeners = listeners
	g, err := t.startCommand(c, shut)
	if err != nil {
		shut()
		return nil, runtime.Started{}, err
	}
	return g, started, nil
}
