package httpwasm

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"time"
)

type exchangeKey struct{}

// exchange is one request on its way through a guest and the next handler, or
// the initialisation of a guest, which has no request. One goroutine uses it.
type exchange struct {
	host     *Host
	features Features

	r      *http.Request // as the next handler gets it; nil in an initialisation
	copied bool          // r is no more the client's own
	answer response

	afterNext   bool
	headerBytes int   // of fields that the guest set
	failure     error // why the guest was ended by one of our functions

	body    *kept     // the request's, when it is kept
	reader  io.Reader // the guest's, of the request's body
	written *bounded  // the request's body that the guest wrote
	// answerReader is the guest's, of the answer that is kept.
	answerReader answerReader
}

func newExchange(h *Host, w http.ResponseWriter, r *http.Request) *exchange {
	x := &exchange{host: h, r: r, answer: response{w: w}}
	x.answer.body.most = h.c.MaxBody
	x.answerReader.answer = &x.answer
	return x
}

// enable adds features for this request.
func (x *exchange) enable(f Features) {
	if !x.afterNext {
		x.features |= f & allFeatures &^ x.host.c.Refuse
		x.answer.keep = x.features&BufferResponse != 0 && !x.answer.sent
	}
}

// change returns the request for changing it: a copy of the client's.
func (x *exchange) change() *http.Request {
	if !x.copied {
		x.copied = true
		x.r = x.r.Clone(x.r.Context())
	}
	return x.r
}

// requestBody is the guest's reader of the request's body.
func (x *exchange) requestBody() io.Reader {
	switch {
	case x.reader != nil:
	case x.features&BufferRequest != 0:
		x.keepBody()
		x.reader = &keptReader{kept: x.body}
	case x.r.Body == nil:
		x.reader = http.NoBody
	default:
		x.reader = x.r.Body
	}
	return x.reader
}

// keepBody makes the request's body one that the guest and the next handler
// can read both.
func (x *exchange) keepBody() {
	if x.body != nil {
		return
	}
	source := x.r.Body
	if source == nil {
		source = http.NoBody
	}
	x.body = &kept{source: source, most: x.host.c.MaxBody}
	x.change().Body = &keptReader{kept: x.body, close: source.Close}
}

// writeRequest writes a part of the body that replaces the request's.
func (x *exchange) writeRequest(p []byte) error {
	if x.written == nil {
		x.written = &bounded{most: x.host.c.MaxBody}
	}
	_, err := x.written.Write(p)
	return err
}

// prepareNext makes the request that the next handler gets.
func (x *exchange) prepareNext() *http.Request {
	x.afterNext = true
	if x.answer.keep {
		x.answer.status, x.answer.body.bytes, x.answer.ofGuest = 0, nil, false
	}
	if x.written == nil {
		if x.features&BufferRequest != 0 {
			x.keepBody()
		}
		return x.r
	}
	r := x.change()
	r.Body = io.NopCloser(bytes.NewReader(x.written.bytes))
	r.ContentLength = int64(len(x.written.bytes))
	r.TransferEncoding = nil
	r.Header.Del("Content-Length")
	return r
}

// interruptible lets the end of a call's context bring back a read of the
// request, or with the answer's also a write. The connection is of no use for
// another request after it.
func (k call) interruptible(answer bool) (undo func()) {
	stop := context.AfterFunc(k.ctx, func() {
		past := time.Unix(1, 0)
		rc := http.NewResponseController(k.answer.w)
		// Not every ResponseWriter has a connection.
		_ = rc.SetReadDeadline(past)
		if answer {
			_ = rc.SetWriteDeadline(past)
		}
	})
	return func() { stop() }
}

// answerReader reads what is kept of an answer.
type answerReader struct {
	answer *response
	at     int
}

func (r *answerReader) Read(p []byte) (int, error) {
	if r.at >= len(r.answer.body.bytes) {
		return 0, io.EOF
	}
	n := copy(p, r.answer.body.bytes[r.at:])
	r.at += n
	return n, nil
}
