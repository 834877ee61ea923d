package wasmrt

import (
	"context"
	"errors"
	"fmt"
	"maps"
	goruntime "runtime"
	"slices"
	"sync"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"dhow.dev/dhow/wasmrt/meter"
)

// Options of an Engine. The zero value works, without a cache on disk.
type Options struct {
	// CacheDir keeps machine code between processes. It is made with mode
	// 0700, as whoever can write there can run code. Empty: none.
	CacheDir string
	// MaxCacheBytes bounds CacheDir; the least recently used goes first.
	// Default 1 GiB.
	MaxCacheBytes int64
	// MaxModuleBytes bounds a module's file. Default 256 MiB.
	MaxModuleBytes int64
	// MaxIdleBytes bounds what is kept in memory of compiled modules that
	// nobody uses now, so that the next use starts at once. Default 64 MiB;
	// negative keeps none.
	MaxIdleBytes int64
	// Interpret runs guests without compiling them, some 40 times slower.
	// Where the compiler does not support the machine this is always so.
	Interpret bool
	// Metering is what fuel counts. Default meter.Exact.
	Metering meter.Mode
	// MaxParallel is how many guests compute at a time, beside as many whose
	// work has been short until now. Default GOMAXPROCS.
	MaxParallel int
	// Host are the host modules that guests can import, beside WASI; see also
	// Engine.Provide.
	Host []HostModule
	// Now is the clock that guests see. Default time.Now.
	Now func() time.Time
}

// Engine compiles modules and runs instances of them. It is safe for use by
// many goroutines.
type Engine struct {
	o       Options
	runtime wazero.Runtime
	cache   wazero.CompilationCache
	disk    *diskCache
	guests  wazero.ModuleConfig
	start   time.Time // the guests' monotonic clock counts from here
	share   *share
	warm    warm
	// ownClock: Options.Now was not given.
	ownClock bool

	providing sync.Mutex // held while a host module is made

	mu        sync.Mutex
	closed    bool
	provided  map[string]map[string]api.FunctionDefinition // host modules
	kernels   map[string]*kernelCode                       // of those that have one
	codes     map[string]*code                             // by digest: in use, or idle
	idle      []*code                                      // least recently used first
	idleBytes int64
	compiling map[string]*flight
	instances map[*Instance]struct{}
	ended     sync.WaitGroup // instances and compilations
}

// NewEngine makes an Engine.
func NewEngine(ctx context.Context, o Options) (*Engine, error) {
	ownClock := o.Now == nil
	o.setDefaults()
	e := &Engine{
		ownClock: ownClock,
		o:        o, start: o.Now(), guests: guestConfig(),
		kernels:   map[string]*kernelCode{},
		codes:     map[string]*code{},
		compiling: map[string]*flight{},
		instances: map[*Instance]struct{}{},
	}
	e.share = newShare(o.MaxParallel, e.monotonic)
	if o.CacheDir != "" {
		var err error
		if e.disk, e.cache, err = openDiskCache(o.CacheDir, o.MaxCacheBytes, o.Now); err != nil {
			return nil, err
		}
	}
	e.runtime = wazero.NewRuntimeWithConfig(ctx, e.runtimeConfig())
	provided, err := buildWASI(ctx, e.runtime)
	if err == nil {
		err = e.buildMeter(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("preparing host functions: %w", err), e.Close())
	}
	e.provided = map[string]map[string]api.FunctionDefinition{wasiModule: provided}
	for _, m := range e.o.Host {
		if err := e.Provide(m); err != nil {
			return nil, errors.Join(err, e.Close())
		}
	}
	return e, nil
}

func (o *Options) setDefaults() {
	if o.MaxCacheBytes <= 0 {
		o.MaxCacheBytes = 1 << 30
	}
	if o.MaxModuleBytes <= 0 {
		o.MaxModuleBytes = 256 << 20
	}
	if o.MaxIdleBytes == 0 {
		o.MaxIdleBytes = 64 << 20
	}
	if o.MaxParallel <= 0 {
		o.MaxParallel = goruntime.GOMAXPROCS(0)
	}
	if o.Now == nil {
		o.Now = time.Now //nolint:forbidigo // the default
	}
}

func (e *Engine) runtimeConfig() wazero.RuntimeConfig {
	c := wazero.NewRuntimeConfig() // the compiler where there is one
	if e.o.Interpret {
		c = wazero.NewRuntimeConfigInterpreter()
	}
	if e.cache != nil {
		c = c.WithCompilationCache(e.cache)
	}
	// Line tables would be decoded at each load, for traps alone.
	return c.WithCoreFeatures(features).WithDebugInfoEnabled(false)
}

// features are those of the core specification that guests can use: all of
// version 2, and of what came after it what can be metered. Of exceptions
// wazero 1.12.0 loses locals; threads would share what is not theirs.
const features = api.CoreFeaturesV2 | experimental.CoreFeaturesTailCall | experimental.CoreFeaturesExtendedConst

// buildMeter puts the functions that metered modules call into the runtime.
func (e *Engine) buildMeter(ctx context.Context) error {
	i64 := []api.ValueType{api.ValueTypeI64}
	_, err := e.runtime.NewHostModuleBuilder(meter.Namespace).
		NewFunctionBuilder().
		WithGoFunction(api.GoFunc(func(ctx context.Context, stack []uint64) {
			stack[0] = uint64(instanceOf(ctx).refill(ctx, int64(stack[0]))) //nolint:gosec // i64
		}), i64, i64).
		Export(meter.ImportRefill).
		NewFunctionBuilder().
		WithGoFunction(api.GoFunc(func(ctx context.Context, _ []uint64) { instanceOf(ctx).overflow() }), nil, nil).
		Export(meter.ImportOverflow).
		Instantiate(ctx)
	return err
}

// Close stops all instances, waits for their end, and frees what the engine
// holds. Modules cannot be used after it.
func (e *Engine) Close() error {
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return nil
	}
	e.closed = true
	running := slices.Collect(maps.Keys(e.instances)) // none comes any more
	for _, f := range e.compiling {
		f.cancel()
	}
	e.mu.Unlock()
	for _, i := range running {
		i.Stop() // which ends one that is idle here and now
	}
	e.ended.Wait()

	ctx := context.Background() //nolint:forbidigo // closing takes no time and is not to be cancelled
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, c := range e.codes {
		c.image.close()
	}
	clear(e.codes)
	e.idle = nil
	err := e.runtime.Close(ctx)
	if e.cache != nil {
		err = errors.Join(err, e.cache.Close(ctx))
	}
	return err
}

// Running is the number of instances now.
func (e *Engine) Running() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return len(e.instances)
}

// enter counts a new instance in, which holds its module's code.
func (e *Engine) enter(i *Instance, m *Module) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		return errClosed()
	case m.closed:
		return failf(ReasonClosed, "the module is closed")
	}
	e.holdLocked(i.code)
	e.instances[i] = struct{}{}
	e.ended.Add(1)
	return nil
}

func (e *Engine) leave(i *Instance) {
	e.mu.Lock()
	delete(e.instances, i)
	e.dropLocked(i.code)
	e.mu.Unlock()
	e.ended.Done()
}

func errClosed() error { return failf(ReasonClosed, "the engine is closed") }

// compileWorkers is how many goroutines compile a module. With one, wazero
// would not look at the context.
func compileWorkers() int { return max(2, goruntime.GOMAXPROCS(0)) }
