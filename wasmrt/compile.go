package wasmrt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental"

	"dhow.dev/dhow/wasmrt/meter"
)

// code is a compiled module, shared by all who use it.
type code struct {
	engine   *Engine
	digest   string
	compiled wazero.CompiledModule
	extra    int   // references of wazero's that one more Close must drop
	noStart  error // why it cannot be run as a command; nil when it can
	pages    uint64
	tables   uint64 // elements that its tables have from their start
	image    *image // what its memory begins with; nil for zeros
	shape    *shaped
	weight   int64 // estimate of what it holds in memory
	refs     int   // of Modules and Instances; under engine.mu
}

// Module is a compiled module, held until Close.
type Module struct {
	code   *code
	closed bool // under engine.mu
}

// Digest is "sha256:" and 64 hexadecimal digits.
func (m *Module) Digest() string { return m.code.digest }

// MinMemory is the memory in bytes that the module has from its start.
func (m *Module) MinMemory() uint64 { return m.code.pages * pageSize }

// Close gives the module back. Running instances keep what they need.
func (m *Module) Close() {
	e := m.code.engine
	e.mu.Lock()
	defer e.mu.Unlock()
	if !m.closed {
		m.closed = true
		e.dropLocked(m.code)
	}
}

// Compile makes a module from its bytes, which must not change any more.
func (e *Engine) Compile(ctx context.Context, wasm []byte) (*Module, error) {
	if int64(len(wasm)) > e.o.MaxModuleBytes {
		return nil, e.tooLarge("the module", int64(len(wasm)))
	}
	sum := sha256.Sum256(wasm)
	return e.compile(ctx, "sha256:"+hex.EncodeToString(sum[:]), wasm)
}

// CompileFile makes a module from a file.
func (e *Engine) CompileFile(ctx context.Context, path string) (*Module, error) {
	wasm, err := e.readFile(path)
	if err != nil {
		return nil, err
	}
	return e.Compile(ctx, wasm)
}

func (e *Engine) readFile(path string) ([]byte, error) {
	f, err := os.Open(path) //nolint:gosec // the caller chooses the file
	if err != nil {
		return nil, &Error{Reason: ReasonUnreadable, Message: "the module cannot be read", Err: err}
	}
	defer func() { _ = f.Close() }() // only read
	if s, err := f.Stat(); err == nil && s.Size() > e.o.MaxModuleBytes {
		return nil, e.tooLarge(path, s.Size())
	}
	b, err := io.ReadAll(io.LimitReader(f, e.o.MaxModuleBytes+1))
	if err != nil {
		return nil, &Error{Reason: ReasonUnreadable, Message: "the module cannot be read", Err: err}
	}
	return b, nil
}

func (e *Engine) tooLarge(what string, size int64) error {
	return failf(ReasonTooLarge, "%s is too large: %d bytes, and at most %d are taken; strip debug information or raise the limit", what, size, e.o.MaxModuleBytes)
}

// Lookup returns the module of a digest ("sha256:…") if it is in memory.
func (e *Engine) Lookup(digest string) (*Module, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lookupLocked(digest)
}

func (e *Engine) lookupLocked(digest string) (*Module, bool) {
	c, ok := e.codes[digest]
	if !ok || e.closed {
		return nil, false
	}
	e.holdLocked(c)
	return &Module{code: c}, true
}

// flight is a compilation that several callers may wait for.
type flight struct {
	cancel  context.CancelFunc
	waiters int // under engine.mu; the last one to leave cancels
	done    chan struct{}
	code    *code
	err     error
}

func (e *Engine) compile(ctx context.Context, digest string, wasm []byte) (*Module, error) {
	for {
		e.mu.Lock()
		if e.closed {
			e.mu.Unlock()
			return nil, errClosed()
		}
		if m, ok := e.lookupLocked(digest); ok {
			e.mu.Unlock()
			return m, nil
		}
		f := e.compiling[digest]
		if f == nil {
			f = e.takeOffLocked(ctx, digest, wasm)
		}
		f.waiters++
		e.mu.Unlock()
		m, again, err := e.await(ctx, f)
		if !again {
			return m, err
		}
	}
}

// takeOffLocked starts a compilation that outlives the caller if others wait
// for it too.
func (e *Engine) takeOffLocked(ctx context.Context, digest string, wasm []byte) *flight {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &flight{cancel: cancel, done: make(chan struct{})}
	e.compiling[digest] = f
	e.ended.Go(func() {
		defer cancel()
		c, err := e.build(ctx, digest, wasm)
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.compiling[digest] == f {
			delete(e.compiling, digest)
		}
		f.code, f.err = c, err
		close(f.done)
		if err == nil && !e.closed {
			f.code = e.keepLocked(c)
			f.code.refs += f.waiters // a reference for each of them
			e.dropLocked(f.code)
		}
	})
	return f
}

// keepLocked makes a code known and holds it; the one that is there already
// wins, as when a cancelled compilation ended well after all.
func (e *Engine) keepLocked(c *code) *code {
	if have, ok := e.codes[c.digest]; ok {
		c.close(context.Background()) //nolint:forbidigo // frees memory, and is not to be cancelled
		c = have
	}
	e.codes[c.digest] = c
	e.holdLocked(c)
	return c
}

func (e *Engine) unidleLocked(c *code) {
	if n := slices.Index(e.idle, c); n >= 0 {
		e.idle = slices.Delete(e.idle, n, n+1)
		e.idleBytes -= c.weight
	}
}

