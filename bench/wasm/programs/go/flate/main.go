// Command flate compresses text and takes it apart again.
package main

import (
	"bytes"
	"compress/flate"
	"fmt"
	"hash/crc32"
	"io"
)

func main() {
	words := []string{"the ", "ship ", "harbour ", "of ", "wind ", "and ", "sail ", "a ", "captain ", "under ", "stars ", "\n"}
	var text []byte
	for seed := uint32(7); len(text) < 2<<20; {
		seed = seed*1664525 + 1013904223
		text = append(text, words[(seed>>24)%12]...)
	}
	var packed bytes.Buffer
	for _, level := range []int{1, 6} {
		packed.Reset()
		w, err := flate.NewWriter(&packed, level)
		if err != nil {
			panic(err)
		}
		_, _ = w.Write(text)
		_ = w.Close()
		back, err := io.ReadAll(flate.NewReader(bytes.NewReader(packed.Bytes())))
		if err != nil || !bytes.Equal(back, text) {
			panic("not what it was")
		}
	}
	fmt.Println(packed.Len(), crc32.ChecksumIEEE(text))
}
