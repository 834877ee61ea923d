package httpwasm

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"dhow.dev/dhow/wasmrt"
)

// Guests lends instances of one module, each to one user at a time. A
// *wasmrt.Pool is one.
type Guests interface {
	Do(ctx context.Context, f func(context.Context, *wasmrt.Instance) error) error
}

var errSignature = errors.New("handle_request gives no result: see Check")

type handler struct {
	host   *Host
	guests Guests
	next   http.Handler
}

// ServeHTTP implements http.Handler. One guest has the request from its start
// to its end: what it keeps for handle_response is there.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := newExchange(h.host, w, r)
	var panicked any // the next handler's, which is not the guests' concern
	err := h.guests.Do(r.Context(), func(ctx context.Context, i *wasmrt.Instance) (err error) {
		panicked, err = h.serve(ctx, i, x)
		return err
	})
	switch {
	case err != nil:
		x.refuse(err)
	case panicked == nil && x.answer.failed:
		x.answer.fail(http.StatusBadGateway, errTooLarge.Error())
	case panicked == nil:
		x.answer.release()
	}
	if panicked != nil {
		panic(panicked)
	}
}

// serve takes a request through a guest and the next handler.
func (h *handler) serve(ctx context.Context, i *wasmrt.Instance, x *exchange) (panicked any, err error) {
	x.enable(h.host.Features()) // known when there is a guest
	results, err := x.call(ctx, i, "handle_request")
	if err != nil {
		return nil, err
	}
	if len(results) != 1 {
		return nil, errSignature
	}
	ctxNext := results[0]
	if uint32(ctxNext) == 0 { //nolint:gosec // the lower half
		return nil, nil
	}
	panicked = runNext(h.next, &x.answer, x.prepareNext())
	var isError uint64
	if panicked != nil || x.answer.failed {
		isError = 1
	}
	_, err = x.call(ctx, i, "handle_response", ctxNext>>32, isError)
	return panicked, err
}

func runNext(next http.Handler, w http.ResponseWriter, r *http.Request) (panicked any) {
	defer func() { panicked = recover() }()
	next.ServeHTTP(w, r)
	return nil
}

func (x *exchange) call(ctx context.Context, i *wasmrt.Instance, name string, args ...uint64) ([]uint64, error) {
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, exchangeKey{}, x), x.host.c.Timeout)
	defer cancel()
	results, err := i.Call(ctx, name, args...)
	if err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		x.failure = context.DeadlineExceeded
	}
	return results, err
}

// refuse answers a request that a guest failed on, or that got no guest.
func (x *exchange) refuse(err error) {
	exit, ended := errors.AsType[*wasmrt.ExitError](err)
	switch {
	case errors.Is(x.failure, errTooLarge) && !x.afterNext:
		x.answer.fail(http.StatusRequestEntityTooLarge, x.failure.Error())
	case errors.Is(x.failure, context.DeadlineExceeded):
		x.answer.fail(http.StatusGatewayTimeout, fmt.Sprintf("the module did not answer within %v", x.host.c.Timeout))
	case ended:
		x.answer.fail(http.StatusBadGateway, "the module failed: "+exit.Exit.Reason)
	case isError(err, wasmrt.ReasonNoExport), isError(err, wasmrt.ReasonBadCall), errors.Is(err, errSignature):
		x.answer.fail(http.StatusBadGateway, "the module is no http-wasm middleware")
	default:
		x.answer.fail(http.StatusServiceUnavailable, "no instance of the module is free")
	}
}

func isError(err error, reason string) bool {
	e, ok := errors.AsType[*wasmrt.Error](err)
	return ok && e.Reason == reason
}

// fail answers with an error of ours instead, or cuts the connection when the
// answer is on its way.
func (o *response) fail(status int, message string) {
	if o.sent {
		panic(http.ErrAbortHandler)
	}
	clear(o.w.Header())
	http.Error(o.w, message, status)
}
