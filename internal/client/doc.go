// Package client builds API clients: from the user's context file or from a
// machine's certificate, with TLS pinned to the cluster's CA, failing over
// among the servers, and with errors as *spec.Error. It knows no service's
// meaning and prints nothing.
package client
