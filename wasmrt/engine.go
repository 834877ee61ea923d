package wasmrt

import "context"

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
}

// Engine compiles modules and runs instances of them. It is safe for use by
// many goroutines.
type Engine struct{}

// Module is a compiled module, held until Close.
type Module struct{}

// NewEngine makes an Engine.
func NewEngine(ctx context.Context, o Options) (*Engine, error) { return &Engine{}, nil }

// Close frees what the engine holds. All instances must have ended.
func (e *Engine) Close() error { return nil }

// Compile makes a module from its bytes, which it keeps.
func (e *Engine) Compile(ctx context.Context, wasm []byte) (*Module, error) {
	return nil, failf(ReasonClosed, "the engine is closed")
}

// CompileFile makes a module from a file.
func (e *Engine) CompileFile(ctx context.Context, path string) (*Module, error) {
	return nil, failf(ReasonClosed, "the engine is closed")
}

// Lookup returns the module of a digest ("sha256:…") if it is in memory.
func (e *Engine) Lookup(digest string) (*Module, bool) { return nil, false }

// Digest is "sha256:" and 64 hexadecimal digits.
func (m *Module) Digest() string { return "" }

// Close gives the module back. Running instances keep what they need.
func (m *Module) Close() {}
