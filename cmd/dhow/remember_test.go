package main

import (
	"os/exec"
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

// What `dhow context env` prints is what curl needs, whatever is in it.
func TestContextEnv(t *testing.T) {
	f := newFake(t)
	r := dhow(t, "", "context", "env")
	wantCode(t, r, 0)
	out, err := exec.Command("sh", "-c", r.out+`printf '%s %s ' "$DHOW_API" "$DHOW_TOKEN"; cat "$DHOW_CA"`).Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := "https://" + f.addr + " dhow_t_secret " + f.ca; string(out) != want {
		t.Errorf("the shell sees %q, want %q", out, want)
	}
	odd := `a'b"c $d`
	if out, err := exec.Command("sh", "-c", "printf %s "+quote(odd)).Output(); err != nil || string(out) != odd {
		t.Errorf("a quoted %q is %q (%v)", odd, out, err)
	}
}
