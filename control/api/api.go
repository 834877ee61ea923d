package api

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpcreflect"

	"dhow.dev/dhow/proto/dhow/v1/dhowv1connect"
	"dhow.dev/dhow/proto/wire"
)

// API is the handlers of all services.
type API struct {
	c      Config
	tokens *tokens
	writer *connect.ErrorWriter
	chunks *sync.Pool
	// why holds the one who asks the planner.
	why     chan struct{}
	targets *targets
}

// New makes the API and the one handler of its port. Run must run, too.
func New(c Config) (*API, http.Handler) {
	c = c.withDefaults()
	a := &API{c: c, writer: connect.NewErrorWriter(), chunks: newChunks(), why: make(chan struct{}, 1), targets: newTargets()}
	a.tokens = newTokens(c.Store, c.Reads)
	opts := []connect.HandlerOption{
		connect.WithReadMaxBytes(wire.MaxMessage),
		connect.WithInterceptors(wire.Server(a.internal)),
		connect.WithRecover(a.recovered),
		wire.StrictJSON(),
		// A LAN does not pay for compression, and small answers grow by it.
		connect.WithCompressMinBytes(16 << 10),
	}
	mux := http.NewServeMux()
	mux.Handle(dhowv1connect.NewObjectServiceHandler(objects{a}, opts...))
	mux.Handle(dhowv1connect.NewArtifactServiceHandler(artifacts{a}, opts...))
	mux.Handle(dhowv1connect.NewAuthServiceHandler(auths{a}, opts...))
	mux.Handle(dhowv1connect.NewLogServiceHandler(logs{a}, opts...))
	mux.Handle(dhowv1connect.NewClusterServiceHandler(clusters{a}, opts...))
	mux.Handle(dhowv1connect.NewFunctionServiceHandler(functions{a}, opts...))
	mux.Handle(dhowv1connect.NewUsageServiceHandler(usages{a}, opts...))
	mux.Handle(dhowv1connect.NewAgentServiceHandler(c.Agents, opts...))
	mux.Handle(dhowv1connect.NewPeerServiceHandler(c.PeerService, opts...))
	reflector := grpcreflect.NewStaticReflector(
		dhowv1connect.ObjectServiceName, dhowv1connect.ArtifactServiceName, dhowv1connect.AuthServiceName,
		dhowv1connect.LogServiceName, dhowv1connect.ClusterServiceName, dhowv1connect.AgentServiceName,
		dhowv1connect.PeerServiceName, dhowv1connect.FunctionServiceName, dhowv1connect.UsageServiceName,
	)
	mux.Handle(grpcreflect.NewHandlerV1(reflector, opts...))
	mux.Handle(grpcreflect.NewHandlerV1Alpha(reflector, opts...))
	root := http.NewServeMux()
	root.HandleFunc("GET /healthz", a.healthz)
	root.HandleFunc("GET /readyz", a.readyz)
	root.Handle("/", a.authenticated(mux))
	return a, root
}

// Run keeps the cache of tokens fresh until the context ends.
func (a *API) Run(ctx context.Context) error { return a.tokens.run(ctx) }

// NewServer is an HTTP server for the handler with the limits that a port on
// the internet needs.
func NewServer(h http.Handler, t *tls.Config, logger *slog.Logger) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	return &http.Server{
		Handler:           h,
		TLSConfig:         t,
		Protocols:         protocols,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       5 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		// What clients do to their connections is not worth more than debug.
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 1000,
			// A peer that is gone without a word is seen by this.
			SendPingTimeout:  15 * time.Second,
			PingTimeout:      10 * time.Second,
			WriteByteTimeout: 30 * time.Second,
		},
	}
}

// internal logs what is a bug or a broken disk, once.
func (a *API) internal(ctx context.Context, procedure string, err error) {
	a.c.Logger.ErrorContext(ctx, "a call failed inside", "procedure", procedure, "caller", Caller(ctx).Subject, "err", err)
}

func newUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