// await waits for a flight. Again tells that it was cancelled by others.
func (e *Engine) await(ctx context.Context, f *flight) (m *Module, again bool, err error) {
	select {
	case <-f.done:
	case <-ctx.Done():
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	select {
	case <-f.done:
	default:
		if f.waiters--; f.waiters == 0 {
			f.cancel()
			// Who comes now must not join a cancelled compilation.
			for digest, other := range e.compiling {
				if other == f {
					delete(e.compiling, digest)
				}
			}
		}
		return nil, false, ctx.Err()
	}
	switch {
	case e.closed:
		return nil, false, errClosed()
	case errors.Is(f.err, context.Canceled):
		return nil, ctx.Err() == nil, ctx.Err()
	case f.err != nil:
		return nil, false, f.err
	}
	// The flight has counted a reference for each waiter.
	return &Module{code: f.code}, false, nil
}

// build inspects and compiles.
func (e *Engine) build(ctx context.Context, digest string, wasm []byte) (*code, error) {
	o, err := inspect(wasm)
	if err != nil {
		return nil, err
	}
	if err := o.check(func(module, name string) bool { f, _ := e.functions(module); return f[name] != nil }); err != nil {
		return nil, err
	}
	c := &code{engine: e, digest: digest, pages: o.minPages, tables: o.minElements, weight: weigh(len(wasm)), noStart: o.checkCommand()}
	if c.shape, err = shape(wasm); err != nil {
		return nil, &Error{Reason: ReasonNoMapping, Message: "no memory for the module's data", Err: err}
	}
	c.image = c.shape.image
	if wasm, err = e.meter(boundTables(c.shape.wasm)); err != nil {
		c.image.close()
		return nil, err
	}
	c.shape.wasm = nil
	ctx = experimental.WithCompilationWorkers(ctx, compileWorkers())
	if e.disk != nil {
		c.compiled, c.extra, err = e.disk.compile(fmt.Sprintf("%s-%d", digest, e.o.Metering), func() (wazero.CompiledModule, error) {
			return e.translate(ctx, wasm)
		})
	} else {
		c.compiled, err = e.translate(ctx, wasm)
	}
	if err != nil {
		c.image.close()
		return nil, err
	}
	if err := e.checkTypes(c.compiled); err != nil {
		c.close(ctx)
		return nil, err
	}
	return c, nil
}

// meter rewrites a module so that it asks for fuel.
func (e *Engine) meter(wasm []byte) ([]byte, error) {
	out, err := meter.Rewrite(wasm, meter.Options{Mode: e.o.Metering})
	if err == nil {
		return out, nil
	}
	reason := ReasonBroken
	if m, ok := errors.AsType[*meter.Error](err); ok {
		switch m.Reason {
		case meter.ReasonUnsupported, meter.ReasonTooManyLocals:
			reason = ReasonUnsupported
		case meter.ReasonReservedName:
			reason = ReasonReserved
		case meter.ReasonBroken:
		}
	}
	return nil, &Error{Reason: reason, Message: "the module is not valid, or not of a kind that runs here", Err: err}
}

// weigh estimates what a compiled module holds: its bytes, its machine code of
// 3.8 times that, and tables.
func weigh(size int) int64 { return 6 * int64(size) }

// translate is wazero's compilation, with its panics as errors: what it is
// given comes from outside.
func (e *Engine) translate(ctx context.Context, wasm []byte) (c wazero.CompiledModule, err error) {
	defer func() {
		if r := recover(); r != nil {
			c, err = nil, failf(ReasonBroken, "the module cannot be compiled: %v", r)
		}
	}()
	c, err = e.runtime.CompileModule(ctx, wasm)
	switch {
	case err == nil:
		return c, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	}
	return nil, &Error{Reason: ReasonBroken, Message: "the module is not valid", Err: err}
}

// checkTypes refuses imports whose types are not what the host has.
func (e *Engine) checkTypes(c wazero.CompiledModule) error {
	for _, f := range c.ImportedFunctions() {
		module, name, _ := f.Import()
		if module == meter.Namespace {
			continue
		}
		all, _ := e.functions(module)
		have := all[name]
		if !slices.Equal(f.ParamTypes(), have.ParamTypes()) || !slices.Equal(f.ResultTypes(), have.ResultTypes()) {
			return failf(ReasonUnknownImport, "the module imports %s.%s with other parameters or results than there are", printable(module), printable(name))
		}
	}
	for _, name := range []string{"_start", "_initialize"} {
		if f := c.ExportedFunctions()[name]; f != nil && len(f.ParamTypes())+len(f.ResultTypes()) > 0 {
			return failf(ReasonNoStart, "the module's %s has parameters or results; it should have none", name)
		}
	}
	return nil
}

// holdLocked counts a use.
func (e *Engine) holdLocked(c *code) {
	if c.refs == 0 {
		e.unidleLocked(c)
	}
	c.refs++
}

// dropLocked ends a use, and what is too much to keep idle.
func (e *Engine) dropLocked(c *code) {
	if c.refs--; c.refs > 0 || e.closed {
		return
	}
	e.idle = append(e.idle, c)
	e.idleBytes += c.weight
	for len(e.idle) > 0 && e.idleBytes > max(e.o.MaxIdleBytes, 0) {
		oldest := e.idle[0]
		e.idle = slices.Delete(e.idle, 0, 1)
		e.idleBytes -= oldest.weight
		delete(e.codes, oldest.digest)
		oldest.close(context.Background()) //nolint:forbidigo // frees memory, and is not to be cancelled
	}
}

func (c *code) close(ctx context.Context) {
	for range 1 + c.extra {
		_ = c.compiled.Close(ctx) // only drops a reference
	}
	c.image.close()
}
