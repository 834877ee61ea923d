package api

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"dhow.dev/dhow/proto/wire"
)

// A timer of a call may fire when its handler has just returned. net/http
// panics then, which would end the server.
func TestDeadlinesAfterTheHandlerHasReturned(t *testing.T) {
	var late wire.Conn
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{http: http.NewResponseController(w), r: r}
		ctx := wire.WithConn(r.Context(), c)
		c.arrival = wire.ReadGuard(ctx, time.Hour)
		late = wire.ConnOf(ctx)
		c.finish()
	}))
	s.EnableHTTP2 = true
	s.StartTLS()
	res, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	s.Close()
	if late.SetReadDeadline(time.Unix(1, 0)) == nil || late.SetWriteDeadline(time.Unix(1, 0)) == nil {
		t.Error("a call that is over was changed")
	}
}
