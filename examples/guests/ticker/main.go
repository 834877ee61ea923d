//go:build wasip1

// Ticker is a long-running service: it prints a line each second, until it is
// stopped.
package main

import (
	"fmt"
	"os"
	"time"
)

func main() {
	instance := os.Getenv("DHOW_INSTANCE")
	if instance == "" {
		instance = "ticker"
	}
	every := time.Second
	if s := os.Getenv("TICK"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			fmt.Fprintf(os.Stderr, "TICK is %q: give a duration such as 500ms\n", s)
			os.Exit(2)
		}
		every = d
	}
	for n := 1; ; n++ {
		fmt.Printf("%s tick %d at %s\n", instance, n, time.Now().UTC().Format(time.TimeOnly))
		time.Sleep(every)
	}
}
