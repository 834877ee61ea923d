package httpwasm

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"
)

// Features are the optional parts of the ABI, a set of bits.
type Features uint32

// The bits of Features.
const (
	// BufferRequest keeps the request's body, so that the next handler can
	// read again what the guest has read.
	BufferRequest Features = 1 << iota
	// BufferResponse keeps the next handler's answer until the guest has seen
	// it, and lets the guest change it.
	BufferResponse
	// Trailers lets the guest read and set fields that follow a body.
	Trailers

	allFeatures = BufferRequest | BufferResponse | Trailers
)

// Level is how much a message of a guest's matters.
type Level int32

// The levels that the ABI knows.
const (
	Debug Level = -1
	Info  Level = 0
	Warn  Level = 1
	Error Level = 2
	None  Level = 3
)

// Config is what the guests of one Host get. The zero value works.
type Config struct {
	// Guest is what get_config gives to the guest: bytes of any form.
	Guest []byte
	// Log takes the guests' messages, cut to 64 KiB; it is called from many
	// goroutines. Nil drops them.
	Log func(ctx context.Context, level Level, message string)
	// LogLevel is the least level that is logged. Default Info.
	LogLevel Level
	// Refuse are features that no guest gets. Default none.
	Refuse Features
	// Timeout of one call of a guest, the next handler's time not counted.
	// Default 30 s.
	Timeout time.Duration
	// MaxBody bounds a body that is kept. Default 8 MiB.
	MaxBody int
	// MaxHeader bounds the names and values of the header fields that a guest
	// sets for one request and its answer. Default 64 KiB.
	MaxHeader int
}

// Host serves the guests of one module. It is safe for use by many goroutines.
type Host struct {
	c           Config
	guestConfig string
	enabled     atomic.Uint32 // Features asked for while guests were initialised
}

// New makes a Host.
func New(c Config) *Host {
	if c.Timeout <= 0 {
		c.Timeout = 30 * time.Second
	}
	if c.MaxBody <= 0 {
		c.MaxBody = 8 << 20
	}
	if c.MaxHeader <= 0 {
		c.MaxHeader = 64 << 10
	}
	return &Host{c: c, guestConfig: string(c.Guest)}
}

// With returns a context for making instances: Module.New and Module.Snapshot
// run the guest's start code, which may ask for its configuration and enable
// features for all requests to come.
func (h *Host) With(ctx context.Context) context.Context {
	return context.WithValue(ctx, exchangeKey{}, &exchange{host: h})
}

// Features are those that guests enabled while they were initialised.
func (h *Host) Features() Features { return Features(h.enabled.Load()) }

// enable adds features for all requests, and tells which are on.
func (h *Host) enable(f Features) Features {
	f &= allFeatures &^ h.c.Refuse
	return Features(h.enabled.Or(uint32(f))) | f
}

// logs tells whether messages of a level are wanted.
func (h *Host) logs(l Level) bool { return h.c.Log != nil && l >= h.c.LogLevel && l < None }

// Handler returns a handler that shows each request to a guest before, and
// each answer after next. A nil next answers 404: for guests that answer all.
func (h *Host) Handler(guests Guests, next http.Handler) http.Handler {
	if next == nil {
		next = http.NotFoundHandler()
	}
	return &handler{host: h, guests: guests, next: next}
}
