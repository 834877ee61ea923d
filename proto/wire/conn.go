package wire

import (
	"context"
	"time"
)

// Conn is the HTTP side of a call, as far as a handler needs it; an
// *http.ResponseController is one.
type Conn interface {
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}

type connKey struct{}

// WithConn is for the server, which knows the connection.
func WithConn(ctx context.Context, c Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}

// ConnOf is the connection of a handler's call, nil when it is not known.
func ConnOf(ctx context.Context) Conn {
	c, _ := ctx.Value(connKey{}).(Conn)
	return c
}

// Arrived lifts the limit on the arrival of the whole request, for calls whose
// request or answer is a long stream. They bound each message instead.
func Arrived(ctx context.Context) {
	if c, ok := ConnOf(ctx).(interface{ Arrived() }); ok {
		c.Arrived()
	}
}

// ReadBy gives the other side until t to send what comes next.
func ReadBy(ctx context.Context, t time.Time) {
	if c := ConnOf(ctx); c != nil {
		_ = c.SetReadDeadline(t)
	}
}

// Guard breaks a stream when the other side takes too long over one message.
// Streams have no time limit of their own, and a deadline that is set on an
// HTTP/2 stream ends it even when nothing is waiting.
type Guard struct {
	timer *time.Timer
	limit time.Duration
}

// ReadGuard guards what a handler waits to read.
func ReadGuard(ctx context.Context, limit time.Duration) *Guard {
	c := ConnOf(ctx)
	return newGuard(limit, func() {
		if c != nil {
			_ = c.SetReadDeadline(longAgo())
		}
	})
}

// WriteGuard guards what a handler waits to have taken.
func WriteGuard(ctx context.Context, limit time.Duration) *Guard {
	c := ConnOf(ctx)
	return newGuard(limit, func() {
		if c != nil {
			_ = c.SetWriteDeadline(longAgo())
		}
	})
}

func longAgo() time.Time { return time.Unix(1, 0) }

func newGuard(limit time.Duration, f func()) *Guard {
	g := &Guard{timer: time.AfterFunc(limit, f), limit: limit}
	g.timer.Stop()
	return g
}

// Start is called before a message is read or written, Stop after it.
func (g *Guard) Start() { g.timer.Reset(g.limit) }

// Stop ends what Start began.
func (g *Guard) Stop() { g.timer.Stop() }
