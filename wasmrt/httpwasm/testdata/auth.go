//go:build wasip1

// Auth is middleware in Go: it answers 401 unless the request has the password
// that is its configuration, and hides the password from the next handler.
package main

import "unsafe"

//go:wasmimport http_handler get_config
func getConfig(buf unsafe.Pointer, limit uint32) uint32

//go:wasmimport http_handler get_header_values
func getHeaderValues(kind uint32, name unsafe.Pointer, nameLen uint32, buf unsafe.Pointer, limit uint32) uint64

//go:wasmimport http_handler remove_header
func removeHeader(kind uint32, name unsafe.Pointer, nameLen uint32)

//go:wasmimport http_handler set_status_code
func setStatusCode(status uint32)

//go:wasmimport http_handler write_body
func writeBody(kind uint32, body unsafe.Pointer, size uint32)

var password = func() string {
	b := make([]byte, 100)
	return string(b[:getConfig(unsafe.Pointer(&b[0]), uint32(len(b)))])
}()

var field = []byte("authorization")

//go:wasmexport handle_request
func handleRequest() uint64 {
	b := make([]byte, 1000)
	n := getHeaderValues(0, unsafe.Pointer(&field[0]), uint32(len(field)), unsafe.Pointer(&b[0]), uint32(len(b)))
	if n>>32 != 1 || int(uint32(n)) > len(b) || string(b[:uint32(n)-1]) != password {
		setStatusCode(401)
		answer := []byte("who are you?")
		writeBody(1, unsafe.Pointer(&answer[0]), uint32(len(answer)))
		return 0
	}
	removeHeader(0, unsafe.Pointer(&field[0]), uint32(len(field)))
	return 1
}

//go:wasmexport handle_response
func handleResponse(ctx, isError uint32) {}

func main() {}
