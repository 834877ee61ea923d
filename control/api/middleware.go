package api

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"

	"dhow.dev/dhow/control/auth"
	dhowv1 "dhow.dev/dhow/proto/dhow/v1"
	"dhow.dev/dhow/proto/dhow/v1/dhowv1connect"
	"dhow.dev/dhow/proto/spec"
	"dhow.dev/dhow/proto/wire"
)

// call is what the HTTP side knows of a call and handlers need.
type call struct {
	id auth.Identity
	r  *http.Request
	// arrival bounds the time that the request's message takes.
	arrival *wire.Guard

	mu sync.Mutex
	// http is nil once the handler has returned: net/http panics when it is
	// used after that, and timers may fire late.
	http *http.ResponseController
}

// SetReadDeadline implements wire.Conn.
func (c *call) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.http == nil {
		return http.ErrServerClosed
	}
	return c.http.SetReadDeadline(t)
}

// SetWriteDeadline implements wire.Conn.
func (c *call) SetWriteDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.http == nil {
		return http.ErrServerClosed
	}
	return c.http.SetWriteDeadline(t)
}

func (c *call) finish() {
	c.arrival.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.http = nil
}

func callOf(ctx context.Context) *call {
	c, _ := wire.ConnOf(ctx).(*call)
	return c
}

// Caller is who makes the call of a handler's context. The zero Identity may
// do nothing.
func Caller(ctx context.Context) auth.Identity {
	if c := callOf(ctx); c != nil {
		return c.id
	}
	return auth.Identity{}
}

// authenticated finds out who calls before anything is read of the message.
func (a *API) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := a.identify(r)
		if err != nil {
			a.refuse(w, r, err)
			return
		}
		if id.Role != dhowv1.Role_ROLE_UNSPECIFIED { // people's tools have no session that tells them
			if servers := a.c.Cluster.APIs(); len(servers) > 0 {
				w.Header().Set(wire.ServersHeader, strings.Join(servers, ","))
			}
		}
		c := &call{http: http.NewResponseController(w), id: id, r: r}
		ctx := wire.WithConn(r.Context(), c)
		// A request that trickles in must not hold a connection for ever.
		c.arrival = wire.ReadGuard(ctx, a.c.ReadTimeout)
		c.arrival.Start()
		defer c.finish()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// identify reads the token or the certificate. Joining takes neither: the join
// token is in the message.
func (a *API) identify(r *http.Request) (auth.Identity, error) {
	now := a.c.Now()
	if header := r.Header["Authorization"]; len(header) > 0 {
		scheme, secret, _ := strings.Cut(header[0], " ")
		if !strings.EqualFold(scheme, "Bearer") || len(header) > 1 {
			return auth.Identity{}, spec.Errorf(spec.CodeUnknownUser, "the Authorization header must be one of the form `Bearer TOKEN`")
		}
		return a.tokens.verify(r.Context(), strings.TrimSpace(secret), now)
	}
	id, ok, err := auth.FromTLS(r.TLS, a.c.CA.Cluster(), now)
	if err != nil || ok || r.URL.Path == dhowv1connect.AuthServiceJoinProcedure {
		return id, err
	}
	return auth.Identity{}, spec.Errorf(spec.CodeUnknownUser, "not authenticated: send the header `Authorization: Bearer TOKEN` (`dhow token create` makes a token) or use a certificate of this cluster")
}

// refuse answers with an error in the caller's protocol.
func (a *API) refuse(w http.ResponseWriter, r *http.Request, err error) {
	_ = a.writer.Write(w, r, wire.ToConnect(err))
}

// recovered makes an error of a handler's panic, so that the server goes on.
func (a *API) recovered(ctx context.Context, s connect.Spec, _ http.Header, what any) error {
	a.c.Logger.ErrorContext(ctx, "a handler panicked", "procedure", s.Procedure, "caller", Caller(ctx).Subject,
		"panic", fmt.Sprint(what), "stack", string(debug.Stack()))
	return spec.Errorf(spec.CodeInternal, "%s panicked: this is a bug of the server; its log has the details", s.Procedure)
}

// Arrived implements what wire.Arrived asks for.
func (c *call) Arrived() { c.arrival.Stop() }

// allowed is auth.Authorize for the caller of ctx.
func allowed(ctx context.Context, verb auth.Verb, kinds ...dhowv1.Kind) error {
	id := Caller(ctx)
	if len(kinds) == 0 {
		return auth.Authorize(id, verb, 0)
	}
	for _, k := range kinds {
		if err := auth.Authorize(id, verb, k); err != nil {
			return err
		}
	}
	return nil
}
