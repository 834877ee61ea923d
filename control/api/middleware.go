package api

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
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
	w  http.ResponseWriter
	r  *http.Request
}

// authenticated finds out who calls before anything is read of the message.
func (a *API) authenticated(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, err := a.identify(r)
		if err != nil {
			a.refuse(w, r, err)
			return
		}
		if !streams(r.URL.Path) {
			// A request that trickles in must not hold a connection for ever.
			// Not all writers can do this; those of real servers can.
			_ = http.NewResponseController(w).SetReadDeadline(a.c.Now().Add(a.c.ReadTimeout))
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), callerKey{}, &call{id, w, r})))
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

// streams tells whether the request's body may take long: the calls that
// stream it bound the time themselves.
func streams(path string) bool {
	switch path {
	case dhowv1connect.AgentServiceSessionProcedure, dhowv1connect.AgentServiceAnswerProcedure, dhowv1connect.ArtifactServiceUploadProcedure:
		return true
	}
	// Reflection streams, too.
	return strings.HasPrefix(path, "/grpc.reflection.")
}

// writing gives the client time to take the next message of a stream. When it
// does not, the stream ends, and with it what the client cost.
func (a *API) writing(ctx context.Context) {
	if c, _ := ctx.Value(callerKey{}).(*call); c != nil {
		_ = http.NewResponseController(c.w).SetWriteDeadline(a.c.Now().Add(a.c.WriteTimeout))
	}
}

// reading gives the client time to send the next message of a stream.
func (a *API) reading(ctx context.Context) {
	if c, _ := ctx.Value(callerKey{}).(*call); c != nil {
		_ = http.NewResponseController(c.w).SetReadDeadline(a.c.Now().Add(a.c.ReadTimeout))
	}
}

// received lifts the limit on the request's arrival, for a stream of answers
// that may go on for long.
func (a *API) received(ctx context.Context) {
	if c, _ := ctx.Value(callerKey{}).(*call); c != nil {
		_ = http.NewResponseController(c.w).SetReadDeadline(time.Time{})
	}
}

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
