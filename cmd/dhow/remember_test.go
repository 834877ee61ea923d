package main

import (
	"slices"
	"testing"

	"dhow.dev/dhow/internal/client"
)

// What a server tells of the others is in the context file for the next
// command; what the user named by hand is neither kept nor added to.
func TestContextRemembersServers(t *testing.T) {
	f := newFake(t)
	servers := func() []string {
		file, err := client.Load(f.file)
		if err != nil {
			t.Fatal(err)
		}
		c, err := file.Find("")
		if err != nil {
			t.Fatal(err)
		}
		return c.Servers
	}
	wantCode(t, dhow(t, "", "get", "nodes", "--server", "127.0.0.1:1"), exitUnreachable)
	if got := servers(); !slices.Equal(got, []string{f.addr}) {
		t.Fatalf("a server named by hand was kept: %v", got)
	}
	f.tell = f.addr + ",127.0.0.1:1"
	wantCode(t, dhow(t, "", "get", "nodes", "--server", f.addr), 0)
	if got := servers(); !slices.Equal(got, []string{f.addr}) {
		t.Fatalf("a pinned command learned %v", got)
	}
	wantCode(t, dhow(t, "", "get", "nodes"), 0)
	if got := servers(); !slices.Equal(got, []string{f.addr, "127.0.0.1:1"}) {
		t.Fatalf("remembered %v", got)
	}
	f.tell = "no address"
	wantCode(t, dhow(t, "", "get", "nodes"), 0)
	if got := servers(); !slices.Equal(got, []string{f.addr, "127.0.0.1:1"}) {
		t.Errorf("nonsense was remembered: %v", got)
	}
}
