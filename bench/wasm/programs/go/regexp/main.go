// Command regexp looks for addresses and dates in a log.
package main

import (
	"bytes"
	"fmt"
	"regexp"
)

func main() {
	var log bytes.Buffer
	for i := range 5000 {
		fmt.Fprintf(&log, "2026-%02d-%02d 10.0.%d.%d captain%d@sur.example asked for /port/%d\n", i%12+1, i%28+1, i%256, i*7%256, i%90, i*31%1000)
	}
	address := regexp.MustCompile(`[a-z]+[0-9]+@([a-z]+\.)+[a-z]+`)
	date := regexp.MustCompile(`(\d{4})-(\d\d)-(\d\d) (\d+\.){3}\d+`)
	found := len(address.FindAll(log.Bytes(), -1))
	swapped := date.ReplaceAll(log.Bytes(), []byte("$3.$2.$1"))
	fmt.Println(found, len(swapped), bytes.Count(swapped, []byte("11.07.2026")))
}
