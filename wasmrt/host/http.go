package host

import "time"

// HTTPOptions say which requests guests may make. Zero values mean the
// defaults.
type HTTPOptions struct {
	// Allow is the list of what may be reached: "https://api.example.com",
	// "http://10.0.0.7:8080", "https://*.example.com" (not example.com itself),
	// "https://example.com:*" (any port), "https://*" (any public host). Without a port it
	// is the scheme's own. What is not on the list is refused.
	Allow []string
	// Timeout bounds a request from its start to the end of the answer, with
	// redirects. Default 10 s.
	Timeout time.Duration
	// MaxRequest and MaxResponse bound the bodies in bytes. Default 1 MiB and 4 MiB.
	MaxRequest, MaxResponse int64
	// MaxRedirects is how many are followed, each checked as if the guest had
	// asked for it. Default 5; negative follows none.
	MaxRedirects int
	// PrivateNetworks are networks, such as "10.0.0.0/8", that names may resolve
	// to though they are not public. Without them, a name on the list that resolves to
	// a loopback, private or link-local address is refused when it is dialled. An address
	// that is itself on the list is always allowed.
	PrivateNetworks []string
}

// HTTP makes requests for guests.
type HTTP struct{ o HTTPOptions }
