package wasmrt

import (
	"io"
	"net/http"
	"time"
)

// CGIConfig configures a CGI handler. Zero values mean the defaults.
type CGIConfig struct {
	Args           []string  // after the program's name
	Env            []string  // "NAME=value", beside RFC 3875's variables
	Stderr         io.Writer // the guest's; nil discards it
	MemoryLimit    uint64
	Timeout        time.Duration // of one run; default 30 s
	MaxBody        int64         // of a request; default 8 MiB
	MaxHeader      int           // bytes of the guest's headers; default 64 KiB
	MaxConcurrent  int           // runs at a time; default 4 a CPU
	MaxQueue       int           // requests that wait; default 16 * MaxConcurrent
	ServerSoftware string        // default "dhow"
}

// CGI runs a module once for each HTTP request (RFC 3875).
type CGI struct{}

// NewCGI makes a handler. The module must stay open while it serves.
func NewCGI(m *Module, c CGIConfig) *CGI { return &CGI{} }

// ServeHTTP runs the module for one request.
func (c *CGI) ServeHTTP(w http.ResponseWriter, r *http.Request) {}
