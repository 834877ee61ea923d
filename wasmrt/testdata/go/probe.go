//go:build wasip1

// Probe is a test guest: its first argument says what to do.
package main

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

func main() {
	if len(os.Args) < 2 {
		if os.Getenv("GATEWAY_INTERFACE") != "" {
			cgi(os.Getenv("QUERY_STRING"))
		}
		return
	}
	switch arg := strings.Join(os.Args[2:], " "); os.Args[1] {
	case "args":
		for _, a := range os.Args {
			fmt.Println(a)
		}
	case "file":
		b, err := os.ReadFile(arg)
		fmt.Print(string(b))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	case "env":
		fmt.Println(os.Getenv(arg))
	case "cat":
		_, _ = io.Copy(os.Stdout, os.Stdin)
	case "lines":
		n, _ := strconv.Atoi(arg)
		for k := range n {
			fmt.Println("out", k)
		}
		fmt.Fprint(os.Stderr, "last words")
	case "err":
		fmt.Fprintln(os.Stderr, arg)
	case "exit":
		n, _ := strconv.Atoi(arg)
		os.Exit(n)
	case "spin":
		fmt.Println("spinning")
		for n := uint32(1); n != 0; n += 2 {
		}
	case "sleep":
		ms, _ := strconv.Atoi(arg)
		fmt.Println("sleeping")
		start := time.Now()
		time.Sleep(time.Duration(ms) * time.Millisecond)
		fmt.Println(time.Since(start).Milliseconds())
	case "tick":
		for n := 0; ; n++ {
			fmt.Println("tick", n)
			time.Sleep(time.Millisecond)
		}
	case "trap":
		trap()
	case "grow":
		var all [][]byte
		for {
			b := make([]byte, 1<<20)
			for i := range b {
				b[i] = 1
			}
			all = append(all, b)
			fmt.Println(len(all))
		}
	case "clock":
		fmt.Println(time.Now().Unix())
	case "random":
		var b [16]byte
		_, _ = rand.Read(b[:])
		fmt.Printf("%x\n", b)
	case "recurse":
		fmt.Println(recurse(1))
	case "timeout": // a timer while standard input is read on another goroutine
		go func() { _, _ = bufio.NewReader(os.Stdin).ReadString('\n') }()
		<-time.After(5 * time.Millisecond)
		fmt.Println("timer fired")
	}
}

func trap() {
	var p *int
	fmt.Println(*p)
}

func recurse(n int) int {
	var pad [1 << 10]byte
	pad[n%len(pad)] = byte(n)
	return recurse(n+1) + int(pad[n%7])
}

func cgi(query string) {
	switch {
	case query == "fail":
		os.Exit(3)
	case query == "spin":
		for n := uint32(1); n != 0; n += 2 {
		}
	case query == "late-fail":
		fmt.Print("Content-Type: text/plain\n\nhalf")
		_ = os.Stdout.Sync()
		trap()
	case query == "stream":
		fmt.Print("Content-Type: text/plain\n\nfirst\n")
		_, _ = io.ReadAll(os.Stdin)
		fmt.Print("second\n")
	case query == "wait":
		time.Sleep(time.Hour)
	case query == "noheader":
		fmt.Print("hello")
	case strings.HasPrefix(query, "header="):
		h, _ := url.PathUnescape(query[len("header="):])
		fmt.Print(h)
	default:
		body, _ := io.ReadAll(os.Stdin)
		fmt.Print("Status: 201 Created\r\nContent-Type: text/plain\r\nX-Guest: yes\r\n\r\n")
		for _, name := range []string{
			"REQUEST_METHOD", "PATH_INFO", "QUERY_STRING", "CONTENT_LENGTH", "CONTENT_TYPE", "SERVER_NAME", "SERVER_PORT",
			"SERVER_PROTOCOL", "GATEWAY_INTERFACE", "SCRIPT_NAME", "HTTP_X_TEST", "HTTP_PROXY", "INSTANCE",
		} {
			fmt.Printf("%s=%s\n", name, os.Getenv(name))
		}
		fmt.Printf("body=%s\n", body)
	}
	os.Exit(0)
}
