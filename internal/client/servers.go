package client

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"dhow.dev/dhow/proto/spec"
)

// servers picks the server for each new connection. Failing over there, and
// not above, does for streams what it does for calls, and nothing is sent
// twice.
type servers struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
	tls  *tls.Config

	mu        sync.Mutex
	list      []string
	at        int    // tried first
	era       uint64 // counts turns away from a server
	connected string
}

func (s *servers) set(list []string) {
	if len(list) == 0 {
		return
	}
	for _, a := range list {
		if CheckAddress(a) != nil {
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.list[s.at]
	s.list = slices.Clone(list)
	s.at = max(slices.Index(s.list, now), 0)
}

func (s *servers) last() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.connected
}

func (s *servers) epoch() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.era
}

func (s *servers) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.list)
}

// next turns away from the server of an epoch. Many calls may fail at once;
// only the first of them moves on.
func (s *servers) next(epoch uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.era == epoch {
		s.era++
		s.at = (s.at + 1) % len(s.list)
	}
}

// renew has later calls use new connections, to the same server if it answers.
func (s *servers) renew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.era++
}

// connect opens a connection to the first server that takes one.
func (s *servers) connect(ctx context.Context, network, _ string) (net.Conn, error) {
	s.mu.Lock()
	list, first := s.list, s.at
	s.mu.Unlock()
	var errs []error
	for i := range list {
		addr := list[(first+i)%len(list)]
		conn, err := s.handshake(ctx, network, addr)
		if err == nil {
			s.mu.Lock()
			s.connected = addr
			if at := slices.Index(s.list, addr); at >= 0 {
				s.at = at
			}
			s.mu.Unlock()
			return conn, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		errs = append(errs, err)
	}
	return nil, unreachable(list, errs)
}

func (s *servers) handshake(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	raw, err := s.dial(ctx, network, addr)
	if err != nil {
		return nil, &dialError{addr, err}
	}
	conn := tls.Client(raw, s.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		_ = raw.Close()
		return nil, &dialError{addr, err}
	}
	return conn, nil
}

// dialError is why no connection was made.
type dialError struct {
	addr string
	err  error
}

func (e *dialError) Error() string { return e.addr + ": " + e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// NotSent tells whether a call failed before anything was sent, for want of a
// connection: it was certainly not carried out.
func NotSent(err error) bool {
	_, ok := errors.AsType[*dialError](err)
	return ok
}

// unreachable says which servers were tried, what each said and what to do.
func unreachable(list []string, errs []error) error {
	all := errors.Join(errs...)
	for _, err := range errs {
		if own, ok := errors.AsType[*spec.Error](err); ok {
			// It was reached, and is the wrong one.
			return spec.Errorf(own.Code, "%w", err)
		}
	}
	hint := "is the server running, and is the address right?"
	if strings.HasPrefix(list[0], "127.") || strings.HasPrefix(list[0], "localhost:") {
		hint = "is it running? `dhow up` starts one here"
	}
	if len(list) == 1 {
		return spec.Errorf(spec.CodeUnavailable, "cannot reach the server at %w: %s", all, hint)
	}
	return spec.Errorf(spec.CodeUnavailable, "cannot reach any of the %d servers: %s\n%w", len(list), hint, all)
}

// route gives each epoch connections of its own, so that turning away from a
// server leaves its streams alone.
func (s *servers) route(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		if e := s.epoch(); e > 0 {
			u := *req.URL
			u.Host = host + "-" + strconv.FormatUint(e, 10)
			req = req.WithContext(req.Context())
			req.URL, req.Host = &u, host
		}
		return next.RoundTrip(req)
	})
}

type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
