package replica

import (
	"fmt"
	"io"
	"log"
	"log/slog"
	"slices"
	"sync"
	"time"

	hclog "github.com/hashicorp/go-hclog"
)

// quiet is how long a message of Raft is not repeated: it repeats itself at
// every heartbeat while a server is away.
const quiet = 10 * time.Second

// hcLog gives Raft's messages to slog. What Raft calls an error is mostly a
// server that cannot be reached, so its levels are taken down.
type hcLog struct {
	l    *slog.Logger
	name string
	args []any
	once *dedup
}

type dedup struct {
	clock func() time.Time
	mu    sync.Mutex
	last  map[string]time.Time
}

func newHCLog(l *slog.Logger, clock func() time.Time) *hcLog {
	return &hcLog{l: l, once: &dedup{clock: clock, last: map[string]time.Time{}}}
}

func (d *dedup) fresh(msg string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.clock()
	if t, ok := d.last[msg]; ok && now.Sub(t) < quiet {
		return false
	}
	if len(d.last) > 256 {
		clear(d.last)
	}
	d.last[msg] = now
	return true
}

// Log logs at a level.
func (h *hcLog) Log(level hclog.Level, msg string, args ...any) {
	switch level {
	case hclog.Error:
		if h.once.fresh(msg) {
			h.l.Warn("raft: "+msg, clean(args)...)
		}
	case hclog.Warn:
		if h.once.fresh(msg) {
			h.l.Info("raft: "+msg, clean(args)...)
		}
	case hclog.Info:
		h.l.Debug("raft: "+msg, clean(args)...)
	default:
	}
}

// clean makes hclog's formatted values plain.
func clean(args []any) []any {
	out := slices.Clone(args)
	for i, a := range out {
		if f, ok := a.(hclog.Format); ok && len(f) > 0 {
			if s, ok := f[0].(string); ok {
				out[i] = fmt.Sprintf(s, f[1:]...)
			}
		}
	}
	return out
}

// The rest is hclog's interface.

// Trace is dropped.
func (h *hcLog) Trace(string, ...any) {}

// Debug is dropped.
func (h *hcLog) Debug(string, ...any) {}

// Info logs.
func (h *hcLog) Info(msg string, args ...any) { h.Log(hclog.Info, msg, args...) }

// Warn logs.
func (h *hcLog) Warn(msg string, args ...any) { h.Log(hclog.Warn, msg, args...) }

// Error logs.
func (h *hcLog) Error(msg string, args ...any) { h.Log(hclog.Error, msg, args...) }

// IsTrace is false.
func (h *hcLog) IsTrace() bool { return false }

// IsDebug is false.
func (h *hcLog) IsDebug() bool { return false }

// IsInfo is true.
func (h *hcLog) IsInfo() bool { return true }

// IsWarn is true.
func (h *hcLog) IsWarn() bool { return true }

// IsError is true.
func (h *hcLog) IsError() bool { return true }

// ImpliedArgs are those of With.
func (h *hcLog) ImpliedArgs() []any { return h.args }

// With adds arguments.
func (h *hcLog) With(args ...any) hclog.Logger {
	n := *h
	n.l, n.args = h.l.With(clean(args)...), append(slices.Clone(h.args), args...)
	return &n
}

// Name is the logger's name.
func (h *hcLog) Name() string { return h.name }

// Named changes the name.
func (h *hcLog) Named(name string) hclog.Logger { return h.ResetNamed(name) }

// ResetNamed changes the name.
func (h *hcLog) ResetNamed(name string) hclog.Logger {
	n := *h
	n.name = name
	return &n
}

// SetLevel does nothing.
func (h *hcLog) SetLevel(hclog.Level) {}

// GetLevel is Info.
func (h *hcLog) GetLevel() hclog.Level { return hclog.Info }

// StandardLogger drops all.
func (h *hcLog) StandardLogger(*hclog.StandardLoggerOptions) *log.Logger {
	return log.New(io.Discard, "", 0)
}

// StandardWriter drops all.
func (h *hcLog) StandardWriter(*hclog.StandardLoggerOptions) io.Writer { return io.Discard }
