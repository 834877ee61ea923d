package wasmrt

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	goruntime "runtime"
	"strings"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
	"github.com/tetratelabs/wazero/sys"
)

// Config is what one run of a module gets.
type Config struct {
	// Args are argv: the first is the program's name.
	Args []string
	// Env holds "NAME=value" pairs.
	Env []string
	// Stdin is read by the guest; nil is empty. A reader that blocks is read
	// ahead, and a read under way when the guest ends goes on until the reader
	// gives something or is closed.
	Stdin io.Reader
	// Stdout and Stderr take the guest's output; nil discards it. They are
	// called from the guest's goroutine, one write at a time, and must not
	// keep what they are given.
	Stdout, Stderr io.Writer
	Limits         Limits
	// Mounts are the directories that the guest can open.
	Mounts []Mount
	// Listeners are the guest's from file descriptor 3 on, before the mounts.
	Listeners []net.Listener
	// Notify is told each kind of notice once; may be nil. It is called from
	// the guest's goroutine and has to be quick.
	Notify func(Notice)
}

// Reasons of an Exit.
const (
	ExitedReason      = "Exited"
	StoppedReason     = "Stopped"
	TrappedReason     = "Trapped"
	OutOfMemoryReason = "OutOfMemory"
	OutOfFuelReason   = "OutOfFuel"
	TimedOutReason    = "TimedOut"
	StackReason       = "StackOverflow"
)

// Exit codes of guests that did not choose one, as shells give them to
// processes that end by SIGTERM, SIGABRT, SIGXCPU, timeout(1) and SIGSEGV.
const (
	StoppedCode   = 143
	TrappedCode   = 134
	OutOfFuelCode = 152
	TimedOutCode  = 124
	StackCode     = 139
)

// Exit is how a run ended.
type Exit struct {
	// Code is what the guest gave to proc_exit, 0 when _start returned,
	// StoppedCode or TrappedCode.
	Code   uint32
	Reason string // one of the Reason words above
	// Message is for people: a trap and the guest's stack.
	Message string
}

// Instance is one running guest.
type Instance struct {
	engine *Engine
	code   *code
	memory *memory
	files  *files
	module api.Module
	cancel context.CancelFunc
	// kernels are the guest's own instances of host modules' kernels.
	kernels map[string]*Kernel
	// attached are values of host modules; only the guest's goroutine uses it.
	attached map[any]any
	// leaveGate says that it is no fresh guest any more; nil for those that
	// came in by another way.
	leaveGate func()
	done      chan struct{}
	exit      Exit

	mu      sync.Mutex
	started time.Time     // or when it last went on after waiting
	busy    time.Duration // before that
	waiting bool
}

// Run runs the module's _start and returns when it has ended. Cancelling ctx
// interrupts the guest. The error is an *Error when the guest could not start.
func (m *Module) Run(ctx context.Context, c Config) (Exit, error) {
	if m.code.noStart != nil {
		return Exit{}, m.code.noStart
	}
	i, ctx, err := m.instantiate(ctx, c, m.code.origin())
	if err != nil {
		return Exit{}, err
	}
	i.run(ctx)
	return i.exit, nil
}

// Start is Run in the background. The error is an *Error when the guest could
// not start. Many starts at once happen one after another, a few at a time.
func (m *Module) Start(ctx context.Context, c Config) (*Instance, error) {
	if m.code.noStart != nil {
		return nil, m.code.noStart
	}
	leave, err := m.code.engine.gate.enter(ctx)
	if err != nil {
		return nil, err
	}
	i, ctx, err := m.instantiate(ctx, c, m.code.origin())
	if err != nil {
		leave()
		return nil, err
	}
	i.leaveGate = leave
	go func() {
		// To the end of the global queue: a processor looks there, where the
		// network's goroutines wait, only after 61 others of its own, and among
		// those would be the next fresh guests.
		goruntime.Gosched()
		i.run(ctx)
	}()
	return i, nil
}

// Done is closed when the guest has ended and all it held is freed.
func (i *Instance) Done() <-chan struct{} { return i.done }

// Wait returns when the guest has ended.
func (i *Instance) Wait() Exit { <-i.done; return i.exit }

// Stop interrupts the guest and does not wait for its end.
func (i *Instance) Stop() { i.cancel() }

// Memory is the size of the guest's memory in bytes, 0 after its end. Pages
// that it never touched are counted and cost nothing.
func (i *Instance) Memory() uint64 { return i.memory.size.Load() }

// Busy is the time the guest has run: since its start, without its sleeps and
// its waiting for input. It is an upper bound of its CPU time, as waiting for
// a core and for writers counts.
func (i *Instance) Busy() time.Duration {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.waiting {
		return i.busy
	}
	return i.busy + i.engine.o.Now().Sub(i.started)
}

// block and unblock are called around waiting.
func (i *Instance) block() {
	if i.leaveGate != nil {
		i.leaveGate()
	}
	now := i.engine.o.Now()
	i.mu.Lock()
	i.busy += now.Sub(i.started)
	i.waiting = true
	i.mu.Unlock()
}

func (i *Instance) unblock() {
	now := i.engine.o.Now()
	i.mu.Lock()
	i.started = now
	i.waiting = false
	i.mu.Unlock()
}

// die ends the guest from inside a host function.
func (i *Instance) die(e Exit, _ error) { panic(sys.NewExitError(e.Code)) }

// notify tells the owner, once for each reason.
func (i *Instance) notify(_, _ string) {}

