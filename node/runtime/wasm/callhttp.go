package wasm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"dhow.dev/dhow/node/runtime"
)

// ReasonHeader of an answer says why a call failed, in a word.
const ReasonHeader = "Dhow-Reason"

// serveCall calls POST /FUNCTION: with the body as its data, or with the
// query's arg=... as its arguments. GET / lists the functions.
func serveCall(f callee, w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	switch {
	case r.Method == http.MethodPost:
	case (r.Method == http.MethodGet || r.Method == http.MethodHead) && name == "":
		writeFunctions(w, f.functions())
		return
	default:
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "a function is called with POST /FUNCTION", http.StatusMethodNotAllowed)
		return
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, runtime.MaxCallBytes))
	if err != nil {
		refuseCall(w, readError(err))
		return
	}
	got, err := f.call(r.Context(), runtime.Call{Function: name, Args: r.URL.Query()["arg"], Data: data, Header: r.Header})
	if err != nil {
		refuseCall(w, err)
		return
	}
	if len(got.Values) > 0 {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = fmt.Fprintln(w, strings.Join(got.Values, "\n")) // the client may be gone
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	_, _ = w.Write(got.Data) // as above
}

func readError(err error) error {
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return &runtime.Error{Reason: runtime.ReasonTooLarge, Err: fmt.Errorf("the body has more than %d bytes", e.Limit)}
	}
	return err
}

func writeFunctions(w http.ResponseWriter, all []runtime.Function) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	for _, f := range all {
		_, _ = fmt.Fprintln(w, f) // the client may be gone
	}
}

// refuseCall answers why a call failed: in full when its caller is at fault or
// the function itself says so; a guest's end by its reason alone.
func refuseCall(w http.ResponseWriter, err error) {
	status, text := http.StatusInternalServerError, "the call failed"
	if e, ok := errors.AsType[*runtime.Error](err); ok {
		w.Header().Set(ReasonHeader, e.Reason)
		status, text = http.StatusBadGateway, "the function ended: "+e.Reason
		switch e.Reason {
		case runtime.ReasonNoSuchFunction:
			status, text = http.StatusNotFound, err.Error()
		case runtime.ReasonBadArguments:
			status, text = http.StatusBadRequest, err.Error()
		case runtime.ReasonTooLarge:
			status, text = http.StatusRequestEntityTooLarge, err.Error()
		case runtime.ReasonBusy:
			w.Header().Set("Retry-After", "1")
			status, text = http.StatusServiceUnavailable, err.Error()
		case runtime.ReasonNotRunning:
			status, text = http.StatusServiceUnavailable, err.Error()
		case runtime.ReasonFunctionFailed:
			status, text = http.StatusInternalServerError, err.Error()
		case "TimedOut":
			status = http.StatusGatewayTimeout
		}
	}
	http.Error(w, text, status)
}

// callHandler calls a handler as POST /FUNCTION would.
func callHandler(ctx context.Context, h http.Handler, c runtime.Call) (runtime.CallResult, error) {
	target := &url.URL{Path: "/" + strings.TrimPrefix(c.Function, "/")}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(c.Data))
	if err != nil {
		return runtime.CallResult{}, &runtime.Error{Reason: runtime.ReasonBadArguments, Err: err}
	}
	r.RequestURI, r.Host, r.RemoteAddr = target.RequestURI(), "localhost", "127.0.0.1:0"
	for name, values := range c.Header {
		for _, v := range values {
			r.Header.Add(name, v)
		}
	}
	w := &recorder{header: http.Header{}}
	cut := serveWhole(h, w, r)
	switch {
	case ctx.Err() != nil:
		return runtime.CallResult{}, ctx.Err()
	case cut:
		return runtime.CallResult{}, &runtime.Error{Reason: runtime.ReasonFunctionFailed, Err: errors.New("the function failed in the middle of its answer")}
	case w.out.over > 0:
		return runtime.CallResult{}, tooLarge("the answer", len(w.out.b)+w.out.over)
	}
	if w.status < http.StatusOK { // nothing was written
		w.status = http.StatusOK
	}
	return runtime.CallResult{Data: w.out.b, Status: w.status, Header: w.header}, nil
}

// serveWhole is true when the handler cut the connection.
func serveWhole(h http.Handler, w http.ResponseWriter, r *http.Request) (cut bool) {
	defer func() {
		if p := recover(); p != nil {
			if p != http.ErrAbortHandler { //nolint:errorlint // a panic's value, as net/http compares it
				panic(p)
			}
			cut = true
		}
	}()
	h.ServeHTTP(w, r)
	return false
}

// recorder keeps an answer.
type recorder struct {
	header http.Header
	status int
	out    output
}

func (w *recorder) Header() http.Header { return w.header }

func (w *recorder) WriteHeader(status int) {
	if w.status < http.StatusOK {
		w.status = status
	}
}

func (w *recorder) Write(p []byte) (int, error) {
	if w.status < http.StatusOK {
		w.status = http.StatusOK
	}
	return w.out.Write(p)
}
