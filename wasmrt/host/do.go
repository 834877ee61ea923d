package host

import (
	"context"
	"io"
	"net/http"
)

// Do makes a request by the rules that guests' own requests have: for other
// interfaces that let guests make some. The bounds of bodies are the caller's.
func (h *HTTP) Do(r *http.Request) (*http.Response, error) {
	if err := h.check(r); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.o.Timeout)
	answer, err := h.client.Do(r.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, timedOut(err)
	}
	answer.Body = &timed{answer.Body, cancel}
	return answer, nil
}

// timed is a body whose request's time ends when it is closed.
type timed struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (t *timed) Close() error {
	defer t.cancel()
	return t.ReadCloser.Close()
}
