//go:build wasip1

// Hello is a CGI program: it is run once for each HTTP request, finds the
// request in its environment and standard input, and prints the answer.
package main

import (
	"fmt"
	"io"
	"net/url"
	"os"
)

func main() {
	query, err := url.ParseQuery(os.Getenv("QUERY_STRING"))
	if err != nil {
		answer("400 Bad Request", fmt.Sprintf("the query cannot be read: %v\n", err))
		return
	}
	name := query.Get("name")
	if name == "" {
		name = "world"
	}
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		answer("400 Bad Request", fmt.Sprintf("the body cannot be read: %v\n", err))
		return
	}
	text := fmt.Sprintf("Hello, %s!\n%s %s?%s, answered by %s\n",
		name, os.Getenv("REQUEST_METHOD"), os.Getenv("PATH_INFO"), os.Getenv("QUERY_STRING"), os.Getenv("DHOW_INSTANCE"))
	if len(body) > 0 {
		text += fmt.Sprintf("You sent %d bytes: %.200q\n", len(body), body)
	}
	answer("200 OK", text)
}

// answer prints a header, an empty line and the body.
func answer(status, body string) {
	fmt.Printf("Status: %s\r\nContent-Type: text/plain; charset=utf-8\r\nX-Instance: %s\r\n\r\n%s",
		status, os.Getenv("DHOW_INSTANCE"), body)
}
