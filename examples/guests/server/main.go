//go:build wasip1

// Server is a service: an ordinary net/http server on the listener that the
// host gives it as descriptor 3. It runs on while nobody calls it, and keeps what it
// knows between requests: GET / counts visits.
package main

import (
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
)

func main() {
	log.Fatal(serve())
}

func serve() error {
	const listener = 3
	// Without this, waiting for a connection would stop all goroutines.
	if err := syscall.SetNonblock(listener, true); err != nil {
		return fmt.Errorf("there is no listener: %w", err)
	}
	l, err := net.FileListener(os.NewFile(listener, "listener"))
	if err != nil {
		return err
	}
	var visits atomic.Int64
	http.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "visit %d\n", visits.Add(1))
	})
	return http.Serve(l, nil)
}
