package wasmrt

import (
	"context"
	"io"
	"net"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tetratelabs/wazero/api"
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
	// Ended is told how a guest that Start started has ended, after all it held
	// is freed; may be nil.
	Ended func(Exit)
}

// Instance is a guest: a command that runs once, or functions to be called.
type Instance struct {
	engine *Engine
	code   *code
	limits Limits
	tell   func(Notice)
	memory *memory
	files  *files
	args   guestStrings
	env    guestStrings
	module api.Module
	// kernels are the guest's own instances of host modules' kernels.
	kernels map[string]*Kernel

	state    atomic.Int32 // one of the states below
	stopping atomic.Bool
	life     context.Context //nolint:containedctx // the guest's own: cancelled when it is to end
	stop     context.CancelFunc
	done     chan struct{}
	exit     Exit // valid when done is closed

	compute                 // of the goroutine that holds the state busy, as is what follows
	begun     bool          // the start function has run
	ahead     time.Duration // of the engine's clock is the guest's
	current   *callContext  // of the call
	functions *functions    // that were called; see warm
	fate      *ExitError    // what a host function ended it with

	place // among the guests that are idle

	// attached are values of host modules' own; see Caller.Attached.
	attached map[any]any

	calls atomic.Uint64
	peak  atomic.Uint64 // bytes of memory at the end

	mu   sync.Mutex
	told map[string]bool // reasons of notices
}

// States of an Instance.
const (
	idle  = int32(iota)
	busy  // guest code runs, or is about to
	ended // nothing is held any more
)

// Run runs the module's _start and returns when it has ended. Cancelling ctx
// interrupts the guest. The error is an *Error when the guest could not start.
func (m *Module) Run(ctx context.Context, c Config) (Exit, error) {
	i, ctx, err := m.command(ctx, c)
	if err != nil {
		return Exit{}, err
	}
	i.run(ctx)
	return i.exit, nil
}

// Start is Run in the background. The error is an *Error when the guest could
// not start.
func (m *Module) Start(ctx context.Context, c Config) (*Instance, error) {
	i, ctx, err := m.command(ctx, c)
	if err != nil {
		return nil, err
	}
	tell := c.Ended // so that the rest of c can go
	go func() {
		// To the end of the global queue: a processor looks there, where the
		// network's goroutines wait, only after 61 others of its own, and among
		// those would be the next fresh guests.
		goruntime.Gosched()
		i.run(ctx)
		if tell != nil {
			tell(i.exit)
		}
	}()
	return i, nil
}

func (m *Module) command(ctx context.Context, c Config) (*Instance, context.Context, error) {
	if m.code.noStart != nil {
		return nil, nil, m.code.noStart
	}
	i, ctx, err := m.instantiate(ctx, c, m.code.origin())
	if err == nil {
		callOf(ctx).whole = true
	}
	return i, ctx, err
}

// run calls _start, and frees all when it has returned.
func (i *Instance) run(ctx context.Context) {
	c := callOf(ctx)
	i.calls.Add(1)
	exit := Exit{Reason: ExitedReason}
	if !i.enter(c) {
		exit = i.interruption(c)
	} else if failed := i.start(c, "_start"); failed != nil {
		exit = failed.Exit
	}
	i.leave()
	c.end()
	i.end(exit)
}

// start runs the start function, if it has not run yet, and then an exported
// function without parameters, if there is one.
func (i *Instance) start(c *callContext, name string) *ExitError {
	for _, f := range []string{i.code.shape.start, name} {
		if f == "" || i.begun {
			continue
		}
		if f, err := i.function(f); err == nil {
			if failed := i.invoke(c, f, nil); failed != nil {
				return failed
			}
		}
	}
	i.begun = true
	return nil
}

// Done is closed when the guest has ended and all it held is freed.
func (i *Instance) Done() <-chan struct{} { return i.done }

// Wait returns when the guest has ended.
func (i *Instance) Wait() Exit { <-i.done; return i.exit }

// Stop interrupts the guest and does not wait for its end.
func (i *Instance) Stop() {
	i.stopping.Store(true)
	i.stop()
	i.reap()
}

// Close is Stop, and waits for the call in flight to return. Not to be called
// by the guest's own host functions, which use Stop.
func (i *Instance) Close() error {
	i.Stop()
	<-i.done
	return nil
}

// reap ends a guest that is to end, unless a call is in flight, which does it
// then.
func (i *Instance) reap() {
	if i.stopping.Load() && i.state.CompareAndSwap(idle, busy) {
		i.end(Exit{Code: StoppedCode, Reason: StoppedReason, Message: "it was stopped"})
	}
}

// take makes the caller the only one who may use the guest, until give.
func (i *Instance) take() error {
	switch {
	case i.state.CompareAndSwap(idle, busy):
		i.functions = i.kept.Swap(nil)
		return nil
	case i.state.Load() == ended:
		<-i.done
		return &ExitError{Exit: i.exit}
	}
	return failf(ReasonInUse, "a call of this instance is in flight, and one runs at a time")
}

func (i *Instance) give() {
	i.current = nil // it holds the caller's context
	i.engine.warm.keep(i)
	i.state.Store(idle)
	i.reap()
}

// Memory is the size of the guest's memory in bytes, 0 after its end. Pages
// that it never touched are counted and cost nothing.
func (i *Instance) Memory() uint64 { return i.memory.size.Load() }

// Busy is the time for which the guest has computed: see Usage.CPU.
func (i *Instance) Busy() time.Duration {
	for {
		since, before := i.since.Load(), i.busy.Load()
		if i.since.Load() != since {
			continue
		}
		if since == 0 {
			return time.Duration(before)
		}
		return time.Duration(before) + max(i.engine.monotonic()-time.Duration(since), 0)
	}
}

// notify tells the owner, once for each reason.
func (i *Instance) notify(reason, message string) {
	i.mu.Lock()
	first := !i.told[reason]
	if first {
		if i.told == nil {
			i.told = map[string]bool{}
		}
		i.told[reason] = true
	}
	i.mu.Unlock()
	if first && i.tell != nil {
		i.tell(Notice{Reason: reason, Message: message})
	}
}

func (i *Instance) wall() time.Time { return i.engine.o.Now() }

// monotonic is the guest's monotonic clock: never 0, the same for all guests.
// but for those that were restored: theirs goes on.
func (i *Instance) monotonic() time.Duration { return i.engine.monotonic() + i.ahead }

// end frees what the guest held. No guest code runs any more.
func (i *Instance) end(exit Exit) {
	i.exit = exit
	i.stop()
	if i.module != nil {
		_ = i.module.Close(context.Background()) //nolint:forbidigo // frees memory, and is not to be cancelled
	}
	i.closeKernels()
	_ = i.files.close() // of the guest's own files, which it did not close
	if i.memory != nil {
		i.peak.Store(i.memory.size.Load())
		i.memory.release()
	}
	i.functions, i.current = nil, nil
	i.engine.warm.leave(i)
	i.state.Store(ended)
	i.engine.leave(i)
	close(i.done)
}
