package client

import (
	"net/http"
	"slices"
	"strings"

	"dhow.dev/dhow/proto/wire"
)

// learner takes the list of servers from each answer, so that a client that
// knew one server at first survives that one.
type learner struct {
	next    http.RoundTripper
	servers *servers
}

// RoundTrip implements http.RoundTripper.
func (l learner) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := l.next.RoundTrip(r)
	if err == nil {
		if list := res.Header.Get(wire.ServersHeader); list != "" {
			l.servers.set(strings.Split(list, ","))
		}
	}
	return res, err
}

// Servers are the addresses that the client knows now, in the order in which
// it would try them first.
func (c *Client) Servers() []string {
	c.servers.mu.Lock()
	defer c.servers.mu.Unlock()
	return slices.Clone(c.servers.list)
}
