package wasmrt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	goruntime "runtime"
	"sync"
	"sync/atomic"
	"time"
)

// CGIConfig configures a CGI handler. Zero values mean the defaults.
type CGIConfig struct {
	Args   []string  // argv; the first is the program's name
	Env    []string  // "NAME=value", beside RFC 3875's variables
	Stderr io.Writer // the guests', so it must be safe for many writers; nil discards it
	Limits Limits    // of one run
	Mounts []Mount
	Notify func(Notice) // as in Config, from many goroutines
	// Timeout of one run, its time in the queue not counted. Default 30 s.
	Timeout time.Duration
	// MaxBody bounds a request's body. Default 8 MiB. A body of unknown
	// length is read into memory first, as CGI wants to know it.
	MaxBody int64
	// MaxHeader bounds the guest's header. Default 64 KiB.
	MaxHeader int
	// MaxConcurrent is the number of runs at a time. Default 16 a CPU.
	MaxConcurrent int
	// MaxQueue is how many requests wait for a run; more are answered with
	// 503. Default 16 * MaxConcurrent; negative means none.
	MaxQueue int
	// Now is the clock for deadlines of connections. Default time.Now.
	Now func() time.Time
	// Observe is called after each run, from many goroutines; may be nil.
	Observe func(Exit, time.Duration)
}

// CGI runs a module once for each HTTP request, as RFC 3875 says: the request
// is in the guest's environment and standard input, and what it writes is a header,
// an empty line and the body. The body is streamed.
//
// When the client goes away or the time is over, the guest is interrupted. A
// guest that fails before its header is complete makes a 502, one that is too slow a 504;
// after that the connection is cut, so that nobody takes half an answer for a
// whole one. Its exit code does not matter once its header is complete.
type CGI struct {
	module  *Module
	c       CGIConfig
	slots   chan struct{}
	waiting atomic.Int64

	mu   sync.Mutex
	live map[*Instance]struct{}
	past Usage // of the runs that have ended
}

// NewCGI makes a handler. The module must stay open while it serves.
func NewCGI(m *Module, c CGIConfig) *CGI {
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
	if c.MaxBody <= 0 {
		c.MaxBody = 8 << 20
	}
	if c.MaxHeader <= 0 {
		c.MaxHeader = 64 << 10
	}
	if c.MaxConcurrent <= 0 {
		c.MaxConcurrent = 16 * goruntime.GOMAXPROCS(0)
	}
	if c.MaxQueue == 0 {
		c.MaxQueue = 16 * c.MaxConcurrent
	}
	if c.Now == nil {
		c.Now = time.Now //nolint:forbidigo // the default
	}
	if len(c.Args) == 0 {
		c.Args = []string{"cgi"}
	}
	return &CGI{module: m, c: c, slots: make(chan struct{}, c.MaxConcurrent), live: map[*Instance]struct{}{}}
}

// Memory is the memory in bytes of the runs that serve requests now.
func (c *CGI) Memory() uint64 { return c.Usage().Memory }

// Usage is what all runs have used until now; the memory is of those that
// serve requests now, and its peak the largest of one run.
func (c *CGI) Usage() Usage {
	c.mu.Lock()
	defer c.mu.Unlock()
	sum := c.past
	for i := range c.live {
		u := i.Usage()
		sum.add(u)
		sum.Memory += u.Memory
	}
	return sum
}

// add adds what does not end with an instance.
func (u *Usage) add(o Usage) {
	u.CPU += o.CPU
	u.Fuel += o.Fuel
	u.Throttled += o.Throttled
	u.Calls += o.Calls
	u.PeakMemory = max(u.PeakMemory, o.PeakMemory)
}

// ServeHTTP runs the module for one request.
func (c *CGI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	env, err := requestEnv(r, c.c.Env)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if r.ContentLength > c.c.MaxBody {
		c.tooLarge(w)
		return
	}
	if !c.enter(r.Context()) {
		if r.Context().Err() == nil {
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many requests wait for this module", http.StatusServiceUnavailable)
		}
		return
	}
	defer func() { <-c.slots }()
	body, length, err := requestBody(r, c.c.MaxBody)
	switch {
	case errors.Is(err, errBodyTooLarge):
		c.tooLarge(w)
		return
	case err != nil:
		http.Error(w, "the request's body could not be read", http.StatusBadRequest)
		return
	}
	if length > 0 {
		env = append(env, fmt.Sprintf("CONTENT_LENGTH=%d", length))
	}
	c.serve(w, r, env, body)
}

func (c *CGI) tooLarge(w http.ResponseWriter) {
	http.Error(w, fmt.Sprintf("the request's body is larger than %d bytes", c.c.MaxBody), http.StatusRequestEntityTooLarge)
}

// enter takes a slot, waiting for one in the queue.
func (c *CGI) enter(ctx context.Context) bool {
	select {
	case c.slots <- struct{}{}:
		return true
	default:
	}
	if c.waiting.Add(1) > int64(max(c.c.MaxQueue, 0)) {
		c.waiting.Add(-1)
		return false
	}
	defer c.waiting.Add(-1)
	select {
	case c.slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// serve is one run.
func (c *CGI) serve(w http.ResponseWriter, r *http.Request, env []string, body io.Reader) {
	ctx, cancel := context.WithTimeout(r.Context(), c.c.Timeout)
	defer cancel()
	guest, stop := context.WithCancel(ctx)
	defer stop()
	out := newResponse(w, c.c.MaxHeader, stop)
	if body != nil {
		// Else the server would read the body to its end before it answers.
		_ = http.NewResponseController(w).EnableFullDuplex() // HTTP/2 is so anyway
	}
	// A guest that waits for the network is not in guest code: deadlines bring
	// it back.
	interrupted := make(chan struct{})
	undo := context.AfterFunc(ctx, func() {
		defer close(interrupted)
		out.interrupt(c.c.Now().Add(writeGrace))
	})
	exit, used, err := c.run(guest, Config{
		Args: c.c.Args, Env: env, Stdin: body, Stdout: out, Stderr: c.c.Stderr,
		Limits: c.c.Limits, Mounts: c.c.Mounts, Notify: c.c.Notify,
	})
	late, within := errors.Is(ctx.Err(), context.DeadlineExceeded), c.c.Timeout
	if !late && exit.Reason == TimedOutReason {
		late, within = true, c.c.Limits.Timeout
	}
	if !undo() {
		<-interrupted
		out.dead = true
	}
	if err == nil && c.c.Observe != nil {
		c.c.Observe(exit, used)
	}
	switch {
	case late:
		out.fail(http.StatusGatewayTimeout, fmt.Sprintf("the module did not answer within %v", within))
	case err != nil:
		out.fail(http.StatusBadGateway, "the module could not be started")
	case exit.Reason != ExitedReason:
		out.fail(http.StatusBadGateway, "the module failed: "+exit.Reason)
	default:
		out.finish(exit)
	}
}

func (c *CGI) run(ctx context.Context, config Config) (Exit, time.Duration, error) {
	i, ctx, err := c.module.command(ctx, config)
	if err != nil {
		return Exit{}, 0, err
	}
	c.mu.Lock()
	c.live[i] = struct{}{}
	c.mu.Unlock()
	i.run(ctx)
	used := i.Usage()
	c.mu.Lock()
	delete(c.live, i)
	c.past.add(used)
	c.mu.Unlock()
	return i.exit, used.CPU, nil
}
