package wasmrt

import (
	"context"
	"crypto/rand"
	"errors"
	"math"
	goruntime "runtime"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"

	"dhow.dev/dhow/wasmrt/meter"
)

// instantiate makes the guest, which begins as o is, and the context that its
// first call is to run in. The guest is busy: the caller gives or ends it.
func (m *Module) instantiate(ctx context.Context, c Config, o *origin) (*Instance, context.Context, error) {
	e := m.code.engine
	limit, err := memoryLimit(o.size, c.Limits.Memory)
	if err != nil {
		return nil, nil, err
	}
	c.Limits.setDefaults()
	if need := m.code.tables; need > uint64(c.Limits.Tables) {
		return nil, nil, failf(ReasonTableLimit, "the module needs tables of %d elements, and the limit is %d: raise the limit", need, c.Limits.Tables)
	}
	args, err := newArguments(c.Args)
	if err != nil {
		return nil, nil, err
	}
	env, err := newEnvironment(c.Env)
	if err != nil {
		return nil, nil, err
	}
	i := newInstance(m.code, c)
	i.args, i.env = args, env
	i.begun, i.ahead = o.begun, o.ahead
	// What it holds from then on keeps the image that is mapped next.
	if err := e.enter(i, m); err != nil {
		i.stop()
		return nil, nil, err
	}
	if i.memory, err = newMemory(o.size, limit, o.image); err != nil {
		i.memory = nil
		i.end(Exit{})
		return nil, nil, &Error{Reason: ReasonNoMapping, Message: "no memory for the guest", Err: err}
	}
	i.memory.refuse = func() { i.notify(NoticeMemoryLimit, i.outOfMemory()) }
	call := i.newCall(ctx)
	if i.files, err = openFiles(i, c); err != nil {
		i.end(Exit{})
		return nil, nil, err
	}
	if err = i.load(call, o, limit); err != nil {
		call.end()
		i.end(Exit{})
		return nil, nil, err
	}
	i.memory.turn = i.lingered // while it was made there was no guest to end
	return i, call, nil
}

func newInstance(c *code, config Config) *Instance {
	i := &Instance{engine: c.engine, code: c, limits: config.Limits, tell: config.Notify, done: make(chan struct{})}
	i.life, i.stop = context.WithCancel(context.Background()) //nolint:forbidigo // the guest's own
	i.state.Store(busy)
	i.seat = newSeat(config.Limits.Weight)
	i.limit = int64(min(config.Limits.Fuel, math.MaxInt64)) //nolint:gosec // bounded
	i.cpu.Store(config.Limits.CPU)
	i.poke = make(chan struct{}, 1)
	return i
}

// load instantiates the module, which is work like any other.
func (i *Instance) load(call *callContext, o *origin, limit uint64) (err error) {
	if !i.enter(call) {
		return call.Err()
	}
	defer i.leave()
	defer func() {
		if r := recover(); r != nil { // what wazero is given comes from outside
			err = failf(ReasonBroken, "the module cannot be started: %v", r)
		}
	}()
	ctx, err := i.addKernels(call, i.code.compiled, limit)
	if err != nil {
		return err
	}
	// wazero asks for a memory once: a module has at most one.
	allocator := experimental.MemoryAllocatorFunc(func(uint64, uint64) experimental.LinearMemory { return i.memory })
	i.module, err = i.engine.runtime.InstantiateModule(experimental.WithMemoryAllocator(ctx, allocator), i.code.compiled, i.engine.guests)
	switch _, exited := errors.AsType[*sys.ExitError](err); {
	case err == nil:
	case i.interrupted(call):
		return call.Err()
	case exited || i.fate != nil:
		return &Error{Reason: ReasonBroken, Message: "the module ended before its start", Err: i.failure(call, err)}
	default:
		return &Error{Reason: ReasonBadConfig, Message: "the module cannot be started", Err: err}
	}
	i.fuel, _ = i.module.ExportedGlobal(meter.ExportFuel).(api.MutableGlobal)
	i.depth, _ = i.module.ExportedGlobal(meter.ExportDepth).(api.MutableGlobal)
	if left, ok := i.module.ExportedGlobal(tablesLeft).(api.MutableGlobal); ok {
		left.Set(uint64(i.limits.Tables) - i.code.tables)
		i.refused = i.module.ExportedGlobal(tablesRefused)
	}
	return o.adopt(i.module, i.code.shape)
}

// memoryLimit checks a limit against what the guest needs from its start.
func memoryLimit(need, limit uint64) (uint64, error) {
	const most = 1 << 32
	if limit == 0 || limit > most {
		return most, nil
	}
	limit -= limit % pageSize
	if need > limit {
		return 0, failf(ReasonMemoryLimit, "the module needs %d bytes of memory from its start, and the limit is %d: raise the limit", need, limit)
	}
	return limit, nil
}

// guestConfig is wazero's configuration of all guests: what is of one alone is
// ours. See wasi.go.
func guestConfig() wazero.ModuleConfig {
	return wazero.NewModuleConfig().
		WithName("").
		WithStartFunctions().
		WithWalltime(func() (int64, int32) { return 0, 0 }, 1). // for its resolution alone
		WithNanotime(func() int64 { return 0 }, 1).             // as above
		WithRandSource(rand.Reader).                            // else there is a generator of 5 KiB in each
		WithOsyield(goruntime.Gosched)
}

// newCall makes the context of a call.
func (i *Instance) newCall(ctx context.Context) *callContext {
	c := &callContext{Context: ctx, instance: i}
	if i.limits.Timeout > 0 {
		c.deadline = later(i.engine.monotonic(), i.limits.Timeout)
	}
	i.current = c
	return c
}

// monotonic is the time since the engine began: never 0.
func (e *Engine) monotonic() time.Duration {
	if e.ownClock {
		return time.Since(e.start) + 1 //nolint:forbidigo // cheaper than Now, and the same
	}
	return e.o.Now().Sub(e.start) + 1
}
