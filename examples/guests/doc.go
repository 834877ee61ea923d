// Package guests holds example programs for wasm, one a directory. Build one
// with `GOOS=wasip1 GOARCH=wasm go build ./examples/guests/hello`, or all with
// `make guests`. They are ordinary Go programs: nothing of dhow is in them.
package guests
