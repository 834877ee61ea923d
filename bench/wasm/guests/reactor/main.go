// Command reactor is a module with some state of its own from the start, which
// is then called.
package main

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
)

type port struct {
	Name  string `json:"name"`
	Depth int    `json:"depth"`
}

var (
	ports   = map[string]port{}
	pattern = regexp.MustCompile(`^port-(\d+)$`)
)

func init() {
	for i := range 2000 {
		name := fmt.Sprintf("port-%d", i)
		ports[name] = port{name, i % 30}
	}
}

// find renders what is known of a port and takes it apart again.
//
//go:wasmexport find
func find(n int32) int32 {
	name := fmt.Sprintf("port-%d", n)
	if !pattern.MatchString(name) {
		return -1
	}
	text, err := json.Marshal(ports[name])
	if err != nil || !strings.Contains(string(text), name) {
		return -2
	}
	var p port
	if err := json.Unmarshal(text, &p); err != nil {
		return -3
	}
	return int32(p.Depth)
}

func main() {}
