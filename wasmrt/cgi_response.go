package wasmrt

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// flushAfter is how long a part of a body may wait for more.
const flushAfter = 20 * time.Millisecond

var errBadHeader = errors.New("the module's header is not one")

// response takes what a CGI guest writes: a header first, then the body.
type response struct {
	w         http.ResponseWriter
	maxHeader int
	stop      func() // interrupts the guest

	header []byte // until it is complete

	mu       sync.Mutex // the flush timer and the guest both use w
	sent     bool       // the status is out: no other can be
	broken   error      // why the guest's output is of no use
	pending  bool       // a flush is due
	finished bool
	dead     bool // the connection was interrupted; after the run
	flush    *time.Timer
}

func newResponse(w http.ResponseWriter, maxHeader int, stop func()) *response {
	return &response{w: w, maxHeader: maxHeader, stop: stop}
}

// Write implements io.Writer for the guest's standard output.
func (o *response) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.broken != nil:
		return 0, o.broken
	case o.sent:
		return o.writeBody(p)
	}
	o.header = append(o.header, p...)
	end, body := headerEnd(o.header)
	if end < 0 && len(o.header) <= o.maxHeader {
		return len(p), nil
	}
	if end < 0 || end > o.maxHeader {
		return 0, o.breakOff(fmt.Errorf("%w: it is longer than %d bytes", errBadHeader, o.maxHeader))
	}
	status, header, err := parseHeader(o.header[:end])
	if err != nil {
		return 0, o.breakOff(err)
	}
	maps.Copy(o.w.Header(), header)
	o.w.WriteHeader(status)
	o.sent = true
	if rest := o.header[body:]; len(rest) > 0 {
		if _, err := o.writeBody(rest); err != nil {
			return 0, err
		}
	}
	o.header = nil
	return len(p), nil
}

// breakOff remembers why the output is of no use, and stops the guest.
func (o *response) breakOff(err error) error {
	o.broken = err
	o.stop()
	return err
}

func (o *response) writeBody(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if errors.Is(err, http.ErrBodyNotAllowed) { // HEAD, 204, 304
		return len(p), nil
	}
	if err != nil {
		return n, o.breakOff(err)
	}
	if !o.pending {
		o.pending = true
		if o.flush == nil {
			o.flush = time.AfterFunc(flushAfter, o.flushNow)
		} else {
			o.flush.Reset(flushAfter)
		}
	}
	return n, nil
}

func (o *response) flushNow() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.pending && !o.finished {
		o.pending = false
		_ = http.NewResponseController(o.w).Flush() // the next write tells
	}
}

// interrupt makes reads of the request return, and soon writes of the answer
// too. The connection is of no use for another request after it.
func (o *response) interrupt(writeUntil time.Time) {
	rc := http.NewResponseController(o.w)
	// Not every ResponseWriter has a connection.
	_ = rc.SetReadDeadline(time.Unix(1, 0))
	_ = rc.SetWriteDeadline(writeUntil)
}

// writeGrace is how long an answer may take to be written after an interrupt.
const writeGrace = 5 * time.Second

// fail answers with an error of ours, or, if the guest's answer is on its way,
// cuts the connection.
func (o *response) fail(status int, message string) {
	sent, broken := o.close()
	if sent {
		panic(http.ErrAbortHandler)
	}
	if broken != nil {
		status, message = http.StatusBadGateway, broken.Error()
	}
	if o.dead {
		o.w.Header().Set("Connection", "close")
	}
	http.Error(o.w, message, status)
}

// finish ends the answer of a guest that exited.
func (o *response) finish(exit Exit) {
	switch {
	case !o.sent && exit.Code != 0:
		o.fail(http.StatusBadGateway, fmt.Sprintf("the module exited with code %d before its header was complete", exit.Code))
	case !o.sent || o.broken != nil || o.dead:
		o.fail(http.StatusBadGateway, "the module wrote no header: a header, an empty line and a body are expected")
	default:
		_, _ = o.close() // neither is left to tell
	}
}

// close ends the use of w by the timer.
func (o *response) close() (sent bool, broken error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.finished = true
	if o.flush != nil {
		o.flush.Stop()
	}
	return o.sent, o.broken
}

// headerEnd finds the empty line: where the header ends and the body begins.
func headerEnd(b []byte) (end, body int) {
	for at := 0; ; {
		n := bytes.IndexByte(b[at:], '\n')
		if n < 0 {
			return -1, -1
		}
		line := bytes.TrimSuffix(b[at:at+n], []byte("\r"))
		if len(line) == 0 {
			return at, at + n + 1
		}
		at += n + 1
	}
}

// hopByHop tells headers about the connection, which is not the guest's.
func hopByHop(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Connection", "Keep-Alive", "Proxy-Authenticate", "Proxy-Authorization", "Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// parseHeader reads a CGI response header, without its empty line.
func parseHeader(b []byte) (status int, header http.Header, err error) {
	header = http.Header{}
	for line := range strings.Lines(string(b)) {
		line = strings.TrimRight(line, "\r\n")
		name, value, ok := strings.Cut(line, ":")
		value = strings.Trim(value, " \t")
		switch {
		case !ok || !isToken(name) || !isValue(value):
			return 0, nil, fmt.Errorf("%w: line %.80q", errBadHeader, line)
		case strings.EqualFold(name, "Status"):
			if status, err = parseStatus(value); err != nil {
				return 0, nil, err
			}
		case !hopByHop(name):
			header.Add(name, value)
		}
	}
	if l := header["Content-Length"]; len(l) > 1 || len(l) == 1 && !isNumber(l[0]) {
		return 0, nil, fmt.Errorf("%w: Content-Length %.80q", errBadHeader, strings.Join(l, ", "))
	}
	switch {
	case status != 0:
	case header.Get("Location") != "":
		status = http.StatusFound
	case header.Get("Content-Type") != "":
		status = http.StatusOK
	default:
		return 0, nil, fmt.Errorf("%w: it has none of Content-Type, Location and Status", errBadHeader)
	}
	return status, header, nil
}

func parseStatus(value string) (int, error) {
	code, _, _ := strings.Cut(value, " ")
	n, err := strconv.Atoi(code)
	if err != nil || len(code) != 3 || n < 200 || n > 599 {
		return 0, fmt.Errorf("%w: Status %.80q is not between 200 and 599", errBadHeader, value)
	}
	return n, nil
}

func isNumber(s string) bool {
	_, err := strconv.ParseUint(s, 10, 63)
	return err == nil
}

func isToken(s string) bool {
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}

func isValue(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}
