package wasm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"dhow.dev/dhow/node/runtime"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/wasmrt/host"
)

// grant makes what the task's guests may do with host functions. release is
// called at the run's end.
func (t *run) grant() (p host.Policy, release func(), err error) {
	h := t.task.Spec.GetWasm().GetHost()
	p = host.Policy{Config: h.GetConfig(), Secrets: h.GetSecrets(), Log: t.log, Now: t.r.c.Now}
	release = func() {}
	if len(h.GetInvoke()) > 0 {
		p.Invoker = invoker{t, h.GetInvoke()}
	}
	if len(h.GetHttp()) > 0 {
		p.HTTP, err = host.NewHTTP(host.HTTPOptions{Allow: AllowList(h.GetHttp()), PrivateNetworks: t.r.c.PrivateNetworks})
		if err != nil {
			return host.Policy{}, nil, &runtime.Error{Reason: "BadHostPolicy", Permanent: true, Err: err}
		}
		release = p.HTTP.Close
	}
	if kv := h.GetKv(); kv != nil {
		s, put, err := t.r.stores.open(t.task.Namespace, kv)
		if err != nil {
			release()
			return host.Policy{}, nil, &runtime.Error{Reason: "NoStore", Err: err}
		}
		p.Store = s
		before := release
		release = func() { before(); put() }
	}
	return p, release, nil
}

// AllowList is a manifest's list of hosts in the host package's words: an
// entry without a scheme is meant for both.
func AllowList(list []string) []string {
	var out []string
	for _, s := range list {
		if strings.Contains(s, "://") {
			out = append(out, s)
			continue
		}
		out = append(out, "https://"+s, "http://"+s)
	}
	return out
}

// stores are the key-value stores that guests have open, one for each
// namespace and name, in a directory.
type stores struct {
	dir string

	mu  sync.Mutex
	all map[string]*store
}

type store struct {
	*host.File
	users int
}

func (s *stores) open(namespace string, kv *dhowv1.KeyValue) (host.Store, func(), error) {
	if s.dir == "" {
		return nil, nil, errors.New("this node has no place for key-value stores")
	}
	key := filepath.Join(namespace, kv.GetStore())
	if !filepath.IsLocal(key) || filepath.Dir(key) != namespace {
		return nil, nil, fmt.Errorf("%q is no name of a store", kv.GetStore())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[key]
	if one == nil {
		if err := os.MkdirAll(filepath.Join(s.dir, namespace), 0o700); err != nil {
			return nil, nil, err
		}
		f, err := host.OpenFile(filepath.Join(s.dir, key), host.StoreLimits{Bytes: int64(kv.GetMaxBytes())}) //nolint:gosec // validated to be small
		if err != nil {
			return nil, nil, err
		}
		one = &store{File: f}
		s.all[key] = one
	}
	one.users++
	var once sync.Once
	return one.File, func() { once.Do(func() { s.put(key, one) }) }, nil
}

func (s *stores) put(key string, one *store) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if one.users--; one.users == 0 {
		delete(s.all, key)
		_ = one.Close() // what was changed is on the disk already
	}
}

// invoker lets a guest call functions of its namespace that run on this node.
type invoker struct {
	from *run
	list []string
}

// Invoke calls the workload, or its function behind a slash: "resize" or
// "resize/thumbnail".
func (v invoker) Invoke(ctx context.Context, name string, input []byte) ([]byte, error) {
	workload, function, _ := strings.Cut(name, "/")
	if !slices.Contains(v.list, workload) && !slices.Contains(v.list, "*") {
		return nil, fmt.Errorf("%w: %s is not on the list", host.ErrDenied, workload)
	}
	s := v.from.r.function(v.from.task.Namespace, workload)
	if s == nil {
		return nil, fmt.Errorf("%w: no instance of the function %s runs on this node", host.ErrNotFound, workload)
	}
	out, err := s.call(ctx, runtime.Call{Function: function, Data: input})
	if err == nil {
		return out.Data, nil
	}
	if e, ok := errors.AsType[*runtime.Error](err); ok {
		switch e.Reason {
		case runtime.ReasonNoSuchFunction, runtime.ReasonNotRunning:
			return nil, fmt.Errorf("%w: %w", host.ErrNotFound, err)
		case runtime.ReasonBusy:
			return nil, fmt.Errorf("%w: %w", host.ErrBusy, err)
		case runtime.ReasonTooLarge:
			return nil, fmt.Errorf("%w: %w", host.ErrTooLarge, err)
		case "TimedOut":
			return nil, fmt.Errorf("%w: %w", host.ErrTimedOut, err)
		}
	}
	return nil, err
}

// function finds a run of the workload that can be called; with several, the
// one with the fewest calls in flight.
func (r *Runtime) function(namespace, workload string) *served {
	r.mu.Lock()
	defer r.mu.Unlock()
	var best *served
	for _, t := range r.runs {
		t.mu.Lock()
		s, ok := t.guest.(*served)
		mine := ok && t.task.Namespace == namespace && t.task.Workload == workload && isFunction(t.task.Spec.GetWasm())
		t.mu.Unlock()
		if mine && !s.closed() && (best == nil || s.flying.Load() < best.flying.Load()) {
			best = s
		}
	}
	return best
}
