package gossip

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"net"
	"strings"
	"sync"
	"testing"

	"dhow.dev/dhow/proto/spec"
)

// member is one running member.
type member struct {
	*Gossip
	stop func()
}

func start(t *testing.T, c Config) *member {
	t.Helper()
	if c.Bind == "" {
		c.Bind = "127.0.0.1:0"
	}
	if c.Key == nil {
		c.Key = bytes.Repeat([]byte{7}, 32)
	}
	g, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := g.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	stop := sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(stop)
	return &member{Gossip: g, stop: stop}
}

// await returns when the member sees exactly the states.
func await(t *testing.T, m *member, want map[string]State) {
	t.Helper()
	changed, end := m.Subscribe()
	defer end()
	for {
		got := map[string]State{}
		for _, x := range m.Members() {
			got[x.Name] = x.State
		}
		if maps.Equal(got, want) {
			return
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			t.Fatalf("%s: members %v, want %v", m.c.Name, got, want)
		}
	}
}

func three(t *testing.T, leave bool) (a, b, c *member) {
	t.Helper()
	a = start(t, Config{Name: "server/a", Leave: leave, Tags: map[string]string{TagRole: RoleServer, TagAPI: "10.0.0.1:7400"}})
	b = start(t, Config{Name: "node/b", Leave: leave, Join: []string{a.Addr()}, Tags: map[string]string{TagRole: RoleNode}})
	c = start(t, Config{Name: "node/c", Leave: leave, Join: []string{a.Addr()}, Tags: map[string]string{TagRole: RoleNode}})
	for _, m := range []*member{a, b, c} {
		await(t, m, map[string]State{"server/a": Alive, "node/b": Alive, "node/c": Alive})
	}
	return a, b, c
}

func TestMembersFindEachOtherWithTags(t *testing.T) {
	t.Parallel()
	a, b, _ := three(t, false)
	find := func(name, tag string) string {
		for _, m := range b.Members() {
			if m.Name == name {
				return m.Tags[tag]
			}
		}
		return ""
	}
	if got := find("server/a", TagAPI); got != "10.0.0.1:7400" {
		t.Errorf("api tag %q", got)
	}
	changed, end := b.Subscribe()
	defer end()
	if err := a.SetTags(map[string]string{TagRole: RoleServer, TagAPI: "10.0.0.2:7400"}); err != nil {
		t.Fatal(err)
	}
	for find("server/a", TagAPI) != "10.0.0.2:7400" {
		<-changed
	}
	if err := a.SetTags(map[string]string{"x": strings.Repeat("x", 1000)}); spec.CodeOf(err) != spec.CodeInvalid {
		t.Errorf("tags that are too long: %v", err)
	}
}

func TestDeadMemberIsFailed(t *testing.T) {
	t.Parallel()
	a, b, c := three(t, false)
	c.stop()
	want := map[string]State{"server/a": Alive, "node/b": Alive, "node/c": Failed}
	await(t, a, want)
	await(t, b, want)
}

func TestLeavingMemberHasLeft(t *testing.T) {
	t.Parallel()
	a, b, c := three(t, true)
	c.stop()
	want := map[string]State{"server/a": Alive, "node/b": Alive, "node/c": Left}
	await(t, a, want)
	await(t, b, want)
}

// A dead member that comes back elsewhere, with the same name, is alive again.
func TestMemberReturnsUnderAnotherAddress(t *testing.T) {
	t.Parallel()
	a, _, c := three(t, false)
	c.stop()
	again := start(t, Config{Name: "node/c", Join: []string{a.Addr()}})
	if again.Addr() == c.Addr() {
		t.Skip("the same port came again")
	}
	changed, end := a.Subscribe()
	defer end()
	for {
		for _, m := range a.Members() {
			if m.Name == "node/c" && m.State == Alive && m.Addr == again.Addr() {
				return
			}
		}
		<-changed
	}
}

// After all have died, those that come back find each other without being told
// any address.
func TestRejoinAfterAllDied(t *testing.T) {
	t.Parallel()
	dirs := []string{t.TempDir(), t.TempDir()}
	a := start(t, Config{Name: "a", Dir: dirs[0]})
	b := start(t, Config{Name: "b", Dir: dirs[1], Join: []string{a.Addr()}})
	both := map[string]State{"a": Alive, "b": Alive}
	await(t, a, both)
	await(t, b, both)
	addrA, addrB := a.Addr(), b.Addr()
	a.stop()
	b.stop()
	a = start(t, Config{Name: "a", Dir: dirs[0], Bind: addrA})
	b = start(t, Config{Name: "b", Dir: dirs[1], Bind: addrB})
	await(t, a, both)
	await(t, b, both)
}

func TestForeignKeyIsRefused(t *testing.T) {
	t.Parallel()
	log := make(lines, 100)
	a := start(t, Config{Name: "a", Logger: slog.New(slog.NewTextHandler(log, nil))})
	b := start(t, Config{Name: "b", Key: bytes.Repeat([]byte{8}, 32)})
	err := b.Join(a.Addr())
	if spec.CodeOf(err) != spec.CodeUnavailable || !strings.Contains(err.Error(), "another key") {
		t.Errorf("got %v", err)
	}
	if n := len(a.Members()); n != 1 {
		t.Errorf("a has %d members", n)
	}
	for line := ""; !strings.Contains(line, "belongs to another cluster"); {
		select {
		case line = <-log:
			t.Log(line)
		case <-t.Context().Done():
			t.Fatal("a does not say whom it refused")
		}
	}
}

func TestBadConfig(t *testing.T) {
	t.Parallel()
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer used.Close()
	key := make([]byte, 32)
	for name, c := range map[string]struct {
		c    Config
		code spec.Code
		text string
	}{
		"short key":    {Config{Name: "a", Bind: "127.0.0.1:0", Key: key[:5]}, spec.CodeInvalid, "5 bytes, want 16, 24 or 32"},
		"no name":      {Config{Bind: "127.0.0.1:0", Key: key}, spec.CodeInvalid, "no name"},
		"no port":      {Config{Name: "a", Bind: "127.0.0.1", Key: key}, spec.CodeInvalid, "want HOST:PORT"},
		"large port":   {Config{Name: "a", Bind: "127.0.0.1:70000", Key: key}, spec.CodeInvalid, "want 0 to 65535"},
		"bad address":  {Config{Name: "a", Bind: "127.0.0.1:0", Advertise: "[::x]:1", Key: key}, spec.CodeInvalid, "advertise"},
		"port in use":  {Config{Name: "a", Bind: used.Addr().String(), Key: key}, spec.CodeUnavailable, "port free"},
		"not our host": {Config{Name: "a", Bind: "192.0.2.1:0", Key: key}, spec.CodeUnavailable, "this machine's"},
	} {
		_, err := New(c.c)
		if spec.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// lines hands on what is written; more than it holds is lost.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	select {
	case l <- string(p):
	default:
	}
	return len(p), nil
}
