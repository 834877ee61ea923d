package wasm

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
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

// callee is what a served guest does with requests and calls.
type callee interface {
	http.Handler
	call(ctx context.Context, c runtime.Call) (runtime.CallResult, error)
	functions() []runtime.Function
	usage() runtime.Stats // but for the number of calls
	close()               // nothing is in flight any more
}

// served is a guest that answers requests at its port, and calls.
type served struct {
	run    *run
	callee callee
	http   *http.Server
	base   context.Context    //nolint:containedctx // of calls in flight
	cancel context.CancelFunc // interrupts them

	calls, failed atomic.Uint64
	flying        atomic.Int64

	stopping sync.Once
	mu       sync.Mutex
	ending   bool // no call may begin
	inside   sync.WaitGroup
}

func (t *run) serve(ctx context.Context, c callee) (guest, runtime.Started, error) {
	l, port, err := listen(ctx, t.task, t.task.Spec.GetPorts())
	if err != nil {
		c.close()
		return nil, runtime.Started{}, err
	}
	s := &served{run: t, callee: c}
	s.base, s.cancel = context.WithCancel(t.r.ctx)
	s.http = &http.Server{
		Protocols:         http1(),
		Handler:           http.HandlerFunc(s.serveHTTP),
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		BaseContext:       func(net.Listener) context.Context { return s.base },
		ErrorLog:          slog.NewLogLogger(t.r.c.Logger.With("instance", t.task.Name, "task", t.task.ID.Task).Handler(), slog.LevelDebug),
	}
	go func() {
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.fail(err)
		}
	}()
	return s, runtime.Started{Ports: []*dhowv1.PortStatus{port}}, nil
}

func (s *served) serveHTTP(w http.ResponseWriter, r *http.Request) {
	if !s.enter() {
		http.Error(w, "the instance has ended", http.StatusServiceUnavailable)
		return
	}
	defer s.inside.Done()
	seen := &statusWriter{ResponseWriter: w}
	whole := false
	defer func() { s.count(whole && seen.status < http.StatusInternalServerError) }()
	s.callee.ServeHTTP(seen, r)
	whole = true
}

func (s *served) call(ctx context.Context, c runtime.Call) (runtime.CallResult, error) {
	if len(c.Data) > runtime.MaxCallBytes {
		return runtime.CallResult{}, tooLarge("the call's data", len(c.Data))
	}
	if !s.enter() {
		return runtime.CallResult{}, notRunning()
	}
	defer s.inside.Done()
	s.flying.Add(1)
	defer s.flying.Add(-1)
	mine, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.base, cancel)()
	got, err := s.callee.call(mine, c)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		err = ctx.Err()
	case s.base.Err() != nil:
		err = notRunning()
	}
	if e, ok := errors.AsType[*runtime.Error](err); !ok || !refused(e) {
		s.count(err == nil && got.Status < http.StatusInternalServerError)
	}
	return got, err
}

func (s *served) functions() []runtime.Function { return s.callee.functions() }

// refused: the guest was not called at all.
func refused(e *runtime.Error) bool {
	switch e.Reason {
	case runtime.ReasonNoSuchFunction, runtime.ReasonBadArguments, runtime.ReasonBusy, runtime.ReasonNotRunning:
		return true
	}
	return false
}

func (s *served) count(well bool) {
	s.calls.Add(1)
	if !well {
		s.failed.Add(1)
	}
}

func (s *served) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ending {
		s.inside.Add(1)
	}
	return !s.ending
}

func (s *served) closed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ending
}

// shut returns when no call is in flight, and none will be.
func (s *served) shut() {
	s.mu.Lock()
	s.ending = true
	s.mu.Unlock()
	s.inside.Wait()
}

// stop drains: no new call, and those in flight may end within the grace
// period.
func (s *served) stop(ctx context.Context, grace time.Duration) error {
	s.stopping.Do(func() {
		go s.drain(context.WithoutCancel(ctx), grace)
	})
	return s.run.await(ctx)
}

func (s *served) drain(ctx context.Context, grace time.Duration) {
	soft, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	// When the runtime closes there is no grace.
	defer context.AfterFunc(s.run.r.ctx, cancel)()
	calm := make(chan struct{})
	go func() { // calls do not come through the server
		s.shut()
		close(calm)
	}()
	err := s.http.Shutdown(soft)
	select {
	case <-calm:
	case <-soft.Done():
		err = soft.Err()
	}
	s.cancel()
	_ = s.http.Close() // what Shutdown could not close
	<-calm
	s.callee.close()
	if err != nil {
		s.run.end(runtime.Exit{Code: 137, Reason: "Killed", Message: fmt.Sprintf("requests were in flight after the grace period of %v", grace)})
		return
	}
	s.run.end(runtime.Exit{Reason: wasmrt.StoppedReason})
}

// fail ends a run whose port can be listened on no more.
func (s *served) fail(err error) {
	s.cancel()
	s.shut()
	s.stopping.Do(func() { // else drain does it
		s.callee.close()
		s.run.end(runtime.Exit{Code: 1, Reason: "ServeFailed", Message: err.Error()})
	})
}

func (s *served) stats() runtime.Stats {
	u := s.callee.usage()
	u.Calls, u.Failed = s.calls.Load(), s.failed.Load()
	return u
}

// http1 is all that a port without TLS needs: what a server has for more is a
// kilobyte.
func http1() *http.Protocols {
	var p http.Protocols
	p.SetHTTP1(true)
	return &p
}

// statusWriter notes the status.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status < http.StatusOK { // the one after 100 Continue and the like
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func notRunning() error {
	return &runtime.Error{Reason: runtime.ReasonNotRunning, Err: errors.New("the task has ended")}
}

func tooLarge(what string, n int) error {
	return &runtime.Error{Reason: runtime.ReasonTooLarge, Err: fmt.Errorf("%s has %d bytes, and at most %d are allowed", what, n, runtime.MaxCallBytes)}
}
