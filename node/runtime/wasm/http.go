package wasm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/wasmrt"
)

// Against clients that open connections and say nothing.
const (
	headerTimeout = 10 * time.Second
	idleTimeout   = 2 * time.Minute
)

// server is a guest that is run once for each request.
type server struct {
	run    *run
	http   *http.Server
	cgi    *wasmrt.CGI
	cancel context.CancelFunc // interrupts the requests in flight
	busy   atomic.Int64       // nanoseconds in guests of requests that ended

	stopping sync.Once
	mu       sync.Mutex
	ending   bool // no request may begin
	requests sync.WaitGroup
}

func (t *run) startHTTP(ctx context.Context, task *runtime.Task) (guest, runtime.Started, error) {
	l, port, err := listen(ctx, task)
	if err != nil {
		return nil, runtime.Started{}, err
	}
	s := &server{run: t}
	base, cancel := context.WithCancel(t.r.ctx)
	s.cancel = cancel
	s.cgi = wasmrt.NewCGI(t.module, wasmrt.CGIConfig{
		Args:        arguments(task),
		Env:         environment(task),
		Stderr:      stderr(task),
		MemoryLimit: task.Spec.GetResources().GetLimits().GetMemory(),
		Observe:     func(_ wasmrt.Exit, busy time.Duration) { s.busy.Add(int64(busy)) },
	})
	s.http = &http.Server{
		Handler:           http.HandlerFunc(s.serve),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		BaseContext:       func(net.Listener) context.Context { return base },
		ErrorLog:          slog.NewLogLogger(t.r.c.Logger.With("instance", task.Name, "task", task.ID.Task).Handler(), slog.LevelDebug),
	}
	go func() {
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.end(runtime.Exit{Code: 1, Reason: "ServeFailed", Message: err.Error()})
		}
	}()
	return s, runtime.Started{Ports: []*dhowv1.PortStatus{port}}, nil
}

// listen opens the task's first port.
func listen(ctx context.Context, task *runtime.Task) (net.Listener, *dhowv1.PortStatus, error) {
	port := &dhowv1.Port{Name: "http"}
	if all := task.Spec.GetPorts(); len(all) > 0 {
		port = all[0]
	}
	name := port.GetName()
	if name == "" {
		name = "http"
	}
	address := net.JoinHostPort(task.Address, strconv.Itoa(int(port.GetHostPort())))
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	if err != nil {
		reason := "ListenFailed"
		if errors.Is(err, syscall.EADDRINUSE) {
			reason = "PortInUse"
		}
		return nil, nil, &runtime.Error{Reason: reason, Err: fmt.Errorf("port %s: %w", name, err)}
	}
	host := task.Address
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	_, number, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("port %s: %w", name, err), l.Close())
	}
	return l, &dhowv1.PortStatus{Name: name, Address: net.JoinHostPort(host, number)}, nil
}

func (s *server) serve(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		http.Error(w, "the instance has ended", http.StatusServiceUnavailable)
		return
	}
	defer s.requests.Done()
	s.cgi.ServeHTTP(w, r)
}

func (s *server) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ending {
		s.requests.Add(1)
	}
	return !s.ending
}

// leave returns when no request is in flight, and none will be.
func (s *server) leave() {
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	s.requests.Wait()
}

// stop drains: no new request, and those in flight may end within the grace
// period.
func (s *server) stop(ctx context.Context, grace time.Duration) error {
	s.stopping.Do(func() {
		go s.drain(context.WithoutCancel(ctx), grace)
	})
	return s.run.await(ctx)
}

func (s *server) drain(ctx context.Context, grace time.Duration) {
	soft, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	// When the runtime closes there is no grace.
	defer context.AfterFunc(s.run.r.ctx, cancel)()
	err := s.http.Shutdown(soft)
	s.cancel()
	_ = s.http.Close() // what Shutdown could not close
	s.leave()
	if err != nil {
		s.end(runtime.Exit{Code: 137, Reason: "Killed", Message: fmt.Sprintf("requests were in flight after the grace period of %v", grace)})
		return
	}
	s.end(runtime.Exit{Reason: wasmrt.StoppedReason})
}

// end is called twice when a server fails while it drains.
func (s *server) end(e runtime.Exit) {
	s.cancel()
	s.run.end(e)
}

func (s *server) stats() runtime.Stats {
	return runtime.Stats{CPU: time.Duration(s.busy.Load()), Memory: s.cgi.Memory()}
}

// input is the task's standard input for one run.
func input(task *runtime.Task) io.Reader {
	if len(task.Spec.GetStdin()) == 0 {
		return nil
	}
	return bytes.NewReader(task.Spec.GetStdin())
}

func stderr(task *runtime.Task) io.Writer {
	if task.Stderr == nil {
		return nil
	}
	return &locked{w: task.Stderr}
}
