package wasmrt

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	wasi "github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
	"github.com/tetratelabs/wazero/sys"
)

// Numbers of preview 1.
const (
	errnoBadf  = 8
	errnoFault = 21
	errnoInval = 28

	eventClock   = 0
	eventFdRead  = 1
	eventFdWrite = 2

	subscriptionSize = 48
	eventSize        = 32
)

// buildWASI puts preview 1 into the runtime: wazero's functions, but
// poll_oneoff, which there neither waits for more than one thing, nor ends when
// the guest is stopped, nor knows absolute times.
func buildWASI(ctx context.Context, r wazero.Runtime) (map[string]api.FunctionDefinition, error) {
	b := r.NewHostModuleBuilder(wasiModule)
	wasi.NewFunctionExporter().ExportFunctions(b)
	i32 := api.ValueTypeI32
	b.NewFunctionBuilder().
		WithGoModuleFunction(api.GoModuleFunc(pollOneoff), []api.ValueType{i32, i32, i32, i32}, []api.ValueType{i32}).
		Export("poll_oneoff")
	c, err := b.Compile(ctx)
	if err != nil {
		return nil, err
	}
	_, err = r.InstantiateModule(ctx, c, wazero.NewModuleConfig().WithName(wasiModule))
	return c.ExportedFunctions(), err
}

type instanceKey struct{}

// pollOneoff waits for the first of the guest's subscriptions. It ends the
// guest on the spot when it is stopped meanwhile.
func pollOneoff(ctx context.Context, mod api.Module, stack []uint64) {
	in, out, n, count := uint32(stack[0]), uint32(stack[1]), uint32(stack[2]), uint32(stack[3]) //nolint:gosec // i32 parameters
	stack[0] = errnoInval
	const most = 1 << 16
	if n == 0 || n > most {
		return
	}
	stack[0] = errnoFault
	subs, ok := mod.Memory().Read(in, n*subscriptionSize)
	if !ok {
		return
	}
	events, ok := mod.Memory().Read(out, n*eventSize)
	if !ok {
		return
	}
	i := ctx.Value(instanceKey{}).(*Instance)
	p := poll{instance: i}
	if !p.read(subs) {
		stack[0] = errnoInval
		return
	}
	p.wait(ctx)
	written := p.write(subs, events)
	if mod.Memory().WriteUint32Le(count, written) {
		stack[0] = 0
	}
}

// poll is one call of poll_oneoff.
type poll struct {
	instance *Instance
	hasClock bool
	deadline time.Duration // the earliest clock, on the instance's monotonic clock
	start    time.Duration // of the call, on that clock
	now      time.Duration
	wall     time.Duration // what to add to a wall clock's time to be on it
	readsIn  bool          // subscribed to standard input
	inReady  bool
	ready    bool // something is ready without waiting
}

// read collects what is subscribed to; false when it makes no sense.
func (p *poll) read(subs []byte) bool {
	p.start = p.instance.monotonic()
	p.now = p.start
	p.wall = p.start - time.Duration(p.instance.wall().UnixNano())
	for ; len(subs) > 0; subs = subs[subscriptionSize:] {
		switch subs[8] {
		case eventClock:
			at, ok := p.clock(subs)
			if !ok {
				return false
			}
			if !p.hasClock || at < p.deadline {
				p.hasClock, p.deadline = true, at
			}
		case eventFdRead:
			if binary.LittleEndian.Uint32(subs[16:]) == 0 {
				p.readsIn = true
			} else {
				p.ready = true
			}
		case eventFdWrite:
			p.ready = true
		default:
			return false
		}
	}
	return true
}

// clock turns a clock subscription into a time on the monotonic clock.
func (p *poll) clock(sub []byte) (time.Duration, bool) {
	id := binary.LittleEndian.Uint32(sub[16:])
	timeout := binary.LittleEndian.Uint64(sub[24:])
	flags := binary.LittleEndian.Uint16(sub[40:])
	const forever = uint64(1) << 62
	timeout = min(timeout, forever)
	switch {
	case flags > 1 || id > 3:
		return 0, false
	case flags == 0:
		return p.start + time.Duration(timeout), true //nolint:gosec // bounded above
	case id == 0:
		return time.Duration(timeout) + p.wall, true //nolint:gosec // bounded above
	}
	return time.Duration(timeout), true //nolint:gosec // bounded above
}

// wait returns when something is ready.
func (p *poll) wait(ctx context.Context) {
	i := p.instance
	if p.readsIn {
		p.inReady = i.stdin.ready()
	}
	if p.ready || p.inReady {
		p.now = i.monotonic()
		return
	}
	var timer <-chan time.Time
	if p.hasClock {
		left := p.deadline - p.now
		if left <= 0 {
			return
		}
		t := time.NewTimer(left)
		defer t.Stop()
		timer = t.C
	}
	var input <-chan struct{}
	if p.readsIn {
		input = i.stdin.arrival()
	}
	i.block()
	select {
	case <-ctx.Done():
		i.unblock()
		interrupt()
	case <-timer:
		p.now = p.deadline
	case <-input:
		p.inReady = true
		p.now = i.monotonic()
	}
	i.unblock()
}

// write reports what is ready, and how many these are.
func (p *poll) write(subs, events []byte) uint32 {
	var n uint32
	for ; len(subs) > 0; subs = subs[subscriptionSize:] {
		var errno byte
		fd := binary.LittleEndian.Uint32(subs[16:])
		switch subs[8] {
		case eventClock:
			if at, _ := p.clock(subs); at > p.now {
				continue
			}
		case eventFdRead:
			if fd == 0 && !p.inReady {
				continue
			}
			if fd != 0 {
				errno = errnoBadf
			}
		case eventFdWrite:
			if fd != 1 && fd != 2 {
				errno = errnoBadf
			}
		}
		e := events[n*eventSize : (n+1)*eventSize]
		kind, user := subs[8], binary.LittleEndian.Uint64(subs)
		clear(e)
		binary.LittleEndian.PutUint64(e, user)
		e[8], e[10] = errno, kind
		if kind != eventClock {
			binary.LittleEndian.PutUint64(e[16:], 1)
		}
		n++
	}
	return n
}

// interrupt unwinds the guest from inside a host function.
func interrupt() { panic(sys.NewExitError(sys.ExitCodeContextCanceled)) }
