package httpwasm

import (
	"errors"
	"net/http"
)

// response is the answer to a request. The next handler writes it as its
// http.ResponseWriter, the guest through the ABI's functions.
type response struct {
	w      http.ResponseWriter
	keep   bool    // until release, for the guest to see
	body   bounded // when kept
	status int     // 0: none was chosen
	sent   bool    // the status is out
	failed bool    // the next handler wrote more than is kept

	ofGuest bool // the body is the guest's, which replaces the next handler's
}

// Header implements http.ResponseWriter.
func (o *response) Header() http.Header { return o.w.Header() }

// WriteHeader implements http.ResponseWriter for the next handler.
func (o *response) WriteHeader(status int) {
	switch {
	case status >= 100 && status < 200 && status != http.StatusSwitchingProtocols:
		o.w.WriteHeader(status)
	case o.sent:
	case o.keep:
		if o.status == 0 {
			o.status = status
		}
	default:
		o.status = status
		o.send()
	}
}

// Write implements http.ResponseWriter for the next handler.
func (o *response) Write(p []byte) (int, error) {
	if !o.keep {
		o.send()
		return o.w.Write(p)
	}
	if o.status == 0 {
		o.status = http.StatusOK
	}
	n, err := o.body.Write(p)
	o.failed = o.failed || err != nil
	return n, err
}

// Flush implements http.Flusher; an answer that is kept is not flushed.
func (o *response) Flush() {
	if !o.keep {
		o.send()
		_ = http.NewResponseController(o.w).Flush() // as http.Flusher, it has no error
	}
}

// Unwrap lets http.ResponseController find what else the writer can do.
func (o *response) Unwrap() http.ResponseWriter { return o.w }

// send sends the status and the header.
func (o *response) send() {
	if o.sent {
		return
	}
	o.sent = true
	if o.status == 0 {
		o.status = http.StatusOK
	}
	o.w.WriteHeader(o.status)
}

// guestWrite writes a part of the guest's own body. The first part replaces
// what the next handler wrote.
func (o *response) guestWrite(p []byte) error {
	if !o.ofGuest && o.keep {
		o.body.bytes = o.body.bytes[:0]
		o.failed = false
		o.w.Header().Del("Content-Length") // the old body's
	}
	o.ofGuest = true
	if o.keep {
		_, err := o.body.Write(p)
		return err
	}
	o.send()
	_, err := o.w.Write(p)
	if errors.Is(err, http.ErrBodyNotAllowed) { // HEAD, 204, 304
		return nil
	}
	return err
}

// release sends an answer that was kept, and the status that a guest chose
// for an answer without a body.
func (o *response) release() {
	if o.status != 0 {
		o.send()
	}
	if o.keep && len(o.body.bytes) > 0 {
		o.send()
		_, _ = o.w.Write(o.body.bytes) // the client is gone, and nobody is left to tell
	}
}