func instanceOf(ctx context.Context) *Instance { return ctx.Value(instanceKey{}).(*Instance) }

func (i *Instance) wall() time.Time { return i.engine.o.Now() }

// monotonic is the guest's monotonic clock: never 0, the same for all guests.
func (i *Instance) monotonic() time.Duration { return i.engine.monotonic() }

func (e *Engine) monotonic() time.Duration { return e.o.Now().Sub(e.start) + 1 }

// instantiate makes the guest, which begins as o is, and the context that it is
// to run in.
func (m *Module) instantiate(ctx context.Context, c Config, o *origin) (*Instance, context.Context, error) {
	e := m.code.engine
	limit, err := memoryLimit(o.size, c.Limits.Memory)
	if err != nil {
		return nil, nil, err
	}
	i := &Instance{engine: e, code: m.code, done: make(chan struct{})}
	ctx, i.cancel = context.WithCancel(context.WithValue(ctx, instanceKey{}, i))
	// What it holds from then on keeps the image that is mapped next.
	if err := e.enter(i, m); err != nil {
		i.cancel()
		return nil, nil, err
	}
	if i.memory, err = newMemory(o.size, limit, o.image); err != nil {
		i.cancel()
		e.leave(i)
		return nil, nil, &Error{Reason: ReasonNoMapping, Message: "no memory for the guest", Err: err}
	}
	i.started = e.o.Now()
	if i.files, err = openFiles(i, c); err != nil {
		i.end()
		return nil, nil, err
	}
	if ctx, err = i.addKernels(ctx, m.code.compiled, limit); err != nil {
		i.end()
		return nil, nil, err
	}
	// wazero asks for a memory once: a module has at most one.
	allocator := experimental.MemoryAllocatorFunc(func(uint64, uint64) experimental.LinearMemory { return i.memory })
	i.module, err = e.runtime.InstantiateModule(experimental.WithMemoryAllocator(ctx, allocator), m.code.compiled, i.moduleConfig(c))
	if err == nil {
		err = o.adopt(ctx, i.module, m.code.shape)
	}
	if err != nil {
		stopped := ctx.Err()
		i.end()
		_, exited := errors.AsType[*sys.ExitError](err)
		switch {
		case stopped != nil:
			return nil, nil, stopped
		case exited:
			return nil, nil, &Error{Reason: ReasonBroken, Message: "the module ended before its _start", Err: err}
		}
		return nil, nil, &Error{Reason: ReasonBadConfig, Message: "the module cannot be started", Err: err}
	}
	return i, ctx, nil
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

func (i *Instance) moduleConfig(c Config) wazero.ModuleConfig {
	e := i.engine
	mc := wazero.NewModuleConfig().
		WithName("").
		WithStartFunctions().
		WithArgs(c.Args...).
		WithRandSource(rand.Reader).
		WithWalltime(func() (int64, int32) {
			now := e.o.Now()
			return now.Unix(), int32(now.Nanosecond()) //nolint:gosec // below a billion
		}, 1).
		WithNanotime(func() int64 { return int64(e.monotonic()) }, 1).
		WithOsyield(goruntime.Gosched)
	for _, kv := range c.Env {
		name, value, _ := strings.Cut(kv, "=")
		mc = mc.WithEnv(name, value)
	}
	return mc
}

// run calls _start, and frees all when it has returned.
func (i *Instance) run(ctx context.Context) {
	i.exit = i.call(ctx)
	i.end()
}

func (i *Instance) call(ctx context.Context) (exit Exit) {
	defer func() {
		if r := recover(); r != nil {
			// A writer of the caller's panicked, and wazero let it through.
			exit = Exit{Code: TrappedCode, Reason: TrappedReason, Message: fmt.Sprintf("the host failed: %v", r)}
		}
	}()
	_, err := i.module.ExportedFunction("_start").Call(ctx)
	refused := i.memory.refused.Load()
	if e, ok := errors.AsType[*sys.ExitError](err); ok {
		switch {
		case ctx.Err() != nil && (e.ExitCode() == sys.ExitCodeContextCanceled || e.ExitCode() == sys.ExitCodeDeadlineExceeded):
			return Exit{Code: StoppedCode, Reason: StoppedReason, Message: "it was stopped"}
		case e.ExitCode() != 0 && refused:
			return Exit{Code: e.ExitCode(), Reason: OutOfMemoryReason, Message: i.outOfMemory()}
		}
		return Exit{Code: e.ExitCode(), Reason: ExitedReason}
	}
	switch {
	case err == nil:
		return Exit{Reason: ExitedReason}
	case refused:
		return Exit{Code: TrappedCode, Reason: OutOfMemoryReason, Message: i.outOfMemory() + ": " + err.Error()}
	}
	return Exit{Code: TrappedCode, Reason: TrappedReason, Message: err.Error()}
}

func (i *Instance) outOfMemory() string {
	return fmt.Sprintf("it asked for more memory than its limit of %d bytes", i.memory.limit)
}

// end frees what the guest held. No guest code runs any more.
func (i *Instance) end() {
	i.cancel()
	if i.module != nil {
		_ = i.module.Close(context.Background()) //nolint:forbidigo // frees memory, and is not to be cancelled
	}
	i.closeKernels()
	_ = i.files.close() // of the guest's own files, which it did not close
	i.block()           // stops the clock
	i.memory.release()
	i.engine.leave(i)
	close(i.done)
}
