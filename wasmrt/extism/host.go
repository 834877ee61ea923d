package extism

import (
	"context"
	"net/http"

	"dhow.dev/dhow/wasmrt"
)

// Level is how much a message of a plugin's matters.
type Level int32

// The levels that Extism knows.
const (
	Trace Level = iota
	Debug
	Info
	Warn
	Error
	Off Level = 1<<31 - 1
)

// String is the level's name in lower case.
func (l Level) String() string {
	switch l {
	case Trace:
		return "trace"
	case Debug:
		return "debug"
	case Warn:
		return "warn"
	case Error:
		return "error"
	case Off:
		return "off"
	case Info:
	}
	return "info"
}

// HTTP makes plugins' requests. It decides which are allowed. An *http.Client
// is one, which allows all.
type HTTP interface {
	Do(r *http.Request) (*http.Response, error)
}

// Config is what the plugins of one Host get. The zero value works.
type Config struct {
	Config map[string]string // must not be changed any more
	Vars   *Vars             // nil: of the Host's own, of 1 MiB
	HTTP   HTTP              // nil: each request ends the plugin
	// MaxResponse bounds the body of an HTTP response in bytes. Default 4 MiB.
	MaxResponse int64
	// Log takes what plugins log, cut to 64 KiB; nil drops it. It is called from
	// many goroutines.
	Log func(ctx context.Context, level Level, message string)
	// LogLevel is the least level that is logged. Default Trace.
	LogLevel Level
	// MaxMemory bounds the Extism memory of one instance in bytes, for input,
	// output and all else that passes in one call. Default 64 MiB. The instance's
	// own memory limit holds for it too.
	MaxMemory uint64
}

// Host serves plugins. It is safe for use by many goroutines.
type Host struct{ c Config }

// New makes a Host.
func New(c Config) *Host {
	if c.Vars == nil {
		c.Vars = NewVars(0)
	}
	if c.MaxResponse <= 0 {
		c.MaxResponse = 4 << 20
	}
	if c.MaxMemory == 0 {
		c.MaxMemory = 64 << 20
	}
	const most = 2 << 30 // offsets are of 32 bits where the memory is
	c.MaxMemory = min(c.MaxMemory, most)
	if c.Log == nil {
		c.LogLevel = Off
	}
	return &Host{c: c}
}

type hostKey struct{}

// With returns a context for making instances: Module.New and Module.Snapshot
// run the plugin's start code, which may use Extism's functions.
func (h *Host) With(ctx context.Context) context.Context {
	return context.WithValue(ctx, hostKey{}, h)
}

// Call calls a function of a plugin and returns its output. The error is a
// *Failure when the plugin reported one or ended, and the instance's otherwise.
// A plugin that only reported an error goes on; see Failure.Ended.
func (h *Host) Call(ctx context.Context, i *wasmrt.Instance, function string, input []byte) ([]byte, error) {
	s := sessionOf(i)
	if s == nil { // it imports nothing of Extism's, so there is nothing to pass
		results, err := i.Call(ctx, function)
		return nil, outcome(results, err, nil)
	}
	if err := s.begin(h, input, function == "_start"); err != nil {
		return nil, err
	}
	results, err := i.Call(h.With(ctx), function)
	output, message, lost := s.finish()
	if err := outcome(results, err, message); err != nil {
		return nil, err
	}
	return output, lost
}
